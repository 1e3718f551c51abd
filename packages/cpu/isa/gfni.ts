// GFNI: bytes in GF(2^8). SDM vol 2A, each instruction; vol 1 §5.24.

import { affineBytes, invertBytes, multiplyBytes } from '../microcode/gfni.ts';
import type { Instruction } from './instruction.ts';
import { type VectorRow, vectorInstructions } from './sse-avx-forms.ts';

const GFNI = { feature: 'GFNI', wide: 'GFNI', inputs: 2 } as const;

// biome-ignore format: a table
const ROWS: readonly VectorRow[] = [
  { ...GFNI, name: 'GF2P8MULB', map: '0F38', rest: 'CF /r', w: 'W0',
    meaning: (l, a, b) => l.call(multiplyBytes, a, b) },
  { ...GFNI, name: 'GF2P8AFFINEQB', map: '0F3A', rest: 'CE /r ib', w: 'W1', hasImmediate: true,
    meaning: (l, a, b, constant) => l.call(affineBytes, a, b, constant) },
  { ...GFNI, name: 'GF2P8AFFINEINVQB', map: '0F3A', rest: 'CF /r ib', w: 'W1', hasImmediate: true,
    meaning: (l, a, b, constant) => l.call(affineBytes, l.call(invertBytes, a), b, constant) },
];

export const INSTRUCTIONS_GFNI: readonly Instruction[] = ROWS.flatMap(vectorInstructions);
