// A few seconds of the fuzzer with a fixed seed; tests/long/fuzz.test.ts gives it longer.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { whyNoSilicon } from '../silicon/native.ts';
import { place } from './compare.ts';
import { type FuzzOptions, formatFailure, fuzz } from './fuzz.ts';
import { minimise } from './minimise.ts';
import { makeProgram } from './program.ts';

const SEED = 'npm test';
const REPORTED_MAX = 3;

function check(options: FuzzOptions, tell: (text: string) => void): void {
  const report = fuzz({ ...options, failuresMax: REPORTED_MAX });
  tell(`${report.cases} programs, ${report.instructions} instructions, ${report.regions} regions`);
  assert.ok(report.instructions > 10n * BigInt(report.cases), 'programs are too short');
  assert.ok(report.endless < report.cases / 20, 'too many programs do not end');
  assert.ok(report.faults < report.cases / 2, 'too many programs end by a fault');
  const texts = report.failures.map((failure) => formatFailure(failure, options));
  assert.deepEqual(texts, [], texts.join('\n\n'));
}

test('random programs give the same on the interpreter and the translator', (t) => {
  const engines = ['interpreter', 'translator'] as const;
  check({ seed: SEED, cases: 250, engines }, (text) => t.diagnostic(text));
});

const why = whyNoSilicon();
test('random programs give the same on the interpreter and the host', (t) => {
  if (why) {
    t.diagnostic(`nothing to compare with: ${why}`);
    return;
  }
  const engines = ['interpreter', 'native'] as const;
  check({ seed: SEED, cases: 1500, engines }, (text) => t.diagnostic(text));
});

test('a seed gives the same program each time, another seed another', () => {
  const [a, b, c] = [makeProgram(1, 7, true), makeProgram(1, 7, true), makeProgram(2, 7, true)];
  assert.deepEqual(place(a, a.kept).test, place(b, b.kept).test);
  assert.notDeepEqual(place(a, a.kept).test, place(c, c.kept).test);
});

test('a failing program is made as small as what makes it fail', () => {
  const program = makeProgram(3, 2, false);
  const needed = [2, 5];
  const fails = (kept: readonly boolean[]) => needed.every((n) => kept[n]);
  const kept = minimise(
    program,
    program.items.map(() => true),
    fails,
  );
  const left = kept.flatMap((is, n) => (is && program.items[n]!.bytes[0] !== 0xcc ? [n] : []));
  assert.deepEqual(left, needed);
});
