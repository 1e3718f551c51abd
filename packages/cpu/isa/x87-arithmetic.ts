// x87 arithmetic and comparisons. SDM vol 1 §8.3.5–8.3.6; encodings with the undocumented aliases
// of AMD64 APM vol 3 appendix A (FCOM2, FCOMP3, FCOMP5). The arithmetic itself is in microcode/x87.

import { writeArithmeticFlags } from '../lift/flags.ts';
import type { FunctionRef } from '../lift/function.ts';
import type { Lift } from '../lift/lift.ts';
import type { Value } from '../lift/value.ts';
import { absolute, changeSign } from '../microcode/x87/move.ts';
import {
  compareFlags,
  compareNumber,
  compareStack,
  examine,
  OPERATIONS,
  stackSquareRoot,
} from '../microcode/x87/operate.ts';
import {
  finish,
  peek,
  poke,
  type Quick,
  quickAdd,
  quickDivide,
  quicklyOr,
  quickMultiply,
  quickRelation,
  quickSubtract,
  requirePlainControl,
  requireUsed,
  settle,
  stackAt,
  stackTop,
} from '../microcode/x87/quick.ts';
import { pop, SIGN, SW } from '../microcode/x87/state.ts';
import { S } from '../state/layout.ts';
import {
  form,
  type Instruction,
  type InstructionContext,
  instruction,
  type LiftOperand,
  Md,
  Mq,
  Mw,
  STi,
  X87,
} from './instruction.ts';
import { type MemoryNumber, type NumberFormat, note, readNumber, runs } from './x87-operands.ts';

interface ArithmeticRow {
  readonly name: keyof typeof OPERATIONS;
  /** ModRM.reg of D8 and of memory forms. */
  readonly digit: number;
  /** First ModRM byte of DC and DE: subtraction and division have theirs exchanged. */
  readonly toStack: string;
}

const ARITHMETIC: readonly ArithmeticRow[] = [
  { name: 'FADD', digit: 0, toStack: 'C0' },
  { name: 'FMUL', digit: 1, toStack: 'C8' },
  { name: 'FSUB', digit: 4, toStack: 'E8' },
  { name: 'FSUBR', digit: 5, toStack: 'E0' },
  { name: 'FDIV', digit: 6, toStack: 'F8' },
  { name: 'FDIVR', digit: 7, toStack: 'F0' },
];

/** FSUBR → FISUBR. */
const integerName = (name: string) => `FI${name.slice(1)}`;
const modrm = (digit: number) => (0xc0 + digit * 8).toString(16).toUpperCase();

type Name = ArithmeticRow['name'];
const QUICK: Readonly<Record<Name, Quick>> = {
  FADD: quickAdd,
  FMUL: quickMultiply,
  FSUB: quickSubtract,
  FSUBR: (l, a, b, slow) => quickSubtract(l, b, a, slow),
  FDIV: quickDivide,
  FDIVR: (l, a, b, slow) => quickDivide(l, b, a, slow),
};

/** Leaves unless registers are in use and results are rounded in the usual way. */
function requirePlain(l: Lift, slow: () => void, ...registers: Value[]): void {
  requirePlainControl(l, slow);
  requireUsed(l, slow, ...registers);
}

function withMemory(format: NumberFormat, name: Name) {
  return (l: Lift, i: InstructionContext, src: LiftOperand | undefined): void => {
    const number = readNumber(l, i, src!, format);
    quicklyOr(
      l,
      (slow) => {
        const top = stackTop(l);
        requirePlain(l, slow, top);
        finish(l, top, QUICK[name](l, peek(l, top), number.quick(slow), slow), false);
      },
      () => {
        const b = number.careful();
        l.run(OPERATIONS[name].withNumber, b.significand, b.signExponent);
      },
    );
  };
}

function onStack(name: Name, kind: 'toTop' | 'fromTop' | 'pops') {
  return (l: Lift, i: InstructionContext, operand: LiftOperand | undefined): void => {
    note(l, i);
    const number = operand!.number();
    const zero = l.i32(0);
    const [destination, source] = kind === 'toTop' ? [zero, number] : [number, zero];
    const pops = kind === 'pops';
    quicklyOr(
      l,
      (slow) => {
        const top = stackTop(l);
        const d = stackAt(l, top, destination);
        const s = stackAt(l, top, source);
        requirePlain(l, slow, d, s);
        finish(l, d, QUICK[name](l, peek(l, d), peek(l, s), slow), pops);
      },
      () => l.run(OPERATIONS[name].onStack, destination, source, pops ? 1 : 0),
    );
  };
}

