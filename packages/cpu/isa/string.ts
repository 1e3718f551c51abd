// String instructions: MOVS, CMPS, STOS, LODS, SCAS. SDM vol 1 §7.3.9. INS and OUTS are I/O instructions.
// F2 repeats MOVS, STOS and LODS as F3 does.

import type { Lift } from '../lift/lift.ts';
import type { Value } from '../lift/value.ts';
import { addressMask } from '../microcode/address.ts';
import {
  CMPS_LOOP,
  LODS_LOOP,
  MOVS_LOOP,
  REPEAT,
  SCAS_LOOP,
  STOS_LOOP,
  type StringFunctions,
} from '../microcode/string.ts';
import {
  form,
  type Instruction,
  type InstructionContext,
  type InstructionSpec,
  instruction,
  SIZED,
} from './instruction.ts';

/** One of REPEAT by the prefixes. */
function repetition(l: Lift, i: InstructionContext): Value {
  return l.select(i.prefix('rep'), REPEAT.equal, i.prefix('repne').mul(REPEAT.notEqual));
}

/** The byte form and the form by operand size of one string instruction; both are one loop in microcode. */
function pair(
  name: string,
  opcode: number,
  loops: StringFunctions,
  spec: Omit<InstructionSpec, 'name' | 'forms' | 'lift'>,
): Instruction[] {
  const encoding = (n: number) => n.toString(16).toUpperCase();
  const lift = (bits: (i: InstructionContext) => number) => (l: Lift, i: InstructionContext) => {
    const loop = loops[bits(i) as 8 | 16 | 32 | 64];
    const isUnfinished = l.call(loop, i.segment(), addressMask(l, i), repetition(l, i));
    l.if(isUnfinished, () => i.again());
  };
  return [
    instruction({
      ...spec,
      name: `${name}B`,
      forms: [form(encoding(opcode))],
      lift: lift(() => 8),
    }),
    instruction({
      ...spec,
      name,
      forms: [form(encoding(opcode + 1), SIZED)],
      lift: lift((i) => i.bits),
    }),
  ];
}

const COMPARE_FLAGS = { reads: 'D', writes: 'OSZAPC' } as const;

export const INSTRUCTIONS_STRING: readonly Instruction[] = [
  ...pair('MOVS', 0xa4, MOVS_LOOP, {
    manual: 'SDM vol 2B, MOVS/MOVSB/MOVSW/MOVSD/MOVSQ',
    flags: { reads: 'D' },
  }),
  ...pair('CMPS', 0xa6, CMPS_LOOP, {
    manual: 'SDM vol 2A, CMPS/CMPSB/CMPSW/CMPSD/CMPSQ',
    flags: COMPARE_FLAGS,
  }),
  ...pair('STOS', 0xaa, STOS_LOOP, {
    manual: 'SDM vol 2B, STOS/STOSB/STOSW/STOSD/STOSQ',
    flags: { reads: 'D' },
  }),
  ...pair('LODS', 0xac, LODS_LOOP, {
    manual: 'SDM vol 2A, LODS/LODSB/LODSW/LODSD/LODSQ',
    flags: { reads: 'D' },
  }),
  ...pair('SCAS', 0xae, SCAS_LOOP, {
    manual: 'SDM vol 2B, SCAS/SCASB/SCASW/SCASD',
    flags: COMPARE_FLAGS,
  }),
];
