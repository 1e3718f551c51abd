// Decimal arithmetic: DAA, DAS, AAA, AAS, AAM, AAD. SDM vol 1 §7.3.4. Not in 64-bit mode.

import { carry, setAdjust, setCarry, setResultFlags } from '../lift/flags.ts';
import type { Lift } from '../lift/lift.ts';
import type { Value } from '../lift/value.ts';
import { readRegister, writeRegister } from '../microcode/registers.ts';
import { GPR, S } from '../state/layout.ts';
import { form, Ib, type Instruction, instruction, NO64 } from './instruction.ts';

const { rax } = GPR;

/** 1 when the low digit needs correcting: above 9, or AF. */
function lowDigit(l: Lift, al: Value): Value {
  return l.let(al.and(0xf).gtu(9).or(l.get(S.flagA).bit(4)));
}

/** After addition (+1) or subtraction (-1) of two packed decimals in AL. */
function adjustPacked(sign: 1 | -1) {
  return (l: Lift): void => {
    const al = readRegister(l, rax, 8);
    const oldCarry = carry(l);
    const low = lowDigit(l, al);
    const high = l.let(al.gtu(0x99).or(oldCarry));
    const first = l.let(al.add(low.mul(6 * sign)));
    const result = l.let(first.add(high.mul(0x60 * sign)));
    writeRegister(l, rax, 8, result);
    setResultFlags(l, 8, result);
    // A borrow from the low correction alone sets CF too; a carry from it implies `high`.
    setCarry(l, high.or(first.bit(8)));
    setAdjust(l, low);
  };
}

const PACKED_FLAGS = { reads: 'AC', writes: 'SZAPC', undefined: 'O' } as const;

export const DAA: Instruction = instruction({
  name: 'DAA',
  manual: 'SDM vol 2A, DAA',
  forms: [form('27', NO64)],
  flags: PACKED_FLAGS,
  lift: adjustPacked(1),
});

export const DAS: Instruction = instruction({
  name: 'DAS',
  manual: 'SDM vol 2A, DAS',
  forms: [form('2F', NO64)],
  flags: PACKED_FLAGS,
  lift: adjustPacked(-1),
});

/** After addition or subtraction of two unpacked digits in AL, with AH taking the carry or borrow. */
function adjustUnpacked(sign: 1 | -1) {
  return (l: Lift): void => {
    const ax = readRegister(l, rax, 16);
    const low = lowDigit(l, ax);
    // AAA: AX + 0x106. AAS: AX - 6, then AH - 1.
    const result = ax.add(low.mul(0x106 * sign)).and(0xff0f);
    writeRegister(l, rax, 16, result);
    setCarry(l, low);
    setAdjust(l, low);
  };
}

const UNPACKED_FLAGS = { reads: 'A', writes: 'AC', undefined: 'OSZP' } as const;

export const AAA: Instruction = instruction({
  name: 'AAA',
  manual: 'SDM vol 2A, AAA',
  forms: [form('37', NO64)],
  flags: UNPACKED_FLAGS,
  lift: adjustUnpacked(1),
});

export const AAS: Instruction = instruction({
  name: 'AAS',
  manual: 'SDM vol 2A, AAS',
  forms: [form('3F', NO64)],
  flags: UNPACKED_FLAGS,
  lift: adjustUnpacked(-1),
});

/** SF, ZF and PF by AL; the others are undefined and we clear them. */
function setDigitFlags(l: Lift, al: Value): void {
  setResultFlags(l, 8, al);
  setCarry(l, 0);
  l.set(S.flagO, 0n);
  l.set(S.flagA, 0);
}

const DIGIT_FLAGS = { writes: 'SZP', undefined: 'OAC' } as const;

export const AAM: Instruction = instruction({
  name: 'AAM',
  manual: 'SDM vol 2A, AAM',
  forms: [form('D4 ib', Ib, NO64)],
  access: ['r'],
  flags: DIGIT_FLAGS,
  exceptions: '#DE',
  lift(l, _, base) {
    const divisor = l.let(base.read());
    l.raiseIf(divisor.eqz(), 0);
    const al = readRegister(l, rax, 8);
    const digit = l.let(al.remu(divisor));
    writeRegister(l, rax, 16, al.divu(divisor).shl(8).or(digit));
    setDigitFlags(l, digit);
  },
});

export const AAD: Instruction = instruction({
  name: 'AAD',
  manual: 'SDM vol 2A, AAD',
  forms: [form('D5 ib', Ib, NO64)],
  access: ['r'],
  flags: DIGIT_FLAGS,
  lift(l, _, base) {
    const ax = readRegister(l, rax, 16);
    const al = l.let(ax.shru(8).mul(base.read()).add(ax).and(0xff));
    writeRegister(l, rax, 16, al);
    setDigitFlags(l, al);
  },
});

export const INSTRUCTIONS_DECIMAL: readonly Instruction[] = [DAA, DAS, AAA, AAS, AAM, AAD];
