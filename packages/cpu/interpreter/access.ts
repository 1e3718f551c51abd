// Guest memory accesses of the interpreter and of all microcode: a direct-mapped TLB probe, and a call when it misses.
// `calls` makes each access a call of a small function; `inlined` puts the probe into the caller, for hot handlers.

import { type FunctionRef, fn } from '../lift/function.ts';
import type { AccessBytes, AccessOptions, AccessStrategy, Lift } from '../lift/lift.ts';
import type { Value } from '../lift/value.ts';
import { loadSlow, probeWrite, storeSlow } from '../microcode/memory.ts';
import { S, TLB_ENTRIES, TLB_ENTRY } from '../state/layout.ts';
import { lockedUpdate } from './locked.ts';
import { barrier, LOADS, loadHost, storeHost, TYPES } from './ordered.ts';

export { LOADS, STORES, TYPES } from './ordered.ts';

/** #SS. */
const STACK_FAULT = 12;

/** Probes the TLB: whether it hits for all bytes of the access, and the host address if so. */
export function probe(
  l: Lift,
  bytes: number,
  linear: Value,
  tlb: Value,
  tag: number,
): { miss: Value; tag: Value; host: () => Value } {
  const shift = 12 - Math.log2(TLB_ENTRY.size);
  const entry = l.let(
    linear
      .i32()
      .shru(shift)
      .and((TLB_ENTRIES - 1) * TLB_ENTRY.size)
      .add(tlb),
  );
  // One comparison covers both the page and an access that would leave it.
  const found = l.loadRaw('i64.load', entry, tag);
  return {
    miss: linear.sub(found).gtu(4096 - bytes),
    tag: found,
    host: () => l.let(linear.i32().add(l.loadRaw('i32.load', entry, TLB_ENTRY.addend))),
  };
}

function slowLoad(l: Lift, bytes: AccessBytes, linear: Value, tlb: Value): Value {
  if (bytes === 16) {
    const low = l.call(loadSlow, linear, 8, tlb);
    const high = l.call(loadSlow, linear.add(8n), 8, tlb);
    if (l.isOrdered) barrier(l);
    return l.lanes('i64x2.replace_lane', [1], l.op('i64x2.splat', low), high);
  }
  const value = l.call(loadSlow, linear, bytes, tlb);
  if (l.isOrdered) barrier(l);
  return bytes === 8 ? value : value.i32();
}

function slowStore(l: Lift, bytes: AccessBytes, linear: Value, value: Value, tlb: Value): void {
  if (l.isOrdered) barrier(l);
  if (bytes === 16) {
    // Both halves must be writable before either is written.
    l.call(probeWrite, linear, 16, tlb);
    l.run(storeSlow, linear, l.lanes('i64x2.extract_lane', [0], value), 8, tlb);
    l.run(storeSlow, linear.add(8n), l.lanes('i64x2.extract_lane', [1], value), 8, tlb);
    return;
  }
  l.run(storeSlow, linear, value.u64(), bytes, tlb);
}

/** #SS(0) for a stack access whose address is not canonical; no such address is in the TLB. */
function checkStack(l: Lift, linear: Value, options: AccessOptions): void {
  if (options.stack) l.raiseIf(linear.shl(16).shrs(16).ne(linear), STACK_FAULT, 0);
}

function inlineLoad(
  l: Lift,
  bytes: AccessBytes,
  linear: Value,
  tlb: Value,
  options: AccessOptions = {},
): Value {
  const address = l.let(linear);
  const p = probe(l, bytes, address, tlb, TLB_ENTRY.readTag);
  const result = l.var(TYPES[bytes], bytes === 16 ? l.op('i64x2.splat', 0n) : 0);
  l.unlikely(
    p.miss,
    () => {
      checkStack(l, address, options);
      result.set(slowLoad(l, bytes, address, tlb));
    },
    () => result.set(loadHost(l, bytes, p.host())),
  );
  return result.get();
}

function inlineStore(
  l: Lift,
  bytes: AccessBytes,
  linear: Value,
  value: Value,
  tlb: Value,
  options: AccessOptions = {},
): void {
  const address = l.let(linear);
  const p = probe(l, bytes, address, tlb, TLB_ENTRY.writeTag);
  l.unlikely(
    p.miss,
    () => {
      checkStack(l, address, options);
      slowStore(l, bytes, address, value, tlb);
    },
    () => storeHost(l, bytes, p.host(), value),
  );
}

