// NOPs and hints, cache-line flushes, BOUND, RDRAND and RDSEED, UD. SDM vol 1 §7.3.17.
// NOP 90 and PAUSE are the short form of XCHG (move.ts).

import { setCarry } from '../lift/flags.ts';
import { imported } from '../lift/function.ts';
import type { AccessBytes, Lift } from '../lift/lift.ts';
import { S } from '../state/layout.ts';
import { clearFlags } from './bit.ts';
import {
  Ev,
  form,
  Gv,
  type Instruction,
  type InstructionContext,
  instruction,
  type LiftOperand,
  M,
  Mb,
  NO64,
  ONLY64,
  Rd,
  Rq,
  Rv,
} from './instruction.ts';

const nothing = (): void => {};

const HINTS = ['0D', '18', '19', '1A', '1B', '1C', '1D', '1E', '1F'];

/**
 * 0F 0D and 0F 18–0F 1F are reserved for hints: what is left of the prefetches, ENDBR, CLDEMOTE, RDSSP without CET,
 * and the long NOP.
 */
export const NOP: Instruction = instruction({
  name: 'NOP',
  manual: 'SDM vol 2B, NOP; vol 2 appendix A.3',
  forms: HINTS.map((opcode) => form(`0F ${opcode} /r`, Ev)),
  access: ['none'],
  lift: nothing,
});

/** There is no cache to flush; the address is checked like a load of a byte. */
export const CLFLUSH: Instruction = instruction({
  name: 'CLFLUSH',
  manual: 'SDM vol 2A, CLFLUSH',
  forms: [form('NP 0F AE /7', Mb)],
  access: ['r'],
  feature: 'CLFSH',
  lift(l, _, line) {
    l.let(line.read());
  },
});

export const CLFLUSHOPT: Instruction = instruction({
  ...CLFLUSH,
  name: 'CLFLUSHOPT',
  manual: 'SDM vol 2A, CLFLUSHOPT',
  forms: [form('66 0F AE /7', Mb)],
  feature: 'CLFLUSHOPT',
});

export const CLWB: Instruction = instruction({
  ...CLFLUSH,
  name: 'CLWB',
  manual: 'SDM vol 2A, CLWB',
  forms: [form('66 0F AE /6', Mb)],
  feature: 'CLWB',
});

/** #BR when the signed index lies outside the two bounds in memory. */
export const BOUND: Instruction = instruction({
  name: 'BOUND',
  manual: 'SDM vol 2A, BOUND',
  forms: [form('62 /r', Gv, M, NO64)],
  access: ['r', 'none'],
  exceptions: '#BR',
  lift(l, i, index, bounds) {
    const { bits } = i;
    const bytes = (bits / 8) as AccessBytes;
    const linear = l.let(bounds.linear(2 * bytes, 'read'));
    const lower = l.let(l.load(bytes, linear)).sext(bits);
    const upper = l.let(l.load(bytes, linear.add(bytes))).sext(bits);
    const value = l.let(index.read().sext(bits));
    l.raiseIf(value.lts(lower).or(value.gts(upper)), 5);
  },
});

/** 64 random bits from the host. */
const randomI64 = imported('randomI64', {}, 'i64');

/** There is always a random number ready: CF is 1, the other flags 0. */
function random(l: Lift, _: InstructionContext, dst: LiftOperand): void {
  const value = l.call(randomI64);
  dst.write(dst.bits === 64 ? value : value.i32());
  clearFlags(l);
  setCarry(l, 1);
}

export const RDRAND: Instruction = instruction({
  name: 'RDRAND',
  manual: 'SDM vol 2B, RDRAND',
  forms: [form('0F C7 /6', Rv)],
  access: ['w'],
  flags: { writes: 'OSZAPC' },
  feature: 'RDRAND',
  lift: random,
});

export const RDSEED: Instruction = instruction({
  ...RDRAND,
  name: 'RDSEED',
  manual: 'SDM vol 2B, RDSEED',
  forms: [form('0F C7 /7', Rv)],
  feature: 'RDSEED',
});

/** IA32_TSC_AUX, without the counter. */
export const RDPID: Instruction = instruction({
  name: 'RDPID',
  manual: 'SDM vol 2B, RDPID',
  forms: [form('F3 0F C7 /7', Rq, ONLY64), form('F3 0F C7 /7', Rd, NO64)],
  access: ['w'],
  feature: 'RDPID',
  lift(l, _, dst) {
    const value = l.get(S.msrTscAux);
    dst.write(dst.bits === 64 ? value : value.i32());
  },
});

/** Opcodes that are undefined for good. */
export const UD: Instruction = instruction({
  name: 'UD',
  manual: 'SDM vol 2B, UD',
  forms: [form('0F FF /r', Gv, Ev), form('0F B9 /r', Gv, Ev), form('0F 0B')],
  access: ['none', 'none'],
  exceptions: '#UD',
  lift(l) {
    l.raise(6);
  },
});

export const INSTRUCTIONS_MISCELLANEOUS: readonly Instruction[] = [
  NOP, CLFLUSH, CLFLUSHOPT, CLWB, BOUND, RDRAND, RDSEED, RDPID, UD,
]; // biome-ignore format: a list
