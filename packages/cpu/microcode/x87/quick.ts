// The quick ways of the x87: normal operands, rounding to nearest in full precision with inexactness masked, which is
// how compilers leave the unit. All of it is inlined into instructions; `slow` leaves for the careful way, which
// begins anew. The arithmetic is that of arithmetic.ts and round.ts, in one piece. SDM vol 1 §4.8.4, §8.1.5;
// docs/design/floating-point.md.

import type { Lift } from '../../lift/lift.ts';
import { constantOf, type Operand, type Value } from '../../lift/value.ts';
import { S, X87_SIGN_EXPONENT } from '../../state/layout.ts';
import { divideWide } from './arithmetic.ts';
import { exponentOf } from './special.ts';
import { BIAS, CW, type Extended, INTEGER_BIT, pop, SIGN, SW } from './state.ts';

/** A result and the exceptions with it (PE and C1). */
export interface QuickResult extends Extended {
  readonly flags: Value;
}
/** Computes from two numbers. `slow` is called, and leaves, where it is not that easy. */
export type Quick = (l: Lift, a: Extended, b: Extended, slow: () => void) => QuickResult;

/** Does `quick`, or `slow` from the start when `quick` leaves for it. */
export function quicklyOr(l: Lift, quick: (slow: () => void) => void, slow: () => void): void {
  l.block((done) => {
    l.block((toSlow) => {
      quick(toSlow);
      done();
    });
    slow();
  });
}

const CONTROL_BITS = (3 << CW.rcShift) | (3 << CW.pcShift) | SW.pe;
const CONTROL_VALUE = (3 << CW.pcShift) | SW.pe;

/** Leaves unless the control word asks for 64 bits, rounded to nearest, with PE masked. */
export function requirePlainControl(l: Lift, slow: () => void): void {
  l.unlikely(l.get(S.x87Control).and(CONTROL_BITS).ne(CONTROL_VALUE), slow);
}

/** Physical numbers of ST(0) and, from it, of ST(index). */
export const stackTop = (l: Lift): Value => l.let(l.get(S.x87Top).and(7));
export const stackAt = (l: Lift, top: Value, index: Value): Value =>
  constantOf(index) === 0n ? top : l.let(top.add(index).and(7));

/** Address of register `number` (physical) in the vCPU's state. */
const addressOf = (l: Lift, number: Value): Value => l.let(l.cpu.add(number.shl(4)));

/** A register's contents; it is not looked whether it is empty. */
export function peek(l: Lift, number: Value): Extended {
  const address = addressOf(l, number);
  return {
    significand: l.loadRaw('i64.load', address, S.x87Significand.offset),
    signExponent: l.loadRaw('i32.load16_u', address, X87_SIGN_EXPONENT.offset),
  };
}
/** Changes a register that is in use. */
export function poke(l: Lift, number: Value, x: Extended): void {
  const address = addressOf(l, number);
  l.storeRaw('i64.store', address, S.x87Significand.offset, x.significand);
  l.storeRaw('i32.store', address, X87_SIGN_EXPONENT.offset, x.signExponent);
}
/** Leaves unless registers are all in use. */
export function requireUsed(l: Lift, slow: () => void, ...numbers: Value[]): void {
  const tags = l.get(S.x87Tags);
  const shifted = numbers.map((n) => tags.shru(n)).reduce((a, b) => a.and(b));
  l.unlikely(shifted.and(1).eqz(), slow);
}
/** Makes masked exceptions sticky, and C1 what they say. */
export function settle(l: Lift, flags: Operand): void {
  l.set(S.x87Status, l.get(S.x87Status).and(~SW.c1).or(flags));
}
/** Pushes a number that raised nothing. */
export function quickPush(l: Lift, x: Extended, slow: () => void): void {
  const top = stackAt(l, stackTop(l), l.i32(7));
  const tags = l.get(S.x87Tags);
  const bit = l.let(l.i32(1).shl(top));
  l.unlikely(tags.and(bit), slow);
  poke(l, top, x);
  l.set(S.x87Tags, tags.or(bit));
  l.set(S.x87Top, top);
  settle(l, 0);
}

/** Not the exponent of a normal number. */
const isOddExponent = (x: Extended): Value => exponentOf(x).sub(1).geu(0x7ffe);

