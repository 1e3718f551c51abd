// Logical operations: AND, OR, XOR, NOT, TEST. SDM vol 1 §7.3.3.

import { setLogicFlags } from '../lift/flags.ts';
import type { Lift } from '../lift/lift.ts';
import { eightOperations } from './arithmetic.ts';
import {
  AL,
  Eb,
  Ev,
  form,
  Gb,
  Gv,
  HOT,
  Ib,
  type Instruction,
  Iz,
  instruction,
  type LiftOperand,
  LOCKABLE,
  rAX,
} from './instruction.ts';

function logic(operation: 'and' | 'or' | 'xor') {
  return (l: Lift, _: unknown, dst: LiftOperand, src: LiftOperand): void => {
    const b = l.let(src.read());
    const result = l.let(dst.read()[operation](b));
    dst.write(result);
    setLogicFlags(l, dst.bits, result);
  };
}

const LOGIC_FLAGS = { writes: 'OSZPC', undefined: 'A' } as const;

export const AND: Instruction = instruction({
  name: 'AND',
  manual: 'SDM vol 2A, AND',
  forms: eightOperations(4, { lock: true, hot: true }),
  flags: LOGIC_FLAGS,
  lift: logic('and'),
});

export const OR: Instruction = instruction({
  name: 'OR',
  manual: 'SDM vol 2B, OR',
  forms: eightOperations(1, { lock: true, hot: true }),
  flags: LOGIC_FLAGS,
  lift: logic('or'),
});

export const XOR: Instruction = instruction({
  name: 'XOR',
  manual: 'SDM vol 2D, XOR',
  forms: eightOperations(6, { lock: true, hot: true }),
  flags: LOGIC_FLAGS,
  lift: logic('xor'),
});

export const NOT: Instruction = instruction({
  name: 'NOT',
  manual: 'SDM vol 2B, NOT',
  forms: [form('F6 /2', Eb, LOCKABLE), form('F7 /2', Ev, LOCKABLE)],
  lift(_l, _i, dst) {
    dst.write(dst.read().not());
  },
});

export const TEST: Instruction = instruction({
  name: 'TEST',
  manual: 'SDM vol 2B, TEST',
  forms: [
    form('84 /r', Eb, Gb, HOT),
    form('85 /r', Ev, Gv, HOT),
    form('A8', AL, Ib),
    form('A9', rAX, Iz),
    form('F6 /0', Eb, Ib),
    form('F7 /0', Ev, Iz),
    // Undocumented aliases that every processor decodes (AMD APM vol 3, table A-6).
    form('F6 /1', Eb, Ib),
    form('F7 /1', Ev, Iz),
  ],
  access: ['r', 'r'],
  flags: LOGIC_FLAGS,
  lift(l, _, left, right) {
    setLogicFlags(l, left.bits, left.read().and(right.read()));
  },
});

export const INSTRUCTIONS_LOGIC: readonly Instruction[] = [AND, OR, XOR, NOT, TEST];
