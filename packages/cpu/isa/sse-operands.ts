// How MMX and SSE meanings reach their operands: the alignment rule of 128-bit memory operands, the
// switch of the x87 registers to MMX, and 64-bit MMX values widened to vectors. SDM vol 1 §10.4.1.1
// and vol 3A §12.2, §12.5.

import type { Lift } from '../lift/lift.ts';
import { type Value, v128 } from '../lift/value.ts';
import { checkMmx } from '../microcode/sse/check.ts';
import { S } from '../state/layout.ts';
import {
  type Form,
  form,
  type Instruction,
  instruction,
  type LiftOperand,
  MMX,
  type OperandSpec,
  SSE,
} from './instruction.ts';

/** General protection, the answer to an operand that is not aligned. */
const GP = 13;

/** Every byte its own number: the start of computed shuffles. */
export const IOTA: Value = v128([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
export const ZERO: Value = v128(new Array(16).fill(0));
export const ONES: Value = v128(new Array(16).fill(255));

/** Reads a source; 128 bits of memory must be aligned, as everywhere but in MOVUPS and its like. */
export function source(l: Lift, operand: LiftOperand): Value {
  if (!operand.isMemory || operand.bits !== 128) return l.let(operand.read());
  return l.load(16, alignedAddress(l, operand, 'read'));
}

/** A scalar source of 32 or 64 bits as a float: an XMM register's lowest lane, or memory. */
export function readFloat(l: Lift, operand: LiftOperand): Value {
  if (operand.isMemory) return l.let(l.let(operand.read()).float());
  return l.loadRaw(`f${operand.bits}.load`, l.cpu.add(operand.stateOffset()));
}

/** Writes the lowest lane of an XMM register; the others stay. */
export function writeFloat(l: Lift, register: LiftOperand, value: Value): void {
  l.storeRaw(`${value.type}.store`, l.cpu.add(register.stateOffset()), 0, value);
}

/** Writes a destination whose memory form must be aligned. */
export function storeAligned(l: Lift, operand: LiftOperand, value: Value): void {
  if (!operand.isMemory) operand.write(value);
  else l.store(16, alignedAddress(l, operand, 'write'), value);
}

function alignedAddress(l: Lift, operand: LiftOperand, access: 'read' | 'write'): Value {
  const linear = l.let(operand.linear(16, access));
  l.raiseIf(linear.i32().and(15), GP, 0);
  return linear;
}

/** The check of an SSE instruction that has an MMX operand as well. */
export function requireMmx(l: Lift): void {
  l.unlikely(l.get(S.fpuTrap), () => l.run(checkMmx));
}

/**
 * What every MMX instruction but EMMS does to the x87: TOP 0, all registers valid. After all that
 * can fault.
 */
export function enterMmx(l: Lift): void {
  l.set(S.x87Top, 0);
  l.set(S.x87Tags, 0xff);
}

/** Writes an MMX register or 64 bits of memory; a register's exponent becomes all ones. */
export function writeMmx(l: Lift, operand: LiftOperand, value: Value): void {
  operand.write(value);
  if (!operand.isMemory)
    l.storeRaw('i32.store16', l.cpu.add(operand.stateOffset()), 8, l.i32(0xffff));
}

/** A 64-bit value in both halves of a vector. */
export function widen(l: Lift, value: Value): Value {
  return value.type === 'v128' ? value : l.let(l.op('i64x2.splat', value));
}
/** The low half of a vector. */
export function low(l: Lift, vector: Value): Value {
  return l.lanes('i64x2.extract_lane', [0], vector);
}

/**
 * A pure operation on vectors. For MMX both operands come in twice, and the low half of the result
 * counts.
 */
export type Packed = (
  l: Lift,
  a: Value,
  b: Value,
  context: { mmx: boolean; immediate: Value },
) => Value;

export interface PackedRow {
  readonly name: string;
  /** Opcode after the mandatory prefix: '0F FC /r'. */
  readonly opcode: string;
  readonly meaning: Packed;
  /** Features of the MMX and XMM forms; undefined where there is none. */
  readonly mmx?: string | undefined;
  readonly xmm?: string | undefined;
  /** Operands of each form. */
  readonly mmxOperands: readonly OperandSpec[];
  readonly xmmOperands: readonly OperandSpec[];
  /** The destination's old value is not read. */
  readonly writes?: boolean;
}

/** One row of a table as one or two instructions: MMX without prefix, XMM with 66. */
export function packed(row: PackedRow): Instruction[] {
  const result: Instruction[] = [];
  if (row.mmx) result.push(one(row, row.mmx, form(`NP ${row.opcode}`, ...row.mmxOperands, MMX)));
  if (row.xmm) result.push(one(row, row.xmm, form(`66 ${row.opcode}`, ...row.xmmOperands, SSE)));
  return result;
}

function one(row: PackedRow, feature: string, only: Form): Instruction {
  return instruction({
    name: row.name,
    manual: `SDM vol 2B, ${row.name}`,
    feature,
    forms: [only],
    access: [row.writes ? 'w' : 'rw', ...only.operands.slice(1).map(() => 'r' as const)],
    lift: (l, _i, ...operands) => liftPacked(l, row, operands),
  });
}

function liftPacked(l: Lift, row: PackedRow, operands: readonly LiftOperand[]): void {
  const dst = operands[0]!;
  const mmx = dst.bits === 64;
  const last = operands.at(-1)!;
  const immediate = operands.length > 2 ? l.let(last.read().i32().and(0xff)) : l.i32(0);
  let b = source(l, operands[1]!);
  if (b.type === 'i32') b = b.u64();
  const a = row.writes ? b : l.let(dst.read());
  if (!mmx) {
    const wide = widen(l, b);
    dst.write(row.meaning(l, row.writes ? wide : a, wide, { mmx, immediate }));
    return;
  }
  enterMmx(l);
  const wide = widen(l, b);
  writeMmx(
    l,
    dst,
    low(l, row.meaning(l, row.writes ? wide : widen(l, a), wide, { mmx, immediate })),
  );
}
