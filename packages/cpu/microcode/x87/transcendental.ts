// F2XM1, FYL2X, FYL2XP1 and FPATAN. SDM vol 1 §8.3.9–8.3.10; vol 2A tables 3-29 (FPATAN), 3-48 and
// 3-49. Series on working numbers (wide.ts), rounded once: within one unit in the last place, as
// processors promise.

import { type FunctionRef, fn } from '../../lift/function.ts';
import type { Lift } from '../../lift/lift.ts';
import type { Value } from '../../lift/value.ts';
import { S } from '../../state/layout.ts';
import { underflowStack } from './operate.ts';
import {
  exponentOf,
  isInfinity,
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
  pop,
  raise,
  readRegister,
  report,
  returnInvalid,
  returnNumber,
  SIGN,
  SW,
  writeRegister,
} from './state.ts';
import { ratio, type WideConstant, WideMachine } from './wide.ts';

const PAIR = {
  aSignificand: 'i64',
  aSignExponent: 'i32',
  bSignificand: 'i64',
  bSignExponent: 'i32',
} as const;

/** Fixed-point values with 192 bits behind the point, cut. */
const SCALE = 1n << 192n;
const LN2_FIXED = 0xb17217f7d1cf79abc9e3b39803f2f6af40f343267298b62dn;
const PI_FIXED = 0x3243f6a8885a308d313198a2e03707344a4093822299f31d0n;

function squareRootOf(value: bigint): bigint {
  let x = 1n << BigInt((value.toString(2).length + 1) >> 1);
  for (;;) {
    const next = (x + value / x) >> 1n;
    if (next >= x) return x;
    x = next;
  }
}

export const LN2: WideConstant = ratio(LN2_FIXED, SCALE);
export const PI: WideConstant = ratio(PI_FIXED, SCALE);
const LOG2_E_TIMES_2 = ratio(2n * SCALE, LN2_FIXED);
const HALF_PI = ratio(PI_FIXED, 2n * SCALE);
const SIXTH_PI = ratio(PI_FIXED, 6n * SCALE);
const SQRT3 = ratio(squareRootOf(3n * SCALE * SCALE), SCALE);
const ONE = ratio(1n, 1n);
const MINUS_ONE = ratio(-1n, 1n);
const TWO = ratio(2n, 1n);

/** Significand of √2 in 64 bits: where FYL2X halves its argument. */
const SQRT2_SIGNIFICAND = BigInt.asIntN(64, 0xb504_f333_f9de_6484n);

function factorial(n: number): bigint {
  return n < 2 ? 1n : BigInt(n) * factorial(n - 1);
}
/** (e^t - 1) / t for |t| < 0.7: the first term left out is below 2^-110. */
const EXPM1 = Array.from({ length: 26 }, (_, k) => ratio(1n, factorial(k + 1)));
/** artanh(s) / s in s², for |s| < 0.172. */
const ARTANH = Array.from({ length: 22 }, (_, k) => ratio(1n, BigInt(2 * k + 1)));
/** arctan(t) / t in t², for |t| < 0.268. */
const ARCTAN = Array.from({ length: 30 }, (_, k) => ratio(k % 2 ? -1n : 1n, BigInt(2 * k + 1)));

/**
 * 2^x - 1. Defined for -1 to 1; other finite arguments are given back, as the manual leaves them
 * open.
 */
export const exponential: FunctionRef = fn('x87Exponential', {
  params: { significand: 'i64', signExponent: 'i32' },
  result: 'i32',
  build(l, { significand, signExponent }) {
    const packed = { significand, signExponent };
    returnIfSpecialSingle(l, packed);
    l.if(isZero(packed), () => returnNumber(l, signExponent, significand));
    l.if(exponentOf(packed).geu(BIAS), () => {
      const isMinus = l.let(signOf(packed).nez());
      l.if(isInfinity(packed), () => {
        l.if(isMinus, () => returnNumber(l, SIGN | BIAS, INTEGER_BIT));
        returnNumber(l, signExponent, significand);
      });
      // Processors call ±1 inexact, too.
      l.set(S.x87Raised, SW.pe);
      const isMinusOne = signExponent.eq(SIGN | BIAS).and(significand.eq(INTEGER_BIT));
      l.if(isMinusOne, () => returnNumber(l, SIGN | (BIAS - 1), INTEGER_BIT));
      returnNumber(l, signExponent, significand);
    });
    raiseDenormal(l, packed);
    const w = new WideMachine(l);
    w.load(2, unpack(l, packed));
    w.multiplyConstant(2, 2, LN2);
    w.polynomial(0, 2, EXPM1);
    w.multiply(0, 0, 2);
    l.return(w.round(0, 1));
  },
});

