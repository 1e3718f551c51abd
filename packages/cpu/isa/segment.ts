// Segment registers as operands: MOV, POP, LDS to LGS; what a selector refers to: LAR, LSL, VERR, VERW, ARPL;
// FS and GS bases. SDM vol 1 §7.3.15; vol 3A §5.10 (pointer validation).

import { setZero } from '../lift/flags.ts';
import type { AccessBytes, Lift } from '../lift/lift.ts';
import type { Value } from '../lift/value.ts';
import { VECTOR } from '../microcode/fault.ts';
import { loadSegment } from '../microcode/segment-load.ts';
import { loadAccessRights, loadSegmentLimit, verifySegment } from '../microcode/segment-query.ts';
import { isNonCanonical, pop } from '../microcode/stack.ts';
import { CR4 } from '../state/control-bits.ts';
import { GPR, S, SEGMENT } from '../state/layout.ts';
import {
  DEFAULT64,
  DS,
  ENDS,
  ES,
  Ev,
  Ew,
  FS,
  family,
  form,
  GS,
  Gv,
  Gw,
  type Instruction,
  type InstructionContext,
  instruction,
  type LiftOperand,
  M,
  NO64,
  ONLY64,
  Ry,
  SIZED,
  SS,
  Sw,
} from './instruction.ts';

/** Loads of SS hold interrupts and debug traps back for one instruction. SDM vol 3A §6.8.3. */
function shadowIfStack(l: Lift, segment: Value): void {
  l.if(segment.eq(SEGMENT.ss), () => l.set(S.interruptShadow, 2));
}

export const MOV_FROM_SEGMENT: Instruction = instruction({
  name: 'MOV',
  manual: 'SDM vol 2B, MOV',
  forms: [form('8C /r', Ev, Sw)],
  access: ['w', 'r'],
  exceptions: '#UD',
  lift(l, _, dst, src) {
    const segment = l.let(src.number());
    l.raiseIf(segment.gtu(SEGMENT.gs), VECTOR.ud);
    const selector = l.getAt(S.segSelector, segment.shl(2));
    // Memory gets 16 bits whatever the operand size, a register the zero-extended selector.
    if (dst.isMemory) l.store(2, dst.linear(2, 'write'), selector);
    else dst.write(dst.bits === 64 ? selector.u64() : selector);
  },
});

export const MOV_TO_SEGMENT: Instruction = instruction({
  name: 'MOV',
  manual: 'SDM vol 2B, MOV',
  forms: [form('8E /r', Sw, Ew, ENDS)],
  access: ['w', 'r'],
  exceptions: '#UD, #GP, #NP, #SS',
  lift(l, _, dst, src) {
    const segment = l.let(dst.number());
    l.raiseIf(segment.eq(SEGMENT.cs).or(segment.gtu(SEGMENT.gs)), VECTOR.ud);
    l.run(loadSegment, segment, src.read());
    shadowIfStack(l, segment);
  },
});

export const POP_SEGMENT: Instruction = instruction({
  name: 'POP',
  manual: 'SDM vol 2B, POP',
  forms: [
    form('07', ES, NO64, SIZED, ENDS),
    form('17', SS, NO64, SIZED, ENDS),
    form('1F', DS, NO64, SIZED, ENDS),
    form('0F A1', FS, DEFAULT64, SIZED, ENDS),
    form('0F A9', GS, DEFAULT64, SIZED, ENDS),
  ],
  access: ['w'],
  exceptions: '#GP, #NP, #SS',
  lift(l, i, dst) {
    const segment = dst.number();
    const before = l.get(S.gpr, GPR.rsp);
    const { value, commit } = pop(l, i, i.bits);
    // rSP moves as wide as the old stack is, so before a new SS is there; a fault takes it back.
    commit();
    l.attempt(loadSegment, segment, value.i32().and(0xffff));
    l.unlikely(l.get(S.fault), () => {
      l.set(S.gpr, before, GPR.rsp);
      l.exit('fault');
    });
    shadowIfStack(l, segment);
  },
});

/** Reads a far pointer of the operand size: the offset, then the selector behind it. */
export function readFarPointer(
  l: Lift,
  i: InstructionContext,
  pointer: LiftOperand,
): { offset: Value; selector: Value } {
  const bytes = (i.bits / 8) as AccessBytes;
  const linear = l.let(pointer.linear(bytes + 2, 'read'));
  const offset = l.let(l.load(bytes, linear));
  const selector = l.let(l.load(2, linear.add(bytes)));
  return { offset, selector };
}

interface FarLoad {
  readonly name: string;
  readonly encoding: string;
  readonly segment: number;
  readonly isOld?: boolean;
}
const FAR_LOADS: readonly FarLoad[] = [
  { name: 'LES', encoding: 'C4 /r', segment: SEGMENT.es, isOld: true },
  { name: 'LDS', encoding: 'C5 /r', segment: SEGMENT.ds, isOld: true },
  { name: 'LSS', encoding: '0F B2 /r', segment: SEGMENT.ss },
  { name: 'LFS', encoding: '0F B4 /r', segment: SEGMENT.fs },
  { name: 'LGS', encoding: '0F B5 /r', segment: SEGMENT.gs },
];

