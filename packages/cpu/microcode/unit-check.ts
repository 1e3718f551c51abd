// The check that instructions of the floating-point units begin with, by unit; called only when S.fpuTrap is set.

import type { FunctionRef } from '../lift/function.ts';
import { checkMmx, checkSse } from './sse/check.ts';
import { checkX87 } from './x87/state.ts';

export const unitCheck: Readonly<Record<'x87' | 'mmx' | 'sse', FunctionRef>> = {
  x87: checkX87,
  mmx: checkMmx,
  sse: checkSse,
};
