// A disk with Debian and systemd on it, built by mmdebstrap from Debian's packages: no partitions, one ext4 file
// system, no kernel or boot loader. Kept in the cache until its recipe changes.

import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { installMissing } from '../debian-packages.ts';
import { GUEST_CACHE } from './packages.ts';

export const ROOT_DISK = { hostName: 'debian', password: 'mimic', fileSystem: 'ext4' } as const;

const SUITE = 'bookworm';
const SIZE = '700M';
const PACKAGES = ['systemd-sysv', 'udev', 'dbus', 'e2fsprogs', 'kmod', 'procps', 'login'];
/** The guest needs no manuals, and what is smaller is built faster. */
const EXCLUDED = [
  '/usr/share/doc/*',
  '/usr/share/man/*',
  '/usr/share/locale/*',
  '/usr/share/info/*',
];
/** Shell commands on the finished tree, "$1". A machine-id that is set keeps systemd from asking questions. */
const HOOKS = [
  `echo root:${ROOT_DISK.password} | chroot "$1" chpasswd`,
  `echo ${ROOT_DISK.hostName} > "$1/etc/hostname"`,
  `echo "127.0.0.1 localhost ${ROOT_DISK.hostName}" > "$1/etc/hosts"`,
  `echo "/dev/vda / ${ROOT_DISK.fileSystem} defaults,errors=remount-ro 0 1" > "$1/etc/fstab"`,
  'echo LANG=C.UTF-8 > "$1/etc/default/locale"',
  'echo 6d696d69636d696d69636d696d69636d > "$1/etc/machine-id"',
  'rm -rf "$1"/var/cache/apt/* "$1"/var/lib/apt/lists/* "$1"/var/log/*.log',
];
/** Programs that build it, and the Debian packages that have them. */
const BUILDERS = { mmdebstrap: 'mmdebstrap', mke2fs: 'e2fsprogs', tar: 'tar' };

/** Path of the image, which is for reading only: start a guest on a copy. The first call takes minutes. */
export async function debianRootDisk(): Promise<string> {
  const recipe = JSON.stringify([SUITE, SIZE, PACKAGES, EXCLUDED, HOOKS]);
  const hash = createHash('sha256').update(recipe).digest('hex').slice(0, 12);
  const image = join(GUEST_CACHE, `debian-${SUITE}-amd64-${hash}.img`);
  if (existsSync(image)) return image;
  if (process.getuid?.() !== 0) {
    throw new Error(
      'the Debian disk has files of several owners: run this once as root to build it',
    );
  }
  installMissing(BUILDERS);
  await mkdir(GUEST_CACHE, { recursive: true });
  const work = await mkdtemp(join(GUEST_CACHE, '.disk-'));
  try {
    await build(work);
    await rename(join(work, 'image'), image);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
  return image;
}

async function build(work: string): Promise<void> {
  const archive = join(work, 'root.tar');
  const root = join(work, 'root');
  const image = join(work, 'image');
  await run('mmdebstrap', [
    '--quiet',
    '--architectures=amd64',
    '--variant=minbase',
    `--include=${PACKAGES.join(',')}`,
    ...EXCLUDED.map((path) => `--dpkgopt=path-exclude=${path}`),
    ...HOOKS.map((hook) => `--customize-hook=${hook}`),
    SUITE,
    archive,
  ]);
  await mkdir(root);
  // Device nodes need a privilege that containers lack; the guest's kernel brings its own.
  const tar = ['-xf', archive, '-C', root, '--numeric-owner', '--xattrs', '--exclude=./dev/*'];
  await run('tar', tar);
  await writeFile(image, '');
  await run('mke2fs', ['-q', '-t', ROOT_DISK.fileSystem, '-L', 'root', '-d', root, image, SIZE]);
}

/** Fails with the program's own last words. */
async function run(program: string, args: readonly string[]): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe'] });
    let errors = '';
    child.stderr.on('data', (chunk) => {
      errors = (errors + String(chunk)).slice(-ERRORS_LENGTH_MAX);
    });
    child.on('error', (error) => reject(new Error(`${program}: ${error.message}`)));
    child.on('close', (code) => {
      if (code === 0) resolve();
      else reject(new Error(`${program} failed (${code}):\n${errors}`));
    });
  });
}

const ERRORS_LENGTH_MAX = 4000;
