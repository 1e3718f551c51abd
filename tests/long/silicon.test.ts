// Millions of random cases against the host's processor. Prints its seed: `node tests/silicon/silicon.ts --seed …`
// repeats it.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { whyNoSilicon } from '../silicon/native.ts';
import { compareWithSilicon, formatFailure } from '../silicon/silicon.ts';

const CASES_PER_FORM = 300;
const SEQUENCES = 1_500_000;

const why = whyNoSilicon();
test('millions of random cases give what the host gives', (t) => {
  if (why) {
    t.diagnostic(`nothing to compare with: ${why}`);
    return;
  }
  const seed = `long ${Date.now()}`;
  const report = compareWithSilicon({ seed, casesPerForm: CASES_PER_FORM, sequences: SEQUENCES });
  t.diagnostic(`seed '${seed}': ${report.forms} forms, ${report.cases} cases`);
  const texts = report.failures.slice(0, 10).map(formatFailure);
  assert.equal(report.failures.length, 0, `${report.failures.length} differ\n${texts.join('\n')}`);
});