/** Calls `otherwise` unless both are normal; several branches cost less than putting conditions together. */
function requireNormal(l: Lift, a: Extended, b: Extended, otherwise: () => void): void {
  l.unlikely(isOddExponent(a), otherwise);
  l.unlikely(isOddExponent(b), otherwise);
  l.unlikely(a.significand.and(b.significand).ges(0n), otherwise);
}

/** A 128-bit number whose bit 127 is set, and its exponent and sign: rounded to nearest, ties to even. */
function roundNearest(
  l: Lift,
  sign: Value,
  exponent: Value,
  high: Value,
  low: Value,
  slow: () => void,
): QuickResult {
  const isUp = l.let(low.shru(63).and(low.shl(1).nez().u64().or(high)).and(1n));
  const sum = l.let(high.add(isUp));
  const carried = l.let(sum.eqz());
  // What is below 1 before the carry is tiny, or nearly so.
  l.unlikely(exponent.sub(1).geu(l.i32(0x7ffe).sub(carried)), slow);
  return {
    significand: l.let(sum.or(carried.u64().shl(63))),
    signExponent: l.let(sign.or(exponent.add(carried))),
    flags: l.let(low.nez().mul(SW.pe).or(isUp.i32().mul(SW.c1))),
  };
}

/** The whole product, from 32-bit pieces. */
function product(l: Lift, a: Value, b: Value): { high: Value; low: Value } {
  const lower = (v: Value) => v.and(0xffff_ffffn);
  const [a0, a1] = [l.let(lower(a)), l.let(a.shru(32))];
  const [b0, b1] = [l.let(lower(b)), l.let(b.shru(32))];
  const first = l.let(a0.mul(b1).add(a0.mul(b0).shru(32)));
  const second = a1.mul(b0).add(lower(first));
  const high = a1.mul(b1).add(first.shru(32)).add(second.shru(32));
  return { high: l.let(high), low: l.let(a.mul(b)) };
}

export const quickMultiply: Quick = (l, a, b, slow) => {
  requireNormal(l, a, b, slow);
  const p = product(l, a.significand, b.significand);
  const isBelow2 = l.let(p.high.ges(0n));
  const high = l.let(p.high.shl(isBelow2).or(p.low.shru(63).and(isBelow2.u64())));
  const low = l.let(p.low.shl(isBelow2));
  const exponent = exponentOf(a)
    .add(exponentOf(b))
    .sub(isBelow2)
    .sub(BIAS - 1);
  return roundNearest(
    l,
    l.let(a.signExponent.xor(b.signExponent).and(SIGN)),
    l.let(exponent),
    high,
    low,
    slow,
  );
};

/** Shifts a significand right by 0 or more into 128 bits; what is lost below leaves a one in the lowest place. */
function alignDown(l: Lift, small: Value, distance: Value): { high: Value; low: Value } {
  const high = l.var('i64', small.shru(distance));
  const low = l.var('i64', small.shl(l.i32(63).sub(distance)).shl(1));
  l.unlikely(distance.geu(64), () => {
    const n = l.let(l.select(distance.gtu(127), l.i32(127), distance));
    const lost = small.shl(l.i32(127).sub(n)).shl(1).nez().u64();
    high.set(0);
    low.set(small.shru(n.sub(64)).or(lost));
  });
  return { high: high.get(), low: low.get() };
}

