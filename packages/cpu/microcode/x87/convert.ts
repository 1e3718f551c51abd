// Loads and stores: extended numbers from and to integers, packed BCD and the storage formats, and
// the stack checks of pushing and popping. SDM vol 1 §4.8.4.3, §8.2; vol 2A FBLD, FBSTP, FILD,
// FIST, FISTTP, FLD, FST.

import { type FunctionRef, fn } from '../../lift/function.ts';
import type { Lift } from '../../lift/lift.ts';
import type { Value } from '../../lift/value.ts';
import { S } from '../../state/layout.ts';
import { widenInteger } from './quick.ts';
import { ROUNDING, roundingMode, shiftRightSticky, toDouble, toSingle } from './round.ts';
import { isUnsupported, isZero, raiseDenormal, returnIfSpecialSingle, unpack } from './special.ts';
import {
  BIAS,
  EXPONENT_MAX,
  type Extended,
  INDEFINITE,
  INTEGER_BIT,
  isEmpty,
  physical,
  raise,
  readRegister,
  report,
  returnNumber,
  SIGN,
  SW,
  writeRegister,
} from './state.ts';

/** Pushes a number whose conversion raised what is in S.x87Raised. A full stack: IE, SF and C1. */
export const push: FunctionRef = fn('x87Push', {
  params: { significand: 'i64', signExponent: 'i32' },
  build(l, { significand, signExponent }) {
    const top = physical(l, 7);
    const value = l.var('i64', significand);
    const high = l.var('i32', signExponent);
    l.unlikely(isEmpty(l, top).eqz(), () => {
      l.set(S.x87Raised, SW.ie | SW.sf | SW.c1);
      value.set(INDEFINITE.significand);
      high.set(INDEFINITE.signExponent);
    });
    // An unmasked denormal operand of FLD is reported and pushed all the same.
    const isStopped = l.get(S.x87Raised).and(l.get(S.x87Control).not()).and(SW.ie);
    l.run(report);
    l.if(isStopped.eqz(), () => {
      writeRegister(l, top, { significand: value.get(), signExponent: high.get() });
      l.set(S.x87Top, top);
    });
  },
});

/** A signed integer as an extended number: always exact. */
export const fromInteger: FunctionRef = fn('x87FromInteger', {
  params: { value: 'i64' },
  result: 'i32',
  build(l, { value }) {
    const x = widenInteger(l, value);
    returnNumber(l, x.signExponent, x.significand);
  },
});

/** What an integer store gives for a number that does not fit: the most negative integer. */
function returnIntegerInvalid(l: Lift, limit: Value): void {
  l.set(S.x87Raised, SW.ie);
  l.return(l.i64(0).sub(limit));
}

/**
 * Rounds to a signed integer below `limit` (a power of two) in magnitude, -limit included. Raises
 * IE and gives -limit for what does not fit; raises PE and C1. `mode` is a rounding mode.
 */
export const toInteger: FunctionRef = fn('x87ToInteger', {
  params: { significand: 'i64', signExponent: 'i32', limit: 'i64', mode: 'i32' },
  result: 'i64',
  build(l, { significand, signExponent, limit, mode }) {
    const packed = { significand, signExponent };
    l.if(isZero(packed), () => l.return(0n, 'i64'));
    l.if(isUnsupported(packed), () => returnIntegerInvalid(l, limit));
    const x = unpack(l, packed);
    l.if(x.exponent.gts(BIAS + 63), () => returnIntegerInvalid(l, limit));
    const distance = l.let(l.i32(BIAS + 63).sub(x.exponent));
    const s = shiftRightSticky(l, { high: x.significand, low: l.i64(0) }, distance);
    const isNegative = l.let(x.sign.nez());
    const isUp = l.let(roundsUp(l, mode, isNegative, s.high, s.low));
    const magnitude = l.let(s.high.add(isUp.u64()));
    const carried = magnitude.ltu(s.high);
    const bound = l.select(isNegative, limit, limit.sub(1n));
    l.if(carried.or(magnitude.gtu(bound)), () => returnIntegerInvalid(l, limit));
    raise(l, s.low.nez().mul(SW.pe).or(isUp.mul(SW.c1)));
    l.return(l.select(isNegative, l.i64(0).sub(magnitude), magnitude));
  },
});

/** Whether a magnitude with a fraction behind it is rounded to the next larger one: 1 or 0. */
export function roundsUp(
  l: Lift,
  mode: Value,
  isNegative: Value,
  whole: Value,
  fraction: Value,
): Value {
  const half = fraction.eq(INTEGER_BIT).and(whole.i32().and(1));
  const nearest = fraction.gtu(INTEGER_BIT).or(half);
  const away = l.select(isNegative, mode.eq(ROUNDING.down), mode.eq(ROUNDING.up));
  return l.select(mode.eqz(), nearest, away.and(fraction.nez()));
}

