// Rounding of x87 results: a sign, an unbounded exponent and a 128-bit significand become an
// extended, double or single number by the control word's rounding mode and precision. SDM vol 1
// §4.8.4, §4.9.1.4–4.9.1.6, §8.1.5. Tininess is detected after rounding, as x86 processors do.

import { type FunctionRef, fn } from '../../lift/function.ts';
import type { Lift } from '../../lift/lift.ts';
import type { Value } from '../../lift/value.ts';
import { S } from '../../state/layout.ts';
import type { Narrow } from './quick.ts';
import {
  BIAS,
  CW,
  EXPONENT_MAX,
  INTEGER_BIT,
  isMasked,
  raise,
  returnNumber,
  SIGN,
  SW,
} from './state.ts';

/** Added to or taken from the exponent of an unmasked underflow or overflow. SDM vol 1 §4.9.1.5. */
const BIAS_ADJUST = 0x6000;
/**
 * In the second result of roundBits: the significand became 2.0, and is 1.0 of the next exponent
 * now.
 */
const CARRY = 0x1_0000;
export const ROUNDING = { nearest: 0, down: 1, up: 2, chop: 3 } as const;

/** Precision-control field that gives all 64 bits, whatever the control word says. */
export const FULL_PRECISION = 3;

export function roundingMode(l: Lift): Value {
  return l.let(l.get(S.x87Control).shru(CW.rcShift).and(3));
}
export function precisionControl(l: Lift): Value {
  return l.let(l.get(S.x87Control).shru(CW.pcShift).and(3));
}

/**
 * Bits 0 to 63 of a 128-bit number shifted right, with a one in the lowest place for every one that
 * is lost.
 */
export interface Wide {
  readonly high: Value;
  readonly low: Value;
}

/** Shifts right by `count` ≥ 0 and keeps whether bits were lost in the lowest bit. */
export function shiftRightSticky(l: Lift, x: Wide, count: Value): Wide {
  const high = l.var('i64', 0);
  const low = l.var('i64', 0);
  const { high: h, low: w } = x;
  l.if(
    count.geu(64),
    () => {
      const over = count.sub(64);
      const isFar = l.let(count.geu(128));
      const kept = l.select(isFar, l.i64(0), h.shru(over));
      const lost = l.select(isFar, h, h.sub(h.shru(over).shl(over))).or(w);
      low.set(kept.or(lost.nez().u64()));
    },
    () =>
      l.if(
        count,
        () => {
          high.set(h.shru(count));
          const lost = w.shl(l.i32(64).sub(count));
          low.set(h.shl(l.i32(64).sub(count)).or(w.shru(count)).or(lost.nez().u64()));
        },
        () => {
          high.set(h);
          low.set(w);
        },
      ),
  );
  return { high: high.get(), low: low.get() };
}

/** Shifts a nonzero 128-bit number left until bit 127 is set; `count` says how far. */
export function normalize(l: Lift, x: Wide): Wide & { readonly count: Value } {
  const isLow = l.let(x.high.eqz());
  const high = l.let(l.select(isLow, x.low, x.high));
  const low = l.let(l.select(isLow, l.i64(0), x.low));
  const shift = l.let(high.clz().i32());
  // A shift by 64 - 0 must give nothing: it is done in two steps.
  const carried = low.shru(1).shru(l.i32(63).sub(shift));
  return {
    high: l.let(high.shl(shift).or(carried)),
    low: l.let(low.shl(shift)),
    count: l.let(shift.add(isLow.shl(6))),
  };
}

/**
 * Rounds a significand to what `mask` (zero or low ones) leaves of its 64 bits. Second result: PE,
 * C1 when the magnitude grew, CARRY.
 */
const roundBits: FunctionRef = fn('x87RoundBits', {
  params: { sign: 'i32', high: 'i64', low: 'i64', mask: 'i64' },
  result: 'i64',
  build(l, { sign, high, low, mask }) {
    const below = high.shl(mask.clz()).or(low.nez().u64());
    const fraction = l.let(l.select(mask.eqz(), low, below));
    l.if(fraction.eqz(), () => {
      l.set(S.result, 0, 1);
      l.return(high);
    });
    const mode = roundingMode(l);
    const base = l.let(high.and(mask.not()));
    const ulp = l.let(mask.add(1));
    const half = fraction.eq(INTEGER_BIT);
    const nearest = fraction.gtu(INTEGER_BIT).or(half.and(base.and(ulp).nez()));
    const away = mode.eq(ROUNDING.down).and(sign.nez()).or(mode.eq(ROUNDING.up).and(sign.eqz()));
    const isUp = l.let(l.select(mode.eqz(), nearest, away));
    l.if(isUp.eqz(), () => {
      l.set(S.result, SW.pe, 1);
      l.return(base);
    });
    const sum = l.let(base.add(ulp));
    const carried = l.let(sum.ltu(ulp));
    l.set(
      S.result,
      carried
        .mul(CARRY)
        .or(SW.pe | SW.c1)
        .u64(),
      1,
    );
    l.return(l.select(carried, l.i64(INTEGER_BIT), sum));
  },
});

