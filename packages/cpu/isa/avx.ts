// The VEX-encoded vector part of the instruction table: AVX, AVX2, FMA and F16C.

import { INSTRUCTIONS_AVX_INTEGER } from './avx-integer.ts';
import type { Instruction } from './instruction.ts';

export const INSTRUCTIONS_AVX: readonly Instruction[] = [...INSTRUCTIONS_AVX_INTEGER];
