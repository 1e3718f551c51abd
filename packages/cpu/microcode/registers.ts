// Parts of general registers that an instruction names by itself (AL, DX, ECX), at any operand size.

import type { Lift } from '../lift/lift.ts';
import type { Value } from '../lift/value.ts';
import { S } from '../state/layout.ts';

/** The low `bits` of a general register: i64 for 64, else a zero-extended i32. */
export function readRegister(l: Lift, register: number, bits: number): Value {
  const whole = l.get(S.gpr, register);
  return bits === 64 ? whole : l.let(whole.i32().zext(bits));
}

/** Writes the low `bits`: 32 bits clear the upper half, 8 and 16 keep the rest. */
export function writeRegister(l: Lift, register: number, bits: number, value: Value): void {
  if (bits >= 32) {
    l.set(S.gpr, bits === 64 ? value : value.i32().u64(), register);
    return;
  }
  const low = (1n << BigInt(bits)) - 1n;
  const kept = l.get(S.gpr, register).and(~low);
  l.set(S.gpr, kept.or(value.u64().and(low)), register);
}