interface Rounded {
  readonly bits: Value;
  readonly flags: Value;
  readonly carried: Value;
}

function round(l: Lift, sign: Value, x: Wide, mask: Value): Rounded {
  const bits = l.call(roundBits, sign, x.high, x.low, mask);
  const second = l.let(l.get(S.result, 1).i32());
  return { bits, flags: l.let(second.and(0xffff)), carried: l.let(second.shru(16)) };
}

/** Whether an overflow becomes infinity: not when rounding goes towards zero. */
function overflowsToInfinity(l: Lift, sign: Value): Value {
  const mode = roundingMode(l);
  const away = l.select(sign, mode.eq(ROUNDING.down), mode.eq(ROUNDING.up));
  return l.let(mode.eqz().or(away));
}

/** Too large: bias-adjusted when unmasked, else infinity or the largest number. */
function overflow(l: Lift, sign: Value, exponent: Value, r: Rounded, mask: Value): void {
  raise(l, SW.oe);
  l.if(isMasked(l, SW.oe).eqz(), () => {
    raise(l, r.flags);
    const adjusted = l.let(exponent.sub(BIAS_ADJUST));
    l.if(adjusted.ges(EXPONENT_MAX), () => {
      // FSCALE can go so far that the adjustment does not help.
      raise(l, SW.pe | SW.c1);
      returnNumber(l, sign.or(EXPONENT_MAX), INTEGER_BIT);
    });
    returnNumber(l, sign.or(adjusted), r.bits);
  });
  raise(l, SW.pe);
  l.if(overflowsToInfinity(l, sign), () => {
    raise(l, SW.c1);
    returnNumber(l, sign.or(EXPONENT_MAX), INTEGER_BIT);
  });
  returnNumber(l, sign.or(EXPONENT_MAX - 1), mask.not());
}

/** Too small: bias-adjusted when unmasked, else denormal or zero. */
function underflow(l: Lift, sign: Value, exponent: Value, x: Wide, mask: Value): void {
  const r = round(l, sign, x, mask);
  const isTiny = l.let(exponent.add(r.carried).les(0));
  l.if(isTiny.and(isMasked(l, SW.ue).eqz()), () => {
    raise(l, r.flags.or(SW.ue));
    const adjusted = l.let(exponent.add(r.carried).add(BIAS_ADJUST));
    l.if(adjusted.les(0), () => {
      raise(l, SW.pe);
      returnNumber(l, sign, 0n);
    });
    returnNumber(l, sign.or(adjusted), r.bits);
  });
  const shifted = shiftRightSticky(l, x, l.let(l.i32(1).sub(exponent)));
  const d = round(l, sign, shifted, mask);
  const isInexact = d.flags.nez();
  raise(l, d.flags.or(l.select(isTiny.and(isInexact), l.i32(SW.ue), 0)));
  // Rounding can make it normal again.
  returnNumber(l, sign.or(d.bits.lts(0n)), d.bits);
}

/**
 * Rounds to an extended number. `sign` is 0 or 0x8000, `exponent` is biased but unbounded, bit 63
 * of `high` is set, `precision` is as in the control word's PC field. Raises OE, UE, PE and C1 in
 * S.x87Raised.
 */
export const roundExtended: FunctionRef = fn('x87Round', {
  params: { sign: 'i32', exponent: 'i32', high: 'i64', low: 'i64', precision: 'i32' },
  result: 'i32',
  build(l, { sign, exponent, high, low, precision }) {
    const mask53 = l.select(precision.eq(2), l.i64(0x7ff), 0n);
    const mask = l.let(l.select(precision.eqz(), l.i64(0xff_ffff_ffffn), mask53));
    l.unlikely(exponent.les(0), () => underflow(l, sign, exponent, { high, low }, mask));
    const r = round(l, sign, { high, low }, mask);
    const e = l.let(exponent.add(r.carried));
    l.unlikely(e.ges(EXPONENT_MAX), () => overflow(l, sign, e, r, mask));
    l.if(r.flags, () => raise(l, r.flags));
    returnNumber(l, sign.or(e), r.bits);
  },
});

/** The same from a 128-bit significand that is not normalised; it must not be zero. */
export const normalizeAndRound: FunctionRef = fn('x87NormalizeAndRound', {
  params: { sign: 'i32', exponent: 'i32', high: 'i64', low: 'i64', precision: 'i32' },
  result: 'i32',
  build(l, { sign, exponent, high, low, precision }) {
    const n = normalize(l, { high, low });
    l.return(l.call(roundExtended, sign, exponent.sub(n.count), n.high, n.low, precision));
  },
});

export const SINGLE: Narrow = { bits: 32, fractionBits: 23, bias: 127 };
export const DOUBLE: Narrow = { bits: 64, fractionBits: 52, bias: 1023 };

