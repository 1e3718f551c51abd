// Flags as operands: SETcc, LAHF, SAHF, and the single-flag instructions. SDM vol 1 §7.3.14.
// CLI and STI are system instructions.

import {
  CONDITIONS,
  carry,
  condition,
  overflow,
  RFLAGS,
  readFlags,
  setCarry,
  setOverflow,
  writeArithmeticFlags,
} from '../lift/flags.ts';
import { readRegister, writeRegister } from '../microcode/registers.ts';
import { GPR, S } from '../state/layout.ts';
import { Eb, family, form, HOT, type Instruction, instruction, NO64 } from './instruction.ts';
import { CONDITION_READS } from './move.ts';

export const SETCC: readonly Instruction[] = family(CONDITIONS, (name) => {
  const code = CONDITIONS.indexOf(name);
  return {
    name: `SET${name.toUpperCase()}`,
    manual: 'SDM vol 2B, SETcc',
    forms: [form(`0F 9${code.toString(16).toUpperCase()} /r`, Eb, HOT)],
    access: ['w'],
    flags: { reads: CONDITION_READS[code >> 1]! },
    lift(l, _, dst) {
      dst.write(condition(l, code));
    },
  };
});

export const LAHF: Instruction = instruction({
  name: 'LAHF',
  manual: 'SDM vol 2A, LAHF',
  forms: [form('9F')],
  flags: { reads: 'SZAPC' },
  lift(l) {
    const al = readRegister(l, GPR.rax, 8);
    writeRegister(l, GPR.rax, 16, readFlags(l).shl(8).or(al));
  },
});

export const SAHF: Instruction = instruction({
  name: 'SAHF',
  manual: 'SDM vol 2B, SAHF',
  forms: [form('9E')],
  flags: { writes: 'SZAPC' },
  lift(l) {
    const ah = readRegister(l, GPR.rax, 16).shru(8);
    const o = l.let(overflow(l));
    writeArithmeticFlags(l, ah);
    setOverflow(l, o);
  },
});

export const CLC: Instruction = instruction({
  name: 'CLC',
  manual: 'SDM vol 2A, CLC',
  forms: [form('F8')],
  flags: { writes: 'C' },
  lift(l) {
    setCarry(l, 0);
  },
});

export const STC: Instruction = instruction({
  name: 'STC',
  manual: 'SDM vol 2B, STC',
  forms: [form('F9')],
  flags: { writes: 'C' },
  lift(l) {
    setCarry(l, 1);
  },
});

export const CMC: Instruction = instruction({
  name: 'CMC',
  manual: 'SDM vol 2A, CMC',
  forms: [form('F5')],
  flags: { reads: 'C', writes: 'C' },
  lift(l) {
    setCarry(l, carry(l).xor(1));
  },
});

export const CLD: Instruction = instruction({
  name: 'CLD',
  manual: 'SDM vol 2A, CLD',
  forms: [form('FC')],
  flags: { writes: 'D' },
  lift(l) {
    l.set(S.rflags, l.get(S.rflags).and(~RFLAGS.df));
  },
});

export const STD: Instruction = instruction({
  name: 'STD',
  manual: 'SDM vol 2B, STD',
  forms: [form('FD')],
  flags: { writes: 'D' },
  lift(l) {
    l.set(S.rflags, l.get(S.rflags).or(RFLAGS.df));
  },
});

/** Undocumented by name, decoded by every processor (SDM vol 3B §23.15 lists it): AL from CF. */
export const SALC: Instruction = instruction({
  name: 'SALC',
  manual: 'AMD APM vol 3, appendix A (D6)',
  forms: [form('D6', NO64)],
  flags: { reads: 'C' },
  lift(l) {
    writeRegister(l, GPR.rax, 8, l.i32(0).sub(carry(l)));
  },
});

export const INSTRUCTIONS_FLAG: readonly Instruction[] = [
  ...SETCC, LAHF, SAHF, CLC, STC, CMC, CLD, STD, SALC,
]; // biome-ignore format: a list
