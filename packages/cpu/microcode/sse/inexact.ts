// The middle way through a floating-point operation: WebAssembly's result is right, and what is left to find
// out is whether it was rounded, because MXCSR.PE is not set yet. By error-free transformations, as in Muller et
// al., Handbook of Floating-Point Arithmetic, §4.3. SDM vol 1 §11.5.2.6.

import type { Lift } from '../../lift/lift.ts';
import type { Value } from '../../lift/value.ts';
import { S } from '../../state/layout.ts';
import { MXCSR } from './check.ts';
import { DOUBLE, type Format, isDenormal, magnitude, SINGLE } from './soft-float.ts';

/** The operations that round. A root has one operand, its second. */
export type Operation = 'add' | 'sub' | 'mul' | 'div' | 'sqrt';

export type VectorShape = 'f32x4' | 'f64x2';
export type FloatShape = VectorShape | 'f32' | 'f64';
export const isVector = (shape: FloatShape): shape is VectorShape => shape.includes('x');

/** An operation on floats or vectors of them and its result, by WebAssembly. */
export interface Computed {
  readonly operation: Operation;
  readonly shape: FloatShape;
  /** Not looked at by a root. */
  readonly a: Value;
  readonly b: Value;
  readonly result: Value;
}

const FORMATS: Readonly<Record<32 | 64, Format>> = { 32: SINGLE, 64: DOUBLE };
/** Bits of a format's pattern in an i64, as a float. */
const float = (f: Format, v: Value): Value => (f.bits === 64 ? v.float() : v.i32().float());
const bits = (v: Value): Value => v.bits().u64();
const double = (l: Lift, v: Value): Value => l.op('f64.promote_f32', v);

/**
 * Rounding to nearest with inexactness masked: then results of WebAssembly that are neither tiny nor
 * infinite are the processor's, whatever else MXCSR says.
 */
export function roundsToNearest(l: Lift): Value {
  return l
    .get(S.mxcsr)
    .and(MXCSR.rc | MXCSR.pm)
    .eq(MXCSR.pm);
}

/** Sets MXCSR.PE if the condition (0 or 1) holds. */
export function noteInexact(l: Lift, isInexact: Value): void {
  l.set(S.mxcsr, l.get(S.mxcsr).or(isInexact.mul(MXCSR.pe)));
}

/** Zero bits below the lowest one of a normal number's significand. */
const trailingZeros = (v: Value): Value => v.or(DOUBLE.leastNormal).ctz().i32();
const exponent = (v: Value): Value => magnitude(DOUBLE, v).shru(DOUBLE.fractionBits).i32();

/** Whether a product of two normal doubles needs more than 53 bits; `product` is its rounded value, normal. */
function losesBits(a: Value, b: Value, product: Value): Value {
  // 106 bits when the significands' product is 2 or more, else 105.
  const carries = exponent(product).sub(exponent(a)).sub(exponent(b)).add(DOUBLE.bias);
  return trailingZeros(a).add(trailingZeros(b)).lts(carries.add(DOUBLE.fractionBits));
}

/**
 * What a + b lost in rounding to `sum`, exactly (Knuth's TwoSum): it cannot underflow, and what overflows on the
 * way is not zero.
 */
function sumError(l: Lift, a: Value, b: Value, sum: Value): Value {
  const op = (name: string, x: Value, y: Value) =>
    l.let(x.type === 'f64' ? l.op(`f64.${name}`, x, y) : l.op(`f32.${name}`, x, y));
  const second = op('sub', sum, a);
  const first = op('sub', sum, second);
  return op('add', op('sub', a, first), op('sub', b, second));
}

/**
 * Conditions of which none holds only if a result, computed from moderate or plain numbers, is exact: one that does may
 * have been right about it or too careful. A sum is exact if taking off one of its terms leaves the other, whichever
 * is the smaller. A product is if both factors have at most half the significand's bits.
 */
export function inexactSigns(l: Lift, c: Computed): Value[] {
  const { operation, shape, a, b, result } = c;
  const op = (name: string, x: Value, y: Value) => l.op(`${shape}.${name}`, x, y);
  const differ = (...pairs: readonly [Value, Value][]): Value[] => {
    const masks = pairs.map(([x, y]) => op('ne', x, y));
    if (!isVector(shape)) return masks;
    return [l.op(shape === 'f64x2' ? 'i64x2.bitmask' : 'i32x4.bitmask', masks.reduce(or))];
  };
  switch (operation) {
    case 'add':
      return differ([op('sub', result, a), b], [op('sub', result, b), a]);
    case 'sub':
      return differ([op('add', result, b), a], [op('sub', a, result), b]);
    case 'mul':
      return shape === 'f32'
        ? differ64(l, [a, b], result)
        : [isLong(l, shape, pattern(a).or(pattern(b)))];
    default: {
      // Multiplying back gives the dividend, or what the root is of, without rounding.
      const [factor, whole] = operation === 'div' ? [b, a] : [result, b];
      if (shape === 'f32') return differ64(l, [result, factor], whole);
      const both = pattern(result).or(pattern(factor));
      return [isLong(l, shape, both), ...differ([op('mul', result, factor), whole])];
    }
  }
}
const or = (x: Value, y: Value): Value => x.or(y);
/** Vectors as they are, floats as their bits. */
export const pattern = (v: Value): Value => (v.type === 'v128' ? v : v.bits());

