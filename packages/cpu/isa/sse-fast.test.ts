// Where the quick ways of SSE's arithmetic end: recorded results on both sides of each test of sse-fast.ts, with PE
// set before and clear, denormals flushed or not, scalar and in every lane, from a register and from memory.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { DATA_ADDRESS, TestCpu } from '../testing/check.ts';

interface Row {
  readonly name: string;
  readonly a: bigint;
  readonly b: bigint;
  /** By MXCSR: result and exception flags. */
  readonly outcomes: readonly {
    readonly mxcsr: number;
    readonly result: bigint;
    readonly flags: number;
  }[];
}

const PLAIN = 0x1f80;
const FLUSHING = 0x9fc0;
const PE = 0x20;

const hex = (text: string) => BigInt(`0x${text}`);
const ROWS: readonly Row[] = readFileSync(
  join(import.meta.dirname, 'testing/float-boundaries.txt'),
  'utf8',
)
  .split('\n')
  .filter((line) => line && !line.startsWith('#'))
  .map((line) => {
    const [name, a, b, plain, plainFlags, flushed, flushedFlags] = line.split(' ') as string[];
    return {
      name: name!,
      a: hex(a!),
      b: hex(b!),
      outcomes: [
        { mxcsr: PLAIN, result: hex(plain!), flags: Number(hex(plainFlags!)) },
        { mxcsr: FLUSHING, result: hex(flushed!), flags: Number(hex(flushedFlags!)) },
      ],
    };
  });

/** Prefix and opcode of the scalar form of XMM0 and XMM1; of the packed one, when it means the same in each lane. */
interface Encoding {
  readonly scalar: string;
  readonly packed?: string;
  readonly immediate?: string;
  readonly kind: 'float' | 'flags' | 'toInteger' | 'fromInteger';
}
const both = (sd: string, pd: string, rest: string, immediate = ''): Encoding => ({
  scalar: `${sd}0f${rest}`,
  packed: `${pd}0f${rest}`,
  immediate,
  kind: 'float',
});
const double = (rest: string, immediate = '') => both('f2', '66', rest, immediate);
const single = (rest: string) => both('f3', '', rest);
const only = (scalar: string, kind: Encoding['kind'] = 'float'): Encoding => ({ scalar, kind });
const ENCODINGS: Readonly<Record<string, Encoding>> = {
  addsd: double('58'), subsd: double('5c'), mulsd: double('59'), divsd: double('5e'), sqrtsd: double('51'),
  minsd: double('5d'), cmpltsd: double('c2', '01'), addss: single('58'), mulss: single('59'), divss: single('5e'),
  sqrtss: single('51'), ucomisd: only('660f2e', 'flags'), cvttsd2si: only('f20f2c', 'toInteger'),
  cvtsd2si: only('f20f2d', 'toInteger'), cvtsd2ss: only('f20f5a'), cvtss2sd: only('f30f5a'),
  cvtsi2sd: only('f2480f2a', 'fromInteger'), cvtsi2ss: only('f3480f2a', 'fromInteger'),
}; // biome-ignore format: a table

function encodingOf(name: string): Encoding {
  const round = /^roundsd(\d)$/.exec(name);
  if (!round) return ENCODINGS[name]!;
  return {
    scalar: '660f3a0b',
    packed: '660f3a09',
    immediate: `0${round[1]}`,
    kind: 'float',
  };
}

const cpu = new TestCpu();
const LOW = (1n << 64n) - 1n;
const UPPER = 0x1234_5678_9abc_def0n << 64n;

function run(code: string, row: Row, mxcsr: number, spread: (v: bigint) => bigint) {
  cpu.reset(64);
  const bytes = new Uint8Array(16);
  const view = new DataView(bytes.buffer);
  const source = spread(row.b);
  view.setBigUint64(0, source & LOW, true);
  view.setBigUint64(8, source >> 64n, true);
  cpu.write(DATA_ADDRESS, bytes);
  return cpu.run(Buffer.from(code, 'hex'), {
    registers: { rdi: BigInt(DATA_ADDRESS), rax: row.b },
    xmm: [spread(row.a), source],
    mxcsr,
  });
}

function check(row: Row, from: 'register' | 'memory'): void {
  const { scalar, immediate = '', kind } = encodingOf(row.name);
  const modrm = from === 'memory' ? '07' : kind === 'fromInteger' ? 'c0' : 'c1';
  const code = `${scalar}${modrm}${immediate}`;
  for (const outcome of row.outcomes) {
    for (const before of [outcome.mxcsr, outcome.mxcsr | PE]) {
      const r = run(code, row, before, (v) => v | UPPER);
      const label = `${row.name} ${row.a.toString(16)} ${row.b.toString(16)} ${before.toString(16)} ${from}`;
      const got =
        kind === 'flags'
          ? BigInt(r.rflags & 0x8d5)
          : kind === 'toInteger'
            ? r.registers.rax
            : r.xmm[0]! & LOW;
      assert.equal(got.toString(16), outcome.result.toString(16), label);
      assert.equal(r.mxcsr, before | outcome.flags, label);
      if (kind === 'float' || kind === 'fromInteger')
        assert.equal(r.xmm[0]! & ~LOW, UPPER, `${label}: upper half`);
    }
  }
}

test('scalars at the edges of the quick ways give what a processor recorded', () => {
  for (const row of ROWS) check(row, 'register');
});

test('and so they do with an operand in memory', () => {
  for (const row of ROWS) check(row, 'memory');
});

/** Copies of a lane; a single fills all four. */
const lanes = (name: string, v: bigint): bigint =>
  name.endsWith('ss') ? v | (v << 32n) | (v << 64n) | (v << 96n) : v | (v << 64n);

test('vectors of such values give the same in every lane', () => {
  let count = 0;
  for (const row of ROWS) {
    const { packed, immediate = '' } = encodingOf(row.name);
    if (packed === undefined) continue;
    count++;
    for (const outcome of row.outcomes) {
      for (const before of [outcome.mxcsr, outcome.mxcsr | PE]) {
        const r = run(`${packed}c1${immediate}`, row, before, (v) => lanes(row.name, v));
        const label = `${row.name} packed ${row.a.toString(16)} ${row.b.toString(16)} ${before.toString(16)}`;
        assert.equal(r.xmm[0]!.toString(16), lanes(row.name, outcome.result).toString(16), label);
        assert.equal(r.mxcsr, before | outcome.flags, label);
      }
    }
  }
  assert.ok(count > 200);
});

test('one lane that needs care does not disturb the others', () => {
  const ones = 0x3ff0_0000_0000_0000n;
  for (const row of ROWS.filter((r) => /^(add|sub|mul|div)sd$/.test(r.name))) {
    const { packed } = encodingOf(row.name);
    const outcome = row.outcomes[0]!;
    const other = { addsd: 0x4000n << 48n, subsd: 0n, mulsd: ones, divsd: ones }[row.name]!;
    const r = run(`${packed}c1`, row, PLAIN, (v) => (v << 64n) | ones);
    assert.equal(r.xmm[0], (outcome.result << 64n) | other, row.name);
    assert.equal(r.mxcsr, PLAIN | outcome.flags, row.name);
  }
});
