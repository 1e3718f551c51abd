// From one region to the next: the jump cache says which slot of the table runs the code at an address, in the mode and
// address space now in force.

import type { Lift } from '../lift/lift.ts';
import type { Value } from '../lift/value.ts';
import { jumpCacheEntry, jumpCacheKey } from '../microcode/jump-cache.ts';
import { JUMP_CACHE_ENTRY, JUMP_CACHE_OFFSET, S } from '../state/layout.ts';

/** Looks `rip` up and, if the jump cache knows it, does `found` with the slot. */
export function linkStatements(l: Lift, rip: Value, found: (slot: Value) => void): void {
  const entry = jumpCacheEntry(l, rip);
  const key = l.loadRaw('i64.load', entry, JUMP_CACHE_OFFSET + JUMP_CACHE_ENTRY.key);
  l.if(
    key.eq(jumpCacheKey(l, rip)),
    () => found(l.loadRaw('i32.load', entry, JUMP_CACHE_OFFSET + JUMP_CACHE_ENTRY.slot)),
    // A second use of the key: with one alone V8 compares with memory and loads it besides.
    () => l.set(S.result, key),
    true,
  );
}
