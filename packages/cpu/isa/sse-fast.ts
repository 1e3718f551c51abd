// The quick ways of floating-point instructions: WebAssembly's own arithmetic on numbers of moderate size, with tests
// that are short because every one of them becomes part of translated code. What they turn away is looked at closely
// in microcode/sse/plain.ts, out of line. SDM vol 1 §10.2.3, §11.5. Why this is exact: docs/design/floating-point.md.

import type { Lift } from '../lift/lift.ts';
import type { Value } from '../lift/value.ts';
import { MXCSR } from '../microcode/sse/check.ts';
import {
  type Computed,
  type FloatShape,
  inexactSigns,
  isVector,
  pattern,
} from '../microcode/sse/inexact.ts';
import { type Guard, oddRounding, plainGuards, unlessPlain } from '../microcode/sse/plain.ts';

/** The tests of an operation, or of one that is done to several vectors. */
export function quickGuards(l: Lift, all: readonly Computed[]): Guard[] {
  return [
    all[0]!.operation === 'sqrt' ? positive(l, all) : moderate(l, all),
    (slow) => {
      const odd = l.let(oddRounding(l));
      l.unlikely(odd, () => {
        l.if(odd.ne(MXCSR.pe), slow);
        for (const c of all) for (const sign of inexactSigns(l, c)) l.if(sign, slow);
      });
    },
  ];
}

/**
 * Numbers of moderate size are those whose exponents' upper two bits differ: 2^-511 to 2^513, and 2^-63 to 2^65 of
 * singles. Nothing special is among them, and sums of two are finite. Of a product or quotient the result has to be
 * one, too. Zeros will do in the place of any: they give zero, the other number, or what is not moderate.
 */
function moderate(l: Lift, all: readonly Computed[]): Guard {
  const { operation, shape } = all[0]!;
  const isSum = operation === 'add' || operation === 'sub';
  const numbers = all.flatMap(({ a, b, result }) => (isSum ? [a, b] : [a, b, result]));
  const sizes = numbers.map((v) => l.let(moderation(l, shape, v)));
  const orZero = () => numbers.map((v, n) => sizes[n]!.or(zeroness(l, shape, v)));
  return (slow) =>
    l.unlikely(inAll(l, shape, twice(l, shape, sizes.reduce(and))).eqz(), () =>
      l.if(inAll(l, shape, twice(l, shape, orZero().reduce(and))).eqz(), slow),
    );
}
/** Roots are taken of positive numbers of moderate size. */
function positive(l: Lift, all: readonly Computed[]): Guard {
  const { shape } = all[0]!;
  const signs = all.map(({ b }) => {
    const size = twice(l, shape, moderation(l, shape, b));
    return isVector(shape) ? l.op('v128.andnot', size, b) : size.and(pattern(b).xor(-1));
  });
  return (slow) => l.unlikely(inAll(l, shape, signs.reduce(and)).eqz(), slow);
}

/** Has the bit below the sign set, in each lane, for a number of moderate size. */
const moderation = (l: Lift, shape: FloatShape, v: Value): Value =>
  pattern(v).xor(twice(l, shape, pattern(v)));
/** Has that bit set for a zero. */
function zeroness(l: Lift, shape: FloatShape, v: Value): Value {
  if (isVector(shape)) return l.op(`${shape}.eq`, v, v.xor(v));
  const isZero = pattern(v).shl(1).eqz();
  return shape === 'f64' ? isZero.u64().shl(62) : isZero.shl(30);
}

const and = (x: Value, y: Value): Value => x.and(y);
function twice(l: Lift, shape: FloatShape, v: Value): Value {
  if (!isVector(shape)) return v.shl(1);
  return l.op(shape === 'f64x2' ? 'i64x2.shl' : 'i32x4.shl', v, l.i32(1));
}
/** Whether the sign bit is set, in all lanes. */
function inAll(l: Lift, shape: FloatShape, v: Value): Value {
  if (!isVector(shape)) return v.lts(0);
  return shape === 'f64x2' ? l.op('i64x2.bitmask', v).eq(3) : l.op('i32x4.bitmask', v).eq(15);
}

/** Does what is to be done for operands that comparisons mind: NaNs and denormals. */
export function ifDisordered(
  l: Lift,
  shape: FloatShape,
  operands: readonly Value[],
  slow: () => void,
): void {
  unlessPlain(l, plainGuards(l, 'order', shape, operands, operands[0]!), slow);
}
