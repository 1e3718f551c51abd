// What x87 meanings share: the pointers to the last instruction and its operand, numbers from
// memory, and stores that touch memory before anything else changes. SDM vol 1 §8.1.8–8.1.9, §8.3.

import type { FunctionRef } from '../lift/function.ts';
import type { Lift } from '../lift/lift.ts';
import type { Value } from '../lift/value.ts';
import { push } from '../microcode/x87/convert.ts';
import { quicklyOr, quickPush, quickWiden, widenInteger } from '../microcode/x87/quick.ts';
import { DOUBLE, fromDouble, fromSingle, SINGLE } from '../microcode/x87/round.ts';
import { callNumber, type Extended } from '../microcode/x87/state.ts';
import { S, SEGMENT } from '../state/layout.ts';
import {
  type Form,
  form,
  type InstructionContext,
  type LiftOperand,
  STi,
  X87,
} from './instruction.ts';

/** Sets FIP, FCS and FOP, and FDP and FDS for a memory operand. After all that can fault. */
export function note(l: Lift, i: InstructionContext, memory?: LiftOperand): void {
  l.set(S.x87InstructionPointer, i.rip());
  l.set(S.x87InstructionSelector, l.get(S.segSelector, SEGMENT.cs));
  l.set(S.x87Opcode, i.x87Opcode());
  if (!memory) return;
  l.set(S.x87DataPointer, memory.effective());
  l.set(S.x87DataSelector, l.getAt(S.segSelector, i.segment().shl(2)));
}

/** How a memory operand is read: single or double precision, or a signed integer. */
export type NumberFormat = 'real' | 'integer';

/** A number from memory that becomes an extended one, in either way. */
export interface MemoryNumber {
  /** Of a normal number or zero. */
  quick(slow: () => void): Extended;
  /** DE of the conversion begins S.x87Raised. */
  careful(): Extended;
}

/** Reads a memory operand and notes the instruction. */
export function readNumber(
  l: Lift,
  i: InstructionContext,
  operand: LiftOperand,
  format: NumberFormat,
): MemoryNumber {
  const bits = l.let(operand.read());
  note(l, i, operand);
  const begin = () => l.set(S.x87Raised, 0);
  if (format === 'integer') {
    const value = l.let(operand.bits === 64 ? bits : bits.sext(operand.bits).s64());
    const convert = () => widenInteger(l, value);
    return {
      quick: convert,
      careful() {
        begin();
        return convert();
      },
    };
  }
  const isSingle = operand.bits === 32;
  const wide = l.let(bits.u64());
  return {
    quick: (slow) => quickWiden(l, isSingle ? SINGLE : DOUBLE, wide, slow),
    careful() {
      begin();
      return callNumber(l, isSingle ? fromSingle : fromDouble, wide);
    },
  };
}

/** Pushes a number that needs no conversion. */
export function pushExact(l: Lift, x: Extended): void {
  quicklyOr(
    l,
    (slow) => quickPush(l, x, slow),
    () => {
      l.set(S.x87Raised, 0);
      l.run(push, x.significand, x.signExponent);
    },
  );
}

/** The ten bytes of an extended number or a BCD number. */
export function readTenBytes(l: Lift, operand: LiftOperand): { low: Value; high: Value } {
  const linear = l.let(operand.linear(10, 'read'));
  const low = l.load(8, linear);
  return { low, high: l.load(2, linear.add(8n)) };
}

/** Writes ten bytes, or faults before the first. */
export function writeTenBytes(l: Lift, operand: LiftOperand, low: Value, high: Value): void {
  const linear = l.let(operand.linear(10, 'write'));
  const first = l.update(8, linear);
  const last = l.update(2, l.let(linear.add(8n)));
  first.write(low);
  last.write(high);
}

/** A waiting instruction on ST(i). */
export function stackForm(encoding: string): Form {
  return form(encoding, STi, X87);
}

/** An instruction without operands that runs one function. */
export function runs(l: Lift, i: InstructionContext, f: FunctionRef): void {
  note(l, i);
  l.run(f);
}
