// MXCSR.PE is set exactly when a result is rounded, at the edges of the quick ways: sizes around those that count as
// moderate, and significands around half of the format's length. What is exact is found with integers of any length.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TestCpu } from '../testing/check.ts';

const PLAIN = 0x1f80;
const PE = 0x20;
const CASES = 1500;

interface Form {
  readonly bits: 32 | 64;
  readonly fractionBits: number;
  readonly bias: number;
  /** Exponents on both sides of the edges. */
  readonly exponents: readonly number[];
  readonly lengths: readonly number[];
  /** Mandatory prefixes of scalar and packed instructions. */
  readonly prefixes: readonly [string, string];
  readonly round: (x: number) => number;
}
const FORMS: readonly Form[] = [
  {
    bits: 64, fractionBits: 52, bias: 1023, exponents: [-600, -513, -512, -511, -510, -256, -1, 0, 1, 30, 511, 512, 513],
    lengths: [1, 2, 25, 26, 27, 28, 52, 53], prefixes: ['f2', '66'], round: (x) => x,
  },
  {
    bits: 32, fractionBits: 23, bias: 127, exponents: [-70, -65, -64, -63, -62, -31, -1, 0, 1, 12, 63, 64, 65],
    lengths: [1, 2, 11, 12, 13, 14, 23, 24], prefixes: ['f3', ''], round: Math.fround,
  },
]; // biome-ignore format: two formats

const OPCODES = { add: '58', sub: '5c', mul: '59', div: '5e', sqrt: '51' } as const;
type Operation = keyof typeof OPCODES;

/** Numbers that repeat from run to run (xorshift32). */
let seed = 0x2545f491;
function random(below: number): number {
  seed ^= seed << 13;
  seed ^= seed >>> 17;
  seed ^= seed << 5;
  return (seed >>> 0) % below;
}
const pick = <T>(from: readonly T[]): T => from[random(from.length)]!;

function randomNumber(form: Form): number {
  if (random(12) === 0) return random(2) ? 0 : -0;
  const length = pick(form.lengths);
  let significand = 1;
  for (let n = 1; n < length; n++) significand += (n === length - 1 ? 1 : random(2)) * 2 ** -n;
  return (random(2) ? 1 : -1) * significand * 2 ** pick(form.exponents);
}

const floats = new DataView(new ArrayBuffer(8));
function patternOf({ bits }: Form, x: number): bigint {
  if (bits === 64) floats.setFloat64(0, x);
  else floats.setFloat32(0, x);
  return bits === 64 ? floats.getBigUint64(0) : BigInt(floats.getUint32(0));
}

/** As a multiple of 2^-2200, which every product here is. */
function exact(x: number): bigint {
  const bits = patternOf(FORMS[0]!, x);
  const exponent = Number((bits >> 52n) & 0x7ffn);
  const significand = (bits & ((1n << 52n) - 1n)) | (exponent ? 1n << 52n : 0n);
  const value = significand << BigInt((exponent || 1) + 2200 - 1075);
  return bits >> 63n ? -value : value;
}
const ONE = 1n << 2200n;

function compute(operation: Operation, a: number, b: number): number {
  if (operation === 'add') return a + b;
  if (operation === 'sub') return a - b;
  if (operation === 'mul') return a * b;
  return operation === 'div' ? a / b : Math.sqrt(b);
}
function isExact(operation: Operation, a: number, b: number, result: number): boolean {
  const [x, y, z] = [exact(a), exact(b), exact(result)];
  if (operation === 'add') return x + y === z;
  if (operation === 'sub') return x - y === z;
  if (operation === 'mul') return x * y === z * ONE;
  return operation === 'div' ? z * y === x * ONE : z * z === y * ONE;
}
/** Neither tiny nor infinite, and no special operand. */
function isPlain(form: Form, operation: Operation, a: number, b: number, result: number): boolean {
  const [least, most] = [2 ** (1 - form.bias), 2 ** form.bias];
  const size = Math.abs(result);
  const isSpecial = (x: number) => !Number.isFinite(x) || (x !== 0 && Math.abs(x) < least);
  if (isSpecial(a) || isSpecial(b)) return false;
  if (!Number.isFinite(result) || (operation === 'div' && b === 0)) return false;
  const isZero = size === 0 && (operation !== 'mul' || a === 0 || b === 0);
  return (isZero && (operation !== 'div' || a === 0)) || (size > least && size < most);
}

