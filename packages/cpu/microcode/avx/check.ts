// Whether VEX-encoded instructions may run now. SDM vol 2A §2.4 (exception types 1 to 8 and 13), vol 1 §13.1.

import { type FunctionRef, fn } from '../../lift/function.ts';
import { S } from '../../state/layout.ts';

const UD = 6;
const NM = 7;

/** Bits of `S.vectorTrap`: VEX means nothing in real and virtual-8086 mode; AVX is off; CR0.TS is set. */
export const VECTOR_TRAP = { notProtected: 1, off: 2, taskSwitched: 4 } as const;

/** Raises #UD in real and virtual-8086 mode. */
export const checkVex: FunctionRef = fn('checkVex', {
  params: {},
  faults: true,
  build: (l) => l.raiseIf(l.get(S.vectorTrap).and(VECTOR_TRAP.notProtected), UD),
});

/** Raises #UD unless CR4.OSXSAVE and XCR0[2:1] = 11b, #NM when the task switched. */
export const checkAvx: FunctionRef = fn('checkAvx', {
  params: {},
  faults: true,
  build(l) {
    const trap = l.get(S.vectorTrap);
    l.raiseIf(trap.and(VECTOR_TRAP.notProtected | VECTOR_TRAP.off), UD);
    l.raiseIf(trap.and(VECTOR_TRAP.taskSwitched), NM);
  },
});
