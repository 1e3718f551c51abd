// Debug registers: MOV to and from them, and the breakpoints that they describe. SDM vol 3A §18.2, §18.3.

import { RFLAGS } from '../lift/flags.ts';
import { type FunctionRef, fn } from '../lift/function.ts';
import { FAULT_PENDING, type Lift } from '../lift/lift.ts';
import type { Value } from '../lift/value.ts';
import { CR4 } from '../state/control-bits.ts';
import { S } from '../state/layout.ts';
import { VECTOR } from './fault.ts';
import { BREAKPOINTS, updateMode } from './mode.ts';

export const DR6 = { bd: 1 << 13, bs: 1 << 14, bt: 1 << 15 } as const;
export const DR7 = { gd: 1 << 13 } as const;
/** Bits that always read as 1, and those that software can change. */
const DR6_FIXED = 0xffff_0ff0n;
const DR6_WRITABLE = 0xe00fn;
const DR7_FIXED = 0x400n;
const DR7_WRITABLE = 0xffff_23ffn;

/** Values after reset. SDM vol 3A table 9-1. */
export const DR6_RESET = DR6_FIXED;
export const DR7_RESET = DR7_FIXED;

/** Tells in DR6 why a #DB comes. B0–B3 are those of this one, as on newer processors; the rest is sticky. */
export function noteDebug(l: Lift, bits: Value): void {
  l.set(S.dr, l.get(S.dr, 6).and(~0xfn).or(bits.u64()), 6);
}

/** The register that a number means; DR4 and DR5 are DR6 and DR7 unless CR4.DE. Raises #UD, #GP(0), #DB (GD). */
function debugRegister(l: Lift, number: Value): Value {
  const isExtension = l.get(S.cr4).i32().and(CR4.de).nez();
  const isAlias = number.and(6).eq(4);
  l.raiseIf(number.gtu(7).or(isAlias.and(isExtension)), VECTOR.ud);
  l.raiseIf(l.get(S.cpl).nez(), VECTOR.gp, 0);
  l.unlikely(l.get(S.dr, 7).i32().and(DR7.gd), () => {
    noteDebug(l, l.i32(DR6.bd));
    l.raise(VECTOR.db);
  });
  return l.let(number.or(l.select(isAlias, l.i32(2), 0)));
}

export const readDebugRegister: FunctionRef = fn('readDebugRegister', {
  params: { number: 'i32' },
  result: 'i64',
  faults: true,
  build(l, { number }) {
    const n = debugRegister(l, number);
    l.return(l.getAt(S.dr, n.shl(3)));
  },
});

export const writeDebugRegister: FunctionRef = fn('writeDebugRegister', {
  params: { number: 'i32', value: 'i64' },
  faults: true,
  build(l, { number, value }) {
    const n = debugRegister(l, number);
    l.raiseIf(n.geu(6).and(value.shru(32).nez()), VECTOR.gp, 0);
    const dr6 = value.and(DR6_WRITABLE).or(DR6_FIXED);
    const dr7 = value.and(DR7_WRITABLE).or(DR7_FIXED);
    const control = l.select(n.eq(6), dr6, dr7);
    l.setAt(S.dr, n.shl(3), l.let(l.select(n.geu(6), control, value)));
    l.run(updateMode);
  },
});

/** For each armed breakpoint of DR7: its number, R/W field, length in bytes and address. */
function forEachArmed(
  l: Lift,
  found: (n: number, access: Value, bytes: Value, address: Value) => void,
): void {
  const dr7 = l.let(l.get(S.dr, 7).i32());
  for (let n = 0; n < 4; n++) {
    l.if(dr7.and(3 << (2 * n)), () => {
      const access = l.let(dr7.shru(16 + 4 * n).and(3));
      const length = l.let(dr7.shru(18 + 4 * n).and(3));
      // LEN: 00 one byte, 01 two, 10 eight, 11 four.
      const bytes = l.let(l.select(length.eq(2), l.i32(8), length.add(1)));
      found(n, access, bytes, l.get(S.dr, n));
    });
  }
}

/** Whether [a, a + aBytes) and the aligned breakpoint range at b overlap. */
function overlaps(a: Value, aBytes: Value, b: Value, bBytes: Value): Value {
  const start = b.and(bBytes.sub(1).s64().not());
  return a.ltu(start.add(bBytes.u64())).and(start.ltu(a.add(aBytes.u64())));
}

/** Before an instruction at a linear address: raises #DB (a fault) when an instruction breakpoint is there and RF is clear. */
export const checkInstructionBreakpoint: FunctionRef = fn('checkInstructionBreakpoint', {
  params: { linear: 'i64' },
  faults: true,
  build(l, { linear }) {
    const rflags = l.get(S.rflags);
    const isArmed = l.let(l.get(S.breakpoints).and(BREAKPOINTS.instruction));
    l.if(isArmed.or(rflags.and(RFLAGS.tf)).eqz(), () => l.return());
    l.if(rflags.and(RFLAGS.rf), () => {
      // RF holds for one instruction.
      l.set(S.rflags, rflags.and(~RFLAGS.rf));
      l.return();
    });
    l.if(isArmed.eqz(), () => l.return());
    const hits = l.var('i32', 0);
    forEachArmed(l, (n, access, _bytes, address) => {
      l.if(access.eqz().and(address.eq(linear)), () => hits.set(hits.get().or(1 << n)));
    });
    l.if(hits.get(), () => {
      noteDebug(l, hits.get());
      l.set(S.fault, FAULT_PENDING | VECTOR.db);
      l.exit('fault');
    });
  },
});

/** A data access in a mode that looks at each (`TLB_MODE.checked`): notes the breakpoints hit in `S.debugPending`. */
export const checkDataBreakpoint: FunctionRef = fn('checkDataBreakpoint', {
  params: { linear: 'i64', bytes: 'i32', write: 'i32' },
  build(l, { linear, bytes, write }) {
    l.if(l.get(S.breakpoints).and(BREAKPOINTS.data).eqz(), () => l.return());
    noteHits(l, linear, bytes, (access) => access.eq(3).or(access.eq(1).and(write.nez())));
  },
});

/** The same for a port; runs only when I/O breakpoints are armed. */
export const checkIoBreakpoint: FunctionRef = fn('checkIoBreakpoint', {
  params: { port: 'i32', bytes: 'i32' },
  build(l, { port, bytes }) {
    noteHits(l, port.u64(), bytes, (access) => access.eq(2));
  },
});

function noteHits(l: Lift, start: Value, size: Value, matches: (access: Value) => Value): void {
  const armed = l.var('i32', 0);
  forEachArmed(l, (n, access, bytes, address) => {
    l.if(overlaps(start, size, address, bytes).and(matches(access)), () =>
      armed.set(armed.get().or(1 << n)),
    );
  });
  l.if(armed.get(), () => l.set(S.debugPending, l.get(S.debugPending).or(armed.get())));
}
