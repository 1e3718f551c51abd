// Decoded blocks by physical address and mode: the look-up, which every taken branch goes through. Filling and
// invalidating are the decoder's (decode/block-store.ts).

import { type FunctionRef, fn, imported } from '../lift/function.ts';
import type { Lift } from '../lift/lift.ts';
import type { Value } from '../lift/value.ts';
import { checkInstructionBreakpoint } from '../microcode/debug-register.ts';
import { rememberJump } from '../microcode/jump-cache.ts';
import { translateFetch } from '../microcode/memory.ts';
import { isNonCanonical } from '../microcode/stack.ts';
import { DECODING_MODE, MODE_SINGLE_STEP } from '../state/decoding-mode.ts';
import { S, SEGMENT } from '../state/layout.ts';
import {
  BLOCK_HASH_ENTRIES,
  BLOCK_HASH_ENTRY_BYTES,
  BLOCK_HASH_OFFSET,
  PAGE_BYTES,
} from '../state/memory-map.ts';
import { PSEUDO_HANDLERS, R, RECORD_BYTES } from './record.ts';

/** Decodes a block and gives its first record, or 0 with a fault recorded. */
export const decodeBlock: FunctionRef = imported('decodeBlock', { gpa: 'i32', mode: 'i32' }, 'i32');

/**
 * A block was entered often (again), or often enough to ask whether a translation is kept (`isEarly`): the translator is
 * told, and may replace it in the hash some time later.
 */
export const blockIsHot: FunctionRef = imported('blockIsHot', {
  gpa: 'i32',
  mode: 'i32',
  isEarly: 'i32',
});

/** A region has gone to a link (translator/links.ts) that has not been resolved, or leads to another region by now. */
export const resolveLink: FunctionRef = imported('resolveLink', {
  memory: 'i32',
  link: 'i32',
  entryPoint: 'i32',
});

/** Places of the table that a block may be in: a cache line of the host. */
const WAYS = 4;
export const BLOCK_SET_BYTES: number = WAYS * BLOCK_HASH_ENTRY_BYTES;
const SETS = BLOCK_HASH_ENTRIES / WAYS;

/** Offset in the table of the places that a block may be in. */
export function blockSet(gpa: number, mode: number): number {
  return (((gpa >>> 2) ^ (gpa >>> 15) ^ (mode << 5)) & (SETS - 1)) * BLOCK_SET_BYTES;
}

/** Behind this the count of a block's entries begins anew: a negative one is the mark of translated code. */
const ENTRIES_MAX = 0x7fff_ffff;
/** A block that is entered so many times more is asked for once more: requests may be dropped, or counts be lost. */
const ASK_AGAIN = 0x1_0000;

/** Jumps with a target that is known reach no further. */
const REACH = 0x8000_1000n;
/** Translated code does not ask whether a jump that it knows leads to a canonical address: near to others there is none. */
function isNearHole(linear: Value): Value {
  return isNonCanonical(linear.add(REACH)).or(isNonCanonical(linear.sub(REACH)));
}
/** No less than the bytes of the longest block, and those that translated code may be made from. */
const NEAR_LIMIT_BYTES = PAGE_BYTES;
/** Where that is when segments are flat. */
const LAST_LEGACY_PAGE = 0x1_0000_0000n - BigInt(NEAR_LIMIT_BYTES);

/** Raises #GP(0) when a block's one instruction does not end within the `left` bytes up to CS's limit. */
const checkLength: FunctionRef = fn('checkLength', {
  params: { record: 'i32', left: 'i64' },
  faults: true,
  build(l, { record, left }) {
    const isProof = l.loadRaw('i32.load16_u', record, R.handler).eq(PSEUDO_HANDLERS.verifyNextPage);
    const instruction = l.select(isProof, record.add(RECORD_BYTES), record);
    l.raiseIf(l.loadRaw('i64.load8_u', instruction, R.length).gtu(left), 13, 0);
  },
});

/** Address of the places that a block may be in, less BLOCK_HASH_OFFSET: as `blockSet` says. */
function placeOf(l: Lift, gpa: Value, mode: Value): Value {
  const hash = gpa.shru(2).xor(gpa.shru(15)).xor(mode.shl(5));
  return l.let(
    hash
      .and(SETS - 1)
      .mul(BLOCK_SET_BYTES)
      .add(l.cpu),
  );
}

/** Offsets of an entry from `placeOf`. */
const AT = {
  key: BLOCK_HASH_OFFSET,
  first: BLOCK_HASH_OFFSET + 8,
  count: BLOCK_HASH_OFFSET + 12,
} as const;

/** Whether the translator is asked for a block that was entered so often, and whether for a kept translation. */
function isAskedFor(l: Lift, entries: Value): { asks: Value; isWarm: Value } {
  const isWarm = l.let(entries.eq(l.get(S.warmThreshold)));
  const isHot = entries.and(ASK_AGAIN - 1).eq(l.get(S.hotThreshold));
  return { asks: isHot.or(isWarm), isWarm };
}

/**
 * The short way of findBlock, to be tried first: gives the block, or 0 when there is more to do than to count it.
 * For code of the page that ran last, in 64-bit or flat mode, if the block is the newest of its set and not translated.
 */
