// npm run test:long: the suites of tests/long, which boot whole systems. `npm run test:long -- WORD` as with npm test.

import { globSync } from 'node:fs';
import { installMissing, TEST_PACKAGES } from './debian-packages.ts';
import { ROOT, runTests } from './steps.ts';

const TEST_TIMEOUT_MS = 3_600_000;

const words = process.argv.slice(2);
const files = globSync('tests/long/**/*.test.ts', { cwd: ROOT })
  .filter((path) => words.length === 0 || words.some((word) => path.includes(word)))
  .sort();

installMissing(TEST_PACKAGES);
process.exitCode = runTests(files, TEST_TIMEOUT_MS) ? 0 : 1;
