// What the processor does between two instructions when something asks for it: interrupts, NMI, wake-up from HLT,
// interrupt shadows, and leaving `run` for the host. SDM vol 3A §6.9 (priorities).

import { RFLAGS } from '../lift/flags.ts';
import { type FunctionRef, fn, imported } from '../lift/function.ts';
import type { Lift } from '../lift/lift.ts';
import { deliverInterrupt, deliverNmi } from '../microcode/exception.ts';
import { EVENT, S } from '../state/layout.ts';
import { synchronise } from './locked.ts';

/** Why `run` came back. */
export const EXIT_REASON = {
  none: 0,
  budget: 1,
  halted: 2,
  event: 3,
  shutdown: 4,
  fault: 5,
} as const;

/** The vector of the highest-priority interrupt, taken from the local APIC or the PIC; -1 when there is none after all. */
export const takeInterrupt: FunctionRef = imported('takeInterrupt', {}, 'i32');

function leaveIfAsked(l: Lift, events: ReturnType<Lift['get']>): void {
  const asks = EVENT.exit | EVENT.init | EVENT.sipi | EVENT.ferr | EVENT.posted;
  l.unlikely(events.and(asks), () => {
    const answered = EVENT.exit | EVENT.ferr | EVENT.posted;
    l.atomic('i32.atomic.rmw.and', l.cpu, S.events.offset, l.i32(~answered));
    l.return(EXIT_REASON.event);
  });
}

/** Gives the reason to leave `run`, or none. May deliver an interrupt, whose fault is left in S.fault. */
export const serviceEvents: FunctionRef = fn('serviceEvents', {
  params: {},
  result: 'i32',
  faults: true,
  build(l) {
    const events = l.get(S.events);
    if (l.isShared) l.unlikely(events.and(EVENT.park | EVENT.alone), () => l.run(synchronise));
    leaveIfAsked(l, events);
    const enabled = l.let(l.get(S.rflags).and(RFLAGS.if).nez());
    const shadow = l.get(S.interruptShadow);
    const nmi = l.let(events.and(EVENT.nmi).nez().and(l.get(S.nmiBlocked).eqz()));
    const wakes = l.let(
      events
        .and(EVENT.interrupt)
        .nez()
        .and(enabled.or(l.get(S.mwaitWakes)))
        .or(nmi),
    );
    const activity = l.get(S.activity);
    l.if(activity, () => {
      l.if(activity.eq(3), () => l.return(EXIT_REASON.shutdown));
      l.if(activity.ne(1).or(wakes.eqz()), () => l.return(EXIT_REASON.halted));
      l.set(S.activity, 0);
      l.set(S.mwaitWakes, 0);
    });
    l.if(shadow, () => {
      // The shadow covers exactly one instruction: it is run alone, and looked at again behind it.
      l.set(S.interruptShadow, 0);
      l.set(S.runOne, 1);
      l.return(EXIT_REASON.none);
    });
    l.if(nmi, () => {
      l.atomic('i32.atomic.rmw.and', l.cpu, S.events.offset, l.i32(~EVENT.nmi));
      l.run(deliverNmi);
      l.return(EXIT_REASON.none);
    });
    l.if(events.and(EVENT.interrupt).nez().and(enabled), () => {
      const vector = l.call(takeInterrupt);
      l.if(vector.ges(0), () => l.run(deliverInterrupt, vector));
    });
    l.return(EXIT_REASON.none);
  },
});
