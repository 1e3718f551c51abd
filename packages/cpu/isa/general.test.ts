// General-purpose instructions against what a real processor did (testing/general/vectors.txt).

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { CODE_ADDRESS, type RunResult, TestCpu } from '../testing/check.ts';
import {
  DATA_WINDOW,
  REGISTER_NAMES,
  STACK_WINDOW,
  WINDOW_BYTES,
} from './testing/general/inputs.ts';
import { parseVector, type Vector } from './testing/general/vector.ts';

const LINES = readFileSync(new URL('./testing/general/vectors.txt', import.meta.url), 'utf8')
  .split('\n')
  .filter((line) => line !== '' && !line.startsWith('#'));
const IF = 0x200;
const COMPARED_FLAGS = 0xcd5;
/** A repeated string instruction may need several runs. */
const RUNS_MAX = 16;

/** What differs, as text; empty when nothing does. */
function differences(v: Vector, r: RunResult, data: Uint8Array, stack: Uint8Array): string[] {
  const result: string[] = [];
  const compare = (what: string, actual: unknown, expected: unknown) => {
    if (actual !== expected) result.push(`${what} is ${actual}, not ${expected}`);
  };
  compare('fault', r.fault?.vector, v.fault);
  if (v.fault === undefined) {
    compare('rip', Number(r.rip) - CODE_ADDRESS, v.next);
    const mask = COMPARED_FLAGS & ~v.undefinedFlags;
    compare('flags', (r.rflags & mask).toString(16), (v.after.flags & mask).toString(16));
  }
  for (const [n, name] of REGISTER_NAMES.entries()) {
    if (v.mode === 32 && n >= 8) break;
    const actual = v.mode === 32 ? r.registers[name] & 0xffff_ffffn : r.registers[name];
    compare(name, actual.toString(16), v.after.registers[n]!.toString(16));
  }
  compare('data', Buffer.from(data).toString('hex'), Buffer.from(v.after.data).toString('hex'));
  compare('stack', Buffer.from(stack).toString('hex'), Buffer.from(v.after.stack).toString('hex'));
  return result;
}

function check(cpu: TestCpu, v: Vector): string[] {
  cpu.write(DATA_WINDOW, v.before.data);
  cpu.write(STACK_WINDOW, v.before.stack);
  const registers = Object.fromEntries(
    REGISTER_NAMES.map((name, n) => [name, v.before.registers[n]!]),
  );
  let r = cpu.run(v.code, { registers, rflags: v.before.flags | IF });
  for (let n = 1; n < RUNS_MAX && !r.fault && Number(r.rip) === CODE_ADDRESS && v.next !== 0; n++) {
    r = cpu.run(v.code, { registers: r.registers, rflags: r.rflags });
  }
  return differences(
    v,
    r,
    cpu.read(DATA_WINDOW, WINDOW_BYTES),
    cpu.read(STACK_WINDOW, WINDOW_BYTES),
  );
}

for (const mode of [64, 32] as const) {
  test(`recorded vectors give a real processor's results in ${mode}-bit mode`, () => {
    const cpu = new TestCpu();
    cpu.reset(mode, 3);
    const vectors = LINES.filter((line) => line.startsWith(`${mode} `));
    assert.ok(vectors.length > 1000);
    const failures = vectors.flatMap((line) => {
      const vector = parseVector(line);
      const found = check(cpu, vector);
      return found.length ? [`${vector.assembly} (${line})\n  ${found.join('\n  ')}`] : [];
    });
    assert.deepEqual(failures, []);
  });
}

test('single instructions are translated if MIMIC_TEST_ENGINE asks for it', () => {
  const cpu = new TestCpu();
  cpu.reset(64);
  cpu.run([0x01, 0xc8], {});
  assert.equal(cpu.loader.counters.regions > 0, process.env.MIMIC_TEST_ENGINE === 'translator');
});
