// a * b + c rounded once, by integer arithmetic: the exact product and the addend in 128 bits. SDM vol 1 §14.5.2,
// table 14-17 (special values), §11.5 (exceptions).

import { type FunctionRef, fn } from '../../lift/function.ts';
import type { Lift } from '../../lift/lift.ts';
import type { Value } from '../../lift/value.ts';
import { MXCSR } from '../sse/check.ts';
import {
  type Format,
  flag,
  holdsNaN,
  invalid,
  isInfinite,
  isSignaling,
  isZero,
  noteDenormals,
  operand,
  ROUND,
  roundingMode,
  SOFT,
  signOf,
  unpack,
  wideProduct,
} from '../sse/soft-float.ts';

/** A number of 128 bits with its leading one at bit 126, and its biased exponent. */
interface Wide {
  readonly exponent: Value;
  readonly high: Value;
  readonly low: Value;
}

/** The product of two significands with their leading ones at bit 62. */
function product(l: Lift, f: Format, a: Value, b: Value): Wide {
  const x = unpack(l, f, a);
  const y = unpack(l, f, b);
  const { high, low } = wideProduct(l, x.significand, y.significand.shl(1));
  const isLarge = l.let(high.shru(62));
  const shift = l.let(l.i64(1).sub(isLarge));
  return {
    exponent: l.let(x.exponent.add(y.exponent).sub(f.bias).add(isLarge.i32())),
    high: l.let(high.shl(shift).or(low.shru(63).and(shift))),
    low: l.let(low.shl(shift)),
  };
}

/** Shifted right by 0 or more; bit 0 keeps whether anything was lost. */
function shiftRight(l: Lift, v: Wide, count: Value): { high: Value; low: Value } {
  const high = l.var('i64', v.high);
  const low = l.var('i64', v.low);
  l.if(
    count.geu(64),
    () => {
      const n = l.let(l.select(count.gtu(127), l.i32(127), count).sub(64));
      const lost = v.low.or(v.high.and(l.i64(1).shl(n).sub(1n))).nez();
      low.set(v.high.shru(n).or(lost.u64()));
      high.set(0n);
    },
    () =>
      l.if(count, () => {
        const lost = v.low.and(l.i64(1).shl(count).sub(1n)).nez();
        const moved = v.high.shl(l.i32(64).sub(count));
        low.set(v.low.shru(count).or(moved).or(lost.u64()));
        high.set(v.high.shru(count));
      }),
  );
  return { high: high.get(), low: low.get() };
}

/** Brings the leading one to bit 62 of the upper half, folds the lower one into its last bit, and rounds. */
function finish(l: Lift, round: FunctionRef, sign: Value, v: Wide): void {
  const isShort = l.let(v.high.eqz());
  const high = l.let(l.select(isShort, v.low, v.high));
  const low = l.let(l.select(isShort, l.i64(0), v.low));
  const zeros = l.let(high.clz());
  // With a carry the leading one is at bit 63.
  l.if(zeros.eqz(), () => {
    const kept = high.shru(1).or(high.and(1n)).or(low.nez().u64());
    l.return(l.call(round, sign, v.exponent.add(1).sub(isShort.mul(64)), kept));
  });
  const shift = l.let(zeros.sub(1n));
  // Two steps, because a shift by 64 is one by 0.
  const carried = low.shru(1).shru(l.i64(63).sub(shift));
  const rest = low.shl(shift).nez().u64();
  const exponent = v.exponent.sub(shift.i32()).sub(isShort.mul(64));
  l.return(l.call(round, sign, exponent, high.shl(shift).or(carried).or(rest)));
}

/** NaNs win in the order of the operands; infinity times zero is invalid, except with a quiet NaN. */
function returnNaN(l: Lift, f: Format, a: Value, b: Value, c: Value): void {
  const any = holdsNaN(f, a).or(holdsNaN(f, b)).or(holdsNaN(f, c));
  l.unlikely(any, () => {
    const signals = isSignaling(f, a).or(isSignaling(f, b)).or(isSignaling(f, c));
    flag(l, signals.mul(MXCSR.ie));
    const later = l.select(holdsNaN(f, b), b, c);
    l.return(l.select(holdsNaN(f, a), a, later).or(f.quiet));
  });
}