function arithmetic({ name, digit, toStack }: ArithmeticRow): Instruction[] {
  const manual = `SDM vol 2A, ${name.replace(/R$/, '')}`;
  return [
    instruction({
      name,
      manual,
      forms: [form(`D8 /${digit}`, Md, X87), form(`DC /${digit}`, Mq, X87)],
      access: ['r'],
      lift: withMemory('real', name),
    }),
    instruction({
      name: integerName(name),
      manual,
      forms: [form(`DA /${digit}`, Md, X87), form(`DE /${digit}`, Mw, X87)],
      access: ['r'],
      lift: withMemory('integer', name),
    }),
    instruction({
      name,
      manual,
      forms: [form(`D8 ${modrm(digit)}+i`, STi, X87)],
      lift: onStack(name, 'toTop'),
    }),
    instruction({
      name,
      manual,
      forms: [form(`DC ${toStack}+i`, STi, X87)],
      lift: onStack(name, 'fromTop'),
    }),
    instruction({
      name: `${name}P`,
      manual,
      forms: [form(`DE ${toStack}+i`, STi, X87)],
      lift: onStack(name, 'pops'),
    }),
  ];
}

interface CompareRow {
  readonly name: string;
  readonly encoding: string;
  readonly pops: 0 | 1 | 2;
  readonly quiet: 0 | 1;
}

const COMPARES: readonly CompareRow[] = [
  { name: 'FCOM', encoding: 'D8 D0+i', pops: 0, quiet: 0 },
  { name: 'FCOM2', encoding: 'DC D0+i', pops: 0, quiet: 0 },
  { name: 'FCOMP', encoding: 'D8 D8+i', pops: 1, quiet: 0 },
  { name: 'FCOMP3', encoding: 'DC D8+i', pops: 1, quiet: 0 },
  { name: 'FCOMP5', encoding: 'DE D0+i', pops: 1, quiet: 0 },
  { name: 'FUCOM', encoding: 'DD E0+i', pops: 0, quiet: 1 },
  { name: 'FUCOMP', encoding: 'DD E8+i', pops: 1, quiet: 1 },
];

const FLAG_COMPARES: readonly CompareRow[] = [
  { name: 'FCOMI', encoding: 'DB F0+i', pops: 0, quiet: 0 },
  { name: 'FCOMIP', encoding: 'DF F0+i', pops: 1, quiet: 0 },
  { name: 'FUCOMI', encoding: 'DB E8+i', pops: 0, quiet: 1 },
  { name: 'FUCOMIP', encoding: 'DF E8+i', pops: 1, quiet: 1 },
];

/** FCOMPP and FUCOMPP compare with ST(1). */
const DOUBLE_POPS: readonly CompareRow[] = [
  { name: 'FCOMPP', encoding: 'DE D9', pops: 2, quiet: 0 },
  { name: 'FUCOMPP', encoding: 'DA E9', pops: 2, quiet: 1 },
];

const compareManual = (row: CompareRow) => `SDM vol 2A, ${row.quiet ? 'FUCOM' : 'FCOM'}`;

/** Sets the conditions of a comparison that noted nothing. */
function settleCompare(l: Lift, conditions: Value, pops: number): void {
  l.set(S.x87Status, l.get(S.x87Status).and(~SW.conditions).or(conditions));
  for (let n = 0; n < pops; n++) pop(l);
}

function compareWithStack(l: Lift, number: Value, row: CompareRow): void {
  quicklyOr(
    l,
    (slow) => {
      const top = stackTop(l);
      const other = stackAt(l, top, number);
      requireUsed(l, slow, top, other);
      settleCompare(l, quickRelation(l, peek(l, top), peek(l, other), slow), row.pops);
    },
    () => l.run(compareStack, number, row.pops, row.quiet),
  );
}

function compareIntoFlags(l: Lift, number: Value, row: CompareRow): void {
  const conditions = l.var('i32', 0);
  quicklyOr(
    l,
    (slow) => {
      const top = stackTop(l);
      const other = stackAt(l, top, number);
      requireUsed(l, slow, top, other);
      conditions.set(quickRelation(l, peek(l, top), peek(l, other), slow));
      settle(l, 0);
      if (row.pops) pop(l);
    },
    () => conditions.set(l.call(compareFlags, number, row.pops, row.quiet)),
  );
  // C0, C2 and C3 stand where CF, PF and ZF are, eight bits up.
  writeArithmeticFlags(l, conditions.get().shru(8));
}

