// What the scripts of package.json have in common: running a tool of the workspace, and the static checks.

import { spawnSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));

/** Runs a program in the workspace with our output; true if it succeeded. */
export function run(program: string, args: readonly string[]): boolean {
  const { status, error } = spawnSync(program, args, { cwd: ROOT, stdio: 'inherit' });
  if (error !== undefined) process.stderr.write(`error: ${program}: ${error.message}\n`);
  return status === 0;
}

/** A program that npm installed. */
export function runTool(name: string, args: readonly string[]): boolean {
  return run(join(ROOT, 'node_modules', '.bin', name), args);
}

/** Formatting, lint and types. Runs all even if one fails. */
export function runStaticChecks(): boolean {
  const tidy = runTool('biome', ['check', '--diagnostic-level=warn', '--error-on-warnings', '.']);
  const typed = runTool('tsc', ['-p', '.', '--noEmit']);
  return tidy && typed;
}

/** Runs test files under node:test, whose summary is then the last thing printed. */
export function runTests(files: readonly string[], timeoutMs: number): boolean {
  if (files.length === 0) {
    process.stderr.write('error: no test file matches\n');
    return false;
  }
  const options = ['--disable-warning=ExperimentalWarning', `--test-timeout=${timeoutMs}`];
  return run(process.execPath, [...options, '--test', '--test-reporter=spec', ...files]);
}