/**
 * Rounds an extended number to a storage format, for FST. Gives its bits (i64); raises as it goes.
 */
function narrow(name: string, f: Narrow): FunctionRef {
  const drop = 63 - f.fractionBits;
  const mask = (1n << BigInt(drop)) - 1n;
  const exponentMax = 2 * f.bias + 1;
  return fn(name, {
    params: { significand: 'i64', signExponent: 'i32' },
    result: 'i64',
    build(l, { significand, signExponent }) {
      const sign = l.let(signExponent.and(SIGN));
      const exponent = l.let(signExponent.and(EXPONENT_MAX));
      const signBit = l.let(sign.u64().shl(f.bits - 16));
      const pack = (e: Value, bits: Value) =>
        signBit.or(e.u64().shl(f.fractionBits)).or(bits.shl(1).shru(64 - f.fractionBits));
      const infinity = l.i64(BigInt(exponentMax) << BigInt(f.fractionBits));
      l.if(exponent.eqz().and(significand.eqz()), () => l.return(signBit));
      // Unnormals, pseudo-NaNs and pseudo-infinities.
      l.if(exponent.nez().and(significand.ges(0n)), () => {
        raise(l, SW.ie);
        l.return(
          l
            .i64(-1)
            .shl(f.fractionBits - 1)
            .zext(f.bits),
        );
      });
      l.if(exponent.eq(EXPONENT_MAX), () => {
        l.if(significand.shl(1).eqz(), () => l.return(signBit.or(infinity)));
        l.if(significand.and(1n << 62n).eqz(), () => raise(l, SW.ie));
        l.return(pack(l.i32(exponentMax), significand.or(1n << 62n)));
      });
      const shift = l.let(significand.clz().i32());
      const high = l.let(significand.shl(shift));
      const e = l.let(
        l
          .select(exponent.eqz(), l.i32(1), exponent)
          .sub(shift)
          .add(f.bias - BIAS),
      );
      const x = { high, low: l.i64(0) };
      const r = round(l, sign, x, l.i64(mask));
      const rounded = l.let(e.add(r.carried));
      l.if(rounded.ges(exponentMax), () => {
        raise(l, SW.oe);
        // Unmasked, nothing is stored and rounding is not reported.
        l.if(isMasked(l, SW.oe).eqz(), () => l.return(0n, 'i64'));
        raise(l, SW.pe);
        l.if(overflowsToInfinity(l, sign), () => {
          raise(l, SW.c1);
          l.return(signBit.or(infinity));
        });
        l.return(signBit.or(infinity).sub(1n));
      });
      l.if(e.gts(0), () => {
        raise(l, r.flags);
        l.return(pack(rounded, r.bits));
      });
      const isTiny = l.let(rounded.les(0));
      l.if(isTiny.and(isMasked(l, SW.ue).eqz()), () => {
        raise(l, SW.ue);
        l.return(0n, 'i64');
      });
      const shifted = shiftRightSticky(l, x, l.let(l.i32(1).sub(e)));
      const d = round(l, sign, shifted, l.i64(mask));
      raise(l, d.flags.or(l.select(isTiny.and(d.flags.nez()), l.i32(SW.ue), 0)));
      l.return(pack(d.bits.lts(0n), d.bits));
    },
  });
}

export const toSingle: FunctionRef = narrow('x87ToSingle', SINGLE);
export const toDouble: FunctionRef = narrow('x87ToDouble', DOUBLE);

/** A stored number as an extended one. Raises DE for denormals; signalling NaNs stay signalling. */
function widen(name: string, f: Narrow): FunctionRef {
  return fn(name, {
    params: { bits: 'i64' },
    result: 'i32',
    build(l, { bits }) {
      const sign = l.let(
        bits
          .shru(f.bits - 16)
          .i32()
          .and(SIGN),
      );
      const exponent = l.let(
        bits
          .shru(f.fractionBits)
          .i32()
          .and(2 * f.bias + 1),
      );
      const fraction = l.let(bits.shl(64 - f.fractionBits).shru(1));
      l.if(exponent.eqz(), () => {
        l.if(fraction.eqz(), () => returnNumber(l, sign, 0n));
        raise(l, SW.de);
        const shift = l.let(fraction.clz().i32());
        returnNumber(l, sign.or(l.i32(BIAS - f.bias + 1).sub(shift)), fraction.shl(shift));
      });
      const isSpecial = exponent.eq(2 * f.bias + 1);
      const e = l.select(isSpecial, l.i32(EXPONENT_MAX), exponent.add(BIAS - f.bias));
      returnNumber(l, sign.or(e), fraction.or(INTEGER_BIT));
    },
  });
}

export const fromSingle: FunctionRef = widen('x87FromSingle', SINGLE);
export const fromDouble: FunctionRef = widen('x87FromDouble', DOUBLE);
