// PUSH, POP and their kin for all registers and flags, ENTER and LEAVE. SDM vol 1 §6.2, §6.5.
// POP to a segment register loads a descriptor and stands with the segment instructions.

import { RFLAGS, readFlags, writeArithmeticFlags } from '../lift/flags.ts';
import type { AccessBytes, Lift } from '../lift/lift.ts';
import type { Value } from '../lift/value.ts';
import { dataLinear } from '../microcode/address.ts';
import { ENTER_FRAME } from '../microcode/enter.ts';
import { flagsChanged } from '../microcode/flags.ts';
import { pop, push, setStackPointer, stackLinear, stackPointer } from '../microcode/stack.ts';
import { GPR, S } from '../state/layout.ts';
import {
  CS,
  DEFAULT64,
  DS,
  ENDS,
  ES,
  Ev,
  FS,
  form,
  GS,
  HOT,
  Ib,
  Ibs,
  type Instruction,
  type InstructionContext,
  Iw,
  Iz,
  instruction,
  type LiftOperand,
  NO64,
  SIZED,
  SS,
  Zv,
} from './instruction.ts';

export const PUSH: Instruction = instruction({
  name: 'PUSH',
  manual: 'SDM vol 2B, PUSH',
  forms: [
    form('50+r', Zv, DEFAULT64, HOT),
    form('FF /6', Ev, DEFAULT64),
    form('6A', Ibs, DEFAULT64, SIZED),
    form('68', Iz, DEFAULT64, SIZED),
  ],
  access: ['r'],
  exceptions: '#SS(0)',
  lift(l, i, src) {
    push(l, i, i.bits, l.let(src.read()));
  },
});

/** With an operand size of 32 only the selector is written, as Intel processors do. */
export const PUSH_SEGMENT: Instruction = instruction({
  name: 'PUSH',
  manual: 'SDM vol 2B, PUSH',
  forms: [
    form('06', ES, NO64, SIZED),
    form('0E', CS, NO64, SIZED),
    form('16', SS, NO64, SIZED),
    form('1E', DS, NO64, SIZED),
    form('0F A0', FS, DEFAULT64, SIZED),
    form('0F A8', GS, DEFAULT64, SIZED),
  ],
  access: ['r'],
  exceptions: '#SS(0)',
  lift(l, i, src) {
    const top = l.let(stackPointer(l, i).sub(i.bits / 8));
    const bytes = i.bits === 64 ? 8 : 2;
    const selector = l.let(src.read());
    const value = i.bits === 64 ? selector.u64() : selector;
    l.store(bytes, stackLinear(l, i, top, bytes, 'write'), value);
    setStackPointer(l, i, top);
  },
});

export const POP: Instruction = instruction({
  name: 'POP',
  manual: 'SDM vol 2B, POP',
  forms: [form('58+r', Zv, DEFAULT64, HOT), form('8F /0', Ev, DEFAULT64)],
  access: ['w'],
  exceptions: '#SS(0)',
  lift(l, i, dst) {
    const { value, commit } = pop(l, i, i.bits);
    if (dst.isMemory) {
      popToMemory(l, i, dst, value, commit);
      return;
    }
    // POP rSP: the value popped wins over the increment.
    commit();
    dst.write(value);
  },
});

/** An address that uses rSP is computed with its value after the pop. */
function popToMemory(
  l: Lift,
  i: InstructionContext,
  dst: LiftOperand,
  value: Value,
  commit: () => void,
): void {
  const before = l.get(S.gpr, GPR.rsp);
  commit();
  const offset = l.let(dst.effective());
  l.set(S.gpr, before, GPR.rsp);
  const bytes = (i.bits / 8) as AccessBytes;
  l.store(bytes, dataLinear(l, i, offset, bytes, 'write'), value);
  commit();
}

/** Byte `register` * width from the lowest, in the order in which PUSHA leaves them: EDI first, EAX last. */
const PUSHA_ORDER = [
  GPR.rdi, GPR.rsi, GPR.rbp, GPR.rsp, GPR.rbx, GPR.rdx, GPR.rcx, GPR.rax,
]; // biome-ignore format: a list

export const PUSHA: Instruction = instruction({
  name: 'PUSHA',
  manual: 'SDM vol 2B, PUSHA/PUSHAD',
  forms: [form('60', SIZED, NO64)],
  exceptions: '#SS(0)',
  lift(l, i) {
    const bytes = (i.bits / 8) as AccessBytes;
    const top = l.let(stackPointer(l, i).sub(8 * bytes));
    // From the highest down, as the processor pushes them; a fault leaves rSP where it was.
    for (let slot = 7; slot >= 0; slot--) {
      const linear = stackLinear(l, i, top.add(slot * bytes), bytes, 'write');
      l.store(bytes, linear, l.get(S.gpr, PUSHA_ORDER[slot]!).i32());
    }
    setStackPointer(l, i, top);
  },
});