/** Normal numbers, or one of them a zero: that is a number far below all others here. */
export const quickAdd: Quick = (l, a, b, slow) => {
  l.block((fine) => {
    l.block((special) => {
      requireNormal(l, a, b, special);
      fine();
    });
    const isZero = (x: Extended) => x.significand.or(exponentOf(x).u64()).eqz();
    const isNormal = (x: Extended) => isOddExponent(x).eqz().and(x.significand.lts(0n));
    const oneIsZero = l.let(isZero(a).and(isNormal(b))).or(isZero(b).and(isNormal(a)));
    l.if(oneIsZero.eqz(), slow);
  });
  const difference = l.let(exponentOf(a).sub(exponentOf(b)));
  const isSmaller = difference.eqz().and(a.significand.ltu(b.significand));
  const swap = l.let(difference.lts(0).or(isSmaller));
  const big = l.let(l.select(swap, b.significand, a.significand));
  const small = l.let(l.select(swap, a.significand, b.significand));
  const larger = l.let(l.select(swap, b.signExponent, a.signExponent));
  const distance = l.let(l.select(swap, difference.neg(), difference));
  const shifted = alignDown(l, small, distance);
  const high = l.var('i64', 0);
  const low = l.var('i64', 0);
  const exponent = l.var('i32', larger.and(SIGN - 1));
  l.if(
    a.signExponent.xor(b.signExponent).and(SIGN),
    () => {
      const below = l.let(shifted.low.neg());
      const rest = l.let(big.sub(shifted.high).sub(below.nez().u64()));
      // All or nearly all is cancelled.
      l.unlikely(rest.eqz(), slow);
      const zeros = l.let(rest.clz().i32());
      high.set(rest.shl(zeros).or(below.shru(1).shru(l.i32(63).sub(zeros))));
      low.set(below.shl(zeros));
      exponent.set(exponent.get().sub(zeros));
    },
    () => {
      const sum = l.let(big.add(shifted.high));
      const carry = l.let(sum.ltu(big));
      const halved = sum.shl(63).or(shifted.low.shru(1)).or(shifted.low.and(1n));
      high.set(sum.shru(carry).or(carry.u64().shl(63)));
      low.set(l.select(carry, halved, shifted.low));
      exponent.set(exponent.get().add(carry));
    },
  );
  return roundNearest(l, l.let(larger.and(SIGN)), exponent.get(), high.get(), low.get(), slow);
};

export const quickSubtract: Quick = (l, a, b, slow) =>
  quickAdd(
    l,
    a,
    { significand: b.significand, signExponent: l.let(b.signExponent.xor(SIGN)) },
    slow,
  );

export const quickDivide: Quick = (l, a, b, slow) => {
  requireNormal(l, a, b, slow);
  // As in arithmetic.ts: the dividend is halved unless it is the smaller, for a quotient of 64 bits.
  const isSmaller = l.let(a.significand.ltu(b.significand));
  const halve = l.let(isSmaller.eqz());
  const low = l.select(halve, a.significand.shl(63), l.i64(0));
  const quotient = l.call(divideWide, a.significand.shru(halve), low, b.significand);
  const remainder = l.get(S.result);
  const isMore = remainder.gtu(b.significand.sub(remainder));
  const rest = l.let(isMore.u64().shl(63).or(remainder.nez().u64()));
  const exponent = l.let(exponentOf(a).sub(exponentOf(b)).add(BIAS).sub(isSmaller));
  return roundNearest(
    l,
    l.let(a.signExponent.xor(b.signExponent).and(SIGN)),
    exponent,
    quotient,
    rest,
    slow,
  );
};

/** Puts a result into a register that is in use, and pops. */
export function finish(l: Lift, register: Value, r: QuickResult, pops: boolean): void {
  poke(l, register, r);
  settle(l, r.flags);
  if (pops) pop(l);
}

/** Leaves unless it is a normal number or zero. */
function requireNumber(l: Lift, x: Extended, slow: () => void): void {
  const unlessZero = () => l.if(x.significand.or(exponentOf(x).u64()).nez(), slow);
  l.unlikely(isOddExponent(x), unlessZero);
  l.unlikely(x.significand.ges(0n), unlessZero);
}

/** C0 when a is less, C3 when they are equal. */
export function quickRelation(l: Lift, a: Extended, b: Extended, slow: () => void): Value {
  requireNumber(l, a, slow);
  requireNumber(l, b, slow);
  const key = (x: Extended) =>
    l.let(l.select(x.signExponent.and(SIGN), exponentOf(x).neg(), exponentOf(x)));
  const p = key(a);
  const q = key(b);
  const isSame = l.let(p.eq(q));
  const isBelow = l.select(
    a.signExponent.and(SIGN),
    a.significand.gtu(b.significand),
    a.significand.ltu(b.significand),
  );
  const less = l.select(isSame, isBelow, p.lts(q));
  const equal = isSame.and(a.significand.eq(b.significand));
  return l.let(less.mul(SW.c0).or(equal.mul(SW.c3)));
}

/** A storage format narrower than the registers. */
export interface Narrow {
  readonly bits: number;
  readonly fractionBits: number;
  readonly bias: number;
}