/** Host address for a write that will follow, or 0 when the write must take the slow path. Faults like the write. */
function inlineProbe(l: Lift, bytes: AccessBytes, linear: Value): Value {
  const tlb = l.get(S.tlb);
  const p = probe(l, bytes, linear, tlb, TLB_ENTRY.writeTag);
  const host = l.var('i32', 0);
  l.unlikely(
    p.miss,
    () => host.set(l.call(probeWrite, linear, bytes, tlb)),
    () => host.set(p.host()),
  );
  return host.get();
}

const SIZES = [1, 2, 4, 8, 16] as const;
const bySize = (make: (bytes: AccessBytes) => FunctionRef) =>
  Object.fromEntries(SIZES.map((bytes) => [bytes, make(bytes)])) as Record<
    AccessBytes,
    FunctionRef
  >;

const loads = bySize((bytes) =>
  fn(`load${bytes * 8}`, {
    params: { linear: 'i64', tlb: 'i32' },
    result: TYPES[bytes],
    faults: true,
    build: (l, { linear, tlb }) => l.return(inlineLoad(l, bytes, linear, tlb)),
  }),
);
const stores = bySize((bytes) =>
  fn(`store${bytes * 8}`, {
    params: { linear: 'i64', value: TYPES[bytes], tlb: 'i32' },
    faults: true,
    build: (l, { linear, value, tlb }) => inlineStore(l, bytes, linear, value, tlb),
  }),
);
const probes = bySize((bytes) =>
  fn(`probe${bytes * 8}`, {
    params: { linear: 'i64' },
    result: 'i32',
    faults: true,
    build: (l, { linear }) => l.return(inlineProbe(l, bytes, linear)),
  }),
);

function strategy(isInline: boolean, isShared: boolean, isOrdered = false): AccessStrategy {
  const access: AccessStrategy = {
    isShared,
    isOrdered,
    load(l, bytes, linear, options) {
      const tlb = l.get(options.system ? S.tlbSystem : S.tlb);
      if (isInline) return inlineLoad(l, bytes, linear, tlb, options);
      checkStack(l, linear, options);
      return l.call(loads[bytes], linear, tlb);
    },
    store(l, bytes, linear, value, options) {
      const tlb = l.get(options.system ? S.tlbSystem : S.tlb);
      if (isInline) {
        inlineStore(l, bytes, linear, value, tlb, options);
        return;
      }
      checkStack(l, linear, options);
      l.run(stores[bytes], linear, value, tlb);
    },
    update(l, bytes, linear, locked) {
      const address = l.let(linear);
      if (isShared && locked) {
        const alone = {
          load: (at: Value) => {
            l.call(probes[bytes], at);
            return l.call(loads[bytes], at, l.get(S.tlb));
          },
          store: (at: Value, value: Value) => l.run(stores[bytes], at, value, l.get(S.tlb)),
        };
        return lockedUpdate(l, bytes, address, { load: LOADS[bytes], type: TYPES[bytes], alone });
      }
      const host = isInline ? inlineProbe(l, bytes, address) : l.call(probes[bytes], address);
      const tlb = l.get(S.tlb);
      const value = l.choose(
        host.nez(),
        TYPES[bytes],
        () => loadHost(l, bytes, host),
        () => slowLoad(l, bytes, address, tlb),
      );
      return {
        value,
        write: (v) =>
          l.if(
            host.nez(),
            () => storeHost(l, bytes, host, v),
            () => slowStore(l, bytes, address, v, tlb),
          ),
      };
    },
  };
  return access;
}

export interface Strategies {
  readonly calls: AccessStrategy;
  readonly inlined: AccessStrategy;
}

export const calls: AccessStrategy = strategy(false, false);
export const inlined: AccessStrategy = strategy(true, false);

/** For a machine of one processor; for one of several, and such a one on a host with a weaker memory order than x86. */
export const STRATEGIES: Readonly<Record<'one' | 'several' | 'ordered', Strategies>> = {
  one: { calls, inlined },
  several: { calls: strategy(false, true), inlined: strategy(true, true) },
  ordered: { calls: strategy(false, true, true), inlined: strategy(true, true, true) },
};
