// The MMX and SSE part of the instruction table.

import type { Instruction } from './instruction.ts';
import { INSTRUCTIONS_MMX } from './mmx.ts';
import { INSTRUCTIONS_SSE_CONTROL } from './sse-control.ts';
import { INSTRUCTIONS_SSE_CONVERT } from './sse-convert.ts';
import { INSTRUCTIONS_SSE_ELEMENT } from './sse-element.ts';
import { INSTRUCTIONS_SSE_FLOAT } from './sse-float.ts';
import { INSTRUCTIONS_SSE_INTEGER } from './sse-integer.ts';
import { INSTRUCTIONS_SSE_MOVE } from './sse-move.ts';
import { INSTRUCTIONS_SSE_SHUFFLE } from './sse-shuffle.ts';
import { INSTRUCTIONS_SSE_STRING } from './sse-string.ts';

export const INSTRUCTIONS_SSE: readonly Instruction[] = [
  ...INSTRUCTIONS_SSE_MOVE,
  ...INSTRUCTIONS_SSE_INTEGER,
  ...INSTRUCTIONS_SSE_SHUFFLE,
  ...INSTRUCTIONS_SSE_ELEMENT,
  ...INSTRUCTIONS_SSE_FLOAT,
  ...INSTRUCTIONS_SSE_CONVERT,
  ...INSTRUCTIONS_SSE_STRING,
  ...INSTRUCTIONS_MMX,
  ...INSTRUCTIONS_SSE_CONTROL,
];