/** LSS loads the stack pointer with the segment, so it needs no shadow. */
const LOAD_FAR: readonly Instruction[] = family(
  FAR_LOADS,
  ({ name, encoding, segment, isOld }) => ({
    name,
    manual: 'SDM vol 2A, LDS/LES/LFS/LGS/LSS',
    forms: [isOld ? form(encoding, Gv, M, NO64, ENDS) : form(encoding, Gv, M, ENDS)],
    access: ['w', 'none'],
    exceptions: '#UD, #GP, #NP, #SS',
    lift(l, i, dst, pointer) {
      const { offset, selector } = readFarPointer(l, i, pointer);
      l.run(loadSegment, segment, selector);
      dst.write(offset);
    },
  }),
);

/** These look at descriptors, which real and virtual-8086 mode do not have. */
function requireProtected(l: Lift): void {
  l.raiseIf(l.get(S.legacyMode), VECTOR.ud);
}

/** LAR and LSL: ZF tells whether the destination was written. */
const query = (name: 'LAR' | 'LSL', opcode: string): Instruction =>
  instruction({
    name,
    manual: `SDM vol 2A, ${name}`,
    forms: [form(`0F ${opcode} /r`, Gv, Ev)],
    access: ['w', 'none'],
    flags: { writes: 'Z' },
    exceptions: '#UD',
    lift(l, _, dst, src) {
      requireProtected(l);
      const selector = src.isMemory ? l.load(2, src.linear(2, 'read')) : narrow(src.read());
      const value = l.call(name === 'LAR' ? loadAccessRights : loadSegmentLimit, selector);
      const isValid = l.let(value.ges(0n));
      l.if(isValid, () => dst.write(dst.bits === 64 ? value : value.i32()));
      setZero(l, isValid);
    },
  });

const narrow = (value: Value) => value.i32().and(0xffff);

const verify = (name: 'VERR' | 'VERW', digit: number): Instruction =>
  instruction({
    name,
    manual: 'SDM vol 2B, VERR/VERW',
    forms: [form(`0F 00 /${digit}`, Ew)],
    access: ['r'],
    flags: { writes: 'Z' },
    exceptions: '#UD',
    lift(l, _, src) {
      requireProtected(l);
      setZero(l, l.call(verifySegment, src.read(), name === 'VERW' ? 1 : 0));
    },
  });

export const ARPL: Instruction = instruction({
  name: 'ARPL',
  manual: 'SDM vol 2A, ARPL',
  forms: [form('63 /r', Ew, Gw, NO64)],
  flags: { writes: 'Z' },
  exceptions: '#UD',
  lift(l, _, dst, src) {
    requireProtected(l);
    const selector = l.let(dst.read());
    const rpl = l.let(src.read().and(3));
    const isLower = l.let(selector.and(3).ltu(rpl));
    dst.write(l.select(isLower, selector.and(~3).or(rpl), selector));
    setZero(l, isLower);
  },
});

interface BaseAccess {
  readonly name: string;
  readonly digit: number;
  readonly segment: number;
  readonly isWrite: boolean;
}
const BASES: readonly BaseAccess[] = [
  { name: 'RDFSBASE', digit: 0, segment: SEGMENT.fs, isWrite: false },
  { name: 'RDGSBASE', digit: 1, segment: SEGMENT.gs, isWrite: false },
  { name: 'WRFSBASE', digit: 2, segment: SEGMENT.fs, isWrite: true },
  { name: 'WRGSBASE', digit: 3, segment: SEGMENT.gs, isWrite: true },
];

const SEGMENT_BASE: readonly Instruction[] = family(BASES, ({ name, digit, segment, isWrite }) => ({
  name,
  manual: isWrite ? 'SDM vol 2D, WRFSBASE/WRGSBASE' : 'SDM vol 2B, RDFSBASE/RDGSBASE',
  forms: [form(`F3 0F AE /${digit}`, Ry, ONLY64)],
  access: [isWrite ? 'r' : 'w'],
  feature: 'FSGSBASE',
  exceptions: '#UD, #GP(0)',
  lift(l, _, operand) {
    l.raiseIf(l.get(S.cr4).i32().and(CR4.fsgsbase).eqz(), VECTOR.ud);
    if (isWrite) {
      const base = l.let(operand.read().u64());
      l.raiseIf(isNonCanonical(base), VECTOR.gp, 0);
      l.set(S.segBase, base, segment);
      return;
    }
    const base = l.get(S.segBase, segment);
    operand.write(operand.bits === 64 ? base : base.i32());
  },
}));

export const INSTRUCTIONS_SEGMENT: readonly Instruction[] = [
  MOV_FROM_SEGMENT, MOV_TO_SEGMENT, POP_SEGMENT, ...LOAD_FAR, query('LAR', '02'), query('LSL', '03'),
  verify('VERR', 4), verify('VERW', 5), ARPL, ...SEGMENT_BASE,
]; // biome-ignore format: a list
