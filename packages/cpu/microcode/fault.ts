// Raising exceptions whose vector or error code is only known at run time. SDM vol 3A §6.13 (error codes).

import { FAULT_HAS_CODE, FAULT_PENDING, type Lift } from '../lift/lift.ts';
import type { Operand, Value } from '../lift/value.ts';
import { S } from '../state/layout.ts';

export const VECTOR = {
  de: 0, db: 1, nmi: 2, bp: 3, of: 4, br: 5, ud: 6, nm: 7, df: 8, ts: 10, np: 11, ss: 12, gp: 13, pf: 14, mf: 16,
  ac: 17, mc: 18, xm: 19,
} as const; // biome-ignore format: a list

/** EXT, bit 0 of an error code: the fault met an event that the program did not ask for. */
export function externalBit(l: Lift): Value {
  return l.get(S.delivering).nez();
}

/** Error code that names a selector. */
export function selectorError(l: Lift, selector: Value): Value {
  return selector.and(0xfffc).or(externalBit(l));
}

/** Raises a vector with an error code. */
export function raiseWithCode(l: Lift, vector: Operand, code: Value): void {
  const v = typeof vector === 'object' ? vector : l.i32(Number(vector));
  l.set(S.faultCode, code);
  l.set(S.fault, v.or(FAULT_PENDING | FAULT_HAS_CODE));
  l.exit('fault');
}

/** Raises a vector with a selector's error code when the condition holds. */
export function raiseSelectorIf(l: Lift, condition: Value, vector: Operand, selector: Value): void {
  l.unlikely(condition, () => raiseWithCode(l, vector, selectorError(l, selector)));
}
