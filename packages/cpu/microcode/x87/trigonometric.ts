// FSIN, FCOS, FSINCOS and FPTAN. SDM vol 1 §8.3.8, §8.3.10; vol 2A. The argument is reduced with
// the 66 bits of π that processors use, so that results for large arguments are theirs and not the
// mathematically exact ones.

import { type FunctionRef, fn } from '../../lift/function.ts';
import type { Lift } from '../../lift/lift.ts';
import type { Value } from '../../lift/value.ts';
import { S } from '../../state/layout.ts';
import { underflowStack } from './operate.ts';
import { normalize } from './round.ts';
import {
  exponentOf,
  isInfinity,
  isZero,
  raiseDenormal,
  returnIfSpecialSingle,
  unpack,
} from './special.ts';
import {
  BIAS,
  callNumber,
  type Extended,
  INTEGER_BIT,
  isEmpty,
  physical,
  readRegister,
  report,
  returnInvalid,
  returnNumber,
  SW,
  writeIndefinite,
  writeRegister,
} from './state.ts';
import { ratio, WideMachine } from './wide.ts';

/** π / 2 in units of 2^-65: 66 bits. SDM vol 1 §8.3.8. */
const HALF_PI = { high: 3n, low: 0x243f_6a88_85a3_08d3n };
/** Arguments from 2^63 on are not reduced: C2 says so. */
const EXPONENT_LIMIT = BIAS + 63;

function factorial(n: number): bigint {
  return n < 2 ? 1n : BigInt(n) * factorial(n - 1);
}
const alternating = (k: number) => (k % 2 ? -1n : 1n);
/** sin(r) / r and cos(r) in r², |r| up to π / 4. */
const SINE = Array.from({ length: 16 }, (_, k) => ratio(alternating(k), factorial(2 * k + 1)));
const COSINE = Array.from({ length: 17 }, (_, k) => ratio(alternating(k), factorial(2 * k)));

/** Working numbers: the reduced argument, its square, and the two results. */
const ARGUMENT = 2;
const SQUARE = 1;
const SINE_RESULT = 3;
const COSINE_RESULT = 4;

/** Reduces |x| ≥ ½ to |r| ≤ π / 4, in working number ARGUMENT with x's sign; gives the quadrant. */
const reduce: FunctionRef = fn('x87ReduceAngle', {
  params: { significand: 'i64', exponent: 'i32', negative: 'i32' },
  result: 'i32',
  build(l, { significand, exponent, negative }) {
    const w = new WideMachine(l);
    const restHigh = l.var('i64', 0);
    const restLow = l.var('i64', significand);
    const quadrant = l.var('i32', 0);
    const count = l.var('i32', exponent.add(2));
    const subtractIf = (fits: Value, high: Value, low: Value) => {
      const newLow = l.let(low.sub(HALF_PI.low));
      const newHigh = high.sub(HALF_PI.high).sub(low.ltu(HALF_PI.low).u64());
      restHigh.set(l.select(fits, newHigh, high));
      restLow.set(l.select(fits, newLow, low));
    };
    l.while(
      () => count.get(),
      () => {
        const high = l.let(restHigh.get().shl(1).or(restLow.get().shru(63)));
        const low = l.let(restLow.get().shl(1));
        const isAtLeast = high.eq(HALF_PI.high).and(low.geu(HALF_PI.low));
        const fits = l.let(high.gtu(HALF_PI.high).or(isAtLeast));
        subtractIf(fits, high, low);
        quadrant.set(quadrant.get().shl(1).or(fits));
        count.set(count.get().sub(1));
      },
    );
    // More than half a quadrant: count from the next one, backwards.
    const high = restHigh.get();
    const low = restLow.get();
    const otherLow = l.let(l.i64(HALF_PI.low).sub(low));
    const borrow = l.i64(HALF_PI.low).ltu(low).u64();
    const otherHigh = l.let(l.i64(HALF_PI.high).sub(high).sub(borrow));
    const isFar = l.let(high.gtu(otherHigh).or(high.eq(otherHigh).and(low.gtu(otherLow))));
    const n = normalize(l, {
      high: l.let(l.select(isFar, otherHigh, high)),
      low: l.let(l.select(isFar, otherLow, low)),
    });
    w.setParts(ARGUMENT, n.high, n.low, l.i32(62).sub(n.count), negative.xor(isFar));
    l.return(quadrant.get().add(isFar));
  },
});

/** Sine and cosine of working number ARGUMENT. */
const sineAndCosine: FunctionRef = fn('x87SineAndCosine', {
  params: {},
  build(l) {
    const w = new WideMachine(l);
    w.multiply(SQUARE, ARGUMENT, ARGUMENT);
    w.polynomial(SINE_RESULT, SQUARE, SINE);
    w.multiply(SINE_RESULT, SINE_RESULT, ARGUMENT);
    w.polynomial(COSINE_RESULT, SQUARE, COSINE);
  },
});

/** Computes both functions of a finite nonzero number below the limit; gives the quadrant. */
function evaluate(l: Lift, packed: Extended): Value {
  const x = unpack(l, packed);
  const negative = x.sign.nez();
  const exponent = l.let(x.exponent.sub(BIAS));
  const quadrant = l.choose(
    exponent.lts(-1),
    'i32',
    () => {
      new WideMachine(l).load(ARGUMENT, x);
      return l.i32(0);
    },
    () => {
      // The quadrant counts from zero outwards, on either side.
      const q = l.call(reduce, x.significand, exponent, negative);
      return l.let(l.select(x.sign, q.neg(), q));
    },
  );
  l.run(sineAndCosine);
  return quadrant;
}

