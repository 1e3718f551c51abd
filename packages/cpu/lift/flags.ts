// Arithmetic flags. Each is kept as the value that it is computed from, so that setting costs a few stores and
// testing costs no dispatch: ZF from flagZ, SF and PF from flagSP, OF from the sign of flagO, AF from bit 4 of flagA,
// CF as 0 or 1. SDM vol 1 §3.4.3.1.

import { S } from '../state/layout.ts';
import type { FlagOrigin } from './ir.ts';
import type { Lift } from './lift.ts';
import { Value } from './value.ts';

/** Bits of RFLAGS. SDM vol 1 figure 3-8. */
export const RFLAGS = {
  cf: 1, fixed1: 2, pf: 4, af: 0x10, zf: 0x40, sf: 0x80, tf: 0x100, if: 0x200, df: 0x400, of: 0x800,
  iopl: 0x3000, nt: 0x4000, rf: 0x1_0000, vm: 0x2_0000, ac: 0x4_0000, vif: 0x8_0000, vip: 0x10_0000, id: 0x20_0000,
} as const; // biome-ignore format: a register on two lines
/** CF, PF, AF, ZF, SF, OF. */
export const ARITHMETIC_FLAGS = 0x8d5;

export type ArithmeticKind = 'add' | 'adc' | 'sub' | 'sbb';

/** The value, marked with the operation that it is a flag of, for whoever can compute a condition from its operands. */
function from(value: Value, origin: FlagOrigin): Value {
  return value.node.kind === 'op' ? new Value({ ...value.node, origin }) : value;
}

/** Sign-extends a result of `bits` to i64. */
function wide(value: Value, bits: number): Value {
  return bits === 64 ? value : value.sext(bits).s64();
}

/** ZF, SF and PF from a result; gives it sign-extended to i64. */
export function setResultFlags(l: Lift, bits: number, result: Value): Value {
  const r = l.let(wide(result, bits));
  l.set(S.flagZ, r);
  l.set(S.flagSP, r);
  return r;
}

/**
 * All six flags of a + b (+ carry) or a - b (- borrow); `result` needs no truncation, a and b are zero-extended.
 * 'add' and 'sub' are without carry-in, 'adc' and 'sbb' had one that the result includes.
 */
export function setArithmeticFlags(
  l: Lift,
  kind: ArithmeticKind,
  bits: number,
  a: Value,
  b: Value,
  result: Value,
): void {
  const r = l.let(result);
  const [x, y] = [l.let(a), l.let(b)];
  const signed = setResultFlags(l, bits, r);
  const origin: FlagOrigin = { kind, bits, a: x.node, b: y.node, result: signed.node };
  setCarry(l, from(carryOut(kind, bits, x, y, r), origin));
  const overflow =
    kind === 'add' || kind === 'adc' ? x.xor(r).and(y.xor(r)) : x.xor(y).and(x.xor(r));
  l.set(S.flagO, from(wide(overflow, bits), origin));
  l.set(S.flagA, from(a.xor(b).xor(r).i32(), origin));
}

/** Flags of INC and DEC, which leave CF alone: of a + delta. SDM vol 2A, INC. */
export function setStepFlags(l: Lift, delta: 1 | -1, bits: number, a: Value, result: Value): void {
  const signed = setResultFlags(l, bits, result);
  const kind = delta === 1 ? 'inc' : 'dec';
  const b = delta === 1 ? l.i32(1) : l.i32(-1);
  const origin: FlagOrigin = { kind, bits, a: a.node, b: b.node, result: signed.node };
  const overflow = delta === 1 ? result.and(a.not()) : a.and(result.not());
  l.set(S.flagO, from(wide(overflow, bits), origin));
  // The low nibble wrapped: carry into, or borrow from, bit 4.
  const nibble = delta === 1 ? 0 : 0xf;
  l.set(S.flagA, from(result.i32().and(0xf).eq(nibble).shl(4), origin));
}

