// npm test: static checks and every test but the long ones, the processor's on both engines. `npm test -- WORD` runs the
// test files whose path has it.

import { globSync } from 'node:fs';
import { installMissing, TEST_PACKAGES } from './debian-packages.ts';
import { ROOT, runOnTranslator, runStaticChecks, runTests } from './steps.ts';

/** For one test; those that take longer belong to tests/long. */
const TEST_TIMEOUT_MS = 300_000;

const words = process.argv.slice(2);
const files = globSync(['packages/**/*.test.ts', 'tests/**/*.test.ts', 'tools/**/*.test.ts'], {
  cwd: ROOT,
  exclude: ['**/node_modules/**', 'tests/long/**'],
})
  .filter((path) => words.length === 0 || words.some((word) => path.includes(word)))
  .sort();

installMissing(TEST_PACKAGES);
const checked = words.length > 0 || runStaticChecks();
const translated = runOnTranslator(files, TEST_TIMEOUT_MS);
// Last, so that its summary is what one sees.
const passed = runTests(files, TEST_TIMEOUT_MS);
process.exitCode = checked && translated && passed ? 0 : 1;
