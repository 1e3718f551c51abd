// Compares the interpreter with the host's processor: every form in every world it exists in, alone many times, then
// in random sequences.
//   node tests/silicon/silicon.ts [--cases N] [--seed N] [--only NAME] [--world NAME] [--sequences N] [--verbose]

import { parseArgs } from 'node:util';
import { describe, differences } from './compare.ts';
import { formName, PLACED, type PlacedForm } from './forms.ts';
import { generateCase, type TestCase } from './generate.ts';
import { InterpretedRunner } from './interpreted.ts';
import { RESULT, TEST } from './layout.ts';
import { runNatively } from './native.ts';
import { Random } from './random.ts';
import { isForSingleCases, leavesUndefined } from './undefined.ts';
import { WORLD_NAMES } from './worlds.ts';

const BATCH = 4000;
/** A case retires at most this many instructions: a repeated string instruction counts once for each element. */
export const INSTRUCTIONS_MAX = 2000;
const SEQUENCE_MAX = 5;

export interface Failure {
  readonly test: TestCase;
  readonly lines: readonly string[];
}
export interface Report {
  readonly forms: number;
  readonly cases: number;
  readonly failures: readonly Failure[];
}

export interface SiliconOptions {
  readonly seed: number | string;
  /** Cases for each form in each world, and random sequences after them. */
  readonly casesPerForm: number;
  readonly sequences: number;
  readonly only?: RegExp;
  readonly world?: string;
}

function* allCases(options: SiliconOptions, forms: readonly PlacedForm[]): Generator<TestCase> {
  for (const placed of forms) {
    const random = new Random(`${options.seed} ${placed.world} ${formName(placed.table)}`);
    for (let n = 0; n < options.casesPerForm; n++) yield generateCase(random, [placed]);
  }
  const random = new Random(`${options.seed} sequences`);
  const chainable = forms.filter((p) => !isForSingleCases(p.table));
  const byWorld = WORLD_NAMES.map((world) => chainable.filter((p) => p.world === world)).filter(
    (list) => list.length > 0,
  );
  const inner = byWorld.map((list) => list.filter((p) => !leavesUndefined(p.table)));
  for (let n = 0; n < options.sequences; n++) {
    // Half of the sequences are 64-bit code; what leaves something undefined comes last.
    const world = random.chance(50) ? 0 : random.below(byWorld.length);
    const length = 1 + random.below(SEQUENCE_MAX - 1);
    const first = Array.from({ length }, () => random.pick(inner[world]!));
    yield generateCase(random, [...first, random.pick(byWorld[world]!)]);
  }
}

/** Runs the comparison; the interpreter is shared by all cases, as a guest's processor would be. */
export function compareWithSilicon(options: SiliconOptions): Report {
  const { only, world } = options;
  const forms = PLACED.filter(
    (p) => (!only || only.test(p.table.instruction.name)) && (!world || p.world === world),
  );
  const runner = new InterpretedRunner();
  const failures: Failure[] = [];
  let cases = 0;
  const flush = (batch: readonly TestCase[]) => {
    const input = new Uint8Array(batch.length * TEST.size);
    for (const [n, test] of batch.entries()) input.set(test.bytes, n * TEST.size);
    const results = runNatively(input);
    batch.forEach((test, n) => {
      const expected = results.subarray(n * RESULT.size, (n + 1) * RESULT.size);
      const lines = differences(test, expected, runner.run(test.bytes, INSTRUCTIONS_MAX));
      if (lines.length) failures.push({ test, lines });
    });
    cases += batch.length;
  };
  let batch: TestCase[] = [];
  for (const test of allCases(options, forms)) {
    batch.push(test);
    if (batch.length < BATCH) continue;
    flush(batch);
    batch = [];
  }
  if (batch.length) flush(batch);
  return { forms: new Set(forms.map((p) => p.table)).size, cases, failures };
}

export function formatFailure({ test, lines }: Failure): string {
  return `${describe(test)}\n  ${lines.slice(0, 12).join('\n  ')}`;
}

function main(): void {
  const { values } = parseArgs({
    options: {
      cases: { type: 'string', default: '50' },
      sequences: { type: 'string', default: '20000' },
      seed: { type: 'string', default: '1' },
      only: { type: 'string' },
      world: { type: 'string' },
      verbose: { type: 'boolean', default: false },
    },
  });
  const report = compareWithSilicon({
    seed: values.seed,
    casesPerForm: Number(values.cases),
    sequences: Number(values.sequences),
    ...(values.only && { only: new RegExp(`^(${values.only})$`, 'i') }),
    ...(values.world && { world: values.world }),
  });
  const byName = new Map<string, Failure[]>();
  for (const failure of report.failures) {
    const { test } = failure;
    const name =
      test.forms.length === 1 ? `${formName(test.forms[0]!)} (${test.world})` : 'sequences';
    byName.set(name, [...(byName.get(name) ?? []), failure]);
  }
  for (const [name, list] of byName) {
    console.log(`${String(list.length).padStart(5)} ${name}`);
    for (const failure of list.slice(0, values.verbose ? 8 : 1))
      console.log(formatFailure(failure));
  }
  console.log(`${report.forms} forms, ${report.cases} cases, ${report.failures.length} differ`);
  process.exitCode = report.failures.length ? 1 : 0;
}

if (import.meta.main) main();
