// Compares the interpreter with the host's processor: every comparable form alone many times, then random sequences.
//   node tests/silicon/silicon.ts [--cases N] [--seed N] [--only NAME] [--sequences N] [--verbose]

import { parseArgs } from 'node:util';
import { describe, differences } from './compare.ts';
import { COMPARABLE, generateCase, isApproximate, type TestCase } from './generate.ts';
import { InterpretedRunner } from './interpreted.ts';
import { RESULT, TEST } from './layout.ts';
import { runNatively } from './native.ts';
import { Random } from './random.ts';

const BATCH = 4000;
/** A sequence retires at most this many: a repeated string instruction counts once for each element. */
const INSTRUCTIONS_MAX = 2000;

export interface Report {
  readonly forms: number;
  readonly cases: number;
  readonly failures: readonly { readonly test: TestCase; readonly lines: readonly string[] }[];
}

export interface SiliconOptions {
  readonly seed: number;
  /** Cases for each form, and random sequences after them. */
  readonly casesPerForm: number;
  readonly sequences: number;
  readonly only?: RegExp;
}

/** Runs the comparison; the runner is shared by all cases, as a guest's processor would be. */
export function compareWithSilicon(options: SiliconOptions, native: (cases: Uint8Array) => Uint8Array = runNatively): Report {
  const random = new Random(options.seed);
  const forms = COMPARABLE.filter((t) => !isApproximate(t) && (!options.only || options.only.test(t.instruction.name)));
  const runner = new InterpretedRunner();
  const failures: { test: TestCase; lines: string[] }[] = [];
  let cases = 0;
  const flush = (batch: TestCase[]) => {
    if (!batch.length) return;
    const input = new Uint8Array(batch.length * TEST.size);
    batch.forEach((test, n) => input.set(test.bytes, n * TEST.size));
    const results = native(input);
    batch.forEach((test, n) => {
      const expected = results.subarray(n * RESULT.size, (n + 1) * RESULT.size);
      const lines = differences(test, expected, runner.run(test.bytes, INSTRUCTIONS_MAX));
      if (lines.length) failures.push({ test, lines });
    });
    cases += batch.length;
    batch.length = 0;
  };
  const batch: TestCase[] = [];
  const add = (test: TestCase) => {
    batch.push(test);
    if (batch.length === BATCH) flush(batch);
  };
  for (const t of forms) for (let n = 0; n < options.casesPerForm; n++) add(generateCase(random, [t]));
  const chainable = forms.filter((t) => !t.instruction.flags?.undefined);
  for (let n = 0; n < options.sequences; n++) {
    add(generateCase(random, Array.from({ length: 2 + random.below(4) }, () => random.pick(chainable))));
  }
  flush(batch);
  return { forms: forms.length, cases, failures };
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      cases: { type: 'string', default: '200' },
      sequences: { type: 'string', default: '20000' },
      seed: { type: 'string', default: '1' },
      only: { type: 'string' },
      verbose: { type: 'boolean', default: false },
    },
  });
  const report = compareWithSilicon({
    seed: Number(values.seed),
    casesPerForm: Number(values.cases),
    sequences: Number(values.sequences),
    ...(values.only && { only: new RegExp(`^(${values.only})$`, 'i') }),
  });
  const byName = new Map<string, number>();
  for (const { test } of report.failures) {
    const name = test.forms.map((t) => `${t.instruction.name} [${t.form.encoding}]`).join(' ; ');
    if (test.forms.length === 1) byName.set(name, (byName.get(name) ?? 0) + 1);
  }
  for (const [name, count] of byName) console.log(String(count).padStart(5), name);
  for (const { test, lines } of report.failures.slice(0, values.verbose ? 20 : 3)) console.log(`${describe(test)}\n  ${lines.join('\n  ')}`);
  console.log(`${report.forms} forms, ${report.cases} cases, ${report.failures.length} differ`);
  process.exitCode = report.failures.length ? 1 : 0;
}