const cpu = new TestCpu();
cpu.reset(64);

/** Operands of each lane, low lane first. */
type Lanes = readonly (readonly [number, number])[];

/** A vector's operands, results, and whether any lane's was rounded. */
function expected(form: Form, operation: Operation, lanes: Lanes) {
  const join = (values: readonly number[]) =>
    values.reduce((v, x, n) => v | (patternOf(form, x) << BigInt(n * form.bits)), 0n);
  const results = lanes.map(([a, b]) => form.round(compute(operation, a, b)));
  const rounded = lanes.map(([a, b], n) => !isExact(operation, a, b, results[n]!));
  return {
    first: join(lanes.map(([a]) => a)),
    second: join(lanes.map(([, b]) => b)),
    result: join(results),
    rounded,
    isRounded: rounded.includes(true),
  };
}

/** The scalar and the packed instruction on the low half, and that of AVX on both. */
function check(form: Form, operation: Operation, low: Lanes, high: Lanes): boolean {
  const [x, y] = [low, high].map((lanes) => expected(form, operation, lanes));
  const scalar = (1n << BigInt(form.bits)) - 1n;
  const [scalarPrefix, prefix] = form.prefixes;
  const vex = `c5f${prefix ? 'd' : 'c'}${OPCODES[operation]}c1`;
  const cases = [
    [
      `${scalarPrefix}0f${OPCODES[operation]}c1`,
      (x!.first & ~scalar) | (x!.result & scalar),
      x!.rounded[0]!,
    ],
    [`${prefix}0f${OPCODES[operation]}c1`, x!.result, x!.isRounded],
    [vex, x!.result, x!.isRounded || y!.isRounded],
  ] as const;
  for (const [n, [code, result, isInexact]] of cases.entries()) {
    for (const before of [PLAIN, PLAIN | PE]) {
      cpu.setYmmHigh(0, y!.first);
      cpu.setYmmHigh(1, y!.second);
      const r = cpu.run(Buffer.from(code, 'hex'), { xmm: [x!.first, x!.second], mxcsr: before });
      const label = `${operation}${form.bits} ${code} ${JSON.stringify([low, high])}`;
      assert.equal(r.fault, undefined, label);
      assert.equal(r.xmm[0]!.toString(16), result.toString(16), label);
      if (n === 2) assert.equal(cpu.ymmHigh(0).toString(16), y!.result.toString(16), label);
      assert.equal(r.mxcsr, before | (isInexact ? PE : 0), label);
    }
  }
  return x!.isRounded;
}

for (const form of FORMS) {
  for (const operation of Object.keys(OPCODES) as Operation[]) {
    test(`PE of ${operation}, ${form.bits} bits, is set exactly when a result is rounded`, () => {
      const seen = { rounded: 0, exact: 0 };
      let before: Lanes | undefined;
      for (let n = 0; n < CASES; n++) {
        const lanes: [number, number][] = [];
        while (lanes.length < 128 / form.bits) {
          const b = randomNumber(form);
          const given = operation === 'sqrt' ? Math.abs(b) * pick([1, Math.abs(b)]) : b;
          // Now and then a number near the other, or one whose quotient is exact.
          const a = pick([randomNumber(form), form.round(given * pick([1, 3, -1, 5]))]);
          const y = form.round(given);
          const result = form.round(compute(operation, a, y));
          if (isPlain(form, operation, a, y, result)) lanes.push([a, y]);
        }
        seen[check(form, operation, lanes, before ?? lanes) ? 'rounded' : 'exact']++;
        before = lanes;
      }
      assert.ok(seen.rounded > CASES / 20 && seen.exact > CASES / 300, JSON.stringify(seen));
    });
  }
}
