// Near transfers of control: Jcc, JMP, CALL, RET, LOOP, JCXZ. SDM vol 1 §6.4, §7.3.8.
// In 64-bit mode they always have 64-bit targets (Intel: a 66 prefix is ignored); elsewhere the target is cut to the
// operand size. Far transfers are system instructions.

import { CONDITIONS, condition, zero } from '../lift/flags.ts';
import type { Lift } from '../lift/lift.ts';
import type { Value } from '../lift/value.ts';
import { addressMask, readMasked, writeMasked } from '../microcode/address.ts';
import { isNonCanonical, pop, push } from '../microcode/stack.ts';
import { GPR, S, SEGMENT } from '../state/layout.ts';
import {
  ALWAYS64,
  Ev,
  family,
  form,
  HOT,
  type Instruction,
  type InstructionContext,
  Iw,
  instruction,
  Jb,
  Jz,
  type LiftOperand,
  SIZED,
} from './instruction.ts';
import { CONDITION_READS } from './move.ts';

/** Cuts a target to the operand size; the result is i64. */
function cut(i: InstructionContext, target: Value): Value {
  return i.bits === 64 ? target : target.u64().zext(i.bits);
}

function relativeTarget(l: Lift, i: InstructionContext, displacement: LiftOperand): Value {
  return l.let(cut(i, i.nextRip().add(displacement.read())));
}

/** The check that `jump` makes, for instructions that change state before they jump. */
function checkTarget(l: Lift, i: InstructionContext, target: Value): void {
  if (!i.mayFaultAt(target)) return;
  const limit = () => l.get(S.segLimit, SEGMENT.cs).u64();
  l.raiseIf(i.mode64 ? isNonCanonical(target) : target.gtu(limit()), 13, 0);
}

export const JCC: readonly Instruction[] = family(CONDITIONS, (name) => {
  const code = CONDITIONS.indexOf(name);
  const digit = code.toString(16).toUpperCase();
  return {
    name: `J${name.toUpperCase()}`,
    manual: 'SDM vol 2A, Jcc',
    forms: [
      form(`7${digit}`, Jb, ALWAYS64, SIZED, HOT),
      form(`0F 8${digit}`, Jz, ALWAYS64, SIZED, HOT),
    ],
    access: ['r'],
    flags: { reads: CONDITION_READS[code >> 1]! },
    exceptions: '#GP(0)',
    lift(l, i, displacement) {
      l.if(condition(l, code), () => i.jump(relativeTarget(l, i, displacement)));
    },
  };
});

export const JMP: Instruction = instruction({
  name: 'JMP',
  manual: 'SDM vol 2A, JMP',
  forms: [form('EB', Jb, ALWAYS64, SIZED, HOT), form('E9', Jz, ALWAYS64, SIZED, HOT)],
  access: ['r'],
  exceptions: '#GP(0)',
  lift(l, i, displacement) {
    i.jump(relativeTarget(l, i, displacement));
  },
});

export const JMP_INDIRECT: Instruction = instruction({
  name: 'JMP',
  manual: 'SDM vol 2A, JMP',
  forms: [form('FF /4', Ev, ALWAYS64, HOT)],
  access: ['r'],
  exceptions: '#GP(0)',
  lift(_l, i, target) {
    i.jump(target.read().u64());
  },
});

/** Pushes the return address and jumps; a target that faults leaves the stack untouched. */
function call(l: Lift, i: InstructionContext, target: Value): void {
  checkTarget(l, i, target);
  const back = cut(i, i.nextRip());
  push(l, i, i.bits, l.let(i.bits === 64 ? back : back.i32()));
  i.jump(target);
}

export const CALL: Instruction = instruction({
  name: 'CALL',
  manual: 'SDM vol 2A, CALL',
  forms: [form('E8', Jz, ALWAYS64, SIZED, HOT)],
  access: ['r'],
  exceptions: '#GP(0), #SS(0)',
  lift(l, i, displacement) {
    call(l, i, relativeTarget(l, i, displacement));
  },
});

export const CALL_INDIRECT: Instruction = instruction({
  name: 'CALL',
  manual: 'SDM vol 2A, CALL',
  forms: [form('FF /2', Ev, ALWAYS64, HOT)],
  access: ['r'],
  exceptions: '#GP(0), #SS(0)',
  lift(l, i, target) {
    call(l, i, l.let(target.read().u64()));
  },
});

function ret(l: Lift, i: InstructionContext, release?: LiftOperand): void {
  const { value, commit } = pop(l, i, i.bits);
  const target = l.let(value.u64());
  checkTarget(l, i, target);
  commit(release?.read().u64());
  i.jump(target);
}

export const RET: Instruction = instruction({
  name: 'RET',
  manual: 'SDM vol 2B, RET',
  forms: [form('C3', ALWAYS64, SIZED, HOT), form('C2', Iw, ALWAYS64, SIZED)],
  access: ['r'],
  exceptions: '#GP(0), #SS(0)',
  lift: ret,
});

/** LOOP counts rCX of the address size down and leaves flags alone. */
function loop(opcode: string, name: string, goesOn: (l: Lift) => Value | undefined): Instruction {
  return instruction({
    name,
    manual: 'SDM vol 2A, LOOP/LOOPcc',
    forms: [form(opcode, Jb, ALWAYS64, SIZED)],
    access: ['r'],
    flags: name === 'LOOP' ? {} : { reads: 'Z' },
    exceptions: '#GP(0)',
    lift(l, i, displacement) {
      const mask = l.let(addressMask(l, i));
      const count = l.let(l.get(S.gpr, GPR.rcx).sub(1).and(mask));
      const also = goesOn(l);
      const taken = l.let(also ? count.nez().and(also) : count.nez());
      const target = relativeTarget(l, i, displacement);
      l.if(taken, () => checkTarget(l, i, target));
      writeMasked(l, GPR.rcx, mask, count);
      l.if(taken, () => i.jump(target));
    },
  });
}

export const LOOPNE: Instruction = loop('E0', 'LOOPNE', (l) => zero(l).eqz());
export const LOOPE: Instruction = loop('E1', 'LOOPE', zero);
export const LOOP: Instruction = loop('E2', 'LOOP', () => undefined);

/** JCXZ, JECXZ or JRCXZ by address size. */
export const JCXZ: Instruction = instruction({
  name: 'JCXZ',
  manual: 'SDM vol 2A, Jcc',
  forms: [form('E3', Jb, ALWAYS64, SIZED)],
  access: ['r'],
  exceptions: '#GP(0)',
  lift(l, i, displacement) {
    const count = readMasked(l, GPR.rcx, addressMask(l, i));
    l.if(count.eqz(), () => i.jump(relativeTarget(l, i, displacement)));
  },
});

export const INSTRUCTIONS_CONTROL: readonly Instruction[] = [
  ...JCC, JMP, JMP_INDIRECT, CALL, CALL_INDIRECT, RET, LOOPNE, LOOPE, LOOP, JCXZ,
]; // biome-ignore format: a list
