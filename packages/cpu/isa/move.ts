// Data transfer: MOV and its extending, swapping, byte-swapped and conditional kin, XCHG, BSWAP, LEA.
// SDM vol 1 §7.3.1. MOV to and from segment, control and debug registers are system instructions.

import { CONDITIONS, condition } from '../lift/flags.ts';
import type { AccessBytes, Lift } from '../lift/lift.ts';
import type { Value } from '../lift/value.ts';
import { addressMask, dataLinear } from '../microcode/address.ts';
import { pause } from '../microcode/pause.ts';
import { S } from '../state/layout.ts';
import {
  AL,
  Eb,
  Ed,
  Ev,
  Ew,
  family,
  form,
  Gb,
  Gv,
  HOT,
  Ib,
  type Instruction,
  type InstructionContext,
  Iv,
  Iz,
  instruction,
  type LiftOperand,
  LOCKABLE,
  M,
  Mv,
  Ob,
  ONLY64,
  Ov,
  rAX,
  Zb,
  Zv,
} from './instruction.ts';

/** Brings a value to the type of `bits`: i64 for 64, else i32. */
export function fit(value: Value, bits: number): Value {
  return bits === 64 ? value.u64() : value.i32();
}

const copy = (_l: Lift, _i: unknown, dst: LiftOperand, src: LiftOperand): void => {
  dst.write(src.read());
};

export const MOV: Instruction = instruction({
  name: 'MOV',
  manual: 'SDM vol 2B, MOV',
  forms: [
    form('88 /r', Eb, Gb, HOT),
    form('89 /r', Ev, Gv, HOT),
    form('8A /r', Gb, Eb, HOT),
    form('8B /r', Gv, Ev, HOT),
    form('A0', AL, Ob),
    form('A1', rAX, Ov),
    form('A2', Ob, AL),
    form('A3', Ov, rAX),
    form('B0+r', Zb, Ib),
    form('B8+r', Zv, Iv, HOT),
    form('C6 /0', Eb, Ib, HOT),
    form('C7 /0', Ev, Iz, HOT),
  ],
  access: ['w', 'r'],
  lift: copy,
});

export const MOVZX: Instruction = instruction({
  name: 'MOVZX',
  manual: 'SDM vol 2B, MOVZX',
  forms: [form('0F B6 /r', Gv, Eb, HOT), form('0F B7 /r', Gv, Ew, HOT)],
  access: ['w', 'r'],
  lift(_l, _i, dst, src) {
    dst.write(fit(src.read(), dst.bits));
  },
});

const signExtended = (_l: Lift, _i: unknown, dst: LiftOperand, src: LiftOperand): void => {
  const narrow = src.read().sext(src.bits);
  dst.write(dst.bits === 64 ? narrow.s64() : narrow.i32());
};

export const MOVSX: Instruction = instruction({
  name: 'MOVSX',
  manual: 'SDM vol 2B, MOVSX',
  forms: [form('0F BE /r', Gv, Eb, HOT), form('0F BF /r', Gv, Ew)],
  access: ['w', 'r'],
  lift: signExtended,
});

/** Without REX.W it is a plain move of 32 or 16 bits, which reads 16 bits when the operand size is 16. */
export const MOVSXD: Instruction = instruction({
  name: 'MOVSXD',
  manual: 'SDM vol 2B, MOVSX/MOVSXD',
  forms: [form('REX.W 63 /r', Gv, Ed, ONLY64, HOT), form('REX.W0 63 /r', Gv, Ev, ONLY64)],
  access: ['w', 'r'],
  lift: signExtended,
});

/** The bytes of an 16-, 32- or 64-bit value in reverse order. */
export function swapBytes(value: Value, bits: number): Value {
  if (bits === 16) return value.shru(8).or(value.shl(8)).zext(16);
  if (bits === 32) {
    return value.rotl(8).and(0x00ff_00ff).or(value.rotr(8).and(0xff00_ff00));
  }
  const halves = value
    .shru(8)
    .and(0x00ff_00ff_00ff_00ffn)
    .or(value.and(0x00ff_00ff_00ff_00ffn).shl(8));
  return halves
    .shru(16)
    .and(0x0000_ffff_0000_ffffn)
    .or(halves.and(0x0000_ffff_0000_ffffn).shl(16))
    .rotl(32);
}

