// The host's processor as oracle: compiles runner.c once and runs batches of cases with it.

import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const source = fileURLToPath(new URL('./runner.c', import.meta.url));
const cache = fileURLToPath(new URL('../../.cache/silicon', import.meta.url));

/** Whether this host can be compared with: x86-64 Linux with a C compiler. */
export function hasSilicon(): boolean {
  return process.platform === 'linux' && process.arch === 'x64' && spawnSync('gcc', ['--version']).status === 0;
}

function runner(): string {
  const binary = join(cache, 'runner');
  if (existsSync(binary) && statSync(binary).mtimeMs > statSync(source).mtimeMs) return binary;
  mkdirSync(cache, { recursive: true });
  const gcc = spawnSync('gcc', ['-O2', '-o', binary, source], { encoding: 'utf8' });
  if (gcc.status !== 0) throw new Error(`gcc could not compile runner.c:\n${gcc.stderr}`);
  return binary;
}

/** Runs the cases natively; gives one struct result each. */
export function runNatively(cases: Uint8Array): Uint8Array {
  const folder = mkdtempSync(join(tmpdir(), 'mimic-silicon-'));
  try {
    writeFileSync(join(folder, 'cases'), cases);
    const run = spawnSync(runner(), [join(folder, 'cases'), join(folder, 'results')], { encoding: 'utf8' });
    if (run.status !== 0) throw new Error(`runner ended with ${run.status ?? run.signal}: ${run.stderr}`);
    return readFileSync(join(folder, 'results'));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
