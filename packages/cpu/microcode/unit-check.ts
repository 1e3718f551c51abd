// The check that instructions of the floating-point units begin with, by unit; called only when S.fpuTrap is set.

import { fn, type FunctionRef } from '../lift/function.ts';
import { checkMmx, checkSse } from './sse/check.ts';

const x87Todo: FunctionRef = fn('x87Todo', { params: {}, faults: true, build: (l) => l.raise(7) });

export const unitCheck: Readonly<Record<'x87' | 'mmx' | 'sse', FunctionRef>> = { x87: x87Todo, mmx: checkMmx, sse: checkSse };
