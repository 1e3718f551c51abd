// The whole instruction table.

import { INSTRUCTIONS_ARITHMETIC } from './arithmetic.ts';
import { INSTRUCTIONS_CONTROL } from './control.ts';
import type { Instruction } from './instruction.ts';
import { INSTRUCTIONS_LOGIC } from './logic.ts';
import { INSTRUCTIONS_MOVE } from './move.ts';
import { INSTRUCTIONS_SHIFT } from './shift.ts';
import { INSTRUCTIONS_STACK } from './stack.ts';

export const ISA: readonly Instruction[] = [
  ...INSTRUCTIONS_ARITHMETIC,
  ...INSTRUCTIONS_LOGIC,
  ...INSTRUCTIONS_MOVE,
  ...INSTRUCTIONS_SHIFT,
  ...INSTRUCTIONS_STACK,
  ...INSTRUCTIONS_CONTROL,
];
