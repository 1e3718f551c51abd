// Guest memory accesses of translated code: the TLB probe inline, all else out of line. What translated code had better
// not do (write to pages with code, read-modify-write across pages or on the bus) is left to the interpreter.

import { LOADS, probe, STORES, TYPES } from '../interpreter/access.ts';
import { lockedUpdate } from '../interpreter/locked.ts';
import type { Local } from '../lift/ir.ts';
import type { AccessBytes, AccessOptions, AccessStrategy, Lift } from '../lift/lift.ts';
import { Value } from '../lift/value.ts';
import { S, TLB_ENTRY } from '../state/layout.ts';
import { loadTranslated, probeTranslated, STACK_ACCESS, storeTranslated } from './memory.ts';

const kind = (bytes: number, { stack }: AccessOptions): number =>
  stack ? bytes | STACK_ACCESS : bytes;

function slowLoad(
  l: Lift,
  bytes: AccessBytes,
  linear: Value,
  { tlb, tag, options }: { tlb: Value; tag: Value; options: AccessOptions },
): Value {
  if (bytes === 16) {
    const low = l.call(loadTranslated, linear, kind(8, options), tlb, tag);
    const high = l.call(loadTranslated, linear.add(8n), kind(8, options), tlb, tag);
    return l.lanes('i64x2.replace_lane', [1], l.op('i64x2.splat', low), high);
  }
  const value = l.call(loadTranslated, linear, kind(bytes, options), tlb, tag);
  return bytes === 8 ? value : value.i32();
}

export interface TranslatedAccess extends AccessStrategy {
  readonly tlb: Local;
  readonly isShared: boolean;
}

/** Accesses that find the TLB in force in a local, which is set where a region is entered. Shared: several processors have
 *  to agree about memory. */
export function translatedAccess(tlbLocal: Local, isShared = false): TranslatedAccess {
  const tlbInForce = new Value({ kind: 'local', type: 'i32', local: tlbLocal });
  const tlbOf = (l: Lift, system: boolean | undefined) =>
    system ? l.get(S.tlbSystem) : tlbInForce;
  const probeWrite = (l: Lift, bytes: number, linear: Value, tlb: Value): Value => {
    const p = probe(l, bytes, linear, tlb, TLB_ENTRY.writeTag);
    return l.choose(
      p.miss.eqz(),
      'i32',
      () => p.host(),
      () => l.call(probeTranslated, linear, bytes, tlb, p.tag),
    );
  };
  const access: TranslatedAccess = {
    tlb: tlbLocal,
    isShared,
    load(l, bytes, linear, options) {
      const address = l.let(linear);
      const tlb = tlbOf(l, options.system);
      const p = probe(l, bytes, address, tlb, TLB_ENTRY.readTag);
      const result = l.var(TYPES[bytes], bytes === 16 ? l.op('i64x2.splat', 0n) : 0);
      l.unlikely(
        p.miss,
        () => result.set(slowLoad(l, bytes, address, { tlb, tag: p.tag, options })),
        () => result.set(l.loadRaw(LOADS[bytes], p.host())),
      );
      return result.get();
    },
    store(l, bytes, linear, value, options) {
      const address = l.let(linear);
      const tlb = tlbOf(l, options.system);
      if (bytes === 16) {
        l.storeRaw(STORES[16], probeWrite(l, 16, address, tlb), 0, value);
        return;
      }
      const p = probe(l, bytes, address, tlb, TLB_ENTRY.writeTag);
      l.unlikely(
        p.miss,
        () => l.call(storeTranslated, address, value.u64(), kind(bytes, options), tlb, p.tag),
        () => l.storeRaw(STORES[bytes], p.host(), 0, value),
      );
    },
    update(l, bytes, linear, locked) {
      const address = l.let(linear);
      if (isShared && locked) {
        // What runs alone is interpreted, so these are never reached.
        const host = (at: Value) => probeWrite(l, bytes, at, tlbInForce);
        const alone = {
          load: (at: Value) => l.loadRaw(LOADS[bytes], host(at)),
          store: (at: Value, value: Value) => l.storeRaw(STORES[bytes], host(at), 0, value),
        };
        return lockedUpdate(l, bytes, address, { load: LOADS[bytes], type: TYPES[bytes], alone });
      }
      const host = probeWrite(l, bytes, address, tlbInForce);
      return {
        value: l.loadRaw(LOADS[bytes], host),
        write: (value) => l.storeRaw(STORES[bytes], host, 0, value),
      };
    },
  };
  return access;
}
