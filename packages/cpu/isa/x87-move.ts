// x87 loads, stores, moves on the stack and control of the unit. SDM vol 1 §8.3.2–8.3.4, §8.3.11;
// undocumented aliases after AMD64 APM vol 3 appendix A (FSTP1, FXCH4, FXCH7, FSTP8, FSTP9, FFREEP)
// and the 8087's FENI and FDISI.

import { condition } from '../lift/flags.ts';
import type { FunctionRef } from '../lift/function.ts';
import type { AccessBytes, Lift } from '../lift/lift.ts';
import type { Value } from '../lift/value.ts';
import { fromBcd, push, readForStore, toBcd, toInteger } from '../microcode/x87/convert.ts';
import {
  CONSTANTS,
  clearExceptions,
  exchange,
  free,
  initialize,
  moveIf,
  pushConstant,
  pushStack,
  rotate,
  setControl,
  statusWord,
  storeStack,
  storeUnchecked,
} from '../microcode/x87/move.ts';
import { ROUNDING, roundingMode, toDouble, toSingle } from '../microcode/x87/round.ts';
import { quiet } from '../microcode/x87/special.ts';
import {
  callNumber,
  checkWait,
  checkX87Available,
  physical,
  pop,
  report,
  SW,
} from '../microcode/x87/state.ts';
import { S } from '../state/layout.ts';
import {
  AX,
  form,
  type Instruction,
  type InstructionContext,
  instruction,
  type LiftOperand,
  Md,
  Mq,
  Mt,
  Mw,
  STi,
  X87,
} from './instruction.ts';
import { CONDITION_READS } from './move.ts';
import { note, readNumber, readTenBytes, writeTenBytes } from './x87-operands.ts';

/** #NM check of the instructions that do not wait for exceptions. */
export function requireX87(l: Lift): void {
  l.unlikely(l.get(S.fpuTrap), () => l.run(checkX87Available));
}

/** Makes sure that the destination could be written. */
function probe(l: Lift, dst: LiftOperand): void {
  const linear = l.let(dst.linear(dst.bits / 8, 'write'));
  l.update(dst.bits === 80 ? 8 : ((dst.bits / 8) as AccessBytes), linear);
  if (dst.bits === 80) l.update(2, l.let(linear.add(8n)));
}

/**
 * Writes what ST(0) was converted to, unless an unmasked exception forbids it; then reports and
 * pops.
 */
function finishStore(
  l: Lift,
  i: InstructionContext,
  dst: LiftOperand,
  pops: boolean,
  write: () => void,
): void {
  const forbids = SW.ie | SW.oe | SW.ue;
  const raised = l.get(S.x87Raised);
  const isStored = l.let(raised.and(l.get(S.x87Control).not()).and(forbids).eqz());
  // What is not written must still be writable: other faults come before x87 exceptions.
  l.if(isStored, write, () => probe(l, dst));
  note(l, i, dst);
  l.run(report);
  if (pops) l.if(isStored, () => pop(l));
}

/** An empty ST(0) is a stack fault and nothing else. */
function replaceByStackFault(l: Lift, empty: Value): void {
  l.if(empty, () => l.set(S.x87Raised, SW.ie | SW.sf));
}

function storeReal(l: Lift, i: InstructionContext, dst: LiftOperand, pops: boolean): void {
  const x = readForStore(l);
  const bits = l.call(dst.bits === 32 ? toSingle : toDouble, x.significand, x.signExponent);
  replaceByStackFault(l, x.empty);
  finishStore(l, i, dst, pops, () => dst.write(dst.bits === 32 ? bits.i32() : bits));
}

function storeInteger(
  l: Lift,
  i: InstructionContext,
  dst: LiftOperand,
  options: { pops: boolean; mode: Value },
): void {
  const x = readForStore(l);
  const limit = BigInt.asIntN(64, 1n << BigInt(dst.bits - 1));
  const value = l.call(toInteger, x.significand, x.signExponent, limit, options.mode);
  replaceByStackFault(l, x.empty);
  finishStore(l, i, dst, options.pops, () => dst.write(dst.bits === 64 ? value : value.i32()));
}

