// Conversions between singles, doubles and integers with exact exception flags, and rounding to an
// integral value. SDM vol 1 §4.8.4, §11.5.2; table E-1 for what each of them can raise.

import { type FunctionRef, fn } from '../../lift/function.ts';
import type { Lift } from '../../lift/lift.ts';
import type { Value } from '../../lift/value.ts';
import { MXCSR } from './check.ts';
import {
  DOUBLE,
  type Format,
  flag,
  holdsNaN,
  isSignaling,
  magnitude,
  noteDenormals,
  operand,
  ROUND,
  roundingMode,
  SINGLE,
  SOFT,
  unpack,
} from './soft-float.ts';

const when = (condition: Value, flags: number): Value => condition.mul(flags);
/** Payload bits that a double's NaN has below a single's. */
const PAYLOAD_SHIFT = DOUBLE.fractionBits - SINGLE.fractionBits;

/** Single to double: always exact. */
export const softWiden: FunctionRef = fn('softWiden', {
  params: { a: 'i64' },
  result: 'i64',
  build(l, args) {
    const a = operand(l, SINGLE, args.a);
    l.unlikely(holdsNaN(SINGLE, a), () => {
      flag(l, when(isSignaling(SINGLE, a), MXCSR.ie));
      const payload = a.and(SINGLE.leastNormal - 1n).shl(PAYLOAD_SHIFT);
      l.return(
        a
          .and(SINGLE.sign)
          .shl(32)
          .or(payload)
          .or(DOUBLE.infinity | DOUBLE.quiet),
      );
    });
    noteDenormals(l, SINGLE, a);
    l.return(l.op('f64.promote_f32', a.i32().float()).bits());
  },
});

/** Double to single. */
export const softNarrow: FunctionRef = fn('softNarrow', {
  params: { a: 'i64' },
  result: 'i64',
  build(l, args) {
    const a = operand(l, DOUBLE, args.a);
    const sign = l.let(a.and(DOUBLE.sign).shru(32));
    l.unlikely(holdsNaN(DOUBLE, a), () => {
      flag(l, when(isSignaling(DOUBLE, a), MXCSR.ie));
      const payload = a.and(DOUBLE.leastNormal - 1n).shru(PAYLOAD_SHIFT);
      l.return(sign.or(payload).or(SINGLE.infinity | SINGLE.quiet));
    });
    l.if(magnitude(DOUBLE, a).eq(DOUBLE.infinity), () => l.return(sign.or(SINGLE.infinity)));
    l.if(magnitude(DOUBLE, a).eqz(), () => l.return(sign));
    noteDenormals(l, DOUBLE, a);
    const x = unpack(l, DOUBLE, a);
    const exponent = x.exponent.add(SINGLE.bias - DOUBLE.bias);
    l.return(l.call(SOFT[32].round, sign, exponent, x.significand));
  },
});

/** A signed 64-bit integer (of 32 bits: sign-extended) to floating point. */
function fromInteger(f: Format): FunctionRef {
  return fn(`softFromInteger${f.bits}`, {
    params: { value: 'i64' },
    result: 'i64',
    build(l, { value }) {
      l.if(value.eqz(), () => l.return(0n, 'i64'));
      const isNegative = value.lts(0n);
      const sign = l.let(l.select(isNegative, l.i64(f.sign), l.i64(0)));
      const size = l.let(l.select(isNegative, value.neg(), value));
      const zeros = l.let(size.clz());
      // Only 2^63 has its leading one above bit 62, and it loses nothing.
      const significand = l.select(zeros.eqz(), size.shru(1), size.shl(zeros.sub(1n)));
      l.return(l.call(SOFT[f.bits].round, sign, l.i32(f.bias + 63).sub(zeros.i32()), significand));
    },
  });
}

/** Rounds a double to an integral one. */
function integral(l: Lift, x: Value, mode: Value): Value {
  const result = l.var('f64', x);
  const set = (name: string) => () => result.set(x.unary(name));
  l.switch(mode, [set('nearest'), set('floor'), set('ceil'), set('trunc')]);
  return result.get();
}
const asDouble = (l: Lift, f: Format, v: Value) =>
  l.let(f.bits === 64 ? v.float() : l.op('f64.promote_f32', v.i32().float()));

/**
 * Floating point to a signed integer of 32 or 64 bits in the given mode; what does not fit is the
 * indefinite.
 */
function toInteger(f: Format, bits: 32 | 64): FunctionRef {
  return fn(`softToInteger${f.bits}To${bits}`, {
    params: { a: 'i64', mode: 'i32' },
    result: 'i64',
    build(l, args) {
      const a = operand(l, f, args.a);
      const x = asDouble(l, f, a);
      const rounded = integral(l, x, args.mode);
      const limit = 2 ** (bits - 1);
      // A NaN fails both comparisons.
      const fits = rounded.ge(-limit).and(rounded.lt(limit));
      l.unlikely(fits.eqz(), () => {
        flag(l, MXCSR.ie);
        l.return(bits === 64 ? 1n << 63n : 1n << 31n, 'i64');
      });
      flag(l, when(rounded.ne(x), MXCSR.pe));
      l.return(l.op('i64.trunc_sat_f64_s', rounded));
    },
  });
}

/** ROUNDPS and its like: `control` is the instruction's immediate. */
function toIntegral(f: Format): FunctionRef {
  return fn(`softToIntegral${f.bits}`, {
    params: { a: 'i64', control: 'i32' },
    result: 'i64',
    build(l, { a: raw, control }) {
      const a = operand(l, f, raw);
      l.unlikely(holdsNaN(f, a), () => l.return(l.call(SOFT[f.bits].nan, a, a)));
      const x = asDouble(l, f, a);
      const mode = l.select(control.and(4), roundingMode(l), control.and(3));
      const rounded = integral(l, x, mode);
      const isNoted = rounded.ne(x).and(control.and(8).eqz());
      flag(l, when(isNoted, MXCSR.pe));
      l.return(f.bits === 64 ? rounded.bits() : l.op('f32.demote_f64', rounded).bits().u64());
    },
  });
}

type ByWidth<T> = Readonly<Record<32 | 64, T>>;
export const softFromInteger: ByWidth<FunctionRef> = {
  32: fromInteger(SINGLE),
  64: fromInteger(DOUBLE),
};
/** By the width of the floating-point number, then of the integer. */
export const softToInteger: ByWidth<ByWidth<FunctionRef>> = {
  32: { 32: toInteger(SINGLE, 32), 64: toInteger(SINGLE, 64) },
  64: { 32: toInteger(DOUBLE, 32), 64: toInteger(DOUBLE, 64) },
};
export const softToIntegral: ByWidth<FunctionRef> = {
  32: toIntegral(SINGLE),
  64: toIntegral(DOUBLE),
};

/** The mode of a conversion: truncation, or what MXCSR says. */
export const conversionMode = (l: Lift, truncates: boolean): Value =>
  truncates ? l.i32(ROUND.truncate) : roundingMode(l);