export const MOVBE: Instruction = instruction({
  name: 'MOVBE',
  manual: 'SDM vol 2B, MOVBE',
  forms: [form('0F 38 F0 /r', Gv, Mv), form('0F 38 F1 /r', Mv, Gv)],
  access: ['w', 'r'],
  feature: 'MOVBE',
  lift(l, _, dst, src) {
    dst.write(swapBytes(l.let(src.read()), dst.bits));
  },
});

/** With an operand size of 16 the result is undefined; processors clear the word. */
export const BSWAP: Instruction = instruction({
  name: 'BSWAP',
  manual: 'SDM vol 2A, BSWAP',
  forms: [form('0F C8+r', Zv)],
  lift(l, _, dst) {
    dst.write(dst.bits === 16 ? l.i32(0) : swapBytes(l.let(dst.read()), dst.bits));
  },
});

export const LEA: Instruction = instruction({
  name: 'LEA',
  manual: 'SDM vol 2A, LEA',
  forms: [form('8D /r', Gv, M, HOT)],
  access: ['w', 'none'],
  lift(_l, _i, dst, src) {
    dst.write(fit(src.effective(), dst.bits));
  },
});

function exchange(l: Lift, _: unknown, dst: LiftOperand, src: LiftOperand): void {
  const b = l.let(src.read());
  if (!dst.isMemory) {
    const a = l.let(dst.read());
    dst.write(b);
    src.write(a);
    return;
  }
  // With a memory operand the exchange is locked, prefix or not.
  const bytes = (dst.bits / 8) as AccessBytes;
  const memory = l.update(bytes, dst.linear(bytes, 'write'), true);
  const a = l.let(memory.value);
  memory.write(b);
  src.write(a);
}

/** Opcode 90 without REX.B is NOP (PAUSE with F3): it must not clear the upper half of RAX. SDM vol 2B, PAUSE. */
function exchangeWithAccumulator(
  l: Lift,
  i: InstructionContext,
  dst: LiftOperand,
  src: LiftOperand,
): void {
  l.if(
    dst.stateOffset().nez(),
    () => exchange(l, i, dst, src),
    () => {
      if (l.isShared) l.if(i.prefix('rep'), () => l.run(pause));
    },
  );
}

export const XCHG: Instruction = instruction({
  name: 'XCHG',
  manual: 'SDM vol 2D, XCHG',
  forms: [form('86 /r', Eb, Gb, LOCKABLE), form('87 /r', Ev, Gv, LOCKABLE)],
  access: ['rw', 'rw'],
  lift: exchange,
});

/** The short form, and with it NOP and PAUSE (90, F3 90). SDM vol 2B, NOP. */
export const XCHG_ACCUMULATOR: Instruction = instruction({
  name: 'XCHG',
  manual: 'SDM vol 2D, XCHG',
  forms: [form('90+r', Zv, rAX)],
  access: ['rw', 'rw'],
  lift: exchangeWithAccumulator,
});

/** Flags that the condition codes read, for each pair. */
export const CONDITION_READS: readonly string[] = ['O', 'C', 'Z', 'CZ', 'S', 'P', 'SO', 'SOZ'];

/** The load always happens, and a 32-bit destination is zero-extended even when the condition is false. */
export const CMOVCC: readonly Instruction[] = family(CONDITIONS, (name) => {
  const code = CONDITIONS.indexOf(name);
  return {
    name: `CMOV${name.toUpperCase()}`,
    manual: 'SDM vol 2A, CMOVcc',
    forms: [form(`0F 4${code.toString(16).toUpperCase()} /r`, Gv, Ev)],
    flags: { reads: CONDITION_READS[code >> 1]! },
    lift(l, _, dst, src) {
      const b = l.let(src.read());
      const a = l.let(dst.read());
      dst.write(l.select(condition(l, code), b, a));
    },
  };
});

/** XLAT: AL from DS:rBX + AL. */
export const XLAT: Instruction = instruction({
  name: 'XLAT',
  manual: 'SDM vol 2D, XLAT/XLATB',
  forms: [form('D7')],
  lift(l, i) {
    const index = l.get(S.gpr, 0).and(0xff);
    const offset = l.let(l.get(S.gpr, 3).add(index).and(addressMask(l, i)));
    const byte = l.load(1, dataLinear(l, i, offset, 1, 'read'));
    l.set(S.gpr, l.get(S.gpr, 0).and(~0xffn).or(byte.u64()));
  },
});

export const INSTRUCTIONS_MOVE: readonly Instruction[] = [
  MOV, MOVZX, MOVSX, MOVSXD, MOVBE, BSWAP, LEA, XCHG, XCHG_ACCUMULATOR, ...CMOVCC, XLAT,
]; // biome-ignore format: a list