/** Whether the product of two singles, which a double holds, is another number. */
function differ64(l: Lift, [x, y]: readonly [Value, Value], product: Value): Value[] {
  return [l.op('f64.mul', double(l, x), double(l, y)).ne(double(l, product))];
}

/** Whether any of the bits is set that a factor has beyond half of the significand: its lower 27 or 12. */
function isLong(l: Lift, shape: FloatShape, patterns: Value): Value {
  switch (shape) {
    case 'f64':
      return patterns.i32().and((1 << 27) - 1);
    case 'f64x2':
      return l.op('v128.any_true', l.op('i64x2.shl', patterns, l.i32(64 - 27)));
    default:
      return l.op('v128.any_true', l.op('i32x4.shl', patterns, l.i32(32 - 12)));
  }
}

interface Rounding {
  /** The result as a bit pattern. */
  readonly result: Value;
  /** 0: soft-float must do it: special operands, or a result that is tiny or infinite. */
  readonly isPlain: Value;
  /** Only computed when it is plain: 1 if the result is not exact. */
  readonly isInexact: () => Value;
}

/** One lane: WebAssembly's result, whether it is the processor's, and whether it was rounded. */
export function round(l: Lift, width: 32 | 64, operation: Operation, a: Value, b: Value): Rounding {
  const f = FORMATS[width];
  const x = l.let(float(f, a));
  const y = l.let(float(f, b));
  const z = l.let(operation === 'sqrt' ? y.sqrt() : l.op(`f${width}.${operation}`, x, y));
  const result = l.let(bits(z));
  const size = l.let(magnitude(f, result));
  const isSum = operation === 'add' || operation === 'sub';
  const inRange = size.ltu(f.infinity);
  const denormals = operation === 'sqrt' ? isDenormal(f, b) : isDenormal(f, a).or(isDenormal(f, b));
  const isNormal = size.gtu(f.leastNormal).and(inRange);
  const isZero = size.eqz().and(comesFromZero(l, f, operation, a, b));
  const isPlain = isNormal.or(isZero).and(denormals.eqz());
  const isInexact = (): Value => {
    if (isSum) return sumError(l, x, operation === 'sub' ? y.unary('neg') : y, z).ne(0);
    // Zeros are exact.
    return l.choose(
      size.eqz(),
      'i32',
      () => l.i32(0),
      () => productIsInexact(l, f, operation, { x, y, z, a, b, result }),
    );
  };
  return { result, isPlain: l.let(isPlain), isInexact };
}

/** Whether a zero result is exact. */
function comesFromZero(l: Lift, f: Format, operation: Operation, a: Value, b: Value): Value {
  const isZero = (v: Value) => magnitude(f, v).eqz();
  switch (operation) {
    case 'mul':
      return isZero(a).or(isZero(b));
    case 'div':
      return isZero(a).or(magnitude(f, b).eq(f.infinity));
    default:
      return l.i32(1);
  }
}

interface Parts {
  readonly x: Value;
  readonly y: Value;
  readonly z: Value;
  readonly a: Value;
  readonly b: Value;
  readonly result: Value;
}

/** Multiplying back must give the operand, and without rounding. */
function productIsInexact(l: Lift, f: Format, operation: Operation, p: Parts): Value {
  if (f.bits === 32) {
    const z = double(l, p.z);
    const product = (v: Value, w: Value) => l.op('f64.mul', v, w);
    if (operation === 'mul') return product(double(l, p.x), double(l, p.y)).ne(z);
    if (operation === 'div') return product(z, double(l, p.y)).ne(double(l, p.x));
    return product(z, z).ne(double(l, p.y));
  }
  if (operation === 'mul') return losesBits(p.a, p.b, p.result);
  if (operation === 'div')
    return l
      .op('f64.mul', p.z, p.y)
      .ne(p.x)
      .or(losesBits(p.result, p.b, p.a));
  return l
    .op('f64.mul', p.z, p.z)
    .ne(p.y)
    .or(losesBits(p.result, p.result, p.b));
}

/** Lanes of an operation: returns its result with PE noted, if that is all there is to it. */
export function returnIfRound(
  l: Lift,
  width: 32 | 64,
  operations: readonly { readonly operation: Operation; readonly a: Value; readonly b: Value }[],
  join: (results: readonly Value[]) => Value,
): void {
  l.if(roundsToNearest(l), () => {
    const lanes = operations.map(({ operation, a, b }) => round(l, width, operation, a, b));
    l.if(
      lanes.map((r) => r.isPlain).reduce((x, y) => x.and(y)),
      () => {
        noteInexact(
          l,
          lanes.map((r) => r.isInexact()).reduce((x, y) => x.or(y)),
        );
        l.return(join(lanes.map((r) => r.result)));
      },
    );
  });
}
