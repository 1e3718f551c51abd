// The x87's four operations and the square root on extended numbers, exact until one rounding at
// the end. SDM vol 2A FADD, FDIV, FMUL, FSQRT, FSUB. NaNs and invalid encodings are dealt with in
// special.ts.

import { type FunctionRef, fn } from '../../lift/function.ts';
import type { Lift } from '../../lift/lift.ts';
import type { Value } from '../../lift/value.ts';
import { S } from '../../state/layout.ts';
import {
  normalizeAndRound,
  precisionControl,
  ROUNDING,
  roundExtended,
  roundingMode,
  shiftRightSticky,
  type Wide,
} from './round.ts';
import {
  isDenormal,
  isInfinity,
  isNormal,
  isZero,
  raiseDenormal,
  returnIfSpecial,
  returnIfSpecialSingle,
  signOf,
  unpack,
} from './special.ts';
import {
  BIAS,
  EXPONENT_MAX,
  type Extended,
  INTEGER_BIT,
  raise,
  returnInvalid,
  returnNumber,
  SIGN,
  SW,
} from './state.ts';

/** Upper half of the 128-bit product, from 32-bit pieces. */
export const multiplyHigh: FunctionRef = fn('x87MultiplyHigh', {
  params: { a: 'i64', b: 'i64' },
  result: 'i64',
  build(l, { a, b }) {
    const low = 0xffff_ffffn;
    const aLow = l.let(a.and(low));
    const aHigh = l.let(a.shru(32));
    const bLow = l.let(b.and(low));
    const bHigh = l.let(b.shru(32));
    const first = l.let(aLow.mul(bHigh).add(aLow.mul(bLow).shru(32)));
    const second = l.let(aHigh.mul(bLow).add(first.and(low)));
    l.return(aHigh.mul(bHigh).add(first.shru(32)).add(second.shru(32)));
  },
});

/** The whole product. */
export function multiplyWide(l: Lift, a: Value, b: Value): Wide {
  return { high: l.call(multiplyHigh, a, b), low: l.let(a.mul(b)) };
}

/**
 * 128 by 64 bits: quotient, with the remainder in S.result. The divisor has bit 63 set and exceeds
 * `high`. Two digits of 32 bits by schoolbook division (Knuth vol 2 §4.3.1, algorithm D).
 */
export const divideWide: FunctionRef = fn('x87DivideWide', {
  params: { high: 'i64', low: 'i64', divisor: 'i64' },
  result: 'i64',
  build(l, { high, low, divisor }) {
    const top = l.let(divisor.shru(32));
    const bottom = l.let(divisor.and(0xffff_ffffn));
    const digit = (remainder: Value, next: Value): { quotient: Value; remainder: Value } => {
      const estimate = l.let(remainder.divu(top));
      const q = l.var('i64', estimate);
      const r = l.var('i64', remainder.sub(estimate.mul(top)));
      // The estimate is at most two too large.
      for (let n = 0; n < 2; n++) {
        const isSmall = r.get().shru(32).eqz();
        const product = q.get().mul(bottom);
        const exceeds = q
          .get()
          .shru(32)
          .nez()
          .or(product.gtu(r.get().shl(32).or(next)));
        l.if(isSmall.and(exceeds), () => {
          q.set(q.get().sub(1n));
          r.set(r.get().add(top));
        });
      }
      const quotient = q.get();
      return { quotient, remainder: l.let(remainder.shl(32).or(next).sub(quotient.mul(divisor))) };
    };
    const first = digit(high, l.let(low.shru(32)));
    const second = digit(first.remainder, l.let(low.and(0xffff_ffffn)));
    l.set(S.result, second.remainder);
    l.return(first.quotient.shl(32).add(second.quotient));
  },
});

type Compute = (l: Lift, a: Extended, b: Extended) => void;

/**
 * An operation on two numbers: `special` returns for infinities, zeros and NaNs, `compute` does the
 * rest.
 */
function operation(name: string, special: Compute, compute: Compute): FunctionRef {
  return fn(name, {
    params: {
      aSignificand: 'i64',
      aSignExponent: 'i32',
      bSignificand: 'i64',
      bSignExponent: 'i32',
    },
    result: 'i32',
    build(l, p) {
      const a = { significand: p.aSignificand, signExponent: p.aSignExponent };
      const b = { significand: p.bSignificand, signExponent: p.bSignExponent };
      l.unlikely(isNormal(a).and(isNormal(b)).eqz(), () => {
        returnIfSpecial(l, a, b);
        special(l, a, b);
      });
      compute(l, a, b);
    },
  });
}

/**
 * Sign of an exact zero that is the sum of numbers with different signs: minus only when rounding
 * down.
 */
function zeroSign(l: Lift): Value {
  return roundingMode(l).eq(ROUNDING.down).mul(SIGN);
}