/** number 0 = log2 of (1 + s) / (1 - s), s in number 2. */
function logarithmOfQuotient(w: WideMachine): void {
  w.multiply(1, 2, 2);
  w.polynomial(0, 1, ARTANH);
  w.multiply(0, 0, 2);
  w.multiplyConstant(0, 0, LOG2_E_TIMES_2);
}

/** b * log2(a) where one of them is 0, 1, infinite or negative. */
function logarithmSpecial(l: Lift, a: Extended, b: Extended): void {
  const bSign = l.let(signOf(b));
  const infinity = (sign: Value) => returnNumber(l, sign.or(EXPONENT_MAX), INTEGER_BIT);
  l.if(signOf(a).nez().and(isZero(a).eqz()), () => returnInvalid(l));
  l.if(isZero(a), () => {
    l.if(isZero(b), () => returnInvalid(l));
    l.if(isInfinity(b).eqz(), () => l.set(S.x87Raised, SW.ze));
    infinity(bSign.xor(SIGN));
  });
  l.if(isInfinity(a), () => {
    l.if(isZero(b), () => returnInvalid(l));
    raiseDenormal(l, b);
    infinity(bSign);
  });
  const isOne = l.let(exponentOf(a).eq(BIAS).and(a.significand.eq(INTEGER_BIT)));
  const isBelowOne = l.let(exponentOf(a).ltu(BIAS));
  const sign = l.let(bSign.xor(isBelowOne.mul(SIGN)));
  l.if(isInfinity(b), () => {
    l.if(isOne, () => returnInvalid(l));
    raiseDenormal(l, a);
    infinity(sign);
  });
  raiseDenormal(l, a, b);
  l.if(isZero(b).or(isOne), () => returnNumber(l, sign, 0n));
}

/** b * log2(a). */
export const logarithm: FunctionRef = fn('x87Logarithm', {
  params: PAIR,
  result: 'i32',
  build(l, p) {
    const a = { significand: p.aSignificand, signExponent: p.aSignExponent };
    const b = { significand: p.bSignificand, signExponent: p.bSignExponent };
    returnIfSpecial(l, a, b);
    logarithmSpecial(l, a, b);
    const w = new WideMachine(l);
    const x = unpack(l, a);
    w.load(3, unpack(l, b));
    // a = m * 2^k with m from √½ to √2.
    const halve = l.let(x.significand.gtu(SQRT2_SIGNIFICAND));
    w.loadInteger(4, l.let(x.exponent.sub(BIAS).add(halve)));
    l.if(x.significand.eq(INTEGER_BIT), () => {
      // A power of two has an exact logarithm; processors report the product as inexact all the
      // same.
      w.multiply(0, 4, 3);
      const result = l.let(w.round(0, 0));
      raise(l, l.select(result.and(EXPONENT_MAX), l.i32(SW.pe), SW.pe | SW.ue));
      l.return(result);
    });
    w.setParts(5, x.significand, l.i64(0), l.i32(0).sub(halve), 0);
    w.addConstant(2, 5, MINUS_ONE);
    w.addConstant(5, 5, ONE);
    w.divide(2, 2, 5);
    logarithmOfQuotient(w);
    w.add(0, 0, 4);
    w.multiply(0, 0, 3);
    l.return(w.round(0, 1));
  },
});

/**
 * b * log2(a + 1). The manual leaves results open beyond |a| < 1 - √½: they are right above -1,
 * else a itself.
 */
export const logarithmPlus1: FunctionRef = fn('x87LogarithmPlus1', {
  params: PAIR,
  result: 'i32',
  build(l, p) {
    const a = { significand: p.aSignificand, signExponent: p.aSignExponent };
    const b = { significand: p.bSignificand, signExponent: p.bSignExponent };
    returnIfSpecial(l, a, b);
    const sign = l.let(signOf(a).xor(signOf(b)));
    l.if(isInfinity(a).or(isInfinity(b)), () => {
      l.if(isZero(a).or(isZero(b)), () => returnInvalid(l));
      l.if(isInfinity(a).and(signOf(a).nez()), () => returnInvalid(l));
      raiseDenormal(l, a, b);
      returnNumber(l, sign.or(EXPONENT_MAX), INTEGER_BIT);
    });
    raiseDenormal(l, a, b);
    l.if(isZero(a).or(isZero(b)), () => returnNumber(l, sign, 0n));
    l.if(signOf(a).nez().and(exponentOf(a).geu(BIAS)), () => {
      raise(l, SW.pe);
      returnNumber(l, a.signExponent, a.significand);
    });
    const w = new WideMachine(l);
    const x = unpack(l, a);
    w.load(2, x);
    w.load(3, unpack(l, b));
    l.if(x.exponent.sub(BIAS).ges(-2), () => {
      // Far from zero: by way of 1 + a, whose exponent is taken off.
      w.addConstant(5, 2, ONE);
      const halve = l.let(w.significand(5).gtu(SQRT2_SIGNIFICAND));
      w.loadInteger(4, l.let(w.exponent(5).add(halve)));
      w.setExponent(5, l.i32(0).sub(halve));
      w.addConstant(2, 5, MINUS_ONE);
      w.addConstant(5, 5, ONE);
      w.divide(2, 2, 5);
      logarithmOfQuotient(w);
      w.add(0, 0, 4);
      w.multiply(0, 0, 3);
      l.return(w.round(0, 1));
    });
    w.addConstant(5, 2, TWO);
    w.divide(2, 2, 5);
    logarithmOfQuotient(w);
    w.multiply(0, 0, 3);
    l.return(w.round(0, 1));
  },
});

