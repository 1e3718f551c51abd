// x87 moves on the register stack and control of the unit. SDM vol 1 §8.3.2–8.3.4, §8.3.11;
// undocumented aliases after AMD64 APM vol 3 appendix A (FSTP1, FXCH4, FXCH7, FSTP8, FSTP9, FFREEP)
// and the 8087's FENI and FDISI.

import { condition } from '../lift/flags.ts';
import type { FunctionRef } from '../lift/function.ts';
import type { Lift } from '../lift/lift.ts';
import type { Value } from '../lift/value.ts';
import {
  CONSTANTS,
  clearExceptions,
  exchange,
  free,
  initialize,
  moveIf,
  pushStack,
  rotate,
  roundedConstant,
  setControl,
  statusWord,
  storeStack,
  storeUnchecked,
} from '../microcode/x87/move.ts';
import {
  peek,
  poke,
  quicklyOr,
  quickPush,
  requireUsed,
  settle,
  stackAt,
  stackTop,
} from '../microcode/x87/quick.ts';
import { checkWait, checkX87Available, physical, pop } from '../microcode/x87/state.ts';
import { S } from '../state/layout.ts';
import { AX, form, type Instruction, instruction, Mw, STi, X87 } from './instruction.ts';
import { CONDITION_READS } from './move.ts';
import { note, pushExact } from './x87-operands.ts';

/** #NM check of the instructions that do not wait for exceptions. */
export function requireX87(l: Lift): void {
  l.unlikely(l.get(S.fpuTrap), () => l.run(checkX87Available));
}

/**
 * One register of the stack: name, encoding, function, and whether it pops for those that store.
 */
interface StackRow {
  readonly name: string;
  readonly manual: string;
  readonly encodings: readonly string[];
  readonly meaning: (l: Lift, number: Value) => void;
}

/** FLD ST(i). */
function pushRegister(l: Lift, number: Value): void {
  quicklyOr(
    l,
    (slow) => {
      const register = stackAt(l, stackTop(l), number);
      requireUsed(l, slow, register);
      quickPush(l, peek(l, register), slow);
    },
    () => l.run(pushStack, number),
  );
}

const storeRegister =
  (pops: 0 | 1) =>
  (l: Lift, number: Value): void =>
    quicklyOr(
      l,
      (slow) => {
        const top = stackTop(l);
        const d = stackAt(l, top, number);
        requireUsed(l, slow, top);
        poke(l, d, peek(l, top));
        l.set(S.x87Tags, l.get(S.x87Tags).or(l.i32(1).shl(d)));
        settle(l, 0);
        if (pops) pop(l);
      },
      () => l.run(storeStack, number, pops),
    );

function exchangeRegisters(l: Lift, number: Value): void {
  quicklyOr(
    l,
    (slow) => {
      const top = stackTop(l);
      const other = stackAt(l, top, number);
      requireUsed(l, slow, top, other);
      const [a, b] = [peek(l, top), peek(l, other)];
      poke(l, top, b);
      poke(l, other, a);
      settle(l, 0);
    },
    () => l.run(exchange, number),
  );
}

const runsWith =
  (f: FunctionRef, ...rest: number[]) =>
  (l: Lift, number: Value): void =>
    l.run(f, number, ...rest);

const STACK: readonly StackRow[] = [
  { name: 'FLD', manual: 'FLD', encodings: ['D9 C0+i'], meaning: pushRegister },
  { name: 'FXCH', manual: 'FXCH', encodings: ['D9 C8+i'], meaning: exchangeRegisters },
  { name: 'FXCH4', manual: 'FXCH', encodings: ['DD C8+i'], meaning: exchangeRegisters },
  { name: 'FXCH7', manual: 'FXCH', encodings: ['DF C8+i'], meaning: exchangeRegisters },
  { name: 'FST', manual: 'FST', encodings: ['DD D0+i'], meaning: storeRegister(0) },
  { name: 'FSTP', manual: 'FST', encodings: ['DD D8+i'], meaning: storeRegister(1) },
  { name: 'FSTP1', manual: 'FST', encodings: ['D9 D8+i'], meaning: runsWith(storeUnchecked) },
  { name: 'FSTP8', manual: 'FST', encodings: ['DF D0+i'], meaning: storeRegister(1) },
  { name: 'FSTP9', manual: 'FST', encodings: ['DF D8+i'], meaning: storeRegister(1) },
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
      pushExact(l, { significand: l.i64(-(1n << 63n)), signExponent: l.i32(0x3fff) });
    },
  }),
  instruction({
    name: 'FLDZ',
    manual: 'SDM vol 2A, FLD1',
    forms: [form('D9 EE', X87)],
    lift(l, i) {
      note(l, i);
      pushExact(l, { significand: l.i64(0), signExponent: l.i32(0) });
    },
  }),
  ...Object.entries(CONSTANTS).map(([name, value]) =>
    instruction({
      name,
      manual: 'SDM vol 2A, FLD1',
      forms: [form(CONSTANT_ENCODINGS[name as keyof typeof CONSTANTS], X87)],
      lift(l, i) {
        note(l, i);
        pushExact(l, roundedConstant(l, value));
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

export const INSTRUCTIONS_X87_MOVE: readonly Instruction[] = [...ON_STACK, ...CONTROL];
