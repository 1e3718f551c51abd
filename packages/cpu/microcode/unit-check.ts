// The check that instructions of a unit begin with: one load and a test, and a call only when a trap field says that
// some instruction of the kind would fault.

import type { Unit } from '../isa/instruction.ts';
import type { FunctionRef } from '../lift/function.ts';
import type { Lift } from '../lift/lift.ts';
import { S } from '../state/layout.ts';
import { checkAvx, checkVex, VECTOR_TRAP } from './avx/check.ts';
import { checkMmx, checkSse } from './sse/check.ts';
import { checkX87 } from './x87/state.ts';

const CHECKS: Readonly<Record<Unit, FunctionRef>> = {
  x87: checkX87,
  mmx: checkMmx,
  sse: checkSse,
  avx: checkAvx,
  vex: checkVex,
};

const REPEATING: ReadonlySet<FunctionRef> = new Set([checkMmx, checkSse, checkAvx, checkVex]);
/** Whether a check that was passed is passed again, and does nothing else, until the trap field is written. */
export const repeats = (check: FunctionRef): boolean => REPEATING.has(check);

/** Raises #UD or #NM, or #MF that waits, when the unit cannot be used now. */
export function checkUnit(l: Lift, unit: Unit): void {
  const isVex = unit === 'avx' || unit === 'vex';
  const trap = isVex ? l.get(S.vectorTrap) : l.get(S.fpuTrap);
  const condition = unit === 'vex' ? trap.and(VECTOR_TRAP.notProtected) : trap;
  l.unlikely(condition, () => l.run(CHECKS[unit]));
}