function compareWithNumber(l: Lift, number: MemoryNumber, pops: 0 | 1): void {
  quicklyOr(
    l,
    (slow) => {
      const top = stackTop(l);
      requireUsed(l, slow, top);
      settleCompare(l, quickRelation(l, peek(l, top), number.quick(slow), slow), pops);
    },
    () => {
      const b = number.careful();
      l.run(compareNumber, b.significand, b.signExponent, pops);
    },
  );
}

function memoryCompare(suffix: '' | 'P', pops: 0 | 1): Instruction[] {
  const digit = 2 + pops;
  return [
    instruction({
      name: `FCOM${suffix}`,
      manual: 'SDM vol 2A, FCOM',
      forms: [form(`D8 /${digit}`, Md, X87), form(`DC /${digit}`, Mq, X87)],
      access: ['r'],
      lift: (l, i, src) => compareWithNumber(l, readNumber(l, i, src!, 'real'), pops),
    }),
    instruction({
      name: `FICOM${suffix}`,
      manual: 'SDM vol 2A, FICOM',
      forms: [form(`DA /${digit}`, Md, X87), form(`DE /${digit}`, Mw, X87)],
      access: ['r'],
      lift: (l, i, src) => compareWithNumber(l, readNumber(l, i, src!, 'integer'), pops),
    }),
  ];
}

/** FCHS and FABS. */
function signChange(
  name: string,
  encoding: string,
  change: (signExponent: Value) => Value,
  careful: FunctionRef,
): Instruction {
  return instruction({
    name,
    manual: `SDM vol 2A, ${name}`,
    forms: [form(encoding, X87)],
    lift(l, i) {
      note(l, i);
      quicklyOr(
        l,
        (slow) => {
          const top = stackTop(l);
          requireUsed(l, slow, top);
          const x = peek(l, top);
          poke(l, top, { ...x, signExponent: l.let(change(x.signExponent)) });
          settle(l, 0);
        },
        () => l.run(careful),
      );
    },
  });
}

export const INSTRUCTIONS_X87_ARITHMETIC: readonly Instruction[] = [
  ...ARITHMETIC.flatMap(arithmetic),
  ...memoryCompare('', 0),
  ...memoryCompare('P', 1),
  ...COMPARES.map((row) =>
    instruction({
      name: row.name,
      manual: compareManual(row),
      forms: [form(row.encoding, STi, X87)],
      lift(l, i, src) {
        note(l, i);
        compareWithStack(l, src!.number(), row);
      },
    }),
  ),
  ...DOUBLE_POPS.map((row) =>
    instruction({
      name: row.name,
      manual: compareManual(row),
      forms: [form(row.encoding, X87)],
      lift(l, i) {
        note(l, i);
        compareWithStack(l, l.i32(1), row);
      },
    }),
  ),
  ...FLAG_COMPARES.map((row) =>
    instruction({
      name: row.name,
      manual: 'SDM vol 2A, FCOMI',
      feature: 'CMOV',
      forms: [form(row.encoding, STi, X87)],
      flags: { writes: 'OSZAPC' },
      lift(l, i, src) {
        note(l, i);
        compareIntoFlags(l, src!.number(), row);
      },
    }),
  ),
  instruction({
    name: 'FTST',
    manual: 'SDM vol 2A, FTST',
    forms: [form('D9 E4', X87)],
    lift(l, i) {
      note(l, i);
      const zero = { significand: l.i64(0), signExponent: l.i32(0) };
      compareWithNumber(
        l,
        {
          quick: () => zero,
          careful() {
            l.set(S.x87Raised, 0);
            return zero;
          },
        },
        0,
      );
    },
  }),
  instruction({
    name: 'FXAM',
    manual: 'SDM vol 2A, FXAM',
    forms: [form('D9 E5', X87)],
    lift: (l, i) => runs(l, i, examine),
  }),
  signChange('FCHS', 'D9 E0', (x) => x.xor(SIGN), changeSign),
  signChange('FABS', 'D9 E1', (x) => x.and(SIGN - 1), absolute),
  instruction({
    name: 'FSQRT',
    manual: 'SDM vol 2A, FSQRT',
    forms: [form('D9 FA', X87)],
    lift: (l, i) => runs(l, i, stackSquareRoot),
  }),
];