/** Sum and difference of magnitudes, the larger one first. */
function addMagnitudes(
  l: Lift,
  o: {
    readonly round: FunctionRef;
    readonly sign: Value;
    readonly isDifference: Value;
    readonly zero: () => Value;
  },
  x: Wide,
  y: Wide,
): void {
  const small = shiftRight(l, y, l.let(x.exponent.sub(y.exponent)));
  l.if(o.isDifference, () => {
    const low = l.let(x.low.sub(small.low));
    const high = l.let(x.high.sub(small.high).sub(x.low.ltu(small.low).u64()));
    l.if(high.or(low).eqz(), () => l.return(o.zero()));
    finish(l, o.round, o.sign, { exponent: x.exponent, high, low });
  });
  const low = l.let(x.low.add(small.low));
  const high = l.let(x.high.add(small.high).add(low.ltu(x.low).u64()));
  finish(l, o.round, o.sign, { exponent: x.exponent, high, low });
}

function softFma(f: Format): FunctionRef {
  const { round } = SOFT[f.bits];
  return fn(`softFma${f.bits}`, {
    // The flips are 0 or the sign bit: negate the product, negate the addend.
    params: { a: 'i64', b: 'i64', c: 'i64', flipProduct: 'i64', flipAddend: 'i64' },
    result: 'i64',
    build(l, args) {
      const [a, b, plain] = [args.a, args.b, args.c].map((v) => operand(l, f, v)) as [
        Value,
        Value,
        Value,
      ];
      returnNaN(l, f, a, b, plain);
      const c = l.let(plain.xor(args.flipAddend));
      const sign = l.let(signOf(f, a.xor(b).xor(args.flipProduct)));
      const hasZero = l.let(isZero(f, a).or(isZero(f, b)));
      l.unlikely(isInfinite(f, a).or(isInfinite(f, b)), () => {
        const isOpposed = isInfinite(f, c).and(sign.ne(signOf(f, c)));
        l.if(hasZero.or(isOpposed), () => invalid(l, f));
        noteDenormals(l, f, a, b, c);
        l.return(sign.or(f.infinity));
      });
      noteDenormals(l, f, a, b, c);
      l.unlikely(isInfinite(f, c), () => l.return(c));
      const zero = () => l.select(roundingMode(l).eq(ROUND.down), l.i64(f.sign), l.i64(0));
      l.unlikely(hasZero, () => {
        l.if(isZero(f, c), () => l.return(l.select(sign.eq(c), c, zero())));
        const u = unpack(l, f, c);
        l.return(l.call(round, signOf(f, c), u.exponent, u.significand));
      });
      const p = product(l, f, a, b);
      l.if(isZero(f, c), () => finish(l, round, sign, p));
      const u = unpack(l, f, c);
      const addend: Wide = { exponent: u.exponent, high: u.significand, low: l.i64(0) };
      const isDifference = l.let(sign.ne(signOf(f, c)));
      const isCloser = p.exponent.eq(addend.exponent).and(p.high.geu(addend.high));
      const sum = { round, isDifference, zero };
      l.if(p.exponent.gts(addend.exponent).or(isCloser), () =>
        addMagnitudes(l, { ...sum, sign }, p, addend),
      );
      addMagnitudes(l, { ...sum, sign: signOf(f, c) }, addend, p);
      l.trap();
    },
  });
}

/** By width: operands and result as bit patterns in an i64. Notes exceptions in S.sseFlags. */
export const SOFT_FMA: Readonly<Record<32 | 64, FunctionRef>> = {
  32: softFma(SOFT[32].format),
  64: softFma(SOFT[64].format),
};