function addSpecial(l: Lift, a: Extended, b: Extended): void {
  const sameSign = signOf(a).eq(signOf(b));
  l.if(isInfinity(a), () => {
    l.if(isInfinity(b).and(sameSign.eqz()), () => returnInvalid(l));
    raiseDenormal(l, b);
    returnNumber(l, a.signExponent, a.significand);
  });
  l.if(isInfinity(b), () => {
    raiseDenormal(l, a);
    returnNumber(l, b.signExponent, b.significand);
  });
  raiseDenormal(l, a, b);
  l.if(isZero(b), () => {
    l.if(isZero(a), () => returnNumber(l, l.select(sameSign, signOf(a), zeroSign(l)), 0n));
    const x = unpack(l, a);
    l.return(l.call(roundExtended, x.sign, x.exponent, x.significand, 0n, precisionControl(l)));
  });
  l.if(isZero(a), () => {
    const x = unpack(l, b);
    l.return(l.call(roundExtended, x.sign, x.exponent, x.significand, 0n, precisionControl(l)));
  });
}

function addFinite(l: Lift, aPacked: Extended, bPacked: Extended): void {
  const a = unpack(l, aPacked);
  const b = unpack(l, bPacked);
  const isSmaller = a.exponent.eq(b.exponent).and(a.significand.ltu(b.significand));
  const swap = l.let(a.exponent.lts(b.exponent).or(isSmaller));
  const pick = (x: Value, y: Value) => l.let(l.select(swap, y, x));
  const sign = pick(a.sign, b.sign);
  const exponent = pick(a.exponent, b.exponent);
  const big = pick(a.significand, b.significand);
  const small = pick(b.significand, a.significand);
  const distance = l.let(exponent.sub(pick(b.exponent, a.exponent)));
  const shifted = shiftRightSticky(l, { high: small, low: l.i64(0) }, distance);
  const precision = precisionControl(l);
  l.if(a.sign.eq(b.sign), () => {
    const sum = l.let(big.add(shifted.high));
    l.if(sum.geu(big), () =>
      l.return(l.call(roundExtended, sign, exponent, sum, shifted.low, precision)),
    );
    const low = sum.shl(63).or(shifted.low.shru(1)).or(shifted.low.and(1n));
    const high = sum.shru(1).or(INTEGER_BIT);
    l.return(l.call(roundExtended, sign, exponent.add(1), high, low, precision));
  });
  const low = l.let(l.i64(0).sub(shifted.low));
  const high = l.let(big.sub(shifted.high).sub(shifted.low.nez().u64()));
  l.if(high.or(low).eqz(), () => returnNumber(l, zeroSign(l), 0n));
  l.return(l.call(normalizeAndRound, sign, exponent, high, low, precision));
}

export const add: FunctionRef = operation('x87Add', addSpecial, addFinite);

export const subtract: FunctionRef = fn('x87Subtract', {
  params: { aSignificand: 'i64', aSignExponent: 'i32', bSignificand: 'i64', bSignExponent: 'i32' },
  result: 'i32',
  build(l, p) {
    // A NaN keeps its sign.
    const isBNan = p.bSignExponent
      .and(EXPONENT_MAX)
      .eq(EXPONENT_MAX)
      .and(p.bSignificand.shl(1).nez());
    const negated = p.bSignExponent.xor(isBNan.eqz().mul(SIGN));
    l.return(l.call(add, p.aSignificand, p.aSignExponent, p.bSignificand, negated));
  },
});

export const multiply: FunctionRef = operation(
  'x87Multiply',
  (l, a, b) => {
    const sign = l.let(signOf(a).xor(signOf(b)));
    l.if(isInfinity(a).or(isInfinity(b)), () => {
      l.if(isZero(a).or(isZero(b)), () => returnInvalid(l));
      raiseDenormal(l, a, b);
      returnNumber(l, sign.or(EXPONENT_MAX), INTEGER_BIT);
    });
    raiseDenormal(l, a, b);
    l.if(isZero(a).or(isZero(b)), () => returnNumber(l, sign, 0n));
  },
  (l, aPacked, bPacked) => {
    const a = unpack(l, aPacked);
    const b = unpack(l, bPacked);
    const product = multiplyWide(l, a.significand, b.significand);
    const isBelow2 = l.let(product.high.ges(0n));
    const exponent = a.exponent
      .add(b.exponent)
      .sub(BIAS - 1)
      .sub(isBelow2);
    const high = product.high.shl(isBelow2).or(product.low.shru(63).and(isBelow2.u64()));
    const low = product.low.shl(isBelow2);
    l.return(l.call(roundExtended, a.sign.xor(b.sign), exponent, high, low, precisionControl(l)));
  },
);

