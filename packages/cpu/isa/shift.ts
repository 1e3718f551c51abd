// Shifts and rotates. SDM vol 1 §7.3.6. Counts are taken modulo 32, or 64 for 64-bit operands; a count of 0 leaves
// all flags. OF is defined for a count of 1 only; for others we compute the same formula, AF we clear.

import { carry, setCarry, setResultFlags } from '../lift/flags.ts';
import type { Lift } from '../lift/lift.ts';
import type { Value } from '../lift/value.ts';
import { S } from '../state/layout.ts';
import {
  CL,
  Eb,
  Ev,
  type Form,
  form,
  Gv,
  HOT,
  Ib,
  type Instruction,
  type InstructionContext,
  instruction,
  type LiftOperand,
  ONE,
} from './instruction.ts';
import { fit } from './move.ts';

function shiftForms(digit: number): readonly Form[] {
  return [
    form(`C0 /${digit} ib`, Eb, Ib),
    form(`C1 /${digit} ib`, Ev, Ib, HOT),
    form(`D0 /${digit}`, Eb, ONE),
    form(`D1 /${digit}`, Ev, ONE, HOT),
    form(`D2 /${digit}`, Eb, CL),
    form(`D3 /${digit}`, Ev, CL),
  ];
}

/** OF from the top bit of a value of `bits`. */
function setOverflowFromTop(l: Lift, bits: number, value: Value): void {
  l.set(S.flagO, bits === 64 ? value : value.sext(bits).s64());
}

/** The top bit of a value of `bits`, as i32 0 or 1. */
function topBit(value: Value, bits: number): Value {
  return value
    .shru(bits - 1)
    .and(1)
    .i32();
}

function readCount(l: Lift, bits: number, count: LiftOperand): Value {
  return l.let(
    count
      .read()
      .i32()
      .and(bits === 64 ? 63 : 31),
  );
}

/** How a shift makes its result; `less` is the value shifted by one bit less, for the bit that falls out last. */
interface Shift {
  /** What the shift starts from (sign-extended for SAR). */
  source(value: Value, bits: number): Value;
  apply(value: Value, count: Value): Value;
  carry(less: Value, bits: number): Value;
  /** Value whose top bit is OF. */
  overflow(value: Value, less: Value, result: Value): Value;
}

const SHIFTS: Readonly<Record<'shl' | 'shr' | 'sar', Shift>> = {
  shl: {
    source: (value) => value,
    apply: (value, count) => value.shl(count),
    carry: topBit,
    overflow: (_, less, result) => less.xor(result),
  },
  shr: {
    source: (value) => value,
    apply: (value, count) => value.shru(count),
    carry: (less) => less.and(1).i32(),
    overflow: (value) => value,
  },
  sar: {
    source: (value, bits) => value.sext(bits),
    apply: (value, count) => value.shrs(count),
    carry: (less) => less.and(1).i32(),
    overflow: (value) => value.xor(value),
  },
};

function shift(kind: 'shl' | 'shr' | 'sar') {
  const { source, apply, carry: carryOut, overflow } = SHIFTS[kind];
  return (l: Lift, _: InstructionContext, dst: LiftOperand, by: LiftOperand): void => {
    const { bits } = dst;
    const count = readCount(l, bits, by);
    const value = l.let(source(l.let(dst.read()), bits));
    const result = l.let(apply(value, count));
    // Also with a count of 0: a 32-bit register is zero-extended all the same.
    dst.write(result);
    l.if(count.nez(), () => {
      const less = l.let(apply(value, count.sub(1)));
      setResultFlags(l, bits, result);
      setCarry(l, carryOut(less, bits));
      setOverflowFromTop(l, bits, overflow(value, less, result));
      l.set(S.flagA, 0);
    });
  };
}

const SHIFT_FLAGS = { writes: 'OSZPC', undefined: 'A' } as const;

export const SHL: Instruction = instruction({
  name: 'SHL',
  manual: 'SDM vol 2B, SAL/SAR/SHL/SHR',
  forms: shiftForms(4),
  access: ['rw', 'r'],
  flags: SHIFT_FLAGS,
  lift: shift('shl'),
});

/** The undocumented encoding of SHL (AMD APM vol 3, table A-6). */
export const SAL: Instruction = instruction({
  ...SHL,
  name: 'SAL',
  forms: shiftForms(6).map(({ hot: _, ...rest }) => rest),
});

