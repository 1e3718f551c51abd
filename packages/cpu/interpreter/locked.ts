// LOCK on a machine of several processors: read, compute, compare-and-exchange; a lost race runs the instruction again
// (exit 'retry'), which is why memory is written before anything else. SDM vol 3A §8.1.2.
//
// What no WebAssembly atomic can do (misaligned operands, device memory, accesses that breakpoints or alignment checks
// look at) runs while all other vCPUs wait between two blocks. CMPXCHG16B exchanges its halves one after the other
// under a lock; see docs/design/smp.md for what others can see of that.

import { type FunctionRef, fn, imported } from '../lift/function.ts';
import {
  type AccessBytes,
  FAULT_PENDING,
  FAULT_RUN_ALONE,
  type Lift,
  type UpdateAccess,
} from '../lift/lift.ts';
import type { Value } from '../lift/value.ts';
import { translate } from '../microcode/memory.ts';
import { PF } from '../microcode/page-walk.ts';
import { SPINS, yieldHost } from '../microcode/pause.ts';
import { writeRam } from '../microcode/physical-memory.ts';
import { SHARED } from '../smp/shared-words.ts';
import {
  EVENT,
  S,
  TLB_BYTES,
  TLB_ENTRIES,
  TLB_ENTRY,
  TLB_MODE,
  TLB_OFFSET,
} from '../state/layout.ts';

/** Between two blocks: waits while another vCPU has stopped this one; begins or ends running alone. */
export const synchronise: FunctionRef = imported('synchronise', {});

const COMPARE_EXCHANGE: Readonly<Record<1 | 2 | 4 | 8, string>> = {
  1: 'i32.atomic.rmw8.cmpxchg_u',
  2: 'i32.atomic.rmw16.cmpxchg_u',
  4: 'i32.atomic.rmw.cmpxchg',
  8: 'i64.atomic.rmw.cmpxchg',
};

/**
 * Host address for an atomic access with write intent, or 0 for an instruction that runs alone already; abandons one
 * that has to and does not yet. Faults like a write.
 */
const lockedHost: FunctionRef = fn('lockedHost', {
  params: { linear: 'i64', bytes: 'i32' },
  result: 'i32',
  faults: true,
  build(l, { linear, bytes }) {
    l.if(l.get(S.stopsOthers), () => l.return(0));
    const tlb = l.get(S.tlb);
    const isAligned = l.let(linear.i32().and(bytes.sub(1)).eqz());
    const shift = 12 - Math.log2(TLB_ENTRY.size);
    const index = linear
      .i32()
      .shru(shift)
      .and((TLB_ENTRIES - 1) * TLB_ENTRY.size);
    const entry = l.let(index.add(tlb));
    const tag = l.loadRaw('i64.load', entry, TLB_ENTRY.writeTag);
    const isKnown = linear.and(~0xfffn).eq(tag);
    l.if(isAligned.and(isKnown), () =>
      l.return(linear.i32().add(l.loadRaw('i32.load', entry, TLB_ENTRY.addend))),
    );
    const isChecked = tlb.eq(l.cpu.add(TLB_OFFSET + TLB_MODE.checked * TLB_BYTES));
    l.if(isAligned.and(isChecked.eqz()), () => {
      const isUser = l.get(S.cpl).eq(3);
      const access = l.let(l.select(isUser, l.i32(PF.user | PF.write), l.i32(PF.write)));
      const host = l.call(translate, linear, access, tlb);
      l.if(host, () => l.return(host));
    });
    l.atomic('i32.atomic.rmw.or', l.cpu, S.events.offset, l.i32(EVENT.alone));
    l.set(S.fault, FAULT_PENDING | FAULT_RUN_ALONE);
    l.exit('fault');
  },
});

/** Exchanges both halves if they are what was read: 1, or 0 and nothing has changed. */
const compareExchange16: FunctionRef = fn('compareExchange16', {
  params: { host: 'i32', low: 'i64', high: 'i64', newLow: 'i64', newHigh: 'i64' },
  result: 'i32',
  build(l, { host, low, high, newLow, newHigh }) {
    const exchange = COMPARE_EXCHANGE[8];
    const lock = l.let(l.i32(SHARED.lock16 * 4));
    const tries = l.var('i32', 0);
    l.while(
      () => l.atomic(COMPARE_EXCHANGE[4], lock, 0, l.i32(0), l.i32(1)),
      () => {
        tries.set(tries.get().add(1));
        l.if(
          tries
            .get()
            .and(SPINS - 1)
            .eqz(),
          () => l.run(yieldHost),
        );
      },
    );
    const isLow = l.let(l.atomic(exchange, host, 0, low, newLow).eq(low));
    const isBoth = l.var('i32', 0);
    l.if(isLow, () => {
      isBoth.set(l.atomic(exchange, host, 8, high, newHigh).eq(high));
      // Somebody wrote the upper half in between: as if nothing had been done.
      l.if(isBoth.get().eqz(), () => l.atomic(exchange, host, 0, newLow, low));
    });
    l.atomic('i32.atomic.rmw.xchg', lock, 0, l.i32(0));
    l.return(isBoth.get());
  },
});

/**
 * A locked read-modify-write access. `alone` is how one is made while the others wait: `load` proves that the `store`
 * cannot fault.
 */
export function lockedUpdate(
  l: Lift,
  bytes: AccessBytes,
  linear: Value,
  {
    load,
    type,
    alone,
  }: {
    load: string;
    type: Value['type'];
    alone: { load(address: Value): Value; store(address: Value, value: Value): void };
  },
): UpdateAccess {
  const address = l.let(linear);
  const host = l.call(lockedHost, address, bytes);
  const value = l.choose(
    host,
    type,
    () => l.loadRaw(load, host),
    () => alone.load(address),
  );
  const exchange = (v: Value): Value => {
    if (bytes !== 16) return l.atomic(COMPARE_EXCHANGE[bytes], host, 0, value, v).eq(value);
    const half = (of: Value, lane: number) => l.lanes('i64x2.extract_lane', [lane], of);
    return l.call(compareExchange16, host, half(value, 0), half(value, 1), half(v, 0), half(v, 1));
  };
  return {
    value,
    write: (v) =>
      l.if(
        host,
        () => {
          const replacement = l.let(v);
          const isDone = writeRam(l, host, bytes, () => l.let(exchange(replacement)));
          l.unlikely(isDone.eqz(), () => l.exit('retry'));
        },
        () => alone.store(address, v),
      ),
  };
}