export const divide: FunctionRef = operation(
  'x87Divide',
  (l, a, b) => {
    const sign = l.let(signOf(a).xor(signOf(b)));
    l.if(isInfinity(a), () => {
      l.if(isInfinity(b), () => returnInvalid(l));
      raiseDenormal(l, b);
      returnNumber(l, sign.or(EXPONENT_MAX), INTEGER_BIT);
    });
    l.if(isInfinity(b), () => {
      raiseDenormal(l, a);
      returnNumber(l, sign, 0n);
    });
    l.if(isZero(b), () => {
      l.if(isZero(a), () => returnInvalid(l));
      // Division by zero comes before denormal operands: DE of a memory operand is dropped too.
      l.set(S.x87Raised, SW.ze);
      returnNumber(l, sign.or(EXPONENT_MAX), INTEGER_BIT);
    });
    raiseDenormal(l, a, b);
    l.if(isZero(a), () => returnNumber(l, sign, 0n));
  },
  (l, aPacked, bPacked) => {
    const a = unpack(l, aPacked);
    const b = unpack(l, bPacked);
    // The dividend's significand is halved when it is not the smaller, so that the quotient has
    // exactly 64 bits.
    const isSmaller = l.let(a.significand.ltu(b.significand));
    const halve = l.let(isSmaller.eqz());
    const high = a.significand.shru(halve);
    const low = l.select(halve, a.significand.shl(63), l.i64(0));
    const quotient = l.call(divideWide, high, low, b.significand);
    const remainder = l.get(S.result);
    // Half of the divisor cannot be left over: the quotient would have 65 bits, the dividend has
    // 64.
    const isMore = remainder.gtu(b.significand.sub(remainder));
    const rest = isMore.u64().shl(63).or(remainder.nez().u64());
    const exponent = a.exponent.sub(b.exponent).add(BIAS).sub(isSmaller);
    l.return(
      l.call(roundExtended, a.sign.xor(b.sign), exponent, quotient, rest, precisionControl(l)),
    );
  },
);

/** How far below the root the first estimate is put: its error is below 2^12. */
const ROOT_MARGIN = 1n << 13n;

/** a - b of 128 bits. */
function subtractWide(l: Lift, a: Wide, b: Wide): Wide {
  const high = a.high.sub(b.high).sub(a.low.ltu(b.low).u64());
  return { high: l.let(high), low: l.let(a.low.sub(b.low)) };
}

/**
 * The integer root, which has 64 bits, of a 128-bit number, and what remains. A double-precision
 * root gives 52 bits from below, one division the others but for a few units.
 */
function integerRoot(
  l: Lift,
  radicand: Wide,
): { readonly root: Value; readonly restHigh: Value; readonly restLow: Value } {
  const upper = l.op('f64.convert_i64_u', radicand.high).sqrt();
  const estimate = l.let(
    l.op('i64.trunc_sat_f64_u', l.op('f64.mul', upper, 2 ** 32)).sub(ROOT_MARGIN),
  );
  // (radicand - estimate^2) / (2 * estimate), both without their lowest 16 bits.
  const left = subtractWide(l, radicand, multiplyWide(l, estimate, estimate));
  const quotient = left.high.shl(48).or(left.low.shru(16)).divu(estimate.shru(15));
  // At most one too large, so it is two too small at most.
  const start = l.let(estimate.add(quotient).sub(1n));
  const rest = subtractWide(l, radicand, multiplyWide(l, start, start));
  const root = l.var('i64', start);
  const restHigh = l.var('i64', rest.high);
  const restLow = l.var('i64', rest.low);
  for (let n = 0; n < 3; n++) {
    // (root + 1)^2 - root^2 is 2 * root + 1, of up to 65 bits.
    const twice = l.let(root.get().shl(1));
    const carry = l.let(root.get().shru(63));
    const high = restHigh.get();
    const isBelow = high.gtu(carry).or(high.eq(carry).and(restLow.get().gtu(twice)));
    l.if(isBelow, () => {
      const step = { high: carry, low: l.let(twice.or(1n)) };
      const next = subtractWide(l, { high, low: restLow.get() }, step);
      restHigh.set(next.high);
      restLow.set(next.low);
      root.set(root.get().add(1n));
    });
  }
  return { root: root.get(), restHigh: restHigh.get(), restLow: restLow.get() };
}

/** FSQRT. What remains of the integer root says how to round. */
export const squareRoot: FunctionRef = fn('x87SquareRoot', {
  params: { significand: 'i64', signExponent: 'i32' },
  result: 'i32',
  build(l, { significand, signExponent }) {
    const packed = { significand, signExponent };
    returnIfSpecialSingle(l, packed);
    l.if(isZero(packed), () => returnNumber(l, signExponent, significand));
    l.if(signOf(packed), () => returnInvalid(l));
    l.if(isInfinity(packed), () => returnNumber(l, signExponent, significand));
    l.if(isDenormal(packed), () => raise(l, SW.de));
    const x = unpack(l, packed);
    // An even unbiased exponent: the radicand is significand * 2^63 or 2^64, a 128-bit number with
    // a 64-bit root.
    const isOdd = l.let(x.exponent.xor(1).and(1));
    const radicand = {
      high: l.let(x.significand.shru(l.i32(1).sub(isOdd))),
      low: l.let(l.select(isOdd, l.i64(0), x.significand.shl(63))),
    };
    const { root, restHigh, restLow } = integerRoot(l, radicand);
    const isMore = restHigh.nez().or(restLow.gtu(root));
    const rest = isMore.u64().shl(63).or(restLow.or(restHigh).nez().u64());
    const exponent = x.exponent.sub(BIAS).shrs(1).add(BIAS);
    l.return(l.call(roundExtended, 0, exponent, root, rest, precisionControl(l)));
  },
});
