// A root file system in memory around one static busybox: enough for a shell on the serial port.

import { type CpioEntry, writeCpio } from './cpio.ts';

export interface KernelModule {
  /** 'virtio_blk.ko' */
  readonly fileName: string;
  readonly contents: Uint8Array;
}

/**
 * Runs as process 1. SHARE of the kernel's command line lists the tags of shared folders, with commas between.
 * The shell is a session of its own on the terminal, so that Ctrl-C and job control work.
 */
const INIT = `#!/bin/sh
export PATH=/bin HOME=/root USER=root
[ -e /bin/mount ] || /bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmp /tmp
mount -t tmpfs run /run
while read -r module; do insmod "/lib/modules/$module"; done </lib/modules/order
hostname mimic
ip link set lo up
for tag in $(echo "$SHARE" | tr , ' '); do
  mkdir -p "/mnt/$tag"
  if mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144 "$tag" "/mnt/$tag"; then
    echo "Shared folder: /mnt/$tag"
  fi
done
unset SHARE
acpid -l /dev/null
cd /root
echo
echo "Mimic: $(uname -sr), busybox. 'exit' turns the machine off."
if [ -e /etc/start ]; then
  . /etc/start
else
  setsid -c sh -lc '
    [ -z "$COLUMNS" ] || stty cols "$COLUMNS" rows "$LINES"
    unset COLUMNS LINES
    exec sh -i
  ' </dev/ttyS0 >/dev/ttyS0 2>&1
fi
sync
umount -a -r 2>/dev/null
poweroff -f
`;

const PROFILE = `export PS1='\\u@\\h:\\w\\$ '
export ENV=/etc/profile
`;

/** Run by acpid when the power button was pressed. */
const POWER_BUTTON = `#!/bin/sh
sync
umount -a -r 2>/dev/null
poweroff -f
`;

export interface InitramfsParts {
  /** The static busybox program. */
  readonly busybox: Uint8Array;
  /** Loaded in this order. */
  readonly modules?: readonly KernelModule[];
  /** Run by the shell of process 1 instead of the interactive shell; then the machine is turned off. */
  readonly start?: string;
}

export function buildInitramfs({ busybox, modules = [], start }: InitramfsParts): Uint8Array {
  const folders = [
    'bin',
    'dev',
    'etc',
    'etc/acpi',
    'etc/acpi/PWRF',
    'lib',
    'lib/modules',
    'mnt',
    'proc',
    'root',
    'run',
    'sys',
  ];
  folders.push('tmp', 'usr', 'var');
  const entries: CpioEntry[] = [
    ...folders.map((path) => ({ path, folder: true as const })),
    { path: 'sbin', linkTo: 'bin' },
    { path: 'usr/bin', linkTo: '../bin' },
    { path: 'usr/sbin', linkTo: '../bin' },
    { path: 'var/run', linkTo: '../run' },
    // Process 1 needs it as its input and output before /dev is mounted.
    { path: 'dev/console', device: { major: 5, minor: 1 } },
    { path: 'init', contents: INIT, executable: true },
    { path: 'etc/acpi/PWRF/00000080', contents: POWER_BUTTON, executable: true },
    { path: 'etc/profile', contents: PROFILE },
    { path: 'etc/passwd', contents: 'root:x:0:0:root:/root:/bin/sh\n' },
    { path: 'etc/group', contents: 'root:x:0:\n' },
    { path: 'bin/busybox', contents: busybox, executable: true },
    ...appletNames(busybox)
      .filter((name) => name !== 'busybox')
      .map((name) => ({ path: `bin/${name}`, linkTo: 'busybox' })),
    {
      path: 'lib/modules/order',
      contents: modules.map(({ fileName }) => `${fileName}\n`).join(''),
    },
    ...modules.map(({ fileName, contents }) => ({ path: `lib/modules/${fileName}`, contents })),
  ];
  if (start !== undefined) entries.push({ path: 'etc/start', contents: start });
  return writeCpio(entries);
}

/**
 * The applets in a busybox program, from its own table: sorted names with a zero after each, '[' and '[[' first.
 * Found without running it, which not every host can. None if the table looks otherwise: init then asks busybox.
 */
export function appletNames(busybox: Uint8Array): string[] {
  const text = new TextDecoder('latin1').decode(busybox);
  const start = text.indexOf('\0[\0[[\0');
  if (start < 0) return [];
  const names: string[] = [];
  for (let at = start + 1; at < text.length; ) {
    const end = text.indexOf('\0', at);
    const name = text.slice(at, end);
    const last = names.at(-1);
    if (!/^(\[{1,2}|[a-z0-9][a-z0-9_.-]*)$/.test(name) || (last !== undefined && name <= last))
      break;
    names.push(name);
    at = end + 1;
  }
  return names.length > 10 ? names : [];
}
