// The x87 unit's words and register stack: names of their bits, access to ST(i), the report of
// exceptions, and the check that waiting instructions begin with. SDM vol 1 §8.1, §8.5, §8.7.
// Status is kept without TOP (state/layout.ts).

import { type FunctionRef, fn } from '../../lift/function.ts';
import type { Lift } from '../../lift/lift.ts';
import type { Operand, Value } from '../../lift/value.ts';
import { EVENT, S, X87_SIGN_EXPONENT } from '../../state/layout.ts';
import { seesTime } from '../exact.ts';

/** Status word. SDM vol 1 figure 8-4. */
export const SW = {
  ie: 1, de: 2, ze: 4, oe: 8, ue: 0x10, pe: 0x20, sf: 0x40, es: 0x80,
  c0: 0x100, c1: 0x200, c2: 0x400, c3: 0x4000, b: 0x8000, exceptions: 0x3f, conditions: 0x4700,
} as const; // biome-ignore format: a register on two lines

/** Control word. SDM vol 1 figure 8-6. Bit 6 is kept set, as processors do. */
export const CW = {
  masks: 0x3f,
  fixed1: 0x40,
  writable: 0x1f3f,
  pcShift: 8,
  rcShift: 10,
  initial: 0x37f,
} as const;

/** Found before computing: unmasked ones leave the destination as it was. */
const EARLY = SW.ie | SW.de | SW.ze;
/** Bit of S.fpuTrap that says that an unmasked exception waits. */
const TRAP_PENDING = 4;
const CR0 = { em: 1n << 2n, mp: 1n << 1n, ts: 1n << 3n, ne: 1n << 5n };
const NM = 7;
const MF = 16;

export const SIGN = 0x8000;
export const EXPONENT_MAX = 0x7fff;
export const BIAS = 0x3fff;
/** A 64-bit constant from its unsigned value. */
export const u64 = (value: bigint): bigint => BigInt.asIntN(64, value);
export const INTEGER_BIT: bigint = u64(1n << 63n);
export const QUIET_BIT: bigint = 1n << 62n;
/** The default NaN. SDM vol 1 §4.8.3.7. */
export const INDEFINITE = {
  significand: u64(0xc000_0000_0000_0000n),
  signExponent: 0xffff,
} as const;

/** Adds to the exceptions of the running instruction. */
export function raise(l: Lift, bits: Operand): void {
  l.set(S.x87Raised, l.get(S.x87Raised).or(bits));
}

/** What a function of a number gives: its sign and exponent, and the significand in S.result. */
export function returnNumber(l: Lift, signExponent: Operand, significand: Operand): void {
  l.set(S.result, significand);
  l.return(signExponent);
}
export function returnIndefinite(l: Lift): void {
  returnNumber(l, INDEFINITE.signExponent, INDEFINITE.significand);
}
/** Invalid operation: raises IE alone and gives the default NaN. */
export function returnInvalid(l: Lift): void {
  l.set(S.x87Raised, SW.ie);
  returnIndefinite(l);
}

/** An extended-precision number. */
export interface Extended {
  readonly significand: Value;
  readonly signExponent: Value;
}

/** The result of a function that gives a number. */
export function callNumber(l: Lift, f: FunctionRef, ...args: Operand[]): Extended {
  const signExponent = l.call(f, ...args);
  return { signExponent, significand: l.get(S.result) };
}

/** Physical number of ST(index). */
export function physical(l: Lift, index: Operand): Value {
  return l.let(l.get(S.x87Top).add(index).and(7));
}
export function isEmpty(l: Lift, register: Value): Value {
  return l.let(l.get(S.x87Tags).shru(register).and(1).eqz());
}
export function readRegister(l: Lift, register: Value): Extended {
  const offset = register.shl(4);
  return {
    significand: l.getAt(S.x87Significand, offset),
    signExponent: l.let(l.getAt(X87_SIGN_EXPONENT, offset).and(0xffff)),
  };
}
export function writeRegister(l: Lift, register: Value, value: Extended): void {
  const offset = register.shl(4);
  l.setAt(S.x87Significand, offset, value.significand);
  l.setAt(X87_SIGN_EXPONENT, offset, value.signExponent);
  l.set(S.x87Tags, l.get(S.x87Tags).or(l.i32(1).shl(register)));
}
export function writeIndefinite(l: Lift, register: Value): void {
  writeRegister(l, register, {
    significand: l.i64(INDEFINITE.significand),
    signExponent: l.i32(INDEFINITE.signExponent),
  });
}
/** Frees ST(0) and raises TOP. */
export function pop(l: Lift): void {
  const top = l.get(S.x87Top);
  l.set(S.x87Tags, l.get(S.x87Tags).and(l.i32(1).shl(top).not()));
  l.set(S.x87Top, top.add(1).and(7));
}

