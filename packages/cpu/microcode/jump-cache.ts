// The jump cache: where translated code goes on for an address, without asking the block store. An entry counts only
// under the context that it was filled in, so one addition empties the cache. Users and the supervisor have generations of
// their own: the supervisor's jumps outlast a load of CR3, if its code lies in global pages.

import { type FunctionRef, fn } from '../lift/function.ts';
import type { Lift } from '../lift/lift.ts';
import type { Operand, Value } from '../lift/value.ts';
import { MODE_SINGLE_STEP } from '../state/decoding-mode.ts';
import {
  JUMP_CACHE_BYTES,
  JUMP_CACHE_ENTRIES,
  JUMP_CACHE_ENTRY,
  JUMP_CACHE_OFFSET,
  S,
  SEGMENT,
} from '../state/layout.ts';

/** Where the generation begins in a context: behind privilege and mode. */
export const GENERATION_SHIFT = 4;
const GENERATION_LAST = 0x7ff_ffff;
const PAGES_BYTES = S.jumpPages.count * S.jumpPages.stride;

/** Address of the entry for rip, less JUMP_CACHE_OFFSET. */
export function jumpCacheEntry(l: Lift, rip: Value): Value {
  const low = l.let(rip.i32());
  const mixed = low
    .shru(12)
    .xor(low)
    .and(JUMP_CACHE_ENTRIES - 1);
  return l.let(l.cpu.add(mixed.shl(Math.log2(JUMP_CACHE_ENTRY.size))));
}

/** Number of the entry for rip. */
export function jumpCacheIndex(rip: bigint): number {
  const low = Number(BigInt.asUintN(32, rip));
  return ((low >>> 12) ^ low) & (JUMP_CACHE_ENTRIES - 1);
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
    const isUser = l.let(l.get(S.cpl).eq(3));
    const generation = l.select(isUser, l.get(S.userGeneration), l.get(S.supervisorGeneration));
    const context = generation.shl(GENERATION_SHIFT).or(isUser.shl(3)).or(mode.and(3));
    l.set(S.context, l.select(counts, context, -1));
  },
});

/** A new generation for users, and maybe for the supervisor. */
function forget(l: Lift, also: { supervisor: boolean }): void {
  const next = l.let(l.get(S.generation).add(1));
  const set = (generation: Operand) => {
    l.set(S.generation, generation);
    l.set(S.userGeneration, generation);
    if (!also.supervisor) return;
    l.set(S.supervisorGeneration, generation);
    l.set(S.jumpsNotGlobal, 0);
    l.effect('memory.fill', l.cpu.add(S.jumpPages.offset), l.i32(0), l.i32(PAGES_BYTES));
  };
  set(next);
  l.unlikely(next.gtu(GENERATION_LAST), () => {
    set(1);
    // What the supervisor's entries say is dropped with all others.
    if (!also.supervisor) l.set(S.supervisorGeneration, 1);
    const cache = l.cpu.add(JUMP_CACHE_OFFSET);
    l.effect('memory.fill', cache, l.i32(0), l.i32(JUMP_CACHE_BYTES));
  });
  l.run(updateContext);
}

/** Empties the jump cache. */
export const forgetJumps: FunctionRef = fn('forgetJumps', {
  params: {},
  build: (l) => forget(l, { supervisor: true }),
});

/** Empties the jump cache of all that depends on CR3. */
export const forgetJumpsNotGlobal: FunctionRef = fn('forgetJumpsNotGlobal', {
  params: {},
  build(l) {
    l.if(
      l.get(S.jumpsNotGlobal),
      () => l.run(forgetJumps),
      () => forget(l, { supervisor: false }),
    );
  },
});

/** Empties the jump cache if it may know code of the page. */
export const forgetJumpsOfPage: FunctionRef = fn('forgetJumpsOfPage', {
  params: { linear: 'i64' },
  build(l, { linear }) {
    const { byte, bit } = placeOfPage(l, linear);
    l.if(l.loadRaw('i32.load8_u', byte, S.jumpPages.offset).and(bit), () => l.run(forgetJumps));
  },
});

/** Address less S.jumpPages.offset, and bit, of what S.jumpPages says of an address's page. */
function placeOfPage(l: Lift, linear: Value): { byte: Value; bit: Value } {
  const page = l.let(linear.shru(12).i32());
  const byte = l.let(l.cpu.add(page.shru(3).and(PAGES_BYTES - 1)));
  return { byte, bit: l.let(l.i32(1).shl(page.and(7))) };
}

/** Remembers that rip leads to an entry point (ENTRY_POINT). */
export const rememberJump: FunctionRef = fn('rememberJump', {
  params: { rip: 'i64', entryPoint: 'i32' },
  build(l, { rip, entryPoint }) {
    const context = l.get(S.context);
    l.if(context.ne(-1), () => {
      l.set(S.jumpFills, l.get(S.jumpFills).add(1n));
      const { byte, bit } = placeOfPage(l, rip);
      const pages = l.loadRaw('i32.load8_u', byte, S.jumpPages.offset);
      l.storeRaw('i32.store8', byte, S.jumpPages.offset, pages.or(bit));
      const isGlobal = l.get(S.codePageGlobal);
      l.if(l.get(S.cpl).ne(3).and(isGlobal.eqz()), () => l.set(S.jumpsNotGlobal, 1));
      const entry = jumpCacheEntry(l, rip);
      l.storeRaw('i64.store', entry, JUMP_CACHE_OFFSET + JUMP_CACHE_ENTRY.rip, rip);
      l.storeRaw('i32.store', entry, JUMP_CACHE_OFFSET + JUMP_CACHE_ENTRY.context, context);
      l.storeRaw('i32.store', entry, JUMP_CACHE_OFFSET + JUMP_CACHE_ENTRY.entryPoint, entryPoint);
    });
  },
});
