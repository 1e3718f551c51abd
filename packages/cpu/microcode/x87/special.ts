// Kinds of extended numbers, and what x87 arithmetic does with the special ones. SDM vol 1 §4.8.3,
// §8.2.2 and tables 4-3, 4-7, 8-10. Every operand is two values: a 64-bit significand, and 16 bits
// of sign and exponent.

import { type FunctionRef, fn } from '../../lift/function.ts';
import type { Lift } from '../../lift/lift.ts';
import type { Value } from '../../lift/value.ts';
import { S } from '../../state/layout.ts';
import {
  EXPONENT_MAX,
  type Extended,
  QUIET_BIT,
  raise,
  returnInvalid,
  returnNumber,
  SW,
} from './state.ts';

/**
 * Set in what specialOperands gives when the result is known; the low 16 bits are its sign and
 * exponent.
 */
const KNOWN = 0x1_0000;

export const exponentOf = (x: Extended): Value => x.signExponent.and(EXPONENT_MAX);
export const signOf = (x: Extended): Value => x.signExponent.and(0x8000);

/** A normal number: not zero, denormal, infinity, NaN or an invalid encoding. */
export function isNormal(x: Extended): Value {
  return exponentOf(x).sub(1).ltu(0x7ffe).and(x.significand.lts(0n));
}
export function isZero(x: Extended): Value {
  return exponentOf(x).eqz().and(x.significand.eqz());
}
/** Unnormal, pseudo-infinity or pseudo-NaN. */
export function isUnsupported(x: Extended): Value {
  return exponentOf(x).nez().and(x.significand.ges(0n));
}
/** A denormal or pseudo-denormal. */
export function isDenormal(x: Extended): Value {
  return exponentOf(x).eqz().and(x.significand.nez());
}
/** An infinity, of operands that are known to be supported. */
export function isInfinity(x: Extended): Value {
  return exponentOf(x).eq(EXPONENT_MAX).and(x.significand.shl(1).eqz());
}
export function isNan(x: Extended): Value {
  return exponentOf(x).eq(EXPONENT_MAX).and(x.significand.shl(1).nez());
}
export function isSignaling(x: Extended): Value {
  return isNan(x).and(x.significand.and(QUIET_BIT).eqz());
}

/**
 * Results that follow from NaNs and invalid encodings alone: KNOWN and the result, or 0 when
 * arithmetic is to go on. Of two NaNs the quiet one wins, then the one with the larger significand,
 * then the positive one.
 */
const specialPair: FunctionRef = fn('x87SpecialPair', {
  params: { aSignificand: 'i64', aSignExponent: 'i32', bSignificand: 'i64', bSignExponent: 'i32' },
  result: 'i32',
  build(l, p) {
    const a = { significand: p.aSignificand, signExponent: p.aSignExponent };
    const b = { significand: p.bSignificand, signExponent: p.bSignExponent };
    l.if(isUnsupported(a).or(isUnsupported(b)), () => {
      // A denormal memory operand that raised DE does not count beside an invalid operation.
      l.set(S.x87Raised, SW.ie);
      l.set(S.result, -0x4000_0000_0000_0000n);
      l.return(KNOWN | 0xffff);
    });
    const aNan = l.let(isNan(a));
    const bNan = l.let(isNan(b));
    l.if(aNan.or(bNan).eqz(), () => l.return(0));
    const aSignals = l.let(isSignaling(a));
    const bSignals = l.let(isSignaling(b));
    l.set(S.x87Raised, aSignals.or(bSignals));
    const larger = a.significand.gtu(b.significand);
    const same = a.significand.eq(b.significand).and(a.signExponent.leu(b.signExponent));
    // Signalling against quiet is decided before sizes are compared.
    const bySize = l.let(larger.or(same));
    const byKind = l.let(l.select(aSignals.ne(bSignals), bSignals, bySize));
    const takeA = l.let(l.select(aNan.and(bNan), byKind, aNan));
    l.set(S.result, l.select(takeA, a.significand, b.significand).or(QUIET_BIT));
    l.return(l.select(takeA, a.signExponent, b.signExponent).or(KNOWN));
  },
});

/**
 * Returns from an operation on two numbers when a NaN or an invalid encoding decides the result.
 */
export function returnIfSpecial(l: Lift, a: Extended, b: Extended): void {
  const known = l.call(specialPair, a.significand, a.signExponent, b.significand, b.signExponent);
  l.if(known, () => l.return(known.and(0xffff)));
}

/** The same for an operation on one number. */
export function returnIfSpecialSingle(l: Lift, a: Extended): void {
  l.if(isUnsupported(a), () => returnInvalid(l));
  l.if(isNan(a), () => {
    raise(l, isSignaling(a));
    returnNumber(l, a.signExponent, a.significand.or(QUIET_BIT));
  });
}

/** A finite nonzero number with its significand normalised and its exponent unbounded below. */
export interface Unpacked {
  readonly sign: Value;
  readonly exponent: Value;
  readonly significand: Value;
}

/** Unpacks a finite nonzero supported number. */
export function unpack(l: Lift, x: Extended): Unpacked {
  const shift = l.let(x.significand.clz().i32());
  const exponent = l.let(exponentOf(x));
  return {
    sign: l.let(signOf(x)),
    exponent: l.let(l.select(exponent.eqz(), l.i32(1).sub(shift), exponent)),
    significand: l.let(x.significand.shl(shift)),
  };
}

/** Raises DE when one of the operands is denormal. */
export function raiseDenormal(l: Lift, ...operands: Extended[]): void {
  const any = operands.map(isDenormal).reduce((a, b) => a.or(b));
  raise(l, any.mul(SW.de));
}

/** FLD of a shorter format quiets a signalling NaN and raises IE. */
export const quiet: FunctionRef = fn('x87Quiet', {
  params: { significand: 'i64', signExponent: 'i32' },
  result: 'i32',
  build(l, { significand, signExponent }) {
    const x = { significand, signExponent };
    l.if(isSignaling(x), () => {
      raise(l, SW.ie);
      returnNumber(l, signExponent, significand.or(QUIET_BIT));
    });
    returnNumber(l, signExponent, significand);
  },
});