const REAL_STORES = [
  { name: 'FST', digit: 2, pops: false },
  { name: 'FSTP', digit: 3, pops: true },
];

const INTEGER_STORES = [
  {
    name: 'FIST',
    pops: false,
    chops: false,
    forms: [form('DF /2', Mw, X87), form('DB /2', Md, X87)],
  },
  {
    name: 'FISTP',
    pops: true,
    chops: false,
    forms: [form('DF /3', Mw, X87), form('DB /3', Md, X87), form('DF /7', Mq, X87)],
  },
  {
    name: 'FISTTP',
    pops: true,
    chops: true,
    forms: [form('DF /1', Mw, X87), form('DB /1', Md, X87), form('DD /1', Mq, X87)],
  },
];

const LOADS_AND_STORES: readonly Instruction[] = [
  instruction({
    name: 'FLD',
    manual: 'SDM vol 2A, FLD',
    forms: [form('D9 /0', Md, X87), form('DD /0', Mq, X87)],
    access: ['r'],
    lift(l, i, src) {
      const x = readNumber(l, i, src!, 'real');
      const q = callNumber(l, quiet, x.significand, x.signExponent);
      l.run(push, q.significand, q.signExponent);
    },
  }),
  instruction({
    name: 'FLD',
    manual: 'SDM vol 2A, FLD',
    forms: [form('DB /5', Mt, X87)],
    access: ['r'],
    lift(l, i, src) {
      const { low, high } = readTenBytes(l, src!);
      note(l, i, src);
      l.set(S.x87Raised, 0);
      l.run(push, low, high);
    },
  }),
  instruction({
    name: 'FILD',
    manual: 'SDM vol 2A, FILD',
    forms: [form('DF /0', Mw, X87), form('DB /0', Md, X87), form('DF /5', Mq, X87)],
    access: ['r'],
    lift(l, i, src) {
      const x = readNumber(l, i, src!, 'integer');
      l.run(push, x.significand, x.signExponent);
    },
  }),
  instruction({
    name: 'FBLD',
    manual: 'SDM vol 2A, FBLD',
    forms: [form('DF /4', Mt, X87)],
    access: ['r'],
    lift(l, i, src) {
      const { low, high } = readTenBytes(l, src!);
      note(l, i, src);
      l.set(S.x87Raised, 0);
      const x = callNumber(l, fromBcd, low, high);
      l.run(push, x.significand, x.signExponent);
    },
  }),
  ...REAL_STORES.map(({ name, digit, pops }) =>
    instruction({
      name,
      manual: 'SDM vol 2A, FST',
      forms: [form(`D9 /${digit}`, Md, X87), form(`DD /${digit}`, Mq, X87)],
      access: ['w'],
      lift: (l, i, dst) => storeReal(l, i, dst!, pops),
    }),
  ),
  instruction({
    name: 'FSTP',
    manual: 'SDM vol 2A, FST',
    forms: [form('DB /7', Mt, X87)],
    access: ['w'],
    lift(l, i, dst) {
      const x = readForStore(l);
      replaceByStackFault(l, x.empty);
      finishStore(l, i, dst!, true, () => writeTenBytes(l, dst!, x.significand, x.signExponent));
    },
  }),
  ...INTEGER_STORES.map(({ name, pops, chops, forms }) =>
    instruction({
      name,
      manual: `SDM vol 2A, ${chops ? 'FISTTP' : 'FIST'}`,
      ...(chops && { feature: 'SSE3' }),
      forms,
      access: ['w'],
      lift(l, i, dst) {
        const mode = chops ? l.i32(ROUNDING.chop) : roundingMode(l);
        storeInteger(l, i, dst!, { pops, mode });
      },
    }),
  ),
  instruction({
    name: 'FBSTP',
    manual: 'SDM vol 2A, FBSTP',
    forms: [form('DF /6', Mt, X87)],
    access: ['w'],
    lift(l, i, dst) {
      const x = readForStore(l);
      const low = l.call(toBcd, x.significand, x.signExponent);
      const high = l.get(S.result).i32();
      replaceByStackFault(l, x.empty);
      finishStore(l, i, dst!, true, () => writeTenBytes(l, dst!, low, high));
    },
  }),
];

