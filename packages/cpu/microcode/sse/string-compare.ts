// The comparison inside PCMPESTRI, PCMPESTRM, PCMPISTRI and PCMPISTRM. SDM vol 1 §12.10 table 12-3
// and vol 2B §4.1: elements of the first operand are compared with all of the second at once.

import { type FunctionRef, fn } from '../../lift/function.ts';
import type { Lift } from '../../lift/lift.ts';
import type { Value } from '../../lift/value.ts';

/**
 * Elements of a vector, by the immediate's format bits 1:0: unsigned bytes, unsigned words, signed
 * bytes, signed words.
 */
type Shape = {
  readonly shape: 'i8x16' | 'i16x8';
  readonly count: 16 | 8;
  readonly sign: 's' | 'u';
};
const FORMATS: readonly Shape[] = [
  { shape: 'i8x16', count: 16, sign: 'u' },
  { shape: 'i16x8', count: 8, sign: 'u' },
  { shape: 'i8x16', count: 16, sign: 's' },
  { shape: 'i16x8', count: 8, sign: 's' },
];

interface Strings {
  readonly a: Value;
  readonly b: Value;
  readonly aLength: Value;
  readonly bLength: Value;
  /** Ones for the elements of b that are in the string. */
  readonly bValid: Value;
}

/** Element `index` of a vector in every lane; an index beyond the vector gives zeros. */
function splatElement(l: Lift, f: Shape, vector: Value, index: Value): Value {
  if (f.shape === 'i8x16') return l.op('i8x16.swizzle', vector, l.op('i8x16.splat', index));
  return l.op('i8x16.swizzle', vector, l.op('i16x8.splat', index.mul(0x0202).add(0x0100)));
}

/** For n = 0, step, … below aLength: folds what `round` gives into one value. */
function fold(
  l: Lift,
  s: Strings,
  initial: number,
  step: number,
  round: (n: Value, sum: Value) => Value,
): Value {
  const n = l.var('i32', 0);
  const sum = l.var('i32', initial);
  l.while(
    () => n.get().ltu(s.aLength),
    () => {
      sum.set(round(n.get(), sum.get()));
      n.set(n.get().add(step));
    },
  );
  return sum.get();
}

const compareLanes = (l: Lift, f: Shape, name: string, a: Value, b: Value) =>
  l.op(`${f.shape}.bitmask`, l.op(`${f.shape}.${name}`, a, b));

/** Equal any: b's elements that occur in a. */
function equalAny(l: Lift, f: Shape, s: Strings): Value {
  const hits = fold(l, s, 0, 1, (n, sum) =>
    sum.or(compareLanes(l, f, 'eq', s.b, splatElement(l, f, s.a, n))),
  );
  return hits.and(s.bValid);
}

/** Ranges: b's elements between a pair of a's; a pair that a's end cuts matches nothing. */
function ranges(l: Lift, f: Shape, s: Strings): Value {
  const hits = fold(l, s, 0, 2, (n, sum) => {
    const above = compareLanes(l, f, `ge_${f.sign}`, s.b, splatElement(l, f, s.a, n));
    const below = compareLanes(l, f, `le_${f.sign}`, s.b, splatElement(l, f, s.a, n.add(1)));
    return sum.or(l.select(n.add(1).ltu(s.aLength), above.and(below), 0));
  });
  return hits.and(s.bValid);
}

/** Equal each: position by position; beyond both ends is equal. */
function equalEach(l: Lift, f: Shape, s: Strings): Value {
  const aValid = l.let(l.i32(1).shl(s.aLength).sub(1));
  const equal = compareLanes(l, f, 'eq', s.a, s.b).and(aValid).and(s.bValid);
  return equal.or(aValid.or(s.bValid).xor((1 << f.count) - 1));
}

/**
 * Equal ordered: positions of b where a begins; what would lie beyond the register counts as equal.
 */
function equalOrdered(l: Lift, f: Shape, s: Strings): Value {
  const all = (1 << f.count) - 1;
  return fold(l, s, all, 1, (n, sum) => {
    const hits = compareLanes(l, f, 'eq', s.b, splatElement(l, f, s.a, n)).and(s.bValid);
    // Bits above the register come in as ones.
    return sum.and(
      hits
        .or(all << 16)
        .or(~all)
        .shru(n),
    );
  });
}

/** IntRes2: the result bits after the polarity. Lengths are at most the number of elements. */
export const compareStrings: FunctionRef = fn('compareStrings', {
  params: { a: 'v128', b: 'v128', aLength: 'i32', bLength: 'i32', control: 'i32' },
  result: 'i32',
  build(l, { a, b, aLength, bLength, control }) {
    const bValid = l.let(l.i32(1).shl(bLength).sub(1));
    const strings: Strings = { a, b, aLength, bLength, bValid };
    const result = l.var('i32', 0);
    const aggregations = [equalAny, ranges, equalEach, equalOrdered];
    l.switch(
      control.and(3),
      FORMATS.map((f) => () => {
        l.switch(
          control.shru(2).and(3),
          aggregations.map((aggregate) => () => result.set(aggregate(l, f, strings))),
        );
      }),
    );
    const all = l.let(l.select(control.and(1), l.i32(0xff), l.i32(0xffff)));
    const raw = l.let(result.get().and(all));
    // Polarity: 1 inverts all bits, 3 those of b's elements.
    const inverted = l.select(control.and(0x20), bValid, all);
    l.return(l.select(control.and(0x10), raw.xor(inverted), raw));
  },
});

/** Number of elements before the first zero. */
export const implicitLength: FunctionRef = fn('implicitLength', {
  params: { vector: 'v128', words: 'i32' },
  result: 'i32',
  build(l, { vector, words }) {
    const zeros = (shape: string) =>
      l.op(`${shape}.bitmask`, l.op(`${shape}.eq`, vector, l.op('i64x2.splat', 0n)));
    l.if(words, () => l.return(zeros('i16x8').or(0x100).ctz()));
    l.return(zeros('i8x16').or(0x1_0000).ctz());
  },
});
