// Carry-less multiplication with ordinary multiplications: of numbers whose bits are three zeros apart, so that what
// is added never reaches the next bit that counts. SDM vol 2B, PCLMULQDQ.

import { type FunctionRef, fn } from '../lift/function.ts';
import type { Lift } from '../lift/lift.ts';
import { type Value, v128 } from '../lift/value.ts';

const EVERY_FOURTH = 0x1111_1111_1111_1111n;

/** Bits 63–0 of the product. Bit 63 sums at most sixteen ones, whose carry is cut off. */
function lowHalf(l: Lift, a: Value, b: Value): Value {
  const classes = (v: Value) =>
    [0, 1, 2, 3].map((n) => l.let(v.and(BigInt.asIntN(64, EVERY_FOURTH << BigInt(n)))));
  const [as, bs] = [classes(a), classes(b)];
  return [0, 1, 2, 3]
    .map((n) =>
      as
        .map((part, k) => part.mul(bs[(n - k) & 3]!))
        .reduce((sum, product) => sum.xor(product))
        .and(BigInt.asIntN(64, EVERY_FOURTH << BigInt(n))),
    )
    .reduce((sum, part) => sum.or(part));
}

const REVERSED_NIBBLES = [0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15];
const NIBBLE = v128(new Array(16).fill(0xf));
const REVERSED_BYTES = [7, 6, 5, 4, 3, 2, 1, 0, 15, 14, 13, 12, 11, 10, 9, 8];

/** Both halves with their bits in reverse order. */
function reverseBits(l: Lift, v: Value): Value {
  const look = (table: readonly number[], index: Value) =>
    l.op('i8x16.swizzle', v128(table), l.op('v128.and', index, NIBBLE));
  const bytes = l.let(
    l.op(
      'v128.or',
      look(
        REVERSED_NIBBLES.map((n) => n << 4),
        v,
      ),
      look(REVERSED_NIBBLES, l.op('i16x8.shr_u', v, 4)),
    ),
  );
  return l.lanes('i8x16.shuffle', REVERSED_BYTES, bytes, bytes);
}

/** The 128 bits of the product of two polynomials. The upper half is the lower one of the reversed factors, reversed. */
export const multiplyCarryless: FunctionRef = fn('multiplyCarryless', {
  params: { a: 'i64', b: 'i64' },
  result: 'v128',
  build(l, { a, b }) {
    const pair = (low: Value, high: Value) =>
      l.lanes('i64x2.replace_lane', [1], l.op('i64x2.splat', low), high);
    const lane = (v: Value, n: number) => l.let(l.lanes('i64x2.extract_lane', [n], v));
    const reversed = l.let(reverseBits(l, l.let(pair(a, b))));
    const high = l.let(l.op('i64x2.splat', lowHalf(l, lane(reversed, 0), lane(reversed, 1))));
    l.return(pair(lowHalf(l, a, b), lane(reverseBits(l, high), 0).shru(1)));
  },
});