/**
 * One register of the stack: name, encoding, function, and whether it pops for those that store.
 */
interface StackRow {
  readonly name: string;
  readonly manual: string;
  readonly encodings: readonly string[];
  readonly meaning: (l: Lift, number: Value) => void;
}

const runsWith =
  (f: FunctionRef, ...rest: number[]) =>
  (l: Lift, number: Value): void =>
    l.run(f, number, ...rest);

const STACK: readonly StackRow[] = [
  { name: 'FLD', manual: 'FLD', encodings: ['D9 C0+i'], meaning: runsWith(pushStack) },
  { name: 'FXCH', manual: 'FXCH', encodings: ['D9 C8+i'], meaning: runsWith(exchange) },
  { name: 'FXCH4', manual: 'FXCH', encodings: ['DD C8+i'], meaning: runsWith(exchange) },
  { name: 'FXCH7', manual: 'FXCH', encodings: ['DF C8+i'], meaning: runsWith(exchange) },
  { name: 'FST', manual: 'FST', encodings: ['DD D0+i'], meaning: runsWith(storeStack, 0) },
  { name: 'FSTP', manual: 'FST', encodings: ['DD D8+i'], meaning: runsWith(storeStack, 1) },
  { name: 'FSTP1', manual: 'FST', encodings: ['D9 D8+i'], meaning: runsWith(storeUnchecked) },
  { name: 'FSTP8', manual: 'FST', encodings: ['DF D0+i'], meaning: runsWith(storeStack, 1) },
  { name: 'FSTP9', manual: 'FST', encodings: ['DF D8+i'], meaning: runsWith(storeStack, 1) },
  {
    name: 'FFREE',
    manual: 'FFREE',
    encodings: ['DD C0+i'],
    meaning: (l, n) => free(l, physical(l, n)),
  },
  {
    name: 'FFREEP',
    manual: 'FFREE',
    encodings: ['DF C0+i'],
    meaning(l, n) {
      free(l, physical(l, n));
      pop(l);
    },
  },
];

/** FCMOVcc: name, first bytes, condition code of the tested condition. */
const CONDITIONAL = [
  { name: 'FCMOVB', encoding: 'DA C0+i', code: 2 },
  { name: 'FCMOVE', encoding: 'DA C8+i', code: 4 },
  { name: 'FCMOVBE', encoding: 'DA D0+i', code: 6 },
  { name: 'FCMOVU', encoding: 'DA D8+i', code: 10 },
  { name: 'FCMOVNB', encoding: 'DB C0+i', code: 3 },
  { name: 'FCMOVNE', encoding: 'DB C8+i', code: 5 },
  { name: 'FCMOVNBE', encoding: 'DB D0+i', code: 7 },
  { name: 'FCMOVNU', encoding: 'DB D8+i', code: 11 },
];

const CONSTANT_ENCODINGS: Readonly<Record<keyof typeof CONSTANTS, string>> = {
  FLDL2T: 'D9 E9', FLDL2E: 'D9 EA', FLDPI: 'D9 EB', FLDLG2: 'D9 EC', FLDLN2: 'D9 ED',
}; // biome-ignore format: in encoding order

