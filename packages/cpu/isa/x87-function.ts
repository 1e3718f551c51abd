// x87 functions of one or two numbers: remainders, scaling, rounding and the transcendental ones.
// SDM vol 1 §8.3.5, §8.3.7–8.3.10.

import type { FunctionRef } from '../lift/function.ts';
import { roundToInteger } from '../microcode/x87/convert.ts';
import { unary } from '../microcode/x87/operate.ts';
import { extract, partialRemainder, partialRemainder1, scale } from '../microcode/x87/remainder.ts';
import { exponential, patan, yLog2x, yLog2xPlus1 } from '../microcode/x87/transcendental.ts';
import {
  stackCosine,
  stackSine,
  stackSineCosine,
  stackTangent,
} from '../microcode/x87/trigonometric.ts';
import { form, type Instruction, instruction, X87 } from './instruction.ts';
import { runs } from './x87-operands.ts';

interface FunctionRow {
  readonly name: string;
  readonly encoding: string;
  readonly function: FunctionRef;
}

const FUNCTIONS: readonly FunctionRow[] = [
  { name: 'F2XM1', encoding: 'D9 F0', function: unary('x87F2xm1', exponential) },
  { name: 'FYL2X', encoding: 'D9 F1', function: yLog2x },
  { name: 'FPTAN', encoding: 'D9 F2', function: stackTangent },
  { name: 'FPATAN', encoding: 'D9 F3', function: patan },
  { name: 'FXTRACT', encoding: 'D9 F4', function: extract },
  { name: 'FPREM1', encoding: 'D9 F5', function: partialRemainder1 },
  { name: 'FPREM', encoding: 'D9 F8', function: partialRemainder },
  { name: 'FYL2XP1', encoding: 'D9 F9', function: yLog2xPlus1 },
  { name: 'FSINCOS', encoding: 'D9 FB', function: stackSineCosine },
  { name: 'FRNDINT', encoding: 'D9 FC', function: unary('x87Frndint', roundToInteger) },
  { name: 'FSCALE', encoding: 'D9 FD', function: scale },
  { name: 'FSIN', encoding: 'D9 FE', function: stackSine },
  { name: 'FCOS', encoding: 'D9 FF', function: stackCosine },
];

export const INSTRUCTIONS_X87_FUNCTION: readonly Instruction[] = FUNCTIONS.map((row) =>
  instruction({
    name: row.name,
    manual: `SDM vol 2A, ${row.name}`,
    forms: [form(row.encoding, X87)],
    lift: (l, i) => runs(l, i, row.function),
  }),
);
