// Builds the torture guest (torture.c) with the host's gcc and runs it in Debian, or on the host itself.

import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildInitramfs, writeCpio } from '@mimic/cli';
import { type Guest, type GuestOptions, startGuest } from '@mimic/testing';
import { debianBusybox, debianKernel } from '../../tools/guests/kernels.ts';

const SOURCE = join(dirname(fileURLToPath(import.meta.url)), 'torture.c');
const GCC_OPTIONS = ['-O2', '-fno-strict-aliasing', '-static', '-pthread'];
/** As many as torture.c has; a line for each. */
export const TORTURE_TESTS = 19;

/** The program's bytes. */
export function buildTorture(): Uint8Array {
  const folder = mkdtempSync(join(tmpdir(), 'mimic-torture-'));
  try {
    const made = join(folder, 'torture');
    const gcc = spawnSync('gcc', [...GCC_OPTIONS, '-o', made, SOURCE], { encoding: 'utf8' });
    if (gcc.status !== 0) throw new Error(`gcc could not compile torture.c:\n${gcc.stderr}`);
    return readFileSync(made);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Debian with `start` as the last part of its init; `/torture` is there. */
export async function tortureGuest(
  start: string,
  options: Pick<GuestOptions, 'cpus' | 'accel'>,
): Promise<Guest> {
  const kernel = await debianKernel('cloud-amd64');
  const busybox = readFileSync(await debianBusybox(kernel.architecture));
  const torture = { path: 'torture', contents: buildTorture(), executable: true };
  return await startGuest({
    kernel: kernel.image,
    initrd: Buffer.concat([buildInitramfs({ busybox, start }), writeCpio([torture])]),
    append: 'quiet cryptomgr.notests',
    ...options,
  });
}
