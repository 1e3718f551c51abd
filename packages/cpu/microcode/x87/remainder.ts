// FPREM, FPREM1, FSCALE and FXTRACT: what takes numbers apart and needs no approximation. SDM vol
// 2A.

import { type FunctionRef, fn } from '../../lift/function.ts';
import type { Lift } from '../../lift/lift.ts';
import type { Value } from '../../lift/value.ts';
import { S } from '../../state/layout.ts';
import { divideWide } from './arithmetic.ts';
import { fromInteger } from './convert.ts';
import { underflowStack } from './operate.ts';
import { FULL_PRECISION, normalizeAndRound, roundExtended } from './round.ts';
import {
  isDenormal,
  isInfinity,
  isNan,
  isZero,
  raiseDenormal,
  returnIfSpecial,
  returnIfSpecialSingle,
  signOf,
  unpack,
} from './special.ts';
import {
  BIAS,
  callNumber,
  EXPONENT_MAX,
  type Extended,
  INTEGER_BIT,
  isEmpty,
  physical,
  raise,
  readRegister,
  report,
  returnInvalid,
  returnNumber,
  SIGN,
  SW,
  writeIndefinite,
  writeRegister,
} from './state.ts';

const PAIR = {
  aSignificand: 'i64',
  aSignExponent: 'i32',
  bSignificand: 'i64',
  bSignExponent: 'i32',
} as const;

/** Quotients of up to 63 bits are computed at once; beyond, C2 asks for another round. */
const QUOTIENT_BITS_MAX = 63;
/** Given instead of condition codes: a NaN or an invalid operation clears C1 and C2 only. */
const KEEP_CONDITIONS = -1;

/** C0, C3 and C1 from bits 2, 1 and 0 of the quotient. */
function quotientConditions(quotient: Value): Value {
  const bit = (n: number, condition: number) => quotient.bit(n).mul(condition);
  return bit(2, SW.c0).or(bit(1, SW.c3)).or(bit(0, SW.c1));
}

/** ST(0) rem ST(1). C0–C3 are the second result, in S.result[1], or KEEP_CONDITIONS. */
function remainder(name: string, toNearest: boolean): FunctionRef {
  return fn(name, {
    params: PAIR,
    result: 'i32',
    build(l, p) {
      const a = { significand: p.aSignificand, signExponent: p.aSignExponent };
      const b = { significand: p.bSignificand, signExponent: p.bSignExponent };
      l.set(S.result, BigInt(KEEP_CONDITIONS), 1);
      returnIfSpecial(l, a, b);
      l.if(isInfinity(a).or(isZero(b)), () => returnInvalid(l));
      raiseDenormal(l, a, b);
      l.set(S.result, 0n, 1);
      l.if(isZero(a), () => returnNumber(l, a.signExponent, a.significand));
      const x = unpack(l, a);
      const finish = (sign: Value, exponent: Value, rest: Value, conditions: Value) => {
        const second = l.let(conditions.u64());
        const result = l.call(normalizeAndRound, sign, exponent, rest, 0n, FULL_PRECISION);
        l.set(S.result, second, 1);
        l.return(result);
      };
      const unchanged = () => finish(x.sign, x.exponent, x.significand, l.i32(0));
      l.if(isInfinity(b), unchanged);
      const y = unpack(l, b);
      const distance = l.let(x.exponent.sub(y.exponent));
      if (toNearest) {
        l.if(distance.lts(-1), unchanged);
        l.if(distance.eq(-1), () => {
          // Between a quarter and one of the divisor: more than half of it is rounded to one.
          l.if(x.significand.leu(y.significand), unchanged);
          const rest = y.significand.sub(x.significand.sub(y.significand));
          finish(x.sign.xor(SIGN), x.exponent, l.let(rest), l.i32(SW.c1));
        });
      } else l.if(distance.lts(0), unchanged);
      const isPartial = l.let(distance.gts(QUOTIENT_BITS_MAX));
      // A partial round takes 32 to 63 bits off, as many as leave a multiple of 32.
      const count = l.let(l.select(isPartial, distance.and(31).or(32), distance));
      const r = divideShifted(l, x.significand, y.significand, count);
      const quotient = l.var('i64', r.quotient);
      const rest = l.var('i64', r.rest);
      const sign = l.var('i32', x.sign);
      if (toNearest) {
        const left = l.let(y.significand.sub(r.rest));
        const isMore = r.rest.gtu(left).or(r.rest.eq(left).and(r.quotient.i32().and(1)));
        l.if(isMore.and(isPartial.eqz()), () => {
          quotient.set(r.quotient.add(1n));
          rest.set(left);
          sign.set(x.sign.xor(SIGN));
        });
      }
      const whole = quotientConditions(quotient.get().i32());
      const conditions = l.let(l.select(isPartial, l.i32(SW.c2), whole));
      l.if(rest.get().eqz(), () => {
        l.set(S.result, conditions.u64(), 1);
        returnNumber(l, x.sign, 0n);
      });
      finish(sign.get(), l.let(x.exponent.sub(count)), rest.get(), conditions);
    },
  });
}

