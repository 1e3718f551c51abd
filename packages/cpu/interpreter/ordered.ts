// Loads and stores of guest memory at their host address. x86 keeps loads in order, stores in order, and no store before
// an earlier load (SDM vol 3A §8.2.2); so do x86 hosts. For a host that does not, an `isOrdered` strategy makes each
// aligned access atomic, which is more than enough, and puts a barrier beside each other one.

import type { AccessBytes, Lift } from '../lift/lift.ts';
import type { Value } from '../lift/value.ts';
import { S } from '../state/layout.ts';

export const LOADS: Readonly<Record<AccessBytes, string>> = {
  1: 'i32.load8_u',
  2: 'i32.load16_u',
  4: 'i32.load',
  8: 'i64.load',
  16: 'v128.load',
};
export const STORES: Readonly<Record<AccessBytes, string>> = {
  1: 'i32.store8',
  2: 'i32.store16',
  4: 'i32.store',
  8: 'i64.store',
  16: 'v128.store',
};
export const TYPES = { 1: 'i32', 2: 'i32', 4: 'i32', 8: 'i64', 16: 'v128' } as const;

const ATOMIC_LOADS = {
  1: 'i32.atomic.load8_u',
  2: 'i32.atomic.load16_u',
  4: 'i32.atomic.load',
  8: 'i64.atomic.load',
} as const;
const ATOMIC_STORES = {
  1: 'i32.atomic.store8',
  2: 'i32.atomic.store16',
  4: 'i32.atomic.store',
  8: 'i64.atomic.store',
} as const;

/** A barrier between all accesses before and behind it: an atomic no-change. */
export function barrier(l: Lift): void {
  l.atomic('i32.atomic.rmw.add', l.cpu, S.sseFlags.offset, l.i32(0));
}

const isAligned = (host: Value, bytes: number) => host.and(bytes - 1).eqz();

export function loadHost(l: Lift, bytes: AccessBytes, host: Value): Value {
  if (!l.isOrdered) return l.loadRaw(LOADS[bytes], host);
  const plain = () => {
    const value = l.let(l.loadRaw(LOADS[bytes], host));
    barrier(l);
    return value;
  };
  if (bytes === 16) return plain();
  const atomic = () => l.loadRaw(ATOMIC_LOADS[bytes], host);
  return l.choose(isAligned(host, bytes), TYPES[bytes], atomic, plain);
}

export function storeHost(l: Lift, bytes: AccessBytes, host: Value, value: Value): void {
  const plain = () => l.storeRaw(STORES[bytes], host, 0, value);
  if (!l.isOrdered) {
    plain();
    return;
  }
  const behindBarrier = () => {
    barrier(l);
    plain();
  };
  if (bytes === 16) behindBarrier();
  else
    l.if(
      isAligned(host, bytes),
      () => l.storeRaw(ATOMIC_STORES[bytes], host, 0, value),
      behindBarrier,
    );
}
