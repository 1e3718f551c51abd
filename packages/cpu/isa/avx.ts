// The VEX-encoded vector part of the instruction table: AVX, AVX2, FMA and F16C.

import { INSTRUCTIONS_AVX_CONVERT } from './avx-convert.ts';
import { INSTRUCTIONS_AVX_ELEMENT } from './avx-element.ts';
import { INSTRUCTIONS_AVX_FLOAT } from './avx-float.ts';
import { INSTRUCTIONS_AVX_FMA } from './avx-fma.ts';
import { INSTRUCTIONS_AVX_GATHER } from './avx-gather.ts';
import { INSTRUCTIONS_AVX_INTEGER } from './avx-integer.ts';
import { INSTRUCTIONS_AVX_MOVE } from './avx-move.ts';
import { INSTRUCTIONS_AVX_SHUFFLE } from './avx-shuffle.ts';
import type { Instruction } from './instruction.ts';

export const INSTRUCTIONS_AVX: readonly Instruction[] = [
  ...INSTRUCTIONS_AVX_MOVE,
  ...INSTRUCTIONS_AVX_INTEGER,
  ...INSTRUCTIONS_AVX_SHUFFLE,
  ...INSTRUCTIONS_AVX_ELEMENT,
  ...INSTRUCTIONS_AVX_GATHER,
  ...INSTRUCTIONS_AVX_FLOAT,
  ...INSTRUCTIONS_AVX_CONVERT,
  ...INSTRUCTIONS_AVX_FMA,
];