/** significand * 2^count divided by a normalised divisor; the quotient is modulo 2^64. */
function divideShifted(
  l: Lift,
  significand: Value,
  divisor: Value,
  count: Value,
): { quotient: Value; rest: Value } {
  const fits = l.let(significand.geu(divisor));
  const first = l.let(l.select(fits, significand.sub(divisor), significand));
  const quotient = l.var('i64', fits.u64());
  const rest = l.var('i64', first);
  l.if(count, () => {
    const high = first.shru(l.i32(64).sub(count));
    const digits = l.call(divideWide, high, first.shl(count), divisor);
    rest.set(l.get(S.result));
    quotient.set(fits.u64().shl(count).add(digits));
  });
  return { quotient: quotient.get(), rest: rest.get() };
}

/** The instruction around it: ST(0) is replaced and C0–C3 are set. */
function onStack(name: string, operation: FunctionRef): FunctionRef {
  return fn(name, {
    params: {},
    build(l) {
      const top = physical(l, 0);
      const next = physical(l, 1);
      l.set(S.x87Raised, 0);
      l.unlikely(isEmpty(l, top).or(isEmpty(l, next)), () => {
        l.set(S.x87Status, l.get(S.x87Status).and(~SW.c2));
        underflowStack(l, top);
        l.return();
      });
      const a = readRegister(l, top);
      const b = readRegister(l, next);
      const r = callNumber(
        l,
        operation,
        a.significand,
        a.signExponent,
        b.significand,
        b.signExponent,
      );
      const conditions = l.let(l.get(S.result, 1).i32());
      l.set(S.x87Status, l.get(S.x87Status).and(~SW.c2));
      l.if(l.call(report), () => {
        l.if(conditions.ne(KEEP_CONDITIONS), () =>
          l.set(S.x87Status, l.get(S.x87Status).and(~SW.conditions).or(conditions)),
        );
        writeRegister(l, top, r);
      });
    },
  });
}

export const partialRemainder: FunctionRef = onStack('x87Fprem', remainder('x87Remainder', false));
export const partialRemainder1: FunctionRef = onStack(
  'x87Fprem1',
  remainder('x87Remainder1', true),
);

/** Exponents beyond this scale everything to zero or infinity. */
const SCALE_MAX = 0x1_0000;

/** ST(0) * 2^trunc(ST(1)). */
const scaleNumber: FunctionRef = fn('x87ScaleNumber', {
  params: PAIR,
  result: 'i32',
  build(l, p) {
    const a = { significand: p.aSignificand, signExponent: p.aSignExponent };
    const b = { significand: p.bSignificand, signExponent: p.bSignExponent };
    returnIfSpecial(l, a, b);
    l.if(isInfinity(b), () => {
      l.if(signOf(b), () => {
        l.if(isInfinity(a), () => returnInvalid(l));
        raiseDenormal(l, a);
        returnNumber(l, signOf(a), 0n);
      });
      l.if(isZero(a), () => returnInvalid(l));
      raiseDenormal(l, a);
      returnNumber(l, signOf(a).or(EXPONENT_MAX), INTEGER_BIT);
    });
    raiseDenormal(l, a, b);
    l.if(isZero(a).or(isInfinity(a)), () => returnNumber(l, a.signExponent, a.significand));
    const x = unpack(l, a);
    const power = l.let(b.signExponent.and(EXPONENT_MAX).sub(BIAS));
    const magnitude = l.let(b.significand.shru(l.i32(63).sub(power)).i32());
    const isLarge = l.let(l.select(power.ges(16), l.i32(SCALE_MAX), magnitude));
    const by = l.let(l.select(power.lts(0), l.i32(0), isLarge));
    const exponent = l.select(signOf(b), x.exponent.sub(by), x.exponent.add(by));
    l.return(l.call(roundExtended, x.sign, exponent, x.significand, 0n, FULL_PRECISION));
  },
});

