// Arithmetic of bytes as elements of AES's field GF(2^8), and affine maps of their bits. SDM vol 2A, GF2P8MULB,
// GF2P8AFFINEQB, GF2P8AFFINEINVQB.

import { type FunctionRef, fn } from '../lift/function.ts';
import type { Lift } from '../lift/lift.ts';
import { type Value, v128 } from '../lift/value.ts';
import { TABLES } from './tables.ts';

const ZERO = v128(new Array(16).fill(0));
/** x^4 + x^3 + x + 1: what x^8 is. */
const REDUCED = v128(new Array(16).fill(0x1b));

const and = (l: Lift, a: Value, b: Value) => l.op('v128.and', a, b);
const xor = (l: Lift, a: Value, b: Value) => l.let(l.op('v128.xor', a, b));
const isNegative = (l: Lift, v: Value) => l.op('i8x16.lt_s', v, ZERO);
const doubled = (l: Lift, v: Value) => l.let(l.op('i8x16.add', v, v));

/** Products of sixteen bytes each: by Horner's rule, from the factor's top bits. */
export const multiplyBytes: FunctionRef = fn('gfMultiplyBytes', {
  params: { a: 'v128', b: 'v128' },
  result: 'v128',
  build(l, { a, b }) {
    let factor = b;
    let product: Value = ZERO;
    for (let bit = 7; bit >= 0; bit--) {
      const overflow = and(l, isNegative(l, product), REDUCED);
      const shifted = bit === 7 ? ZERO : xor(l, doubled(l, product), overflow);
      product = xor(l, shifted, and(l, a, isNegative(l, factor)));
      factor = doubled(l, factor);
    }
    l.return(product);
  },
});

const BYTES_REVERSED = [7, 6, 5, 4, 3, 2, 1, 0, 15, 14, 13, 12, 11, 10, 9, 8];
/** Swaps of a bit matrix's off-diagonal blocks of 1, 2 and 4 bits: distance, and the bits that move up. */
const TRANSPOSITIONS = [
  [7, 0x00aa_00aa_00aa_00aan],
  [14, 0x0000_cccc_0000_ccccn],
  [28, 0x0000_0000_f0f0_f0f0n],
] as const;

/** Byte j of each half becomes column j of its bit matrix, whose first row is the last byte. */
function columns(l: Lift, matrix: Value): Value {
  let v = l.let(l.lanes('i8x16.shuffle', BYTES_REVERSED, matrix, matrix));
  for (const [distance, mask] of TRANSPOSITIONS) {
    const moved = xor(l, v, l.op('i64x2.shr_u', v, distance));
    const swapped = l.let(and(l, moved, l.op('i64x2.splat', mask)));
    v = xor(l, v, l.op('v128.xor', swapped, l.op('i64x2.shl', swapped, distance)));
  }
  return v;
}

/** Each byte of a half times the half's bit matrix, plus a constant. */
export const affineBytes: FunctionRef = fn('gfAffineBytes', {
  params: { bytes: 'v128', matrix: 'v128', constant: 'i32' },
  result: 'v128',
  build(l, { bytes, matrix, constant }) {
    const all = columns(l, matrix);
    let result = l.let(l.op('i8x16.splat', constant));
    let rest = bytes;
    for (let bit = 7; bit >= 0; bit--) {
      const lanes = Array.from({ length: 16 }, (_, n) => (n < 8 ? bit : 8 + bit));
      const column = l.lanes('i8x16.shuffle', lanes, all, all);
      result = xor(l, result, and(l, column, isNegative(l, rest)));
      rest = doubled(l, rest);
    }
    l.return(result);
  },
});

/** Inverses of sixteen bytes; 0 for 0. */
export const invertBytes: FunctionRef = fn('gfInvertBytes', {
  params: { bytes: 'v128' },
  result: 'v128',
  build(l, { bytes }) {
    const result = l.var('v128', ZERO);
    for (let n = 0; n < 16; n++) {
      const index = l.lanes('i8x16.extract_lane_u', [n], bytes);
      const inverse = l.loadRaw('i32.load8_u', index, TABLES.fieldInverse);
      result.set(l.lanes('i8x16.replace_lane', [n], result.get(), inverse));
    }
    l.return(result.get());
  },
});