/** FRNDINT's result. */
export const roundToInteger: FunctionRef = fn('x87RoundToInteger', {
  params: { significand: 'i64', signExponent: 'i32' },
  result: 'i32',
  build(l, { significand, signExponent }) {
    const packed = { significand, signExponent };
    returnIfSpecialSingle(l, packed);
    const same = () => returnNumber(l, signExponent, significand);
    l.if(
      signExponent
        .and(EXPONENT_MAX)
        .geu(BIAS + 63)
        .or(isZero(packed)),
      same,
    );
    raiseDenormal(l, packed);
    const x = unpack(l, packed);
    const distance = l.let(l.i32(BIAS + 63).sub(x.exponent));
    const s = shiftRightSticky(l, { high: x.significand, low: l.i64(0) }, distance);
    l.if(s.low.eqz(), same);
    const isUp = l.let(roundsUp(l, roundingMode(l), x.sign.nez(), s.high, s.low));
    raise(l, l.i32(SW.pe).or(isUp.mul(SW.c1)));
    const magnitude = l.let(s.high.add(isUp.u64()));
    l.if(magnitude.eqz(), () => returnNumber(l, x.sign, 0n));
    const shift = l.let(magnitude.clz().i32());
    returnNumber(l, x.sign.or(l.i32(BIAS + 63).sub(shift)), magnitude.shl(shift));
  },
});

/** 10^18: packed BCD has eighteen digits. */
const BCD_LIMIT = 1_000_000_000_000_000_000n;

/**
 * FBLD: digits in the ten bytes `low` and `high` (16 bits) to an extended number. Digits above 9
 * are not looked for.
 */
export const fromBcd: FunctionRef = fn('x87FromBcd', {
  params: { low: 'i64', high: 'i32' },
  result: 'i32',
  build(l, { low, high }) {
    const value = l.var('i64', high.shru(4).and(15).mul(10).add(high.and(15)).u64());
    const rest = l.var('i64', low);
    const count = l.var('i32', 16);
    l.while(
      () => count.get(),
      () => {
        value.set(value.get().mul(10n).add(rest.get().shru(60)));
        rest.set(rest.get().shl(4));
        count.set(count.get().sub(1));
      },
    );
    const signExponent = l.call(fromInteger, value.get());
    l.return(signExponent.or(high.and(SIGN)));
  },
});

/** FBSTP: the low eight bytes, and the high two in S.result. */
export const toBcd: FunctionRef = fn('x87ToBcd', {
  params: { significand: 'i64', signExponent: 'i32' },
  result: 'i64',
  build(l, { significand, signExponent }) {
    const integer = l.call(toInteger, significand, signExponent, INTEGER_BIT, roundingMode(l));
    const magnitude = l.let(l.select(integer.lts(0n), l.i64(0).sub(integer), integer));
    const isInvalid = l.get(S.x87Raised).and(SW.ie).or(magnitude.geu(BCD_LIMIT));
    l.if(isInvalid, () => {
      l.set(S.x87Raised, SW.ie);
      l.set(S.result, 0xffffn);
      l.return(INDEFINITE.significand, 'i64');
    });
    const rest = l.var('i64', magnitude);
    const digits = l.var('i64', 0);
    const count = l.var('i32', 16);
    l.while(
      () => count.get(),
      () => {
        digits.set(digits.get().shru(4).or(rest.get().remu(10n).shl(60)));
        rest.set(rest.get().divu(10n));
        count.set(count.get().sub(1));
      },
    );
    const last = rest.get();
    const sign = signExponent.and(SIGN).u64();
    l.set(S.result, last.divu(10n).shl(4).or(last.remu(10n)).or(sign));
    l.return(digits.get());
  },
});

/** What a store gives for ST(0): the format's bits, with what it raised in S.x87Raised. */
function storeOf(
  name: string,
  params: Readonly<Record<string, 'i32' | 'i64'>>,
  convert: (l: Lift, x: Extended, p: Readonly<Record<string, Value>>) => Value,
): FunctionRef {
  return fn(name, {
    params,
    result: 'i64',
    build(l, p) {
      const top = physical(l, 0);
      l.set(S.x87Raised, 0);
      const empty = isEmpty(l, top);
      const x = readRegister(l, top);
      const bits = convert(
        l,
        {
          significand: l.let(l.select(empty, l.i64(INDEFINITE.significand), x.significand)),
          signExponent: l.let(l.select(empty, l.i32(INDEFINITE.signExponent), x.signExponent)),
        },
        p,
      );
      // An empty ST(0) is a stack fault and nothing else.
      l.if(empty, () => l.set(S.x87Raised, SW.ie | SW.sf));
      l.return(bits);
    },
  });
}

export const storeSingle: FunctionRef = storeOf('x87StoreSingle', {}, (l, x) =>
  l.call(toSingle, x.significand, x.signExponent),
);
export const storeDouble: FunctionRef = storeOf('x87StoreDouble', {}, (l, x) =>
  l.call(toDouble, x.significand, x.signExponent),
);
/** As toInteger. */
export const storeInteger: FunctionRef = storeOf(
  'x87StoreInteger',
  { limit: 'i64', mode: 'i32' },
  (l, x, { limit, mode }) => l.call(toInteger, x.significand, x.signExponent, limit!, mode!),
);
/** The significand; sign and exponent in S.result. */
export const storeExtended: FunctionRef = storeOf('x87StoreExtended', {}, (l, x) => {
  l.set(S.result, x.signExponent.u64());
  return x.significand;
});
/** The low eight bytes; the others in S.result. */
export const storeBcd: FunctionRef = storeOf('x87StoreBcd', {}, (l, x) =>
  l.call(toBcd, x.significand, x.signExponent),
);
