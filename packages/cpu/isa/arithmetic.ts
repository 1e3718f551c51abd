// Binary integer arithmetic: ADD to NEG. SDM vol 1 §7.3.2. Multiplication and division are in multiply.ts.

import { type ArithmeticKind, carry, setArithmeticFlags, setStepFlags } from '../lift/flags.ts';
import type { Lift } from '../lift/lift.ts';
import type { Value } from '../lift/value.ts';
import {
  AL,
  Eb,
  Ev,
  type Form,
  type FormOptions,
  form,
  Gb,
  Gv,
  HOT,
  Ib,
  Ibs,
  type Instruction,
  Iz,
  instruction,
  type LiftOperand,
  LOCKABLE,
  NO64,
  rAX,
  Zv,
} from './instruction.ts';

/** The ten encodings that ADD, OR, ADC, SBB, AND, SUB, XOR and CMP have, in that order from `index` 0. */
export function eightOperations(
  index: number,
  options: { lock: boolean; hot: boolean },
): readonly Form[] {
  const opcode = (offset: number) =>
    (index * 8 + offset).toString(16).toUpperCase().padStart(2, '0');
  const lock: FormOptions = options.lock ? LOCKABLE : {};
  const hot: FormOptions = options.hot ? HOT : {};
  return [
    form(`${opcode(0)} /r`, Eb, Gb, lock),
    form(`${opcode(1)} /r`, Ev, Gv, lock, hot),
    form(`${opcode(2)} /r`, Gb, Eb),
    form(`${opcode(3)} /r`, Gv, Ev, hot),
    form(opcode(4), AL, Ib),
    form(opcode(5), rAX, Iz),
    form(`80 /${index}`, Eb, Ib, lock),
    form(`81 /${index}`, Ev, Iz, lock, hot),
    form(`82 /${index}`, Eb, Ib, lock, NO64),
    form(`83 /${index}`, Ev, Ibs, lock, hot),
  ];
}

/** Extends an i32 0 or 1 to the type that values of this many bits have. */
export function asWide(value: Value, bits: number): Value {
  return bits === 64 ? value.u64() : value;
}

function compute(l: Lift, kind: ArithmeticKind, bits: number, a: Value, b: Value): Value {
  switch (kind) {
    case 'add':
      return a.add(b);
    case 'sub':
      return a.sub(b);
    case 'adc':
      return a.add(b).add(asWide(carry(l), bits));
    case 'sbb':
      return a.sub(b).sub(asWide(carry(l), bits));
  }
}

function binary(kind: ArithmeticKind) {
  return (l: Lift, _: unknown, dst: LiftOperand, src: LiftOperand): void => {
    const b = l.let(src.read());
    const a = l.let(dst.read());
    const result = l.let(compute(l, kind, dst.bits, a, b));
    dst.write(result);
    setArithmeticFlags(l, kind, dst.bits, a, b, result);
  };
}

const OSZAPC = { writes: 'OSZAPC' } as const;
const WITH_CARRY = { reads: 'C', writes: 'OSZAPC' } as const;

export const ADD: Instruction = instruction({
  name: 'ADD',
  manual: 'SDM vol 2A, ADD',
  forms: eightOperations(0, { lock: true, hot: true }),
  flags: OSZAPC,
  lift: binary('add'),
});

export const ADC: Instruction = instruction({
  name: 'ADC',
  manual: 'SDM vol 2A, ADC',
  forms: eightOperations(2, { lock: true, hot: false }),
  flags: WITH_CARRY,
  lift: binary('adc'),
});

export const SBB: Instruction = instruction({
  name: 'SBB',
  manual: 'SDM vol 2B, SBB',
  forms: eightOperations(3, { lock: true, hot: false }),
  flags: WITH_CARRY,
  lift: binary('sbb'),
});

export const SUB: Instruction = instruction({
  name: 'SUB',
  manual: 'SDM vol 2B, SUB',
  forms: eightOperations(5, { lock: true, hot: true }),
  flags: OSZAPC,
  lift: binary('sub'),
});

export const CMP: Instruction = instruction({
  name: 'CMP',
  manual: 'SDM vol 2A, CMP',
  forms: eightOperations(7, { lock: false, hot: true }),
  access: ['r', 'r'],
  flags: OSZAPC,
  lift(l, _, left, right) {
    const a = l.let(left.read());
    const b = l.let(right.read());
    setArithmeticFlags(l, 'sub', left.bits, a, b, a.sub(b));
  },
});

/** INC and DEC leave CF alone. SDM vol 2A, INC. */
function step(delta: 1 | -1) {
  return (l: Lift, _: unknown, dst: LiftOperand): void => {
    const { bits } = dst;
    const a = l.let(dst.read());
    const result = l.let(a.add(delta));
    dst.write(result);
    setStepFlags(l, delta, bits, a, result);
  };
}

export const INC: Instruction = instruction({
  name: 'INC',
  manual: 'SDM vol 2A, INC',
  forms: [form('FE /0', Eb, LOCKABLE), form('FF /0', Ev, LOCKABLE, HOT), form('40+r', Zv, NO64)],
  flags: { writes: 'OSZAP' },
  lift: step(1),
});

export const DEC: Instruction = instruction({
  name: 'DEC',
  manual: 'SDM vol 2A, DEC',
  forms: [form('FE /1', Eb, LOCKABLE), form('FF /1', Ev, LOCKABLE, HOT), form('48+r', Zv, NO64)],
  flags: { writes: 'OSZAP' },
  lift: step(-1),
});

export const NEG: Instruction = instruction({
  name: 'NEG',
  manual: 'SDM vol 2B, NEG',
  forms: [form('F6 /3', Eb, LOCKABLE), form('F7 /3', Ev, LOCKABLE)],
  flags: OSZAPC,
  lift(l, _, dst) {
    const a = l.let(dst.read());
    const nought = dst.bits === 64 ? l.i64(0) : l.i32(0);
    const result = l.let(nought.sub(a));
    dst.write(result);
    setArithmeticFlags(l, 'sub', dst.bits, nought, a, result);
  },
});

export const INSTRUCTIONS_ARITHMETIC: readonly Instruction[] = [
  ADD, ADC, SBB, SUB, CMP, INC, DEC, NEG,
]; // biome-ignore format: a list
