// Multiplication to 128 bits and division of 128 by 64 bits, which WebAssembly does not have.

import { type FunctionRef, fn } from '../lift/function.ts';
import type { Lift } from '../lift/lift.ts';
import type { Value } from '../lift/value.ts';
import { S } from '../state/layout.ts';

const HALF = 0xffff_ffffn;

/** Upper 64 bits of the unsigned product. */
export const multiplyHigh: FunctionRef = fn('multiplyHigh', {
  params: { a: 'i64', b: 'i64' },
  result: 'i64',
  build(l, { a, b }) {
    const a0 = l.let(a.and(HALF));
    const a1 = l.let(a.shru(32));
    const b0 = l.let(b.and(HALF));
    const b1 = l.let(b.shru(32));
    // No sum overflows: (2^32-1)^2 + 2(2^32-1) = 2^64-1.
    const middle = l.let(a1.mul(b0).add(a0.mul(b0).shru(32)));
    const other = l.let(a0.mul(b1).add(middle.and(HALF)));
    l.return(a1.mul(b1).add(middle.shru(32)).add(other.shru(32)));
  },
});

/** Upper 64 bits of the signed product. */
export const multiplyHighSigned: FunctionRef = fn('multiplyHighSigned', {
  params: { a: 'i64', b: 'i64' },
  result: 'i64',
  build(l, { a, b }) {
    const high = l.call(multiplyHigh, a, b);
    l.return(high.sub(a.shrs(63).and(b)).sub(b.shrs(63).and(a)));
  },
});

/**
 * One digit (base 2^32) of a long division, Knuth's algorithm D: `numerator` (two digits, less than the divisor) and
 * one digit more by a divisor whose top bit is set. The estimate from the divisor's upper digit is at most 2 too high.
 */
function quotientDigit(l: Lift, numerator: Value, next: Value, divisor: Value): Value {
  const upper = l.let(divisor.shru(32));
  const lower = l.let(divisor.and(HALF));
  const quotient = l.var('i64', numerator.divu(upper));
  const rest = l.var('i64', numerator.sub(quotient.get().mul(upper)));
  for (let correction = 0; correction < 2; correction++) {
    const q = quotient.get();
    const r = rest.get();
    const isTooHigh = q.gtu(HALF).or(q.mul(lower).gtu(r.shl(32).or(next)));
    l.if(r.leu(HALF).and(isTooHigh), () => {
      quotient.set(q.sub(1));
      rest.set(r.add(upper));
    });
  }
  return quotient.get();
}

/** high:low / divisor for high < divisor; the remainder is left in S.result[0]. */
export const divide128: FunctionRef = fn('divide128', {
  params: { high: 'i64', low: 'i64', divisor: 'i64' },
  result: 'i64',
  build(l, { high, low, divisor }) {
    l.if(high.eqz(), () => {
      l.set(S.result, low.remu(divisor));
      l.return(low.divu(divisor));
    });
    const scale = l.let(divisor.clz());
    const d = l.let(divisor.shl(scale));
    // A shift by 64 - scale in two steps, because scale may be 0.
    const carried = low.shru(1).shru(l.i64(63).sub(scale));
    const top = l.let(high.shl(scale).or(carried));
    const bottom = l.let(low.shl(scale));
    const digit1 = l.let(bottom.shru(32));
    const digit0 = l.let(bottom.and(HALF));
    const q1 = quotientDigit(l, top, digit1, d);
    const between = l.let(top.shl(32).or(digit1).sub(q1.mul(d)));
    const q0 = quotientDigit(l, between, digit0, d);
    const rest = between.shl(32).or(digit0).sub(q0.mul(d)).shru(scale);
    l.set(S.result, rest);
    l.return(q1.shl(32).or(q0));
  },
});

/** Signed high:low / divisor; raises #DE. The remainder is left in S.result[0]. */
export const divide128Signed: FunctionRef = fn('divide128Signed', {
  params: { high: 'i64', low: 'i64', divisor: 'i64' },
  result: 'i64',
  faults: true,
  build(l, { high, low, divisor }) {
    const isNegative = l.let(high.lts(0));
    const magnitude = (v: Value) => l.let(l.select(v.lts(0), v.neg(), v));
    const bottom = l.let(l.select(isNegative, low.neg(), low));
    const borrowed = high.not().add(low.eqz().u64());
    const top = l.let(l.select(isNegative, borrowed, high));
    const by = magnitude(divisor);
    l.raiseIf(top.geu(by), 0);
    const quotient = l.call(divide128, top, bottom, by);
    const rest = l.get(S.result);
    const differ = l.let(isNegative.ne(divisor.lts(0)));
    const largest = l.i64(0x7fff_ffff_ffff_ffffn).add(differ.u64());
    l.raiseIf(quotient.gtu(largest), 0);
    l.set(S.result, l.select(isNegative, rest.neg(), rest));
    l.return(l.select(differ, quotient.neg(), quotient));
  },
});
