// When WebAssembly's own floating-point arithmetic gives what the processor gives, MXCSR included:
// a cheap test that may say "no" too often and never "yes" too often. SDM vol 1 §10.2.3, §11.5.

import type { Lift } from '../lift/lift.ts';
import { constant, type Value } from '../lift/value.ts';
import { MXCSR } from '../microcode/sse/check.ts';
import { S } from '../state/layout.ts';

const LEAST_NORMAL = { 32: 2 ** -126, 64: 2 ** -1022 } as const;

/**
 * Comparisons on a float or a vector of floats whose results are masks that can be combined and
 * tested.
 */
export class FloatLanes {
  readonly #l: Lift;
  readonly #shape: string;
  readonly #isVector: boolean;
  readonly #width: 32 | 64;

  constructor(l: Lift, shape: 'f32x4' | 'f64x2' | 'f32' | 'f64') {
    this.#l = l;
    this.#shape = shape;
    this.#isVector = shape.includes('x');
    this.#width = shape.startsWith('f32') ? 32 : 64;
  }
  #constant(value: number): Value {
    if (!this.#isVector) return constant(this.#width === 32 ? 'f32' : 'f64', value);
    const bytes = new Uint8Array(16);
    const view = new DataView(bytes.buffer);
    for (let at = 0; at < 16; at += this.#width / 8) {
      if (this.#width === 32) view.setFloat32(at, value, true);
      else view.setFloat64(at, value, true);
    }
    return constant('v128', bytes);
  }
  #op(name: string, ...args: Value[]): Value {
    return this.#l.op(`${this.#shape}.${name}`, ...args);
  }
  isNonzero(v: Value): Value {
    return this.#op('ne', v, this.#constant(0));
  }
  /** Zero or denormal. */
  isSmall(v: Value): Value {
    return this.#op('lt', this.#op('abs', v), this.#constant(LEAST_NORMAL[this.#width]));
  }
  /** Below the least normal number or equal to it, as what was rounded up from below is. */
  mayHaveUnderflowed(v: Value): Value {
    return this.#op('le', this.#op('abs', v), this.#constant(LEAST_NORMAL[this.#width]));
  }
  isDenormal(v: Value): Value {
    return this.and(this.isSmall(v), this.isNonzero(v));
  }
  isInfiniteOrNaN(v: Value): Value {
    return this.not(this.#op('lt', this.#op('abs', v), this.#constant(Number.POSITIVE_INFINITY)));
  }
  isNaN(v: Value): Value {
    return this.#op('ne', v, v);
  }
  not(mask: Value): Value {
    return this.#isVector ? this.#l.op('v128.not', mask) : mask.eqz();
  }
  and(a: Value, b: Value): Value {
    return a.and(b);
  }
  or(a: Value, b: Value): Value {
    return a.or(b);
  }
  any(mask: Value): Value {
    return this.#isVector ? this.#l.op('v128.any_true', mask) : mask;
  }
}

/**
 * What can go wrong: sums are exact when tiny, products are not; comparisons only mind NaNs and
 * denormals.
 */
export type FloatKind = 'sum' | 'product' | 'root' | 'order';

/** Rounding to nearest, all masked, neither DAZ nor FTZ, and P sticky: bits that must be so. */
const ARITHMETIC_BITS = MXCSR.rc | MXCSR.fz | MXCSR.daz | MXCSR.masks | MXCSR.pe;
const ARITHMETIC_VALUE = MXCSR.masks | MXCSR.pe;
/** For comparisons neither rounding nor P matters, and masks only where something is noted. */
const ORDER_BITS = MXCSR.daz;

/** Whether MXCSR asks for more than plain rounding to nearest. */
export function roundsSpecially(l: Lift): Value {
  return l.get(S.mxcsr).and(ARITHMETIC_BITS).ne(ARITHMETIC_VALUE);
}

/** 1 when the result cannot be trusted or flags must be noted. */
export function needsCare(
  l: Lift,
  kind: FloatKind,
  lanes: FloatLanes,
  operands: readonly Value[],
  result: Value,
): Value {
  const denormals = operands.map((v) => lanes.isDenormal(v)).reduce((a, b) => lanes.or(a, b));
  if (kind === 'order') {
    const nans = operands.map((v) => lanes.isNaN(v)).reduce((a, b) => lanes.or(a, b));
    return l.let(lanes.any(lanes.or(nans, denormals)).or(l.get(S.mxcsr).and(ORDER_BITS)));
  }
  let bad = lanes.or(denormals, lanes.isInfiniteOrNaN(result));
  if (kind === 'product') {
    // A small result of operands that are not zero has underflowed.
    const nonzero = operands.map((v) => lanes.isNonzero(v)).reduce((a, b) => lanes.and(a, b));
    bad = lanes.or(bad, lanes.and(lanes.mayHaveUnderflowed(result), nonzero));
  }
  return l.let(lanes.any(bad).or(roundsSpecially(l)));
}
