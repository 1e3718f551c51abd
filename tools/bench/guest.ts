// Builds the benchmark guest: Debian's kernel, busybox and a small program without libc, the same for every emulator.
// The kernel and busybox come from Debian packages, the program is compiled here; all is kept in .cache/bench.

import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { writeCpio } from '../../packages/cli/debian/cpio.ts';

const here = fileURLToPath(new URL('.', import.meta.url));

export type Architecture = 'amd64' | 'i386';

export interface BenchGuest {
  readonly kernel: string;
  readonly initrd: string;
}

function run(program: string, args: readonly string[], cwd: string): string {
  const result = spawnSync(program, args, { cwd, encoding: 'utf8', maxBuffer: 64 << 20 });
  if (result.status !== 0)
    throw new Error(
      `${program} ${args.join(' ')} failed:\n${result.stderr ?? result.error?.message}`,
    );
  return result.stdout;
}

/** The package that a kernel metapackage stands for today. */
function kernelPackage(architecture: Architecture, cwd: string): string {
  const meta = architecture === 'amd64' ? 'linux-image-amd64' : 'linux-image-686:i386';
  const depends = run('apt-cache', ['depends', meta], cwd);
  const name = /Depends: (linux-image\S+)/.exec(depends)?.[1];
  if (!name)
    throw new Error(
      `apt knows no ${meta}: run 'apt-get update' (for i386 'dpkg --add-architecture i386' before)`,
    );
  return name.includes(':') || architecture === 'amd64' ? name : `${name}:i386`;
}

/** Compiles guest.c twice: with x87 and with SSE arithmetic. */
function compile(architecture: Architecture, into: string): void {
  const flags =
    '-O2 -ffreestanding -fno-stack-protector -fno-pic -no-pie -static -nostdlib -fno-asynchronous-unwind-tables -Wl,--build-id=none -s';
  const machine = architecture === 'i386' ? ['-m32'] : ['-mno-red-zone'];
  const sse = architecture === 'i386' ? ['-msse2', '-mfpmath=sse'] : [];
  run(
    'gcc',
    [
      ...machine,
      ...flags.split(' '),
      '-mfpmath=387',
      '-o',
      join(into, 'bench'),
      join(here, 'guest.c'),
    ],
    into,
  );
  run(
    'gcc',
    [...machine, ...flags.split(' '), ...sse, '-o', join(into, 'benchsse'), join(here, 'guest.c')],
    into,
  );
}

/** Builds the guest unless it is cached; a changed recipe makes another. Needs apt and gcc. */
export function benchGuest(cache: string, architecture: Architecture): BenchGuest {
  const recipe = ['guest.ts', 'guest.c', 'init'].map((name) => readFileSync(join(here, name)));
  const hash = createHash('sha256').update(Buffer.concat(recipe)).digest('hex').slice(0, 12);
  const folder = join(cache, `${architecture}-${hash}`);
  const guest = { kernel: join(folder, 'vmlinuz'), initrd: join(folder, 'initrd.cpio') };
  if (existsSync(guest.kernel) && existsSync(guest.initrd)) return guest;
  const work = mkdtempSync(join(tmpdir(), 'mimic-bench-'));
  try {
    run(
      'apt-get',
      ['-qq', 'download', kernelPackage(architecture, work), `busybox-static:${architecture}`],
      work,
    );
    for (const file of readdirSync(work).filter((f) => f.endsWith('.deb')))
      run('dpkg-deb', ['-x', file, 'x'], work);
    compile(architecture, work);
    const kernel = readdirSync(join(work, 'x/boot')).find((f) => f.startsWith('vmlinuz-'))!;
    const program = (path: string, contents: Uint8Array) => ({ path, contents, executable: true });
    const initrd = writeCpio([
      { path: 'bin', folder: true },
      { path: 'dev', folder: true },
      { path: 'dev/console', device: { major: 5, minor: 1 } },
      program('bin/busybox', readFileSync(join(work, 'x/bin/busybox'))),
      program('bench', readFileSync(join(work, 'bench'))),
      program('benchsse', readFileSync(join(work, 'benchsse'))),
      program('init', readFileSync(join(here, 'init'))),
    ]);
    mkdirSync(folder, { recursive: true });
    writeFileSync(guest.initrd, initrd);
    writeFileSync(guest.kernel, readFileSync(join(work, 'x/boot', kernel)));
    return guest;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}
