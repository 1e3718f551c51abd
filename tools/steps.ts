// What the scripts of package.json have in common: running a tool of the workspace, and the static checks.

import { spawnSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));

/** Runs a program in the workspace with our output; true if it succeeded. */
export function run(program: string, args: readonly string[], environment = {}): boolean {
  const env = { ...process.env, ...environment };
  const { status, error } = spawnSync(program, args, { cwd: ROOT, stdio: 'inherit', env });
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

/** Runs test files under node:test, whose summary is then the last thing printed. `engine`: see runOnTranslator. */
export function runTests(files: readonly string[], timeoutMs: number, engine?: string): boolean {
  if (files.length === 0) {
    process.stderr.write('error: no test file matches\n');
    return false;
  }
  const options = ['--disable-warning=ExperimentalWarning', `--test-timeout=${timeoutMs}`];
  const environment = engine ? { MIMIC_TEST_ENGINE: engine } : {};
  return run(
    process.execPath,
    [...options, '--test', '--test-reporter=spec', ...files],
    environment,
  );
}

/** What the processor's tests run on besides the interpreter (packages/cpu/testing/check.ts). */
const ENGINES = [
  { engine: 'translator', what: 'each instruction translated', paths: /^packages\/cpu\/isa\// },
  {
    engine: 'regions',
    what: 'all code translated',
    paths: /^(packages\/cpu\/(interpreter|microcode)|tests\/(silicon|system))\//,
  },
] as const;

/** Runs those of the files that run guest code on a bare processor again, translated. */
export function runOnTranslator(files: readonly string[], timeoutMs: number): boolean {
  return ENGINES.map(({ engine, what, paths }) => {
    const chosen = files.filter((path) => paths.test(path.replaceAll('\\', '/')));
    if (chosen.length === 0) return true;
    process.stdout.write(`\nThe processor's tests, ${what} (MIMIC_TEST_ENGINE=${engine})\n`);
    return runTests(chosen, timeoutMs, engine);
  }).every((passed) => passed);
}