/** FSCALE. */
export const scale: FunctionRef = fn('x87Scale', {
  params: {},
  build(l) {
    const top = physical(l, 0);
    const next = physical(l, 1);
    l.set(S.x87Raised, 0);
    l.unlikely(isEmpty(l, top).or(isEmpty(l, next)), () => {
      underflowStack(l, top);
      l.return();
    });
    const a = readRegister(l, top);
    const b = readRegister(l, next);
    const r = callNumber(
      l,
      scaleNumber,
      a.significand,
      a.signExponent,
      b.significand,
      b.signExponent,
    );
    l.if(l.call(report), () => writeRegister(l, top, r));
  },
});

/**
 * The exponent of a number as a number; the significand, of exponent 0, is left in S.result[1] and
 * [2].
 */
const splitNumber: FunctionRef = fn('x87SplitNumber', {
  params: { significand: 'i64', signExponent: 'i32' },
  result: 'i32',
  build(l, { significand, signExponent }) {
    const a = { significand, signExponent };
    const setSecond = (s: Value, e: Value) => {
      l.set(S.result, s, 1);
      l.set(S.result, e.u64(), 2);
    };
    l.set(S.result, INTEGER_BIT | (1n << 62n), 1);
    l.set(S.result, 0xffffn, 2);
    l.if(isZero(a), () => {
      raise(l, SW.ze);
      setSecond(significand, signExponent);
      returnNumber(l, SIGN | EXPONENT_MAX, INTEGER_BIT);
    });
    l.if(isNan(a).and(significand.lts(0n)), () =>
      setSecond(l.let(significand.or(1n << 62n)), signExponent),
    );
    returnIfSpecialSingle(l, a);
    l.if(isInfinity(a), () => {
      setSecond(significand, signExponent);
      returnNumber(l, EXPONENT_MAX, INTEGER_BIT);
    });
    l.if(isDenormal(a), () => raise(l, SW.de));
    const x = unpack(l, a);
    setSecond(x.significand, l.let(x.sign.or(BIAS)));
    const exponent = callNumber(l, fromInteger, x.exponent.sub(BIAS).s64());
    returnNumber(l, exponent.signExponent, exponent.significand);
  },
});

/** FXTRACT: the exponent replaces ST(0), then the significand is pushed. */
export const extract: FunctionRef = fn('x87Extract', {
  params: {},
  build(l) {
    const top = physical(l, 0);
    const above = physical(l, 7);
    l.set(S.x87Raised, 0);
    const isMissing = isEmpty(l, top);
    l.unlikely(isMissing.or(isEmpty(l, above).eqz()), () => {
      l.set(S.x87Raised, l.select(isMissing, l.i32(SW.ie | SW.sf), SW.ie | SW.sf | SW.c1));
      l.if(l.call(report), () => {
        writeIndefinite(l, top);
        writeIndefinite(l, above);
        l.set(S.x87Top, above);
      });
      l.return();
    });
    const a = readRegister(l, top);
    const exponent = callNumber(l, splitNumber, a.significand, a.signExponent);
    const significand: Extended = {
      significand: l.get(S.result, 1),
      signExponent: l.let(l.get(S.result, 2).i32()),
    };
    l.if(l.call(report), () => {
      writeRegister(l, top, exponent);
      writeRegister(l, above, significand);
      l.set(S.x87Top, above);
    });
  },
});
