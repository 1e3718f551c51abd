// What is delivered and when: faults of instructions, double and triple faults, external interrupts, NMI, software
// interrupts and debug traps. SDM vol 3A §6.5, §6.6, §6.15 (table 6-5), §18.3. How a handler is called:
// interrupt-delivery.ts.

import { RFLAGS, readFlags } from '../lift/flags.ts';
import { type FunctionRef, fn } from '../lift/function.ts';
import type { Lift } from '../lift/lift.ts';
import { FAULT_HAS_CODE } from '../lift/lift.ts';
import type { Value } from '../lift/value.ts';
import { S } from '../state/layout.ts';
import { DR6, DR7, noteDebug } from './debug-register.ts';
import { VECTOR } from './fault.ts';
import { deliverVector } from './interrupt-delivery.ts';
import { updateMode } from './mode.ts';

/** Values of `S.delivering`: classes of table 6-4, and the double fault itself. */
const CLASS = { none: 0, benign: 1, contributory: 2, pageFault: 3, doubleFault: 4 } as const;
/** Values of `S.activity`. */
export const ACTIVITY = { running: 0, halted: 1, waitForSipi: 2, shutdown: 3 } as const;

/** #DE, #TS, #NP, #SS and #GP. */
const CONTRIBUTORY =
  (1 << VECTOR.de) | (1 << VECTOR.ts) | (1 << VECTOR.np) | (1 << VECTOR.ss) | (1 << VECTOR.gp);

function classOf(l: Lift, vector: Value): Value {
  const isContributory = l.i32(CONTRIBUTORY).shru(vector).and(1).and(vector.ltu(32));
  const usual = l.select(isContributory, l.i32(CLASS.contributory), CLASS.benign);
  return l.let(l.select(vector.eq(VECTOR.pf), l.i32(CLASS.pageFault), usual));
}

/**
 * Delivers what `S.fault` records; `S.rip` is the faulting instruction's. A fault met while doing so is in `S.fault`
 * again: call once more, and it becomes a double fault where table 6-5 says so. A third one shuts the processor down.
 */
export const deliverFault: FunctionRef = fn('deliverFault', {
  params: {},
  faults: true,
  build(l) {
    const fault = l.get(S.fault);
    const first = l.get(S.delivering);
    const vector = l.var('i32', fault.and(0xff));
    const hasCode = l.var('i32', fault.and(FAULT_HAS_CODE).nez());
    // EXT tells a fault met in delivery; codes made without it (#SS(0), #GP(0)) get it here.
    const isPageFault = l.let(vector.get().eq(VECTOR.pf));
    const external = l.select(isPageFault, l.i32(0), first.nez());
    const code = l.var('i32', l.get(S.faultCode).or(external));
    l.set(S.fault, 0);
    l.if(isPageFault, () => l.set(S.cr2, l.get(S.faultAddress)));
    const level = l.var('i32', classOf(l, vector.get()));
    const second = level.get();
    const isSevere = l.let(second.geu(CLASS.contributory));
    l.if(first.eq(CLASS.doubleFault).and(isSevere), () => {
      l.set(S.activity, ACTIVITY.shutdown);
      l.set(S.delivering, CLASS.none);
      l.return();
    });
    const both = first.eq(CLASS.contributory).and(second.eq(CLASS.contributory));
    l.if(both.or(first.eq(CLASS.pageFault).and(isSevere)), () => {
      vector.set(VECTOR.df);
      hasCode.set(1);
      code.set(0);
      level.set(CLASS.doubleFault);
    });
    l.set(S.delivering, level.get());
    // An instruction breakpoint leaves RF as it was; every other fault sets it in the frame.
    const isFault = vector.get().ne(VECTOR.db);
    const flags = readFlags(l).or(l.select(isFault, l.i32(RFLAGS.rf), 0));
    l.if(isFault.eqz(), () => l.run(enterDebugHandler));
    l.run(deliverVector, vector.get(), 0, hasCode.get(), code.get(), l.get(S.rip), flags);
    l.set(S.delivering, CLASS.none);
  },
});

/** Delivers an event that is no fault, with EXT in the error codes of what it meets. `S.rip` is the return address. */
const deliverEvent: FunctionRef = fn('deliverEvent', {
  params: { vector: 'i32' },
  faults: true,
  build(l, { vector }) {
    l.set(S.delivering, CLASS.benign);
    l.run(deliverVector, vector, 0, 0, 0, l.get(S.rip), readFlags(l));
    l.set(S.delivering, CLASS.none);
  },
});

/** An external interrupt between two instructions. */
export const deliverInterrupt: FunctionRef = fn('deliverInterrupt', {
  params: { vector: 'i32' },
  faults: true,
  build: (l, { vector }) => l.run(deliverEvent, vector),
});

/** NMI; the next one waits until IRET. */
export const deliverNmi: FunctionRef = fn('deliverNmi', {
  params: {},
  faults: true,
  build(l) {
    l.set(S.nmiBlocked, 1);
    l.run(deliverEvent, VECTOR.nmi);
  },
});

/** INT n, INT3, INTO: `rip` is behind the instruction. */
export const softwareInterrupt: FunctionRef = fn('softwareInterrupt', {
  params: { vector: 'i32', rip: 'i64' },
  faults: true,
  build: (l, { vector, rip }) => l.run(deliverVector, vector, 1, 0, 0, rip, readFlags(l)),
});

/** INT1 (ICEBP): a #DB without DR6 bits, not subject to the gate's DPL. */
export const icebp: FunctionRef = fn('icebp', {
  params: { rip: 'i64' },
  faults: true,
  build(l, { rip }) {
    l.set(S.delivering, CLASS.benign);
    l.run(enterDebugHandler);
    l.run(deliverVector, VECTOR.db, 0, 0, 0, rip, readFlags(l));
    l.set(S.delivering, CLASS.none);
  },
});

/** Debug handlers run with general detection and last-branch recording off. SDM vol 3A §18.2.4, §18.4.1. */
const enterDebugHandler: FunctionRef = fn('enterDebugHandler', {
  params: {},
  build(l) {
    l.set(S.dr, l.get(S.dr, 7).and(~BigInt(DR7.gd)), 7);
    l.set(S.msrDebugctl, l.get(S.msrDebugctl).and(~1n));
    l.run(updateMode);
  },
});

/**
 * Behind an instruction: the single-step trap when `S.stepping`, data and I/O breakpoints and task-switch traps in
 * `S.debugPending`. After MOV SS and POP SS they wait for the next instruction (SDM vol 3A §6.8.3).
 */
export const deliverDebugTrap: FunctionRef = fn('deliverDebugTrap', {
  params: {},
  faults: true,
  build(l) {
    l.if(l.get(S.interruptShadow).eq(2), () => l.return());
    const pending = l.get(S.debugPending);
    const bits = l.let(pending.or(l.select(l.get(S.stepping), l.i32(DR6.bs), 0)));
    l.if(bits.eqz(), () => l.return());
    l.set(S.debugPending, 0);
    l.set(S.stepping, 0);
    // A HLT that is stepped over does not wait.
    l.set(S.activity, ACTIVITY.running);
    noteDebug(l, bits);
    l.run(enterDebugHandler);
    l.run(deliverEvent, VECTOR.db);
  },
});
