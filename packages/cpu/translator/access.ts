// Guest memory accesses of translated code: a look at the TLB inline, all else out of line. What translated code had better
// not do (write to pages with code, read-modify-write across pages or on the bus) is left to the interpreter.
//
// Both ways end with a host address: out of line, what cannot be reached there is read into S.aside, or has been written and
// is written to S.aside once more. So there is one load or store, and a fault is an address of 0.

import { LOADS, STORES, TYPES } from '../interpreter/access.ts';
import { lockedUpdate } from '../interpreter/locked.ts';
import type { FunctionRef } from '../lift/function.ts';
import type { Local } from '../lift/ir.ts';
import {
  type AccessBytes,
  type AccessOptions,
  type AccessStrategy,
  type Lift,
  newLocal,
} from '../lift/lift.ts';
import { constant, Value } from '../lift/value.ts';
import { tlbEntry } from '../microcode/tlb.ts';
import { S, TLB_ENTRY } from '../state/layout.ts';
import { PAGE_BYTES } from '../state/memory-map.ts';
import { accessKind, probeTranslated, readTranslated, writeTranslated } from './memory.ts';

/** A call whose 0 the caller looks at. */
function callOf(callee: FunctionRef, linear: Value, ...rest: (Value | number)[]): Value {
  const args = [linear, ...rest].map(
    (arg) => (arg instanceof Value ? arg : constant('i32', arg)).node,
  );
  return new Value({ kind: 'call', type: 'i32', callee, args });
}

export interface TranslatedAccess extends AccessStrategy {
  readonly tlb: Local;
  readonly isShared: boolean;
}

/** Accesses that find the TLB in force in a local, which is set where a region is entered. Shared: several processors have
 *  to agree about memory. */
export function translatedAccess(tlbLocal: Local, isShared = false): TranslatedAccess {
  const tlbInForce = new Value({ kind: 'local', type: 'i32', local: tlbLocal });
  /** Host address of an access; `slow` finds it where the TLB does not. */
  const hostOf = (
    l: Lift,
    bytes: AccessBytes,
    linear: Value,
    o: { tag: number; options?: AccessOptions; slow: Value },
  ): Value => {
    const tlb = o.options?.system ? l.get(S.tlbSystem) : tlbInForce;
    // passes/looks.ts knows these statements again.
    const entry = l.let(tlbEntry(l, tlb, linear));
    const near = l.let(linear.i32().add(l.loadRaw('i32.load', entry, TLB_ENTRY.addend)));
    const host = newLocal('i32');
    l.assign(host, near);
    const offset = l.let(linear.sub(l.loadRaw('i64.load', entry, o.tag)));
    const result = new Value({ kind: 'local', type: 'i32', local: host });
    // One comparison covers both the page and an access that would leave it.
    l.unlikely(offset.gtu(PAGE_BYTES - bytes), () => {
      l.assign(host, o.slow);
      l.unlikely(result.eqz(), () => l.exit('fault'));
    });
    return l.let(result);
  };
  const hostToUpdate = (l: Lift, bytes: AccessBytes, linear: Value): Value =>
    hostOf(l, bytes, linear, {
      tag: TLB_ENTRY.writeTag,
      slow: callOf(probeTranslated, linear, accessKind(bytes)),
    });
  return {
    tlb: tlbLocal,
    isShared,
    load(l, bytes, linear, options) {
      const address = l.let(linear);
      const kind = accessKind(bytes, options);
      const slow = callOf(readTranslated, address, kind);
      const host = hostOf(l, bytes, address, { tag: TLB_ENTRY.readTag, options, slow });
      return l.loadRaw(LOADS[bytes], host);
    },
    store(l, bytes, linear, given, options) {
      const address = l.let(linear);
      const value = l.let(given);
      const kind = accessKind(bytes, options);
      const slow =
        bytes === 16
          ? callOf(probeTranslated, address, kind)
          : callOf(writeTranslated, address, value.u64(), kind);
      const host = hostOf(l, bytes, address, { tag: TLB_ENTRY.writeTag, options, slow });
      l.storeRaw(STORES[bytes], host, 0, value);
    },
    update(l, bytes, linear, locked) {
      const address = l.let(linear);
      if (isShared && locked) {
        // What runs alone is interpreted, so these are never reached.
        const host = (at: Value) => hostToUpdate(l, bytes, at);
        const alone = {
          load: (at: Value) => l.loadRaw(LOADS[bytes], host(at)),
          store: (at: Value, value: Value) => l.storeRaw(STORES[bytes], host(at), 0, value),
        };
        return lockedUpdate(l, bytes, address, { load: LOADS[bytes], type: TYPES[bytes], alone });
      }
      const host = hostToUpdate(l, bytes, address);
      return {
        value: l.loadRaw(LOADS[bytes], host),
        write: (value) => l.storeRaw(STORES[bytes], host, 0, value),
      };
    },
  };
}
