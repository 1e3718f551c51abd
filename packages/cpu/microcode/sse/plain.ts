// When WebAssembly's floating-point result is the processor's, in rounding to nearest and with everything masked: tests
// of operands and result that know about zeros and the edges of the formats. The quick ways of isa/sse-fast.ts ask for
// less before them. SDM vol 1 §10.2.3, §11.5; docs/design/floating-point.md.

import type { Lift } from '../../lift/lift.ts';
import { constant, type Value } from '../../lift/value.ts';
import { S } from '../../state/layout.ts';
import { MXCSR } from './check.ts';
import {
  type Computed,
  type FloatShape,
  inexactSigns,
  isVector,
  type Operation,
  type VectorShape,
} from './inexact.ts';
import { DOUBLE, type Format, SINGLE } from './soft-float.ts';

/** Rounding to nearest, inexactness masked and noted already, no flushing to zero. */
const ARITHMETIC_BITS = MXCSR.rc | MXCSR.fz | MXCSR.pm | MXCSR.pe;
const ARITHMETIC_VALUE = MXCSR.pm | MXCSR.pe;

/** How MXCSR differs from plain rounding to nearest with PE set; MXCSR.pe alone if PE is still to be set. */
export function oddRounding(l: Lift): Value {
  return l.get(S.mxcsr).and(ARITHMETIC_BITS).xor(ARITHMETIC_VALUE);
}
/** Whether MXCSR asks for more than plain rounding to nearest, or PE is still to be set. */
export function roundsSpecially(l: Lift): Value {
  return l.get(S.mxcsr).and(ARITHMETIC_BITS).ne(ARITHMETIC_VALUE);
}

/** One test: calls `slow` when the quick result cannot be trusted or flags must be noted. */
export type Guard = (slow: () => void) => void;

/** Several tests, one after the other; a branch costs less than putting conditions together. */
export function unlessPlain(l: Lift, guards: readonly Guard[], slow: () => void): void {
  l.block((done) => {
    l.block((toSlow) => {
      for (const guard of guards) guard(toSlow);
      done();
    });
    slow();
  });
}

/** A guard that is one condition. */
export const when =
  (l: Lift, condition: Value): Guard =>
  (slow) =>
    l.unlikely(condition, slow);

/**
 * What can go wrong: sums are exact when tiny, products are not; a root is as good as its operand; comparisons only
 * mind NaNs and denormals.
 */
type Kind = 'sum' | 'product' | 'root' | 'order';
const KIND: Readonly<Record<Operation | 'order', Kind>> = {
  add: 'sum',
  sub: 'sum',
  mul: 'product',
  div: 'product',
  sqrt: 'root',
  order: 'order',
};

/** The tests of an operation on floats or vectors of them. */
export function plainGuards(
  l: Lift,
  operation: Operation | 'order',
  shape: FloatShape,
  operands: readonly Value[],
  result: Value,
): Guard[] {
  const kind = KIND[operation];
  return isVector(shape)
    ? new VectorGuards(l, shape).of(kind, operands, result)
    : new ScalarGuards(l, shape === 'f32' ? SINGLE : DOUBLE).of(kind, operands, result);
}

/** Returns from a function by `give` if the results, vectors all, are the processor's and nothing is to be noted. */
export function returnIfPlain(l: Lift, all: readonly Computed[], give: () => void): void {
  l.block((otherwise) => {
    const odd = l.let(oddRounding(l));
    l.if(odd.and(~MXCSR.pe), otherwise);
    for (const { operation, shape, a, b, result } of all) {
      const operands = operation === 'sqrt' ? [b] : [a, b];
      for (const guard of plainGuards(l, operation, shape, operands, result)) guard(otherwise);
    }
    l.if(odd, () => {
      for (const c of all) for (const sign of inexactSigns(l, c)) l.if(sign, otherwise);
    });
    give();
  });
}

/**
 * Tests on bit patterns, shifted left by one to be rid of the sign: zero, denormals, normal numbers, infinity and
 * NaNs lie in that order.
 */
class ScalarGuards {
  readonly #l: Lift;
  readonly #f: Format;
  /** Twice the patterns of the least normal number and of infinity. */
  readonly #normal: bigint;
  readonly #infinity: bigint;