export const SHR: Instruction = instruction({
  name: 'SHR',
  manual: 'SDM vol 2B, SAL/SAR/SHL/SHR',
  forms: shiftForms(5),
  access: ['rw', 'r'],
  flags: SHIFT_FLAGS,
  lift: shift('shr'),
});

export const SAR: Instruction = instruction({
  name: 'SAR',
  manual: 'SDM vol 2B, SAL/SAR/SHL/SHR',
  forms: shiftForms(7),
  access: ['rw', 'r'],
  flags: SHIFT_FLAGS,
  lift: shift('sar'),
});

/** Fills 32 bits with copies of an 8- or 16-bit value, so that a 32-bit rotate rotates each of them. */
function replicate(value: Value, bits: number): Value {
  return bits === 8 ? value.mul(0x0101_0101) : bits === 16 ? value.mul(0x0001_0001) : value;
}

/** ROL and ROR set CF and OF only, whenever the masked count is not 0, even where it is a multiple of the size. */
function rotate(direction: 'rotl' | 'rotr') {
  return (l: Lift, _: InstructionContext, dst: LiftOperand, by: LiftOperand): void => {
    const { bits } = dst;
    const count = readCount(l, bits, by);
    const result = l.let(replicate(dst.read(), bits)[direction](count));
    dst.write(result);
    l.if(count.nez(), () => {
      const low = result.and(1);
      setCarry(l, direction === 'rotl' ? low.i32() : topBit(result, bits));
      const other = direction === 'rotl' ? low.shl(bits - 1) : result.shl(1);
      setOverflowFromTop(l, bits, result.xor(other));
    });
  };
}

const ROTATE_FLAGS = { writes: 'OC' } as const;

export const ROL: Instruction = instruction({
  name: 'ROL',
  manual: 'SDM vol 2B, RCL/RCR/ROL/ROR',
  forms: shiftForms(0),
  access: ['rw', 'r'],
  flags: ROTATE_FLAGS,
  lift: rotate('rotl'),
});

export const ROR: Instruction = instruction({
  name: 'ROR',
  manual: 'SDM vol 2B, RCL/RCR/ROL/ROR',
  forms: shiftForms(1),
  access: ['rw', 'r'],
  flags: ROTATE_FLAGS,
  lift: rotate('rotr'),
});

/** Rotates CF and a value of 8, 16 or 32 bits, taken together as a value of one bit more (in an i64). */
function rotateThroughCarryNarrow(
  l: Lift,
  direction: 'left' | 'right',
  bits: number,
  v: Value,
  count: Value,
) {
  const joined = l.let(v.u64().or(carry(l).u64().shl(bits)));
  const c = bits === 32 ? count : l.let(count.remu(bits + 1));
  const rest = l.i32(bits + 1).sub(c);
  const whole =
    direction === 'left'
      ? joined.shl(c).or(joined.shru(rest))
      : joined.shru(c).or(joined.shl(rest));
  const result = l.let(whole);
  return { result: result.i32().zext(bits), carry: result.bit(bits) };
}

/** The same for 64 bits; the count is not 0. */
function rotateThroughCarryWide(l: Lift, direction: 'left' | 'right', v: Value, count: Value) {
  const cf = carry(l).u64();
  const less = count.sub(1);
  const rest = l.i32(64).sub(count);
  // The bits that come round pass CF's place, so they move one bit further than `rest`.
  const result =
    direction === 'left'
      ? v.shl(count).or(cf.shl(less)).or(v.shru(1).shru(rest))
      : v.shru(count).or(cf.shl(rest)).or(v.shl(1).shl(rest));
  const out = direction === 'left' ? v.shru(rest) : v.shru(less);
  return { result: l.let(result), carry: l.let(out.and(1).i32()) };
}

function rotateThroughCarry(direction: 'left' | 'right') {
  return (l: Lift, _: InstructionContext, dst: LiftOperand, by: LiftOperand): void => {
    const { bits } = dst;
    const count = readCount(l, bits, by);
    const value = l.let(dst.read());
    const result = l.var(bits === 64 ? 'i64' : 'i32', value);
    const out = l.var('i32', carry(l));
    l.if(count.nez(), () => {
      const rotated =
        bits === 64
          ? rotateThroughCarryWide(l, direction, value, count)
          : rotateThroughCarryNarrow(l, direction, bits, value, count);
      result.set(rotated.result);
      out.set(rotated.carry);
    });
    dst.write(result.get());
    l.if(count.nez(), () => {
      const r = result.get();
      const c = out.get();
      setCarry(l, c);
      const other = direction === 'left' ? fit(c, bits).shl(bits - 1) : r.shl(1);
      setOverflowFromTop(l, bits, r.xor(other));
    });
  };
}

