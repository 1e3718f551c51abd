// x87 loads from memory and stores to it: real numbers of three sizes, integers, packed BCD. SDM vol 1 §8.3.3,
// §4.8.4; vol 2A FBLD, FBSTP, FILD, FIST, FISTTP, FLD, FST.

import type { FunctionRef } from '../lift/function.ts';
import type { AccessBytes, Lift } from '../lift/lift.ts';
import type { Value } from '../lift/value.ts';
import {
  fromBcd,
  push,
  storeBcd,
  storeDouble,
  storeExtended,
  storeInteger,
  storeSingle,
} from '../microcode/x87/convert.ts';
import {
  peek,
  quickInteger,
  quicklyOr,
  quickNarrow,
  quickPush,
  requireUsed,
  settle,
  stackTop,
} from '../microcode/x87/quick.ts';
import { DOUBLE, ROUNDING, roundingMode, SINGLE } from '../microcode/x87/round.ts';
import { quiet } from '../microcode/x87/special.ts';
import { callNumber, type Extended, pop, report, SW } from '../microcode/x87/state.ts';
import { S } from '../state/layout.ts';
import {
  form,
  type Instruction,
  type InstructionContext,
  instruction,
  type LiftOperand,
  Md,
  Mq,
  Mt,
  Mw,
  X87,
} from './instruction.ts';
import { note, pushExact, readNumber, readTenBytes, writeTenBytes } from './x87-operands.ts';

/** Makes sure that the destination could be written. */
function probe(l: Lift, dst: LiftOperand): void {
  const linear = l.let(dst.linear(dst.bits / 8, 'write'));
  l.update(dst.bits === 80 ? 8 : ((dst.bits / 8) as AccessBytes), linear);
  if (dst.bits === 80) l.update(2, l.let(linear.add(8n)));
}

/** What ST(0) becomes in a store's format, and the exceptions of that. */
interface Stored {
  readonly bits: Value;
  readonly raised: Value;
}

/** Converts ST(0), quickly or by a function that leaves what it raised in S.x87Raised. */
function convertTop(
  l: Lift,
  quick: (x: Extended, slow: () => void) => { bits: Value; flags: Value },
  careful: () => Value,
): Stored {
  const bits = l.var('i64', 0);
  const raised = l.var('i32', 0);
  quicklyOr(
    l,
    (slow) => {
      const top = stackTop(l);
      requireUsed(l, slow, top);
      const r = quick(peek(l, top), slow);
      bits.set(r.bits);
      raised.set(r.flags);
    },
    () => {
      bits.set(careful());
      raised.set(l.get(S.x87Raised));
    },
  );
  return { bits: bits.get(), raised: raised.get() };
}

/**
 * Writes what ST(0) was converted to, unless an unmasked exception forbids it; then reports and
 * pops.
 */
function finishStore(
  l: Lift,
  i: InstructionContext,
  dst: LiftOperand,
  options: { pops: boolean; raised: Value },
  write: () => void,
): void {
  const { raised, pops } = options;
  const forbids = SW.ie | SW.oe | SW.ue;
  const unmasked = l.let(raised.and(l.get(S.x87Control).not()).and(SW.exceptions));
  const isForbidden = l.let(unmasked.and(forbids));
  // What is not written must still be writable: other faults come before x87 exceptions.
  l.unlikely(isForbidden, () => probe(l, dst), write);
  note(l, i, dst);
  l.unlikely(
    unmasked,
    () => {
      l.set(S.x87Raised, raised);
      l.run(report);
    },
    () => settle(l, raised),
  );
  if (pops) l.if(isForbidden.eqz(), () => pop(l));
}

function storeReal(l: Lift, i: InstructionContext, dst: LiftOperand, pops: boolean): void {
  const isSingle = dst.bits === 32;
  const { bits, raised } = convertTop(
    l,
    (x, slow) => quickNarrow(l, isSingle ? SINGLE : DOUBLE, x, slow),
    () => l.call(isSingle ? storeSingle : storeDouble),
  );
  finishStore(l, i, dst, { pops, raised }, () => dst.write(isSingle ? bits.i32() : bits));
}

function storeIntegral(
  l: Lift,
  i: InstructionContext,
  dst: LiftOperand,
  options: { pops: boolean; chops: boolean },
): void {
  const { chops, pops } = options;
  const limit = BigInt.asIntN(64, 1n << BigInt(dst.bits - 1));
  const { bits, raised } = convertTop(
    l,
    (x, slow) => quickInteger(l, dst.bits, chops, x, slow),
    () => l.call(storeInteger, limit, chops ? l.i32(ROUNDING.chop) : roundingMode(l)),
  );
  finishStore(l, i, dst, { pops, raised }, () => dst.write(dst.bits === 64 ? bits : bits.i32()));
}

/** A store of ten bytes whose upper two the function leaves in S.result. */
function storeTenBytes(
  l: Lift,
  i: InstructionContext,
  dst: LiftOperand,
  callee: FunctionRef,
): void {
  const low = l.call(callee);
  const high = l.get(S.result).i32();
  const options = { pops: true, raised: l.get(S.x87Raised) };
  finishStore(l, i, dst, options, () => writeTenBytes(l, dst, low, high));
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

export const INSTRUCTIONS_X87_MEMORY: readonly Instruction[] = [
  instruction({
    name: 'FLD',
    manual: 'SDM vol 2A, FLD',
    forms: [form('D9 /0', Md, X87), form('DD /0', Mq, X87)],
    access: ['r'],
    lift(l, i, src) {
      const number = readNumber(l, i, src!, 'real');
      quicklyOr(
        l,
        (slow) => quickPush(l, number.quick(slow), slow),
        () => {
          const x = number.careful();
          const q = callNumber(l, quiet, x.significand, x.signExponent);
          l.run(push, q.significand, q.signExponent);
        },
      );
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
      pushExact(l, { significand: low, signExponent: high });
    },
  }),
  instruction({
    name: 'FILD',
    manual: 'SDM vol 2A, FILD',
    forms: [form('DF /0', Mw, X87), form('DB /0', Md, X87), form('DF /5', Mq, X87)],
    access: ['r'],
    lift(l, i, src) {
      pushExact(
        l,
        readNumber(l, i, src!, 'integer').quick(() => {}),
      );
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
      storeTenBytes(l, i, dst!, storeExtended);
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
        storeIntegral(l, i, dst!, { pops, chops });
      },
    }),
  ),
  instruction({
    name: 'FBSTP',
    manual: 'SDM vol 2A, FBSTP',
    forms: [form('DF /6', Mt, X87)],
    access: ['w'],
    lift(l, i, dst) {
      storeTenBytes(l, i, dst!, storeBcd);
    },
  }),
];