  constructor(l: Lift, f: Format) {
    this.#l = l;
    this.#f = f;
    this.#normal = f.leastNormal << 1n;
    this.#infinity = f.infinity << 1n;
  }
  of(kind: Kind, operands: readonly Value[], result: Value): Guard[] {
    if (kind === 'root') return operands.map((x) => this.#isNoPositiveNormal(x));
    if (kind === 'order') return operands.map((x) => this.#isDenormalOrNaN(x));
    return [
      ...operands.map((x) => this.#isDenormal(x)),
      kind === 'sum' ? this.#isInfiniteOrNaN(result) : this.#isNoNormal(result),
    ];
  }
  #constant(value: bigint): Value {
    return this.#f.bits === 64
      ? this.#l.i64(BigInt.asIntN(64, value))
      : this.#l.i32(Number(BigInt.asIntN(32, value)));
  }
  #twice(x: Value): Value {
    return x.bits().shl(1);
  }
  #isDenormal(x: Value): Guard {
    const isIt = this.#twice(x)
      .sub(1)
      .ltu(this.#constant(this.#normal - 1n));
    return (slow) => this.#l.unlikely(isIt, slow);
  }
  #isInfiniteOrNaN(x: Value): Guard {
    return (slow) => this.#l.unlikely(this.#twice(x).geu(this.#constant(this.#infinity)), slow);
  }
  /** Not above the least normal number, which may have been rounded up to, or not finite. */
  #isNoNormal(x: Value): Guard {
    const above = this.#twice(x).sub(this.#constant(this.#normal + 1n));
    const isIt = above.geu(this.#constant(this.#infinity - this.#normal - 1n));
    return (slow) => this.#l.unlikely(isIt, slow);
  }
  #isNoPositiveNormal(x: Value): Guard {
    const above = x.bits().sub(this.#constant(this.#f.leastNormal));
    const isIt = above.geu(this.#constant(this.#f.infinity - this.#f.leastNormal));
    return (slow) => this.#l.unlikely(isIt, slow);
  }
  #isDenormalOrNaN(x: Value): Guard {
    const l = this.#l;
    return (slow) => {
      const twice = l.let(this.#twice(x));
      const above = twice.sub(this.#constant(this.#normal));
      l.unlikely(above.gtu(this.#constant(this.#infinity - this.#normal)), () => {
        // Zero is the one number among them that needs no care.
        l.if(twice.nez(), slow);
      });
    };
  }
}

const LEAST_NORMAL = { f32x4: 2 ** -126, f64x2: 2 ** -1022 } as const;

/** A coarse test that any lane may fail, and a fine one behind it: zeros only fail the coarse one. */
class VectorGuards {
  readonly #l: Lift;
  readonly #shape: VectorShape;
  constructor(l: Lift, shape: VectorShape) {
    this.#l = l;
    this.#shape = shape;
  }
  of(kind: Kind, operands: readonly Value[], result: Value): Guard[] {
    const l = this.#l;
    const sizes = operands.map((v) => l.let(this.#op('abs', v)));
    const smallest = sizes.reduce((x, y) => this.#op('pmin', x, y));
    const isSmall = this.#op('lt', smallest, this.#constant());
    // Sizes other than zero and still small.
    const denormals = () =>
      this.#any(
        sizes.map((v) => v128And(this.#op('lt', v, this.#constant()), this.#op('gt', v, ZERO))),
      );
    // A difference of a number and itself is 0, and NaN for infinities.
    const unordered = (v: Value) => this.#op('ne', v, v);
    const notFinite = (v: Value) => unordered(l.let(this.#op('sub', v, v)));
    if (kind === 'order')
      return [
        this.#guard([isSmall], denormals),
        (slow) => l.unlikely(anyTrue(l, this.#any(operands.map(unordered))), slow),
      ];
    const bad = l.let(notFinite(result));
    if (kind === 'sum' || kind === 'root')
      return [this.#guard([isSmall, bad], () => bad.or(denormals()))];
    // A small result of operands that are not zero has underflowed.
    const tiny = l.let(this.#op('le', this.#op('abs', result), this.#constant()));
    const nonzero = () => sizes.map((v) => this.#op('gt', v, ZERO)).reduce(v128And);
    return [this.#guard([isSmall, bad, tiny], () => bad.or(denormals()).or(tiny.and(nonzero())))];
  }
  #guard(coarse: readonly Value[], fine: () => Value): Guard {
    const l = this.#l;
    return (slow) =>
      l.unlikely(anyTrue(l, this.#any(coarse)), () => l.if(anyTrue(l, fine()), slow));
  }
  #any(masks: readonly Value[]): Value {
    return masks.reduce((a, b) => a.or(b));
  }
  #op(name: string, ...args: Value[]): Value {
    return this.#l.op(`${this.#shape}.${name}`, ...args);
  }
  #constant(): Value {
    return splat(this.#shape, LEAST_NORMAL[this.#shape]);
  }
}

const ZERO = constant('v128', new Uint8Array(16));
const v128And = (a: Value, b: Value): Value => a.and(b);
export const anyTrue = (l: Lift, mask: Value): Value => l.op('v128.any_true', mask);

/** A constant in every lane. */
export function splat(shape: VectorShape, value: number): Value {
  const bytes = new Uint8Array(16);
  const view = new DataView(bytes.buffer);
  for (let at = 0; at < 16; at += shape === 'f32x4' ? 4 : 8) {
    if (shape === 'f32x4') view.setFloat32(at, value, true);
    else view.setFloat64(at, value, true);
  }
  return constant('v128', bytes);
}