const ROTATE_THROUGH_CARRY_FLAGS = { reads: 'C', writes: 'OC' } as const;

export const RCL: Instruction = instruction({
  name: 'RCL',
  manual: 'SDM vol 2B, RCL/RCR/ROL/ROR',
  forms: shiftForms(2).map(({ hot: _, ...rest }) => rest),
  access: ['rw', 'r'],
  flags: ROTATE_THROUGH_CARRY_FLAGS,
  lift: rotateThroughCarry('left'),
});

export const RCR: Instruction = instruction({
  name: 'RCR',
  manual: 'SDM vol 2B, RCL/RCR/ROL/ROR',
  forms: shiftForms(3).map(({ hot: _, ...rest }) => rest),
  access: ['rw', 'r'],
  flags: ROTATE_THROUGH_CARRY_FLAGS,
  lift: rotateThroughCarry('right'),
});

/**
 * Double shifts. A 16-bit operand with a count above 16 is undefined; we go on with the destination's own bits, as
 * processors do (dst:src:dst for SHLD).
 */
function doubleShift(direction: 'left' | 'right') {
  return (
    l: Lift,
    _: InstructionContext,
    dst: LiftOperand,
    src: LiftOperand,
    by: LiftOperand,
  ): void => {
    const { bits } = dst;
    const count = readCount(l, bits, by);
    const b = l.let(src.read());
    const a = l.let(dst.read());
    const { result, out } =
      bits === 64
        ? doubleShiftWide(l, direction, a, b, count)
        : doubleShiftNarrow(l, direction, bits, a, b, count);
    dst.write(result);
    l.if(count.nez(), () => {
      setResultFlags(l, bits, result);
      setCarry(l, out);
      setOverflowFromTop(l, bits, a.xor(result));
      l.set(S.flagA, 0);
    });
  };
}

function doubleShiftNarrow(
  l: Lift,
  direction: 'left' | 'right',
  bits: number,
  a: Value,
  b: Value,
  count: Value,
): { result: Value; out: Value } {
  // Above (or below) the destination the source, and for 16 bits the destination again.
  if (direction === 'left') {
    const low = b
      .u64()
      .shl(32 - bits)
      .or(bits === 16 ? a.u64() : l.i64(0));
    const joined = l.let(a.u64().shl(32).or(low));
    const result = l.let(joined.shl(count).shru(32).i32().zext(bits));
    return {
      result,
      out: joined
        .shru(l.i32(32 + bits).sub(count))
        .and(1)
        .i32(),
    };
  }
  const high = bits === 16 ? b.u64().shl(16).or(a.u64().shl(32)) : b.u64().shl(32);
  const joined = l.let(a.u64().or(high));
  const result = l.let(joined.shru(count).i32().zext(bits));
  return { result, out: joined.shru(count.sub(1)).and(1).i32() };
}

function doubleShiftWide(
  l: Lift,
  direction: 'left' | 'right',
  a: Value,
  b: Value,
  count: Value,
): { result: Value; out: Value } {
  const rest = l.i32(63).sub(count);
  if (direction === 'left') {
    const result = l.let(a.shl(count).or(b.shru(1).shru(rest)));
    return { result, out: a.shru(l.i32(64).sub(count)).and(1).i32() };
  }
  const result = l.let(a.shru(count).or(b.shl(1).shl(rest)));
  return { result, out: a.shru(count.sub(1)).and(1).i32() };
}

export const SHLD: Instruction = instruction({
  name: 'SHLD',
  manual: 'SDM vol 2B, SHLD',
  forms: [form('0F A4 /r ib', Ev, Gv, Ib), form('0F A5 /r', Ev, Gv, CL)],
  access: ['rw', 'r', 'r'],
  flags: SHIFT_FLAGS,
  lift: doubleShift('left'),
});

export const SHRD: Instruction = instruction({
  name: 'SHRD',
  manual: 'SDM vol 2B, SHRD',
  forms: [form('0F AC /r ib', Ev, Gv, Ib), form('0F AD /r', Ev, Gv, CL)],
  access: ['rw', 'r', 'r'],
  flags: SHIFT_FLAGS,
  lift: doubleShift('right'),
});

export const INSTRUCTIONS_SHIFT: readonly Instruction[] = [
  ROL, ROR, RCL, RCR, SHL, SHR, SAL, SAR, SHLD, SHRD,
]; // biome-ignore format: a list
