// The whole instruction table.

import { INSTRUCTIONS_AES } from './aes.ts';
import { INSTRUCTIONS_ARITHMETIC } from './arithmetic.ts';
import { INSTRUCTIONS_ATOMIC } from './atomic.ts';
import { INSTRUCTIONS_AVX } from './avx.ts';
import { INSTRUCTIONS_BIT } from './bit.ts';
import { INSTRUCTIONS_BMI } from './bmi.ts';
import { INSTRUCTIONS_CONTROL } from './control.ts';
import { INSTRUCTIONS_CONVERT } from './convert.ts';
import { INSTRUCTIONS_DECIMAL } from './decimal.ts';
import { INSTRUCTIONS_FAR } from './far.ts';
import { INSTRUCTIONS_FLAG } from './flag.ts';
import { INSTRUCTIONS_GFNI } from './gfni.ts';
import type { Instruction } from './instruction.ts';
import { INSTRUCTIONS_INTERRUPT } from './interrupt.ts';
import { INSTRUCTIONS_LOGIC } from './logic.ts';
import { INSTRUCTIONS_MISCELLANEOUS } from './miscellaneous.ts';
import { INSTRUCTIONS_MOVE } from './move.ts';
import { INSTRUCTIONS_MULTIPLY } from './multiply.ts';
import { INSTRUCTIONS_PORT } from './port.ts';
import { INSTRUCTIONS_SEGMENT } from './segment.ts';
import { INSTRUCTIONS_SHA } from './sha.ts';
import { INSTRUCTIONS_SHIFT } from './shift.ts';
import { INSTRUCTIONS_SSE } from './sse.ts';
import { INSTRUCTIONS_STACK } from './stack.ts';
import { INSTRUCTIONS_STRING } from './string.ts';
import { INSTRUCTIONS_SYSCALL } from './syscall.ts';
import { INSTRUCTIONS_SYSTEM } from './system.ts';
import { INSTRUCTIONS_UNSUPPORTED } from './unsupported.ts';
import { INSTRUCTIONS_X87_ARITHMETIC } from './x87-arithmetic.ts';
import { INSTRUCTIONS_X87_FUNCTION } from './x87-function.ts';
import { INSTRUCTIONS_X87_MEMORY } from './x87-memory.ts';
import { INSTRUCTIONS_X87_MOVE } from './x87-move.ts';
import { INSTRUCTIONS_X87_STATE } from './x87-state.ts';

export const ISA: readonly Instruction[] = [
  ...INSTRUCTIONS_ARITHMETIC,
  ...INSTRUCTIONS_LOGIC,
  ...INSTRUCTIONS_MOVE,
  ...INSTRUCTIONS_SHIFT,
  ...INSTRUCTIONS_STACK,
  ...INSTRUCTIONS_CONTROL,
  ...INSTRUCTIONS_SSE,
  ...INSTRUCTIONS_AVX,
  ...INSTRUCTIONS_ATOMIC,
  ...INSTRUCTIONS_BIT,
  ...INSTRUCTIONS_CONVERT,
  ...INSTRUCTIONS_DECIMAL,
  ...INSTRUCTIONS_FAR,
  ...INSTRUCTIONS_FLAG,
  ...INSTRUCTIONS_MISCELLANEOUS,
  ...INSTRUCTIONS_MULTIPLY,
  ...INSTRUCTIONS_STRING,
  ...INSTRUCTIONS_UNSUPPORTED,
  ...INSTRUCTIONS_X87_ARITHMETIC,
  ...INSTRUCTIONS_X87_FUNCTION,
  ...INSTRUCTIONS_X87_MEMORY,
  ...INSTRUCTIONS_X87_MOVE,
  ...INSTRUCTIONS_X87_STATE,
  ...INSTRUCTIONS_INTERRUPT,
  ...INSTRUCTIONS_PORT,
  ...INSTRUCTIONS_SEGMENT,
  ...INSTRUCTIONS_SYSCALL,
  ...INSTRUCTIONS_SYSTEM,
  ...INSTRUCTIONS_AES,
  ...INSTRUCTIONS_GFNI,
  ...INSTRUCTIONS_SHA,
  ...INSTRUCTIONS_BMI,
];