/**
 * Makes a status word (without TOP) take effect: ES and B follow its exceptions, and the error line
 * follows ES.
 */
export const setStatus: FunctionRef = fn('x87SetStatus', {
  params: { status: 'i32' },
  build(l, { status }) {
    const unmasked = status.and(l.get(S.x87Control).not()).and(SW.exceptions);
    const isPending = l.let(unmasked.nez());
    const wasPending = l.get(S.x87Status).and(SW.es).nez();
    const summary = l.select(isPending, l.i32(SW.es | SW.b), 0);
    l.set(S.x87Status, status.and(~(SW.es | SW.b)).or(summary));
    l.set(S.fpuTrap, l.get(S.fpuTrap).and(~TRAP_PENDING).or(isPending.mul(TRAP_PENDING)));
    l.if(isPending.ne(wasPending).and(l.get(S.cr0).and(CR0.ne).eqz()), () => {
      l.atomic('i32.atomic.rmw.or', l.cpu, S.events.offset, l.i32(EVENT.ferr));
    });
  },
});

/**
 * Ends the computation of an instruction: what S.x87Raised holds becomes sticky in the status word.
 * Gives 1 when the result is to be stored, 0 when an unmasked exception keeps the destination, the
 * stack and C1 as they are.
 */
export const report: FunctionRef = fn('x87Report', {
  params: {},
  result: 'i32',
  build(l) {
    const raised = l.get(S.x87Raised);
    const status = l.let(l.get(S.x87Status).and(~SW.c1));
    const unmasked = l.let(raised.and(l.get(S.x87Control).not()).and(SW.exceptions));
    l.if(unmasked.eqz(), () => {
      l.set(S.x87Status, status.or(raised));
      l.return(1);
    });
    const isEarly = l.let(unmasked.and(EARLY).nez());
    // C1 tells about rounding, or with SF the direction of the stack fault.
    const kept = l.select(raised.and(SW.sf), l.i32(EARLY | SW.sf | SW.c1), l.i32(EARLY));
    l.run(setStatus, status.or(l.select(isEarly, raised.and(kept), raised)));
    l.return(isEarly.eqz());
  },
});

/** Whether the exceptions raised so far are all masked, as far as `bits` goes. */
export function isMasked(l: Lift, bits: number): Value {
  return l.get(S.x87Control).not().and(bits).eqz();
}

/** #NM of every x87 instruction but WAIT. */
export const checkX87Available: FunctionRef = fn('checkX87Available', {
  params: {},
  faults: true,
  build(l) {
    l.if(l.get(S.cr0).and(CR0.ne).eqz(), () => seesTime(l));
    l.raiseIf(
      l
        .get(S.cr0)
        .and(CR0.em | CR0.ts)
        .nez(),
      NM,
    );
  },
});

/** Raises #MF for an exception that waits, when CR0.NE is set. */
export const checkPending: FunctionRef = fn('checkX87Pending', {
  params: {},
  faults: true,
  build(l) {
    // Deviation: with CR0.NE clear a processor would stop here until an interrupt comes (IGNNE#
    // inactive). The error line was raised with the exception, so that the interrupt is on its way,
    // and we go on as with IGNNE# active.
    l.raiseIf(l.get(S.x87Status).and(SW.es).nez().and(l.get(S.cr0).and(CR0.ne).nez()), MF);
  },
});

/** The check of waiting x87 instructions. SDM vol 3A table 2-2; vol 1 §8.7. */
export const checkX87: FunctionRef = fn('checkX87', {
  params: {},
  faults: true,
  build(l) {
    l.run(checkX87Available);
    l.run(checkPending);
  },
});

/** The check of WAIT: #NM only when both CR0.MP and CR0.TS are set. */
export const checkWait: FunctionRef = fn('checkWait', {
  params: {},
  faults: true,
  build(l) {
    const both = CR0.mp | CR0.ts;
    l.raiseIf(l.get(S.cr0).and(both).eq(both), NM);
    l.run(checkPending);
  },
});
