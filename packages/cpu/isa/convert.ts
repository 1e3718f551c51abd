// Sign extension of the accumulator: CBW to CDQE, CWD to CQO. SDM vol 1 §7.3.2.

import { readRegister, writeRegister } from '../microcode/registers.ts';
import { GPR } from '../state/layout.ts';
import { form, type Instruction, instruction, SIZED } from './instruction.ts';

/** CBW, CWDE or CDQE: the accumulator's lower half, sign-extended. */
export const CBW: Instruction = instruction({
  name: 'CBW',
  manual: 'SDM vol 2A, CBW/CWDE/CDQE',
  forms: [form('98', SIZED)],
  lift(l, i) {
    const half = readRegister(l, GPR.rax, i.bits);
    writeRegister(l, GPR.rax, i.bits, half.sext(i.bits / 2));
  },
});

/** CWD, CDQ or CQO: the accumulator's sign in all of rDX. */
export const CWD: Instruction = instruction({
  name: 'CWD',
  manual: 'SDM vol 2A, CWD/CDQ/CQO',
  forms: [form('99', SIZED)],
  lift(l, i) {
    const value = readRegister(l, GPR.rax, i.bits);
    const sign = i.bits === 16 ? value.sext(16).shrs(31) : value.shrs(i.bits - 1);
    writeRegister(l, GPR.rdx, i.bits, sign);
  },
});

export const INSTRUCTIONS_CONVERT: readonly Instruction[] = [CBW, CWD];
