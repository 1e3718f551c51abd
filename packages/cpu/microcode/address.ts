// Addresses that an instruction forms itself, outside its ModRM operand: strings, XLAT, LOOP counters.

import type { InstructionContext } from '../isa/instruction.ts';
import type { AccessBytes, Lift } from '../lift/lift.ts';
import { constantOf, type Value } from '../lift/value.ts';
import { S } from '../state/layout.ts';
import { isFlatSegment, segmentLinear } from './segment-access.ts';

/** Ones where an address of the instruction's address size has bits (i64). */
export function addressMask(l: Lift, i: InstructionContext): Value {
  return l.i64(-1).shru(l.i32(64).sub(i.addressBits()));
}

/** A register's value cut to `mask`: 0xffff, 0xffffffff or all ones. */
export function readMasked(l: Lift, register: number, mask: Value): Value {
  return l.let(l.get(S.gpr, register).and(mask));
}

/** Writes the masked part: 16 bits keep the rest of the register, 32 bits clear its upper half. */
export function writeMasked(l: Lift, register: number, mask: Value, value: Value): void {
  const kept = l.select(mask.eq(0xffff), l.get(S.gpr, register).and(~0xffffn), l.i64(0));
  l.set(S.gpr, value.and(mask).or(kept), register);
}

/** Linear address of an offset in the instruction's data segment (DS or an override). Raises #GP(0), #SS(0). */
export function dataLinear(
  l: Lift,
  i: InstructionContext,
  offset: Value,
  bytes: AccessBytes,
  access: 'read' | 'write',
): Value {
  const segment = i.segment();
  if (i.flat && isFlatSegment(Number(constantOf(segment)))) return offset;
  return l.call(segmentLinear, segment, offset, bytes, access === 'write' ? 1 : 0);
}