/** A multiple of π with the sign of `sign`, rounded. */
function returnAngle(l: Lift, sign: Value, numerator: bigint, denominator: bigint): void {
  const c = ratio(PI_FIXED * numerator, SCALE * denominator);
  const w = new WideMachine(l);
  w.set(0, c);
  w.negateIf(0, sign.nez());
  l.return(w.round(0, 1));
}

function arctangentSpecial(l: Lift, x: Extended, y: Extended): void {
  const sign = l.let(signOf(y));
  const isLeft = l.let(signOf(x).nez());
  l.if(isInfinity(y), () => {
    l.if(isInfinity(x), () => {
      l.if(isLeft, () => returnAngle(l, sign, 3n, 4n));
      returnAngle(l, sign, 1n, 4n);
    });
    raiseDenormal(l, x);
    returnAngle(l, sign, 1n, 2n);
  });
  raiseDenormal(l, x, y);
  l.if(isInfinity(x).or(isZero(y)), () => {
    l.if(isLeft, () => returnAngle(l, sign, 1n, 1n));
    returnNumber(l, sign, 0n);
  });
  l.if(isZero(x), () => returnAngle(l, sign, 1n, 2n));
}

/** The angle of the point (x, y): arctan(b / a), all four quadrants. */
export const arctangent: FunctionRef = fn('x87Arctangent', {
  params: PAIR,
  result: 'i32',
  build(l, p) {
    const x = { significand: p.aSignificand, signExponent: p.aSignExponent };
    const y = { significand: p.bSignificand, signExponent: p.bSignExponent };
    returnIfSpecial(l, x, y);
    arctangentSpecial(l, x, y);
    const w = new WideMachine(l);
    const ux = unpack(l, x);
    const uy = unpack(l, y);
    w.load(2, { ...ux, sign: l.i32(0) });
    w.load(3, { ...uy, sign: l.i32(0) });
    const sameExponent = ux.exponent.eq(uy.exponent);
    const isSteep = l.let(
      uy.exponent.gts(ux.exponent).or(sameExponent.and(uy.significand.gtu(ux.significand))),
    );
    l.if(
      isSteep,
      () => w.divide(2, 2, 3),
      () => w.divide(2, 3, 2),
    );
    // From tan 15° on, the angle is taken from 30°: arctan t = 30° + arctan((t√3 - 1) / (t + √3)).
    const isWide = l.let(w.exponent(2).ges(-2));
    l.if(isWide, () => {
      w.multiplyConstant(4, 2, SQRT3);
      w.addConstant(4, 4, MINUS_ONE);
      w.addConstant(5, 2, SQRT3);
      w.divide(2, 4, 5);
    });
    w.multiply(1, 2, 2);
    w.polynomial(0, 1, ARCTAN);
    w.multiply(0, 0, 2);
    l.if(isWide, () => w.addConstant(0, 0, SIXTH_PI));
    l.if(isSteep, () => {
      w.negateIf(0, 1);
      w.addConstant(0, 0, HALF_PI);
    });
    l.if(ux.sign, () => {
      w.negateIf(0, 1);
      w.addConstant(0, 0, PI);
    });
    w.negateIf(0, uy.sign.nez());
    l.return(w.round(0, 1));
  },
});

/** ST(1) = f(ST(0), ST(1)), then a pop. */
function replacesNext(name: string, operation: FunctionRef): FunctionRef {
  return fn(name, {
    params: {},
    build(l) {
      const top = physical(l, 0);
      const next = physical(l, 1);
      l.set(S.x87Raised, 0);
      l.unlikely(isEmpty(l, top).or(isEmpty(l, next)), () => {
        underflowStack(l, next, () => pop(l));
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
      l.if(l.call(report), () => {
        writeRegister(l, next, r);
        pop(l);
      });
    },
  });
}

export const yLog2x: FunctionRef = replacesNext('x87Fyl2x', logarithm);
export const yLog2xPlus1: FunctionRef = replacesNext('x87Fyl2xp1', logarithmPlus1);
export const patan: FunctionRef = replacesNext('x87Fpatan', arctangent);
