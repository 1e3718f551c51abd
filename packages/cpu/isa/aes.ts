// AES-NI and PCLMULQDQ, with their AVX forms. SDM vol 1 §12.13, §14.3.

import type { FunctionRef } from '../lift/function.ts';
import type { Value } from '../lift/value.ts';
import {
  aesDecrypt,
  aesDecryptLast,
  aesEncrypt,
  aesEncryptLast,
  aesInverseMix,
  aesKeyAssist,
} from '../microcode/aes.ts';
import { multiplyCarryless } from '../microcode/carryless.ts';
import type { Instruction } from './instruction.ts';
import { type VectorMeaning, type VectorRow, vectorInstructions } from './sse-avx-forms.ts';

const round =
  (f: FunctionRef): VectorMeaning =>
  (l, state, roundKey) =>
    l.call(f, state, roundKey);

/** The halves are named by bits 0 and 4 of the immediate. */
const carryless: VectorMeaning = (l, a, b, immediate) => {
  const half = (v: Value, bit: number) =>
    l.select(
      immediate.bit(bit),
      l.lanes('i64x2.extract_lane', [1], v),
      l.lanes('i64x2.extract_lane', [0], v),
    );
  return l.call(multiplyCarryless, half(a, 0), half(b, 4));
};

// biome-ignore format: a table
const ROWS: readonly VectorRow[] = [
  { name: 'AESIMC', feature: 'AES', map: '0F38', rest: 'DB /r', inputs: 1, meaning: (l, _, v) => l.call(aesInverseMix, v) },
  { name: 'AESENC', feature: 'AES', wide: 'VAES', map: '0F38', rest: 'DC /r', inputs: 2, meaning: round(aesEncrypt) },
  { name: 'AESENCLAST', feature: 'AES', wide: 'VAES', map: '0F38', rest: 'DD /r', inputs: 2, meaning: round(aesEncryptLast) },
  { name: 'AESDEC', feature: 'AES', wide: 'VAES', map: '0F38', rest: 'DE /r', inputs: 2, meaning: round(aesDecrypt) },
  { name: 'AESDECLAST', feature: 'AES', wide: 'VAES', map: '0F38', rest: 'DF /r', inputs: 2, meaning: round(aesDecryptLast) },
  { name: 'AESKEYGENASSIST', feature: 'AES', map: '0F3A', rest: 'DF /r ib', inputs: 1, hasImmediate: true,
    meaning: (l, _, v, immediate) => l.call(aesKeyAssist, v, immediate) },
  { name: 'PCLMULQDQ', feature: 'PCLMULQDQ', wide: 'VPCLMULQDQ', map: '0F3A', rest: '44 /r ib', inputs: 2, hasImmediate: true,
    meaning: carryless },
];

export const INSTRUCTIONS_AES: readonly Instruction[] = ROWS.flatMap(vectorInstructions);
