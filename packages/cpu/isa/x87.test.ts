// The x87 unit against a real processor: recorded answers everywhere, and fresh random cases where
// the host has an x87.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { TestCpu } from '../testing/check.ts';
import {
  describeState,
  difference,
  parseImage,
  type X87Case,
  type X87Outcome,
} from './testing/x87/case.ts';
import { hasNativeX87, runNative } from './testing/x87/native.ts';
import { casesOfAllForms, RECORDING_FILE, recordedCases } from './testing/x87/recorded-cases.ts';
import { decode } from './testing/x87/recording.ts';
import { runCase } from './testing/x87/run.ts';

/** Overridable for longer runs by hand. */
const SEED = Number(process.env.X87_SEED ?? 1);
const CASES_PER_FORM = Number(process.env.X87_CASES ?? 20);

function compareAll(cases: readonly X87Case[], answers: readonly X87Outcome[]): void {
  const cpu = new TestCpu();
  cpu.reset(64);
  const failures: string[] = [];
  cases.forEach((c, n) => {
    const wrong = difference(c.name, answers[n]!, runCase(cpu, c));
    const code = [c.opcode, c.modrm].map((b) => b.toString(16)).join(' ');
    if (wrong)
      failures.push(`${c.name} (${code})\n  in ${describeState(parseImage(c.image))}\n${wrong}`);
  });
  assert.equal(
    failures.length,
    0,
    `${failures.length} of ${cases.length}:\n${failures.slice(0, 5).join('\n')}`,
  );
}

test('every x87 form gives what a processor recorded', () => {
  const cases = recordedCases();
  assert.ok(cases.length > 6000);
  compareAll(cases, decode(cases, readFileSync(RECORDING_FILE)));
});

test('every x87 form gives what the host processor gives', () => {
  // Without an x87 and a C compiler the recording has to do.
  const cases = hasNativeX87() ? casesOfAllForms(SEED, CASES_PER_FORM) : [];
  if (cases.length) compareAll(cases, runNative(cases));
});