/** Bits of a normal number in double or single precision, where its exponent is a normal one too; and PE and C1. */
export function quickNarrow(
  l: Lift,
  { bits, fractionBits, bias }: Narrow,
  x: Extended,
  slow: () => void,
): { readonly bits: Value; readonly flags: Value } {
  const drop = 63 - fractionBits;
  const exponent = l.let(exponentOf(x).sub(BIAS - bias));
  // One less than the largest exponent: rounding may carry.
  const fits = exponent.sub(1).ltu(2 * bias - 1);
  const isNearest = l
    .get(S.x87Control)
    .and(3 << CW.rcShift)
    .eqz();
  l.unlikely(fits.and(isNearest).and(x.significand.lts(0n)).eqz(), slow);
  const whole = l.let(x.significand.shru(drop));
  const rest = l.let(x.significand.shl(64 - drop));
  const isUp = l.let(rest.shru(63).and(rest.shl(1).nez().u64().or(whole)).and(1n));
  const magnitude = exponent.sub(1).u64().shl(fractionBits).add(whole).add(isUp);
  const sign = x.signExponent
    .and(SIGN)
    .u64()
    .shl(bits - 16);
  return {
    bits: l.let(magnitude.or(sign)),
    flags: l.let(rest.nez().mul(SW.pe).or(isUp.i32().mul(SW.c1))),
  };
}

/** A double or single as an extended number, when it is normal or zero. */
export function quickWiden(
  l: Lift,
  { bits: width, fractionBits, bias }: Narrow,
  bits: Value,
  slow: () => void,
): Extended {
  const exponent = l.let(
    bits
      .shru(fractionBits)
      .i32()
      .and(2 * bias + 1),
  );
  const sign = l.let(
    bits
      .shru(width - 16)
      .i32()
      .and(SIGN),
  );
  const significand = l.var('i64', bits.shl(63 - fractionBits).or(INTEGER_BIT));
  const signExponent = l.var('i32', sign.or(exponent.add(BIAS - bias)));
  l.unlikely(exponent.sub(1).geu(2 * bias), () => {
    l.if(bits.shl(65 - width).nez(), slow);
    significand.set(0);
    signExponent.set(sign);
  });
  return { significand: significand.get(), signExponent: signExponent.get() };
}

/**
 * A number of at least 1 as a signed integer of `bits`, rounded to
 * nearest or chopped; and PE and C1.
 */
export function quickInteger(
  l: Lift,
  bits: number,
  chops: boolean,
  x: Extended,
  slow: () => void,
): { readonly bits: Value; readonly flags: Value } {
  const above = l.let(exponentOf(x).sub(BIAS));
  const fits = above.ltu(bits - 1).and(x.significand.lts(0n));
  const isNearest = l
    .get(S.x87Control)
    .and(3 << CW.rcShift)
    .eqz();
  l.unlikely((chops ? fits : fits.and(isNearest)).eqz(), slow);
  const whole = l.let(x.significand.shru(l.i32(63).sub(above)));
  const rest = l.let(x.significand.shl(above).shl(1));
  const half = rest.shru(63).and(rest.shl(1).nez().u64().or(whole)).and(1n);
  const isUp = chops ? l.i64(0) : l.let(half);
  const magnitude = l.let(whole.add(isUp));
  // Rounded up to a power of two, it no longer fits.
  if (!chops) l.unlikely(magnitude.shru(bits - 1).nez(), slow);
  const isNegative = x.signExponent.and(SIGN);
  return {
    bits: l.let(l.select(isNegative, magnitude.neg(), magnitude)),
    flags: l.let(rest.nez().mul(SW.pe).or(isUp.i32().mul(SW.c1))),
  };
}

/** A signed integer as an extended number: always exact. */
export function widenInteger(l: Lift, value: Value): Extended {
  const sign = l.let(value.shrs(63));
  const magnitude = l.let(value.xor(sign).sub(sign));
  const shift = l.let(magnitude.clz().i32());
  const exponent = sign
    .i32()
    .and(SIGN)
    .or(l.i32(BIAS + 63).sub(shift));
  return {
    significand: l.let(magnitude.shl(shift)),
    signExponent: l.let(l.select(magnitude.eqz(), l.i32(0), exponent)),
  };
}
