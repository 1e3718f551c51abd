// Builds the benchmark guest: Debian's kernel, busybox and a small program without libc, the same for every emulator.
// The kernel and busybox come from Debian packages, the program is compiled here; all is kept in .cache/bench.

import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type KernelModule, writeCpio } from '@mimic/cli';
import { debianBusybox, debianKernel, kernelModules } from '../guests/kernels.ts';
import { type Architecture, putInPlace } from '../guests/packages.ts';
import { ROOT } from '../steps.ts';
import { execute } from './execute.ts';

export const BENCH_CACHE: string = join(ROOT, '.cache', 'bench');
const here = fileURLToPath(new URL('.', import.meta.url));
/** For the disk with programs; loaded only when an item wants it. */
const MODULES = ['virtio_pci', 'virtio_blk', 'squashfs'];
const FLAVOURS = { amd64: 'amd64', i386: '686' } as const;
const COMPILER_FLAGS =
  '-O2 -ffreestanding -fno-stack-protector -fno-pic -no-pie -static -nostdlib ' +
  '-fno-asynchronous-unwind-tables -Wl,--build-id=none -s';

export interface BenchGuest {
  readonly architecture: Architecture;
  /** Paths. */
  readonly kernel: string;
  readonly initrd: string;
  /** What `uname -r` prints in it. */
  readonly release: string;
}

/** Builds the guest unless it is cached; a changed recipe makes another. Needs apt and gcc. */
export async function benchGuest(architecture: Architecture): Promise<BenchGuest> {
  const kernel = await debianKernel(FLAVOURS[architecture]);
  const busybox = await debianBusybox(architecture);
  const recipe = await Promise.all(
    ['guest.ts', 'guest.c', 'init'].map((name) => readFile(join(here, name))),
  );
  const hash = createHash('sha256')
    .update(Buffer.concat([...recipe, Buffer.from(kernel.release)]))
    .digest('hex');
  const folder = join(BENCH_CACHE, `${architecture}-${hash.slice(0, 12)}`);
  const guest = {
    architecture,
    kernel: join(folder, 'vmlinuz'),
    initrd: join(folder, 'initrd.cpio'),
    release: kernel.release,
  };
  if (existsSync(folder)) return guest;
  await mkdir(BENCH_CACHE, { recursive: true });
  const work = await mkdtemp(join(BENCH_CACHE, '.guest-'));
  try {
    const out = join(work, 'out');
    await mkdir(out);
    const initrd = await buildInitrd(architecture, {
      busybox,
      modules: kernelModules(kernel, MODULES),
      work,
    });
    await writeFile(join(out, 'initrd.cpio'), initrd);
    await copyFile(kernel.image, join(out, 'vmlinuz'));
    await putInPlace(out, folder);
    await removeOlder(folder);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
  return guest;
}

/** Removes what earlier recipes made: folders with the same name up to the hash. */
export async function removeOlder(folder: string): Promise<void> {
  const name = basename(folder);
  const prefix = name.slice(0, name.lastIndexOf('-') + 1);
  for (const other of await readdir(dirname(folder)))
    if (other.startsWith(prefix) && other !== name)
      await rm(join(dirname(folder), other), { recursive: true, force: true });
}

async function buildInitrd(
  architecture: Architecture,
  parts: { busybox: string; modules: readonly KernelModule[]; work: string },
): Promise<Uint8Array> {
  const machine = architecture === 'i386' ? ['-m32'] : ['-mno-red-zone'];
  const sse = architecture === 'i386' ? ['-msse2', '-mfpmath=sse'] : [];
  const program = async (path: string, from: string) => ({
    path,
    contents: await readFile(from),
    executable: true,
  });
  /** Compiled twice: with x87 and with SSE arithmetic. */
  const compiled = async (path: string, flags: readonly string[]) => {
    const to = join(parts.work, path);
    const args = [...machine, ...COMPILER_FLAGS.split(' '), ...flags];
    await execute('gcc', [...args, '-o', to, join(here, 'guest.c')]);
    return await program(path, to);
  };
  return writeCpio([
    { path: 'bin', folder: true },
    { path: 'dev', folder: true },
    { path: 'dev/console', device: { major: 5, minor: 1 } },
    { path: 'modules', folder: true },
    // The shell's pattern sorts by name: loaded in this order.
    ...parts.modules.map(({ fileName, contents }, index) => ({
      path: `modules/${String(index).padStart(2, '0')}-${fileName}`,
      contents,
    })),
    await program('bin/busybox', parts.busybox),
    await compiled('bench', ['-mfpmath=387']),
    await compiled('benchsse', sse),
    await program('init', join(here, 'init')),
  ]);
}
