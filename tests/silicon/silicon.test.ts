// The instruction set against real processors: recorded answers everywhere, and live ones where the host can give them.
// tests/long/silicon.test.ts does the same with millions of cases.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { differences } from './compare.ts';
import { COMPARED_FORMS, PLACED } from './forms.ts';
import { InterpretedRunner } from './interpreted.ts';
import { whyNoSilicon } from './native.ts';
import { decodeVectors, recordedCases, recordedResults, VECTORS, vectorName } from './record.ts';
import { compareWithSilicon, type Failure, formatFailure, INSTRUCTIONS_MAX } from './silicon.ts';

const REPORTED_MAX = 5;
const LIVE = { seed: 'npm test', casesPerForm: 3, sequences: 8000 };

function failWith(failures: readonly Failure[]): void {
  const texts = failures.slice(0, REPORTED_MAX).map(formatFailure);
  assert.equal(
    failures.length,
    0,
    `${failures.length} cases differ, among them\n${texts.join('\n')}`,
  );
}

test('every user-mode form gives what a processor recorded, in every mode', (t) => {
  const vectors = decodeVectors(readFileSync(VECTORS));
  const runner = new InterpretedRunner();
  const failures: Failure[] = [];
  const stale: string[] = [];
  let count = 0;
  for (const placed of PLACED) {
    const cases = recordedCases(placed);
    const results = recordedResults(vectors, placed, cases);
    if (!results) stale.push(vectorName(placed));
    results?.forEach((native, n) => {
      const one = cases[n]!;
      const lines = differences(one, native, runner.run(one.bytes, INSTRUCTIONS_MAX));
      if (lines.length) failures.push({ test: one, lines });
      count++;
    });
  }
  t.diagnostic(`${COMPARED_FORMS.length} forms, ${PLACED.length} of them by mode, ${count} cases`);
  failWith(failures);
  const hint = `without a recording; on an x86-64 host: node tests/silicon/record.ts`;
  assert.deepEqual(stale, [], hint);
  assert.equal(
    vectors.size,
    PLACED.length,
    'names of recorded forms are not unique, or some are left over',
  );
});

const why = whyNoSilicon();
test('every user-mode form and random sequences give what the host gives', (t) => {
  if (why) {
    t.diagnostic(`recorded answers only: ${why}`);
    return;
  }
  const report = compareWithSilicon(LIVE);
  t.diagnostic(`${report.forms} forms, ${report.cases} cases`);
  failWith(report.failures);
});