const ON_STACK: readonly Instruction[] = [
  ...STACK.map(({ name, manual, encodings, meaning }) =>
    instruction({
      name,
      manual: `SDM vol 2A, ${manual}`,
      forms: encodings.map((e) => form(e, STi, X87)),
      lift(l, i, operand) {
        note(l, i);
        meaning(l, operand!.number());
      },
    }),
  ),
  ...CONDITIONAL.map(({ name, encoding, code }) =>
    instruction({
      name,
      manual: 'SDM vol 2A, FCMOVcc',
      feature: 'CMOV',
      flags: { reads: CONDITION_READS[code >> 1]! },
      forms: [form(encoding, STi, X87)],
      lift(l, i, src) {
        note(l, i);
        l.run(moveIf, src!.number(), condition(l, code));
      },
    }),
  ),
  instruction({
    name: 'FLD1',
    manual: 'SDM vol 2A, FLD1',
    forms: [form('D9 E8', X87)],
    lift(l, i) {
      note(l, i);
      l.set(S.x87Raised, 0);
      l.run(push, -(1n << 63n), 0x3fff);
    },
  }),
  instruction({
    name: 'FLDZ',
    manual: 'SDM vol 2A, FLD1',
    forms: [form('D9 EE', X87)],
    lift(l, i) {
      note(l, i);
      l.set(S.x87Raised, 0);
      l.run(push, 0n, 0);
    },
  }),
  ...Object.entries(CONSTANTS).map(([name, value]) =>
    instruction({
      name,
      manual: 'SDM vol 2A, FLD1',
      forms: [form(CONSTANT_ENCODINGS[name as keyof typeof CONSTANTS], X87)],
      lift(l, i) {
        note(l, i);
        pushConstant(l, value);
      },
    }),
  ),
  instruction({
    name: 'FINCSTP',
    manual: 'SDM vol 2A, FINCSTP',
    forms: [form('D9 F7', X87)],
    lift(l, i) {
      note(l, i);
      rotate(l, 1);
    },
  }),
  instruction({
    name: 'FDECSTP',
    manual: 'SDM vol 2A, FDECSTP',
    forms: [form('D9 F6', X87)],
    lift(l, i) {
      note(l, i);
      rotate(l, 7);
    },
  }),
  instruction({
    name: 'FNOP',
    manual: 'SDM vol 2A, FNOP',
    forms: [form('D9 D0', X87)],
    lift: (l, i) => note(l, i),
  }),
];

const CONTROL: readonly Instruction[] = [
  instruction({
    name: 'WAIT',
    manual: 'SDM vol 2D, WAIT/FWAIT',
    forms: [form('9B')],
    lift: (l) => l.unlikely(l.get(S.fpuTrap), () => l.run(checkWait)),
  }),
  instruction({
    name: 'FNINIT',
    manual: 'SDM vol 2A, FINIT',
    forms: [form('DB E3')],
    lift(l) {
      requireX87(l);
      l.run(initialize);
    },
  }),
  instruction({
    name: 'FNCLEX',
    manual: 'SDM vol 2A, FCLEX',
    forms: [form('DB E2')],
    lift(l) {
      requireX87(l);
      clearExceptions(l);
    },
  }),
  // Control of the 8087's and 80287's interrupt line and mode: no operations since the 80387.
  ...(['DB E0', 'DB E1', 'DB E4'] as const).map((encoding, n) =>
    instruction({
      name: ['FNENI', 'FNDISI', 'FNSETPM'][n]!,
      manual: 'SDM vol 1 §8.3.1, obsolete control instructions',
      forms: [form(encoding)],
      lift: (l) => requireX87(l),
    }),
  ),
  instruction({
    name: 'FLDCW',
    manual: 'SDM vol 2A, FLDCW',
    forms: [form('D9 /5', Mw, X87)],
    access: ['r'],
    lift(l, _i, src) {
      l.run(setControl, src!.read());
    },
  }),
  instruction({
    name: 'FNSTCW',
    manual: 'SDM vol 2A, FSTCW',
    forms: [form('D9 /7', Mw)],
    access: ['w'],
    lift(l, _i, dst) {
      requireX87(l);
      dst!.write(l.get(S.x87Control));
    },
  }),
  instruction({
    name: 'FNSTSW',
    manual: 'SDM vol 2A, FSTSW',
    forms: [form('DD /7', Mw)],
    access: ['w'],
    lift(l, _i, dst) {
      requireX87(l);
      dst!.write(statusWord(l));
    },
  }),
  instruction({
    name: 'FNSTSW',
    manual: 'SDM vol 2A, FSTSW',
    forms: [form('DF E0', AX)],
    access: ['w'],
    lift(l, _i, dst) {
      requireX87(l);
      dst!.write(statusWord(l));
    },
  }),
];

export const INSTRUCTIONS_X87_MOVE: readonly Instruction[] = [
  ...LOADS_AND_STORES,
  ...ON_STACK,
  ...CONTROL,
];
