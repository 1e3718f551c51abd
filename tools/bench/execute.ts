// Runs a program that builds a part of the benchmark; fails with the program's own last words.

import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const OUTPUT_BYTES_MAX = 64 << 20;

/** Returns what it printed on standard output. */
export async function execute(
  program: string,
  args: readonly string[],
  options: { readonly env?: Readonly<Record<string, string>>; readonly cwd?: string } = {},
): Promise<string> {
  const env = { ...process.env, ...options.env };
  const { stdout } = await promisify(execFile)(program, args, {
    ...options,
    env,
    maxBuffer: OUTPUT_BYTES_MAX,
  });
  return stdout;
}
