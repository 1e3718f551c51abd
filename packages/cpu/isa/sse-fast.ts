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
    moderate(
      l,
      all.map((c) => moderation(l, c)),
      all[0]!.shape,
    ),
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
 * A value whose sign bits, or those of its lanes, say that numbers are of moderate size: the upper two bits of their
 * exponents differ. That are 2^-511 to 2^513 and 2^-63 to 2^65: no zero, and nothing special. Sums of two of them are
 * finite. Of a product or quotient the result has to be one of them, too.
 */
function moderation(l: Lift, { operation, shape, a, b, result }: Computed): Value {
  const differ = (v: Value): Value => xor(pattern(v), twice(l, shape, pattern(v)));
  const numbers = { add: [a, b], sub: [a, b], mul: [a, b, result], div: [a, b, result], sqrt: [b] };
  const all = twice(l, shape, numbers[operation].map(differ).reduce(and));
  // A root's operand is positive.
  if (operation !== 'sqrt') return all;
  return isVector(shape) ? l.op('v128.andnot', all, b) : all.and(pattern(b).xor(-1));
}

const and = (x: Value, y: Value): Value => x.and(y);
const xor = (x: Value, y: Value): Value => x.xor(y);
function twice(l: Lift, shape: FloatShape, v: Value): Value {
  if (!isVector(shape)) return v.shl(1);
  return l.op(shape === 'f64x2' ? 'i64x2.shl' : 'i32x4.shl', v, l.i32(1));
}

function moderate(l: Lift, signs: readonly Value[], shape: FloatShape): Guard {
  const all = signs.reduce(and);
  const isAll = isVector(shape)
    ? shape === 'f64x2'
      ? l.op('i64x2.bitmask', all).eq(3)
      : l.op('i32x4.bitmask', all).eq(15)
    : all.lts(0);
  return (slow) => l.unlikely(isAll.eqz(), slow);
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
