// Exact counting, for deterministic machines: `S.instructionCount` is a clock that depends on the guest alone, not on
// how its code was cut into blocks and regions. It is brought up to date only between blocks, so an instruction that
// can see or change the time (ports, device memory, the time-stamp counter, the local APIC) runs as the only one of its
// block: met in the middle of one, it is abandoned like a fault, before it changed anything, and run again alone.
//
// What counts one: an instruction that retires, a round of a repeated string instruction that goes on (string.ts), and
// a fault that is delivered, so that time moves on whatever the guest does.

import { type FunctionRef, fn } from '../lift/function.ts';
import { FAULT_PENDING, FAULT_RUN_ALONE, type Lift } from '../lift/lift.ts';
import { S } from '../state/layout.ts';

const requireAlone: FunctionRef = fn('requireAlone', {
  params: {},
  faults: true,
  build(l) {
    // An event is delivered between two blocks, where the count is right.
    l.if(l.get(S.delivering).or(l.get(S.instructionCount).eq(l.get(S.aloneAt))), () => l.return());
    l.set(S.fault, FAULT_PENDING | FAULT_RUN_ALONE);
    l.exit('fault');
  },
});

/** Comes before whatever sees or changes the time; like an access that can fault, before any state changes. */
export function seesTime(l: Lift): void {
  l.unlikely(l.get(S.exact), () => l.run(requireAlone));
}

/** One more for what is not an instruction that retires. */
export function countExactly(l: Lift): void {
  l.set(S.instructionCount, l.get(S.instructionCount).add(l.get(S.exact).u64()));
}
