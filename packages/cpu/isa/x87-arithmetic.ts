// x87 arithmetic and comparisons. SDM vol 1 §8.3.5–8.3.6; encodings with the undocumented aliases
// of AMD64 APM vol 3 appendix A (FCOM2, FCOMP3, FCOMP5). The arithmetic itself is in microcode/x87.

import { absolute, changeSign } from '../microcode/x87/move.ts';
import {
  compareFlags,
  compareNumber,
  compareStack,
  examine,
  OPERATIONS,
  stackSquareRoot,
} from '../microcode/x87/operate.ts';
import { S } from '../state/layout.ts';
import { form, type Instruction, instruction, Md, Mq, Mw, STi, X87 } from './instruction.ts';
import { note, readNumber, runs } from './x87-operands.ts';

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

function arithmetic({ name, digit, toStack }: ArithmeticRow): Instruction[] {
  const operation = OPERATIONS[name];
  const manual = `SDM vol 2A, ${name.replace(/R$/, '')}`;
  return [
    instruction({
      name,
      manual,
      forms: [form(`D8 /${digit}`, Md, X87), form(`DC /${digit}`, Mq, X87)],
      access: ['r'],
      lift(l, i, src) {
        const b = readNumber(l, i, src!, 'real');
        l.run(operation.withNumber, b.significand, b.signExponent);
      },
    }),
    instruction({
      name: integerName(name),
      manual,
      forms: [form(`DA /${digit}`, Md, X87), form(`DE /${digit}`, Mw, X87)],
      access: ['r'],
      lift(l, i, src) {
        const b = readNumber(l, i, src!, 'integer');
        l.run(operation.withNumber, b.significand, b.signExponent);
      },
    }),
    instruction({
      name,
      manual,
      forms: [form(`D8 ${modrm(digit)}+i`, STi, X87)],
      lift(l, i, src) {
        note(l, i);
        l.run(operation.onStack, 0, src!.number(), 0);
      },
    }),
    instruction({
      name,
      manual,
      forms: [form(`DC ${toStack}+i`, STi, X87)],
      lift(l, i, dst) {
        note(l, i);
        l.run(operation.onStack, dst!.number(), 0, 0);
      },
    }),
    instruction({
      name: `${name}P`,
      manual,
      forms: [form(`DE ${toStack}+i`, STi, X87)],
      lift(l, i, dst) {
        note(l, i);
        l.run(operation.onStack, dst!.number(), 0, 1);
      },
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

function memoryCompare(suffix: '' | 'P', pops: 0 | 1): Instruction[] {
  const digit = 2 + pops;
  return [
    instruction({
      name: `FCOM${suffix}`,
      manual: 'SDM vol 2A, FCOM',
      forms: [form(`D8 /${digit}`, Md, X87), form(`DC /${digit}`, Mq, X87)],
      access: ['r'],
      lift(l, i, src) {
        const b = readNumber(l, i, src!, 'real');
        l.run(compareNumber, b.significand, b.signExponent, pops);
      },
    }),
    instruction({
      name: `FICOM${suffix}`,
      manual: 'SDM vol 2A, FICOM',
      forms: [form(`DA /${digit}`, Md, X87), form(`DE /${digit}`, Mw, X87)],
      access: ['r'],
      lift(l, i, src) {
        const b = readNumber(l, i, src!, 'integer');
        l.run(compareNumber, b.significand, b.signExponent, pops);
      },
    }),
  ];
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
        l.run(compareStack, src!.number(), row.pops, row.quiet);
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
        l.run(compareStack, 1, row.pops, row.quiet);
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
        l.run(compareFlags, src!.number(), row.pops, row.quiet);
      },
    }),
  ),
  instruction({
    name: 'FTST',
    manual: 'SDM vol 2A, FTST',
    forms: [form('D9 E4', X87)],
    lift(l, i) {
      note(l, i);
      l.set(S.x87Raised, 0);
      l.run(compareNumber, 0n, 0, 0);
    },
  }),
  instruction({
    name: 'FXAM',
    manual: 'SDM vol 2A, FXAM',
    forms: [form('D9 E5', X87)],
    lift: (l, i) => runs(l, i, examine),
  }),
  instruction({
    name: 'FCHS',
    manual: 'SDM vol 2A, FCHS',
    forms: [form('D9 E0', X87)],
    lift: (l, i) => runs(l, i, changeSign),
  }),
  instruction({
    name: 'FABS',
    manual: 'SDM vol 2A, FABS',
    forms: [form('D9 E1', X87)],
    lift: (l, i) => runs(l, i, absolute),
  }),
  instruction({
    name: 'FSQRT',
    manual: 'SDM vol 2A, FSQRT',
    forms: [form('D9 FA', X87)],
    lift: (l, i) => runs(l, i, stackSquareRoot),
  }),
];
