// The fuzzer with time on its hands: tens of thousands of programs on the engines, and on the host where there is one.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ENGINES, type EngineName } from '../fuzz/engines.ts';
import { type FuzzOptions, formatFailure, fuzz } from '../fuzz/fuzz.ts';
import { whyNoSilicon } from '../silicon/native.ts';

/** Another one: `npm run fuzz -- --seed NAME --cases 50000 --engines interpreter,translator,native`. */
const SEED = 'long';

function check(
  t: { diagnostic(text: string): void },
  cases: number,
  engines: readonly EngineName[],
) {
  const options: FuzzOptions = { seed: SEED, cases, engines };
  const report = fuzz(options);
  t.diagnostic(
    `${report.cases} programs, ${report.instructions} instructions, ${report.regions} regions`,
  );
  const texts = report.failures.map((failure) => formatFailure(failure, options));
  assert.equal(texts.length, 0, texts.join('\n\n'));
}

test('tens of thousands of programs give the same on the interpreter and the translator', (t) => {
  check(t, 20_000, ['interpreter', 'translator']);
});

const why = whyNoSilicon();
test('tens of thousands of programs give what the host gives', (t) => {
  if (why) t.diagnostic(`nothing to compare with: ${why}`);
  else check(t, 30_000, ENGINES);
});
