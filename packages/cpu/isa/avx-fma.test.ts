// The quick way of fused multiply-add against the careful one, which silicon vouches for (tests/silicon): the same
// operands with MXCSR.PE set, when the quick way may be taken, and without it.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TestCpu } from '../testing/check.ts';

/** All exceptions masked; with inexactness noted already. */
const CAREFUL = 0x1f80;
const QUICK = 0x1fa0;
/** VFMADD231PD, VFMADD231PS, VFNMSUB213PD, VFNMSUB213PS xmm0, xmm1, xmm2. */
const CODES = ['c4e2f1b8c2', 'c4e271b8c2', 'c4e2f1aec2', 'c4e271aec2'];

/** xorshift32. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
}

const view = new DataView(new ArrayBuffer(16));
function vector(next: () => number, isDouble: boolean, spread: number): bigint {
  for (let at = 0; at < 16; at += 4) view.setUint32(at, next(), true);
  // Significands that are short now and then, exponents near each other: cancellation, ties and exact results.
  const isShort = next() % 4 === 0;
  for (let at = 0; at < 16; at += isDouble ? 8 : 4) {
    const exponent = (isDouble ? 1023 : 127) + (next() % spread) - Math.floor(spread / 2);
    const sign = next() & 0x8000_0000;
    const place = isDouble ? at + 4 : at;
    const shift = isDouble ? 20 : 23;
    if (isShort) {
      const fraction = view.getUint32(place, true) & ((1 << shift) - 1) & -(1 << (shift - 6));
      if (isDouble) view.setUint32(at, 0, true);
      view.setUint32(place, (sign | (exponent << shift) | fraction) >>> 0, true);
    } else {
      const fraction = view.getUint32(place, true) & ((1 << shift) - 1);
      view.setUint32(place, (sign | (exponent << shift) | fraction) >>> 0, true);
    }
  }
  return view.getBigUint64(0, true) | (view.getBigUint64(8, true) << 64n);
}

test('the quick way gives what the careful one gives', () => {
  const cpu = new TestCpu();
  cpu.reset(64);
  const next = random(0x2545_f491);
  for (const hex of CODES) {
    const code = Buffer.from(hex, 'hex');
    const isDouble = code[2]! >= 0x80;
    for (let n = 0; n < 800; n++) {
      const spread = [3, 12, 60, isDouble ? 700 : 100][n % 4]!;
      const xmm = [0, 1, 2].map(() => vector(next, isDouble, spread));
      // An addend that all but cancels the product.
      if (n % 5 === 0) {
        xmm[1] = isDouble ? ONES_DOUBLE : ONES_SINGLE;
        xmm[0] = xmm[2]! ^ (isDouble ? SIGNS_DOUBLE : SIGNS_SINGLE);
      }
      const careful = cpu.run(code, { xmm, mxcsr: CAREFUL });
      const quick = cpu.run(code, { xmm, mxcsr: QUICK });
      assert.equal(quick.xmm[0], careful.xmm[0], `${hex} ${xmm.map((v) => v.toString(16))}`);
      assert.equal(quick.mxcsr, careful.mxcsr | 0x20);
    }
  }
});

const repeated = (bits: bigint, width: bigint) => {
  let all = 0n;
  for (let at = 0n; at < 128n; at += width) all |= bits << at;
  return all;
};
const ONES_DOUBLE = repeated(0x3ff0_0000_0000_0001n, 64n);
const ONES_SINGLE = repeated(0x3f80_0001n, 32n);
const SIGNS_DOUBLE = repeated(1n << 63n, 64n);
const SIGNS_SINGLE = repeated(1n << 31n, 32n);

test('one rounding, not two: products whose lower half decides', () => {
  const cpu = new TestCpu();
  cpu.reset(64);
  const double = (x: number) => {
    view.setFloat64(0, x);
    return view.getBigUint64(0);
  };
  const e = 2 ** -52;
  for (const [a, b, c, expected] of [
    // (1 + e)^2 - (1 + 2e) = e^2, which a rounded product would have lost.
    [1 + e, 1 + e, -(1 + 2 * e), e * e],
    [1 + e, 1 - e, -1, -e * e],
    // Just above and just below halfway between 1 and 1 + e.
    [1, 1 + e, 2 ** -53 + 2 ** -105, 1 + 2 * e],
    [2 ** -53, 1 + e, 1, 1 + e],
    [2 ** -53, 1 - e / 2, 1, 1],
    [0.1, 10, -1, 2 ** -54],
  ] as const) {
    for (const mxcsr of [CAREFUL, QUICK]) {
      const xmm = [c, a, b].map((x) => repeated(double(x), 64n));
      const r = cpu.run(Buffer.from(CODES[0]!, 'hex'), { xmm, mxcsr });
      assert.equal(r.xmm[0]! & 0xffff_ffff_ffff_ffffn, double(expected), `${a} * ${b} + ${c}`);
    }
  }
});