export function recentBlock(l: Lift): Value {
  const record = l.var('i32', 0);
  const rip = l.get(S.rip);
  const page = l.let(rip.and(~0xfffn));
  const mode = l.get(S.mode);
  // Both modes have bit 1, which the others lack.
  const isOther = mode.or(1).xor(DECODING_MODE.flat32);
  const isOdd = isOther.or(l.get(S.runOne)).or(l.get(S.codePageAlone));
  l.if(page.xor(l.get(S.codePageLinear)).or(isOdd.u64()).eqz(), () => {
    const gpa = l.let(l.get(S.codePagePhysical).or(rip.and(0xfffn)).i32());
    const entry = placeOf(l, gpa, mode);
    const key = gpa.u64().or(mode.u64().shl(32));
    l.if(l.loadRaw('i64.load', entry, AT.key).eq(key), () => {
      const entries = l.let(l.loadRaw('i32.load', entry, AT.count).add(1));
      // Translated blocks, and counts that begin anew, are negative.
      l.if(isAskedFor(l, entries).asks.or(entries.lts(0)).eqz(), () => {
        l.storeRaw('i32.store', entry, AT.count, entries);
        l.set(S.ripBase, page);
        record.set(l.loadRaw('i32.load', entry, AT.first));
      });
    });
  });
  return record.get();
}

/** The first record of the block at S.rip, or 0 with a fault recorded. Sets S.ripBase and the cached code page. */
export const findBlock: FunctionRef = fn('findBlock', {
  params: {},
  result: 'i32',
  faults: true,
  build(l) {
    const rip = l.get(S.rip);
    const base = l.get(S.segBase, SEGMENT.cs);
    const sum = l.let(rip.add(base));
    const linear = l.let(l.select(l.get(S.codeBits).eq(64), rip, sum.and(0xffff_ffffn)));
    const offset = l.let(linear.and(0xfffn));
    const isLegacy = l.let(l.get(S.codeBits).ne(64));
    const limit = l.let(l.get(S.segLimit, SEGMENT.cs).u64());
    l.unlikely(isLegacy.and(rip.gtu(limit)), () => l.raise(13, 0));
    // Near the limit instructions run one by one, so that each can be seen to end within it.
    const left = l.let(limit.sub(rip).add(1n));
    const isNearLimit = l.let(isLegacy.and(left.ltu(BigInt(NEAR_LIMIT_BYTES))));
    l.set(S.ripBase, rip.sub(offset));
    l.unlikely(linear.sub(offset).ne(l.get(S.codePageLinear)), () => {
      const gpa = l.call(translateFetch, linear);
      l.set(S.codePageLinear, linear.sub(offset));
      l.set(S.codePageGlobal, l.get(S.fetchGlobal));
      const page = linear.sub(offset);
      const isLast = isLegacy.and(page.eq(LAST_LEGACY_PAGE));
      l.set(
        S.codePageAlone,
        isNearHole(page)
          .or(isNearHole(page.or(0xfffn)))
          .or(isLast),
      );
      // There is no RAM beyond 4 GiB, and the look-up has 32 bits: the last page stands for all that is there.
      const isBeyond = gpa.gtu(0xffff_ffffn);
      l.set(S.codePagePhysical, l.select(isBeyond, l.i64(0xffff_f000n), gpa.and(~0xfffn)));
    });
    const mode = l.var('i32', l.get(S.mode));
    const noteAlone = () => l.set(S.aloneAt, l.get(S.instructionCount));
    l.unlikely(mode.get().and(MODE_SINGLE_STEP), () => {
      noteAlone();
      l.run(checkInstructionBreakpoint, linear);
    });
    l.unlikely(l.get(S.runOne), () => {
      l.set(S.runOne, 0);
      noteAlone();
      mode.set(mode.get().or(MODE_SINGLE_STEP));
    });
    l.unlikely(isNearLimit, () => {
      noteAlone();
      mode.set(mode.get().or(MODE_SINGLE_STEP));
    });
    l.unlikely(isNearHole(rip).and(isLegacy.eqz()), () =>
      mode.set(mode.get().or(MODE_SINGLE_STEP)),
    );
    const gpa = l.let(l.get(S.codePagePhysical).or(offset).i32());
    const key = mode.get();
    const entry = l.var('i32', placeOf(l, gpa, key));
    l.block((missed) => {
      l.block((found) => {
        const wanted = l.let(gpa.u64().or(key.u64().shl(32)));
        for (let way = 0; way < WAYS; way++) {
          const at = AT.key + way * BLOCK_HASH_ENTRY_BYTES;
          l.if(l.loadRaw('i64.load', entry.get(), at).eq(wanted), () => {
            if (way > 0) entry.set(entry.get().add(way * BLOCK_HASH_ENTRY_BYTES));
            found();
          });
        }
        missed();
      });
      const found = l.loadRaw('i32.load', entry.get(), AT.first);
      const before = l.loadRaw('i32.load', entry.get(), AT.count);
      l.if(
        before.ges(0),
        () => {
          const entries = l.let(before.add(1).and(ENTRIES_MAX));
          l.storeRaw('i32.store', entry.get(), AT.count, entries);
          const { asks, isWarm } = isAskedFor(l, entries);
          l.unlikely(asks, () => l.run(blockIsHot, gpa, key, isWarm));
        },
        () => l.run(rememberJump, rip, l.loadRaw('i32.load', found, R.immediate)),
      );
      l.unlikely(isNearLimit, () => l.run(checkLength, found, left));
      l.return(found);
    });
    const record = l.call(decodeBlock, gpa, key);
    l.unlikely(record.eqz(), () => l.exit('fault'));
    l.unlikely(isNearLimit, () => l.run(checkLength, record, left));
    l.return(record);
  },
});