function carryOut(kind: ArithmeticKind, bits: number, a: Value, b: Value, r: Value): Value {
  const top = (x: Value) =>
    x
      .shru(bits - 1)
      .and(1)
      .i32();
  switch (kind) {
    case 'add':
      return r.zext(bits).ltu(a);
    case 'sub':
      return a.ltu(b);
    case 'adc':
      return top(a.and(b).or(a.or(b).and(r.not())));
    case 'sbb':
      return top(a.not().and(b).or(a.not().or(b).and(r)));
  }
}

/** Flags of AND, OR, XOR, TEST: CF and OF clear, AF undefined (clear, as processors leave it). */
export function setLogicFlags(l: Lift, bits: number, result: Value): void {
  setResultFlags(l, bits, result);
  l.set(S.flagC, 0);
  l.set(S.flagO, 0);
  l.set(S.flagA, 0);
}

/** CF from an i32 that is 0 or 1. */
export function setCarry(l: Lift, carry: Value | number): void {
  l.set(S.flagC, carry);
}
/** OF from an i32 that is 0 or 1. */
export function setOverflow(l: Lift, overflow: Value): void {
  l.set(S.flagO, overflow.u64().shl(63));
}
/** AF from an i32 that is 0 or 1. */
export function setAdjust(l: Lift, adjust: Value): void {
  l.set(S.flagA, adjust.shl(4));
}
/** ZF from an i32 that is 0 or 1; the other flags stay. */
export function setZero(l: Lift, zero: Value): void {
  l.set(S.flagZ, zero.eqz().u64());
}

export function carry(l: Lift): Value {
  return l.get(S.flagC);
}
export function zero(l: Lift): Value {
  return l.get(S.flagZ).eqz();
}
export function overflow(l: Lift): Value {
  return l.get(S.flagO).shru(63).i32();
}
export function sign(l: Lift): Value {
  return l.get(S.flagSP).shru(63).i32();
}
export function parity(l: Lift): Value {
  return l.get(S.flagSP).i32().and(0xff).popcnt().and(1).xor(1);
}

/** Condition codes in encoding order. SDM vol 2A appendix B.1.4.7. */
export const CONDITIONS = [
  'o',
  'no',
  'b',
  'ae',
  'e',
  'ne',
  'be',
  'a',
  's',
  'ns',
  'p',
  'np',
  'l',
  'ge',
  'le',
  'g',
] as const;

/** Whether the condition holds: 1 or 0 (an i32). */
export function condition(l: Lift, code: number): Value {
  const value = conditionValue(l, code);
  return value.node.kind === 'op' ? new Value({ ...value.node, condition: code }) : value;
}

function conditionValue(l: Lift, code: number): Value {
  const base = (): Value => {
    switch (code >> 1) {
      case 0:
        return overflow(l);
      case 1:
        return carry(l);
      case 2:
        return zero(l);
      case 3:
        return carry(l).or(zero(l));
      case 4:
        return sign(l);
      case 5:
        return parity(l);
      case 6:
        return l.get(S.flagSP).xor(l.get(S.flagO)).lts(0);
      default:
        return l.get(S.flagSP).xor(l.get(S.flagO)).lts(0).or(zero(l));
    }
  };
  return code & 1 ? base().eqz() : base();
}

/** The whole of RFLAGS (i32), bit 1 set. */
export function readFlags(l: Lift): Value {
  return l.let(
    l
      .get(S.rflags)
      .or(carry(l))
      .or(parity(l).shl(2))
      .or(l.get(S.flagA).and(RFLAGS.af))
      .or(zero(l).shl(6))
      .or(sign(l).shl(7))
      .or(overflow(l).shl(11)),
  );
}

/** Sets the six arithmetic flags from their places in `flags` (i32). */
export function writeArithmeticFlags(l: Lift, flags: Value): void {
  const f = l.let(flags);
  l.set(S.flagC, f.and(1));
  l.set(S.flagA, f.and(RFLAGS.af));
  l.set(S.flagZ, f.and(RFLAGS.zf).xor(RFLAGS.zf).u64());
  l.set(S.flagO, f.and(RFLAGS.of).u64().shl(52));
  l.set(S.flagSP, f.and(RFLAGS.sf).u64().shl(56).or(f.bit(2).xor(1).u64()));
}
