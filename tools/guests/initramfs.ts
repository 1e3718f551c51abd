// The initramfs of `mimic run debian` with more in it: checks to run, modules to load, a disk to go on from.
// Linux unpacks one cpio archive after the other, so what is added is an archive of its own.
// Linux, Documentation/driver-api/early-userspace/buffer-format.rst.

import { readFileSync } from 'node:fs';
import { buildInitramfs, type CpioEntry, type KernelModule, writeCpio } from '@mimic/cli';
import { checkFiles, type GuestCheck, type Programs, runChecksScript } from '@mimic/testing';

/** To a shell prompt on the serial console. */
export function shellInitramfs(busybox: string): Uint8Array {
  return buildInitramfs({ busybox: readFileSync(busybox) });
}

export interface ChecksInitramfsParts {
  /** Path of the static busybox. */
  readonly busybox: string;
  readonly checks: readonly GuestCheck[];
  /** Loaded in this order before the first check. */
  readonly modules?: readonly KernelModule[];
  readonly files?: readonly CpioEntry[];
  /** Variables of the checks. */
  readonly programs?: Programs;
}

/** Runs the checks, then turns the machine off. */
export function checksInitramfs(parts: ChecksInitramfsParts): Uint8Array {
  const { busybox, checks, modules = [], files = [], programs } = parts;
  const start = runChecksScript(programs);
  const base = buildInitramfs({ busybox: readFileSync(busybox), modules, start });
  return Buffer.concat([base, writeCpio([...checkFiles(checks), ...files])]);
}

/** Loads the modules, mounts the first virtio disk as it came and hands over to the system on it. */
export function diskInitramfs(
  busybox: string,
  modules: readonly KernelModule[],
  fileSystem: string,
): Uint8Array {
  const start = `
mkdir /disk
mount -t ${fileSystem} -o ro /dev/vda /disk
mount --move /dev /disk/dev
mount --move /proc /disk/proc
mount --move /sys /disk/sys
umount /run
exec switch_root /disk /sbin/init
`;
  return buildInitramfs({ busybox: readFileSync(busybox), modules, start });
}