export const POPA: Instruction = instruction({
  name: 'POPA',
  manual: 'SDM vol 2B, POPA/POPAD',
  forms: [form('61', SIZED, NO64)],
  exceptions: '#SS(0)',
  lift(l, i) {
    const bytes = (i.bits / 8) as AccessBytes;
    const top = stackPointer(l, i);
    const values = PUSHA_ORDER.map((_, slot) =>
      l.let(l.load(bytes, stackLinear(l, i, top.add(slot * bytes), bytes, 'read'))),
    );
    PUSHA_ORDER.forEach((register, slot) => {
      if (register === GPR.rsp) return;
      const kept = i.bits === 16 ? l.get(S.gpr, register).and(~0xffffn) : l.i64(0);
      l.set(S.gpr, values[slot]!.u64().or(kept), register);
    });
    setStackPointer(l, i, top.add(8 * bytes));
  },
});

/** In virtual-8086 mode PUSHF and POPF need IOPL 3 (CR4.VME is not offered). */
function requireIopl(l: Lift, i: InstructionContext): void {
  if (i.mode64) return;
  const flags = l.get(S.rflags);
  const sensitive = flags.and(RFLAGS.vm).nez().and(flags.and(RFLAGS.iopl).ne(RFLAGS.iopl));
  l.raiseIf(sensitive, 13, 0);
}

export const PUSHF: Instruction = instruction({
  name: 'PUSHF',
  manual: 'SDM vol 2B, PUSHF/PUSHFD/PUSHFQ',
  forms: [form('9C', SIZED, DEFAULT64)],
  flags: { reads: 'OSZAPCDI' },
  exceptions: '#GP(0)',
  lift(l, i) {
    requireIopl(l, i);
    const image = l.let(readFlags(l).and(~(RFLAGS.vm | RFLAGS.rf)));
    push(l, i, i.bits, i.bits === 64 ? image.u64() : image);
  },
});

/** What POPF may change: IOPL at CPL 0 only, IF where CPL <= IOPL; RF is cleared by the wide forms. */
export const POPF: Instruction = instruction({
  name: 'POPF',
  manual: 'SDM vol 2B, POPF/POPFD/POPFQ',
  forms: [form('9D', SIZED, DEFAULT64, ENDS)],
  flags: { writes: 'OSZAPCDI' },
  exceptions: '#GP(0)',
  lift(l, i) {
    requireIopl(l, i);
    const { value, commit } = pop(l, i, i.bits);
    const image = l.let(value.i32());
    commit();
    const old = l.get(S.rflags);
    const cpl = l.get(S.cpl);
    const wide = i.bits === 16 ? 0 : RFLAGS.ac | RFLAGS.id;
    const iopl = old.and(RFLAGS.iopl).shru(12);
    const mayChange = l
      .i32(RFLAGS.tf | RFLAGS.df | RFLAGS.nt | wide)
      .or(l.select(cpl.leu(iopl), RFLAGS.if, 0))
      .or(l.select(cpl.eqz(), RFLAGS.iopl, 0));
    const mask = l.let(mayChange);
    const clears = i.bits === 16 ? 0 : RFLAGS.rf;
    l.set(S.rflags, old.and(mask.or(clears).not()).or(image.and(mask)));
    writeArithmeticFlags(l, image);
    l.run(flagsChanged, old);
  },
});

export const ENTER: Instruction = instruction({
  name: 'ENTER',
  manual: 'SDM vol 2A, ENTER',
  forms: [form('C8', Iw, Ib, SIZED, DEFAULT64)],
  access: ['r', 'r'],
  exceptions: '#SS(0)',
  lift(l, i, immediates) {
    // The decoder packs both immediates into one: size, and level << 16.
    const both = l.let(immediates.read());
    l.run(ENTER_FRAME[i.bits as 16 | 32 | 64], both.and(0xffff), both.shru(16).and(31));
  },
});

export const LEAVE: Instruction = instruction({
  name: 'LEAVE',
  manual: 'SDM vol 2A, LEAVE',
  forms: [form('C9', SIZED, DEFAULT64)],
  exceptions: '#SS(0)',
  lift(l, i) {
    const bytes = (i.bits / 8) as AccessBytes;
    const frame = l.get(S.gpr, GPR.rbp);
    const value = l.let(l.load(bytes, stackLinear(l, i, frame, bytes, 'read')));
    setStackPointer(l, i, frame.add(bytes));
    const kept = i.bits === 16 ? frame.and(~0xffffn) : l.i64(0);
    l.set(S.gpr, value.u64().or(kept), GPR.rbp);
  },
});

export const INSTRUCTIONS_STACK: readonly Instruction[] = [
  PUSH, PUSH_SEGMENT, POP, PUSHA, POPA, PUSHF, POPF, ENTER, LEAVE,
]; // biome-ignore format: a list
