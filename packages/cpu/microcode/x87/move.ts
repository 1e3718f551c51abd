// Moves on the x87 register stack: FLD, FST and FXCH of ST(i), FCMOVcc, constants, sign changes,
// and the control of tags and TOP. SDM vol 1 §8.1.2–8.1.3, §8.3.3–8.3.4.

import { type FunctionRef, fn } from '../../lift/function.ts';
import type { Lift } from '../../lift/lift.ts';
import type { Value } from '../../lift/value.ts';
import { S } from '../../state/layout.ts';
import { push } from './convert.ts';
import { underflowStack } from './operate.ts';
import { ROUNDING, roundingMode } from './round.ts';
import {
  CW,
  type Extended,
  INDEFINITE,
  isEmpty,
  physical,
  pop,
  readRegister,
  report,
  SIGN,
  SW,
  setStatus,
  writeIndefinite,
  writeRegister,
} from './state.ts';

/** FLD ST(i). */
export const pushStack: FunctionRef = fn('x87PushStack', {
  params: { source: 'i32' },
  build(l, { source }) {
    const register = physical(l, source);
    l.set(S.x87Raised, 0);
    const top = physical(l, 7);
    // An empty source goes before a full stack.
    l.if(isEmpty(l, register), () => {
      l.set(S.x87Raised, SW.ie | SW.sf);
      l.if(l.call(report), () => {
        writeIndefinite(l, top);
        l.set(S.x87Top, top);
      });
      l.return();
    });
    const x = readRegister(l, register);
    l.run(push, x.significand, x.signExponent);
  },
});

/** FST and FSTP ST(i). */
export const storeStack: FunctionRef = fn('x87StoreStack', {
  params: { destination: 'i32', pops: 'i32' },
  build(l, { destination, pops }) {
    const top = physical(l, 0);
    const d = physical(l, destination);
    l.set(S.x87Raised, 0);
    l.unlikely(isEmpty(l, top), () => {
      underflowStack(l, d, () => l.if(pops, () => pop(l)));
      l.return();
    });
    l.run(report);
    writeRegister(l, d, readRegister(l, top));
    l.if(pops, () => pop(l));
  },
});

/** FSTP1, as AMD processors do it: an empty ST(0) is popped and nothing else. */
export const storeUnchecked: FunctionRef = fn('x87StoreUnchecked', {
  params: { destination: 'i32' },
  build(l, { destination }) {
    l.if(isEmpty(l, physical(l, 0)), () => {
      l.set(S.x87Status, l.get(S.x87Status).and(~SW.c1));
      pop(l);
      l.return();
    });
    l.run(storeStack, destination, 1);
  },
});

/** FXCH. Empty registers become default NaNs when IE is masked. */
export const exchange: FunctionRef = fn('x87Exchange', {
  params: { other: 'i32' },
  build(l, { other }) {
    const top = physical(l, 0);
    const o = physical(l, other);
    const topEmpty = isEmpty(l, top);
    const otherEmpty = isEmpty(l, o);
    l.set(S.x87Raised, topEmpty.or(otherEmpty).mul(SW.ie | SW.sf));
    l.if(l.call(report).eqz(), () => l.return());
    const orIndefinite = (x: Extended, empty: Value): Extended => ({
      significand: l.let(l.select(empty, l.i64(INDEFINITE.significand), x.significand)),
      signExponent: l.let(l.select(empty, l.i32(INDEFINITE.signExponent), x.signExponent)),
    });
    const a = orIndefinite(readRegister(l, top), topEmpty);
    const b = orIndefinite(readRegister(l, o), otherEmpty);
    writeRegister(l, top, b);
    writeRegister(l, o, a);
  },
});

/** FCMOVcc: `condition` is 0 or 1. Empty registers count even when nothing moves. */
export const moveIf: FunctionRef = fn('x87MoveIf', {
  params: { source: 'i32', condition: 'i32' },
  build(l, { source, condition }) {
    const top = physical(l, 0);
    const s = physical(l, source);
    l.set(S.x87Raised, 0);
    l.unlikely(isEmpty(l, top).or(isEmpty(l, s)), () => {
      underflowStack(l, top);
      l.return();
    });
    // C1 stays as it was: the manual leaves it open, AMD processors do so.
    l.if(condition, () => writeRegister(l, top, readRegister(l, s)));
  },
});

