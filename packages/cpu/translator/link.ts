// From one region to the next: the jump cache says where translated code is entered for an address, in the mode and
// address space now in force.

import type { Lift } from '../lift/lift.ts';
import type { Value } from '../lift/value.ts';
import { jumpCacheEntry } from '../microcode/jump-cache.ts';
import { JUMP_CACHE_ENTRY, JUMP_CACHE_OFFSET, S } from '../state/layout.ts';

/** Looks `rip` up and, if the jump cache knows it, does `found` with the entry point. */
export function linkStatements(l: Lift, rip: Value, found: (entryPoint: Value) => void): void {
  const entry = jumpCacheEntry(l, rip);
  const at = (field: number) => JUMP_CACHE_OFFSET + field;
  const ripDiffers = l.loadRaw('i64.load', entry, at(JUMP_CACHE_ENTRY.rip)).xor(rip);
  const context = l.loadRaw('i32.load', entry, at(JUMP_CACHE_ENTRY.context));
  l.if(
    ripDiffers.or(context.xor(l.get(S.context)).u64()).eqz(),
    () => found(l.loadRaw('i32.load', entry, at(JUMP_CACHE_ENTRY.entryPoint))),
    undefined,
    true,
  );
}