/** sin or cos of a reduced argument by the quadrant: the series to take, with its sign, rounded. */
function pick(l: Lift, quadrant: Value): Value {
  const w = new WideMachine(l);
  const isCosine = quadrant.and(1);
  l.if(
    isCosine,
    () => w.copy(0, COSINE_RESULT),
    () => w.copy(0, SINE_RESULT),
  );
  w.negateIf(0, quadrant.bit(1));
  return w.round(0, 1);
}

type Compute = (l: Lift, quadrant: Value) => Value;

/** A function of an angle; `ofZero` is its value there, or undefined when it is the zero itself. */
function ofAngle(name: string, compute: Compute, ofZero?: number): FunctionRef {
  return fn(name, {
    params: { significand: 'i64', signExponent: 'i32' },
    result: 'i32',
    build(l, { significand, signExponent }) {
      const packed = { significand, signExponent };
      returnIfSpecialSingle(l, packed);
      l.if(isInfinity(packed), () => returnInvalid(l));
      l.if(isZero(packed), () => {
        if (ofZero === undefined) returnNumber(l, signExponent, significand);
        else returnNumber(l, ofZero, INTEGER_BIT);
      });
      raiseDenormal(l, packed);
      l.return(compute(l, evaluate(l, packed)));
    },
  });
}

const sine: FunctionRef = ofAngle('x87Sine', (l, quadrant) => pick(l, quadrant));
const cosine: FunctionRef = ofAngle('x87Cosine', (l, q) => pick(l, l.let(q.add(1))), BIAS);
const tangent: FunctionRef = ofAngle('x87Tangent', (l, quadrant) => {
  const w = new WideMachine(l);
  l.if(
    quadrant.and(1),
    () => {
      w.divide(0, COSINE_RESULT, SINE_RESULT);
      w.negateIf(0, 1);
    },
    () => w.divide(0, SINE_RESULT, COSINE_RESULT),
  );
  return w.round(0, 1);
});

function clearC2(l: Lift): void {
  l.set(S.x87Status, l.get(S.x87Status).and(~SW.c2));
}

/** Clears C2, or sets it and leaves when the argument is finite and too large. */
function returnIfLarge(l: Lift, x: Extended): void {
  const isNumber = exponentOf(x).ne(0x7fff);
  const isLarge = l.let(exponentOf(x).geu(EXPONENT_LIMIT).and(isNumber).and(x.significand.lts(0n)));
  const status = l.get(S.x87Status).and(~(SW.c1 | SW.c2));
  l.set(S.x87Status, status.or(isLarge.mul(SW.c2)));
  l.if(isLarge, () => l.return());
}

/** FSIN and FCOS. */
function replacesTop(name: string, operation: FunctionRef): FunctionRef {
  return fn(name, {
    params: {},
    build(l) {
      const top = physical(l, 0);
      l.set(S.x87Raised, 0);
      l.unlikely(isEmpty(l, top), () => {
        clearC2(l);
        underflowStack(l, top);
        l.return();
      });
      const a = readRegister(l, top);
      returnIfLarge(l, a);
      const r = callNumber(l, operation, a.significand, a.signExponent);
      l.if(l.call(report), () => writeRegister(l, top, r));
    },
  });
}

export const stackSine: FunctionRef = replacesTop('x87Fsin', sine);
export const stackCosine: FunctionRef = replacesTop('x87Fcos', cosine);

/** FSINCOS and FPTAN: the first result replaces ST(0), the second is pushed. */
function replacesAndPushes(
  name: string,
  first: FunctionRef,
  second: (l: Lift, a: Extended, r: Extended) => Extended,
): FunctionRef {
  return fn(name, {
    params: {},
    build(l) {
      const top = physical(l, 0);
      const above = physical(l, 7);
      l.set(S.x87Raised, 0);
      const isMissing = isEmpty(l, top);
      l.unlikely(isMissing.or(isEmpty(l, above).eqz()), () => {
        clearC2(l);
        l.set(S.x87Raised, l.select(isMissing, l.i32(SW.ie | SW.sf), SW.ie | SW.sf | SW.c1));
        l.if(l.call(report), () => {
          writeIndefinite(l, top);
          writeIndefinite(l, above);
          l.set(S.x87Top, above);
        });
        l.return();
      });
      const a = readRegister(l, top);
      returnIfLarge(l, a);
      const r = callNumber(l, first, a.significand, a.signExponent);
      const s = second(l, a, r);
      l.if(l.call(report), () => {
        writeRegister(l, top, r);
        writeRegister(l, above, s);
        l.set(S.x87Top, above);
      });
    },
  });
}

export const stackSineCosine: FunctionRef = replacesAndPushes('x87Fsincos', sine, (l, a) =>
  callNumber(l, cosine, a.significand, a.signExponent),
);

/** The tangent is given as a quotient with 1 below the line; a NaN is pushed twice. */
export const stackTangent: FunctionRef = replacesAndPushes('x87Fptan', tangent, (l, _a, r) => {
  const isNan = l.let(exponentOf(r).eq(0x7fff));
  return {
    significand: l.let(l.select(isNan, r.significand, l.i64(INTEGER_BIT))),
    signExponent: l.let(l.select(isNan, r.signExponent, BIAS)),
  };
});
