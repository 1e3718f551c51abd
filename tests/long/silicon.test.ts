// Millions of random cases against the host's processor.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { whyNoSilicon } from '../silicon/native.ts';
import { compareWithSilicon, formatFailure } from '../silicon/silicon.ts';

/** Another one: `node tests/silicon/silicon.ts --seed NAME --cases 300 --sequences 1500000`. */
const SEED = 'long';
const CASES_PER_FORM = 300;
const SEQUENCES = 1_500_000;

const why = whyNoSilicon();
test('millions of random cases give what the host gives', (t) => {
  if (why) {
    t.diagnostic(`nothing to compare with: ${why}`);
    return;
  }
  const report = compareWithSilicon({
    seed: SEED,
    casesPerForm: CASES_PER_FORM,
    sequences: SEQUENCES,
  });
  t.diagnostic(`${report.forms} forms, ${report.cases} cases`);
  const texts = report.failures.slice(0, 10).map(formatFailure);
  assert.equal(report.failures.length, 0, `${report.failures.length} differ\n${texts.join('\n')}`);
});
