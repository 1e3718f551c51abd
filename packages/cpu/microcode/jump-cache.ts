// The jump cache: where translated code goes on for an address, without asking the block store. An entry counts only
// under the context that it was filled in, so one addition empties the cache.

import { type FunctionRef, fn } from '../lift/function.ts';
import type { Lift } from '../lift/lift.ts';
import type { Value } from '../lift/value.ts';
import {
  JUMP_CACHE_BYTES,
  JUMP_CACHE_ENTRIES,
  JUMP_CACHE_ENTRY,
  JUMP_CACHE_OFFSET,
  S,
  SEGMENT,
} from '../state/layout.ts';

/** Bit of `S.mode`: blocks of one instruction (mode.ts has it, too, and needs this file). */
const MODE_SINGLE_STEP = 4;
const GENERATION_LAST = 0x7ff_ffff;

/** Address of the entry for rip, less JUMP_CACHE_OFFSET. */
export function jumpCacheEntry(l: Lift, rip: Value): Value {
  const low = l.let(rip.i32());
  const mixed = low
    .shru(12)
    .xor(low)
    .and(JUMP_CACHE_ENTRIES - 1);
  return l.let(l.cpu.add(mixed.shl(Math.log2(JUMP_CACHE_ENTRY.size))));
}

/** Computes S.context anew: after a change of mode, privilege, CS or generation. */
export const updateContext: FunctionRef = fn('updateContext', {
  params: {},
  build(l) {
    const mode = l.get(S.mode);
    const is64 = l.get(S.codeBits).eq(64);
    // Elsewhere the cache knows offsets in CS, not linear addresses, and nothing of CS's limit.
    const isFlat = l.get(S.segBase, SEGMENT.cs).eqz().and(l.get(S.segLimit, SEGMENT.cs).eq(-1));
    const counts = l.let(is64.or(isFlat).and(mode.and(MODE_SINGLE_STEP).eqz()));
    const user = l.get(S.cpl).eq(3).shl(3);
    const context = l.get(S.generation).shl(4).or(user).or(mode.and(3));
    l.set(S.context, l.select(counts, context, -1));
  },
});

/** Empties the jump cache. */
export const forgetJumps: FunctionRef = fn('forgetJumps', {
  params: {},
  build(l) {
    const next = l.let(l.get(S.generation).add(1));
    l.set(S.generation, next);
    l.unlikely(next.gtu(GENERATION_LAST), () => {
      l.set(S.generation, 1);
      const cache = l.cpu.add(JUMP_CACHE_OFFSET);
      l.effect('memory.fill', cache, l.i32(0), l.i32(JUMP_CACHE_BYTES));
    });
    l.run(updateContext);
  },
});

/** Remembers that rip leads to an entry point (ENTRY_POINT). */
export const rememberJump: FunctionRef = fn('rememberJump', {
  params: { rip: 'i64', entryPoint: 'i32' },
  build(l, { rip, entryPoint }) {
    const context = l.get(S.context);
    l.if(context.ne(-1), () => {
      l.set(S.jumpFills, l.get(S.jumpFills).add(1n));
      const entry = jumpCacheEntry(l, rip);
      l.storeRaw('i64.store', entry, JUMP_CACHE_OFFSET + JUMP_CACHE_ENTRY.rip, rip);
      l.storeRaw('i32.store', entry, JUMP_CACHE_OFFSET + JUMP_CACHE_ENTRY.context, context);
      l.storeRaw('i32.store', entry, JUMP_CACHE_OFFSET + JUMP_CACHE_ENTRY.entryPoint, entryPoint);
    });
  },
});