function signOperation(name: string, change: (signExponent: Value) => Value): FunctionRef {
  return fn(name, {
    params: {},
    build(l) {
      const top = physical(l, 0);
      l.set(S.x87Raised, 0);
      l.unlikely(isEmpty(l, top), () => {
        underflowStack(l, top);
        l.return();
      });
      l.run(report);
      const x = readRegister(l, top);
      writeRegister(l, top, { ...x, signExponent: change(x.signExponent) });
    },
  });
}
export const changeSign: FunctionRef = signOperation('x87ChangeSign', (x) => x.xor(SIGN));
export const absolute: FunctionRef = signOperation('x87Absolute', (x) => x.and(SIGN - 1));

/**
 * A constant with 64 bits, chopped, and whether the bits behind are more than half. SDM vol 1 table
 * 8-9.
 */
interface Constant {
  readonly exponent: number;
  readonly significand: bigint;
  /** Rounding to nearest goes up. */
  readonly isMore: boolean;
}

/** π, log2 10, log2 e, log10 2 and ln 2. */
export const CONSTANTS = {
  FLDL2T: { exponent: 0x4000, significand: 0xd49a_784b_cd1b_8afen, isMore: false },
  FLDL2E: { exponent: 0x3fff, significand: 0xb8aa_3b29_5c17_f0bbn, isMore: true },
  FLDPI: { exponent: 0x4000, significand: 0xc90f_daa2_2168_c234n, isMore: true },
  FLDLG2: { exponent: 0x3ffd, significand: 0x9a20_9a84_fbcf_f798n, isMore: true },
  FLDLN2: { exponent: 0x3ffe, significand: 0xb172_17f7_d1cf_79abn, isMore: true },
} as const satisfies Readonly<Record<string, Constant>>;

/** A constant rounded by the rounding mode; neither PE nor C1 tells of it. */
export function roundedConstant(l: Lift, c: Constant): Extended {
  const mode = roundingMode(l);
  const up = mode.eq(ROUNDING.up);
  const isUp = c.isMore ? up.or(mode.eq(ROUNDING.nearest)) : up;
  return {
    significand: l.let(l.i64(BigInt.asIntN(64, c.significand)).add(isUp.u64())),
    signExponent: l.i32(c.exponent),
  };
}

/** FINCSTP (1) and FDECSTP (7): TOP moves, tags stay, C1 is cleared. */
export function rotate(l: Lift, by: 1 | 7): void {
  l.set(S.x87Top, l.get(S.x87Top).add(by).and(7));
  l.set(S.x87Status, l.get(S.x87Status).and(~SW.c1));
}

/** FFREE ST(i). C1 is undefined; processors clear it. */
export function free(l: Lift, register: Value): void {
  l.set(S.x87Status, l.get(S.x87Status).and(~SW.c1));
  l.set(S.x87Tags, l.get(S.x87Tags).and(l.i32(1).shl(register).not()));
}

/** FNINIT: all words as after power-up, registers empty; their contents stay. SDM vol 2A FINIT. */
export const initialize: FunctionRef = fn('x87Initialize', {
  params: {},
  build(l) {
    l.set(S.x87Control, CW.initial);
    l.set(S.x87Tags, 0);
    l.set(S.x87Top, 0);
    l.set(S.x87Opcode, 0);
    l.set(S.x87InstructionPointer, 0n);
    l.set(S.x87InstructionSelector, 0);
    l.set(S.x87DataPointer, 0n);
    l.set(S.x87DataSelector, 0);
    l.run(setStatus, 0);
  },
});

/** FNCLEX: exceptions, SF, ES and B go; the condition codes stay. */
export function clearExceptions(l: Lift): void {
  l.run(setStatus, l.get(S.x87Status).and(SW.conditions));
}

/** FLDCW: exceptions that are unmasked now wait for the next waiting instruction. */
export const setControl: FunctionRef = fn('x87SetControl', {
  params: { control: 'i32' },
  build(l, { control }) {
    l.set(S.x87Control, control.and(CW.writable).or(CW.fixed1));
    l.run(setStatus, l.get(S.x87Status));
  },
});

/** The status word with TOP. */
export function statusWord(l: Lift): Value {
  return l.let(l.get(S.x87Status).or(l.get(S.x87Top).shl(11)));
}
