// What the TLBs forget, and when: loads of CR3 all but global pages, INVLPG the pages of one entry, large ones whole, changes
// of paging everything. SDM vol 3A §4.10.4.1. Filling them: memory.ts.

import { type FunctionRef, fn } from '../lift/function.ts';
import type { Lift } from '../lift/lift.ts';
import type { Value } from '../lift/value.ts';
import {
  S,
  TLB_BYTES,
  TLB_EMPTY_DISTANCE,
  TLB_ENTRIES,
  TLB_ENTRY,
  TLB_MODES,
  TLB_OFFSET,
  TLB_PAGE,
} from '../state/layout.ts';
import { forgetJumps, forgetJumpsNotGlobal, forgetJumpsOfPage } from './jump-cache.ts';

const TAGS = [TLB_ENTRY.readTag, TLB_ENTRY.writeTag, TLB_ENTRY.executeTag] as const;

/** How a linear address becomes the offset of its entry. */
export const TLB_INDEX = {
  shift: 12 - Math.log2(TLB_ENTRY.size),
  mask: (TLB_ENTRIES - 1) * TLB_ENTRY.size,
} as const;

/** Address of the TLB entry for a linear address. */
export function tlbEntry(_l: Lift, tlb: Value, linear: Value): Value {
  return linear.i32().shru(TLB_INDEX.shift).and(TLB_INDEX.mask).add(tlb);
}

/** A tag that no address of that entry's pages matches, nor one near them. */
export function emptyTag(l: Lift, linear: Value): Value {
  return l.let(linear.and(~0xfffn).xor(BigInt(TLB_EMPTY_DISTANCE)));
}

/** What S.tlbsUsed says of each TLB: a bit where it may hold entries, and one where some of them may be global. */
export const TLBS_USED = { any: 1, global: 1 << 4 } as const;

/** Notes what kind of entry an address gets. */
export function noteEntry(
  l: Lift,
  o: { mode: Value; linear: Value; isGlobal: Value; isLarge: Value },
): void {
  const { mode, linear, isGlobal, isLarge } = o;
  const tlb = l.select(isGlobal, l.i32(TLBS_USED.any | TLBS_USED.global), TLBS_USED.any).shl(mode);
  l.set(S.tlbsUsed, l.get(S.tlbsUsed).or(tlb));
  l.if(isLarge, () => {
    const bit = gibOf(l, linear);
    l.set(S.tlbsLarge, l.get(S.tlbsLarge).or(bit));
    l.if(isGlobal, () => l.set(S.tlbsLargeGlobal, l.get(S.tlbsLargeGlobal).or(bit)));
  });
}

/** The bit of S.tlbsLarge for an address: no page is larger than 1 GiB. */
function gibOf(l: Lift, linear: Value): Value {
  return l.let(l.i64(1).shl(linear.shru(30).and(63n)));
}

/** Makes a TLB empty. */
function empty(l: Lift, tlb: Value): void {
  // All ones match the first page's addresses and the last one: pages near them get another page's tag.
  l.effect('memory.fill', tlb, l.i32(0xff), l.i32(TLB_BYTES));
  for (const entry of [0, 1, TLB_ENTRIES - 2, TLB_ENTRIES - 1])
    for (const tag of TAGS)
      l.storeRaw('i64.store', tlb, entry * TLB_ENTRY.size + tag, l.i64(TLB_EMPTY_DISTANCE));
}

/** Does something for each of the entries of a TLB. */
function eachEntry(l: Lift, tlb: Value, body: (entry: Value) => void): void {
  const entry = l.var('i32', tlb);
  const end = l.let(tlb.add(TLB_BYTES));
  l.while(
    () => entry.get().ltu(end),
    () => {
      body(entry.get());
      entry.set(entry.get().add(TLB_ENTRY.size));
    },
  );
}
/** The empty tag of an entry. */
function emptyTagOf(l: Lift, tlb: Value, entry: Value): Value {
  const page = entry.sub(tlb).shl(TLB_INDEX.shift);
  return l.let(page.xor(TLB_EMPTY_DISTANCE).u64());
}

const tlbOf = (l: Lift, mode: number) => l.let(l.cpu.add(TLB_OFFSET + mode * TLB_BYTES));

/** Empties all TLBs of this vCPU that hold anything, and forgets where its code page is. */
export const flushTlb: FunctionRef = fn('flushTlb', {
  params: {},
  build(l) {
    const used = l.get(S.tlbsUsed);
    for (let mode = 0; mode < TLB_MODES; mode++)
      l.if(used.and(TLBS_USED.any << mode), () => empty(l, tlbOf(l, mode)));
    l.set(S.tlbsUsed, 0);
    l.set(S.tlbsLarge, 0n);
    l.set(S.tlbsLargeGlobal, 0n);
    l.set(S.codePageLinear, -1n);
    l.run(forgetJumps);
  },
});

/** Takes out of a TLB all entries that are not global. */
const keepGlobal: FunctionRef = fn('keepGlobal', {
  params: { tlb: 'i32' },
  build(l, { tlb }) {
    eachEntry(l, tlb, (entry) => {
      l.if(l.loadRaw('i32.load', entry, TLB_ENTRY.page).and(TLB_PAGE.global).eqz(), () => {
        const none = emptyTagOf(l, tlb, entry);
        for (const tag of TAGS) l.storeRaw('i64.store', entry, tag, none);
      });
    });
  },
});

/** A load of CR3: translations of global pages stay. */
export const flushNotGlobal: FunctionRef = fn('flushNotGlobal', {
  params: {},
  build(l) {
    const used = l.let(l.get(S.tlbsUsed));
    for (let mode = 0; mode < TLB_MODES; mode++) {
      l.if(used.and(TLBS_USED.any << mode), () => {
        const tlb = tlbOf(l, mode);
        l.if(
          used.and(TLBS_USED.global << mode),
          () => l.run(keepGlobal, tlb),
          () => empty(l, tlb),
        );
      });
    }
    const global = l.let(used.and(TLBS_USED.global * ((1 << TLB_MODES) - 1)));
    l.set(S.tlbsUsed, global.or(global.shru(Math.log2(TLBS_USED.global))));
    l.set(S.tlbsLarge, l.get(S.tlbsLargeGlobal));
    l.set(S.codePageLinear, -1n);
    l.run(forgetJumpsNotGlobal);
  },
});

/** Takes out of a TLB what may be part of the same large page: all parts of large pages in the same GiB. */
const forgetLarge: FunctionRef = fn('forgetLarge', {
  params: { tlb: 'i32', linear: 'i64' },
  build(l, { tlb, linear }) {
    eachEntry(l, tlb, (entry) => {
      l.if(l.loadRaw('i32.load', entry, TLB_ENTRY.page).and(TLB_PAGE.large), () => {
        const none = emptyTagOf(l, tlb, entry);
        for (const tag of TAGS) {
          const isNear = l.loadRaw('i64.load', entry, tag).xor(linear).shru(30).eqz();
          l.if(isNear, () => l.storeRaw('i64.store', entry, tag, none));
        }
      });
    });
  },
});

/** INVLPG: empties the entries that could map the address, in all TLBs, be they global or not. */
export const flushPage: FunctionRef = fn('flushPage', {
  params: { linear: 'i64' },
  build(l, { linear }) {
    const tag = emptyTag(l, linear);
    for (let mode = 0; mode < TLB_MODES; mode++) {
      const entry = l.let(tlbEntry(l, l.cpu.add(TLB_OFFSET + mode * TLB_BYTES), linear));
      for (const field of TAGS) l.storeRaw('i64.store', entry, field, tag);
    }
    l.set(S.codePageLinear, -1n);
    const used = l.let(l.get(S.tlbsUsed));
    l.if(
      l.get(S.tlbsLarge).and(gibOf(l, linear)).nez(),
      () => {
        for (let mode = 0; mode < TLB_MODES; mode++)
          l.if(used.and(TLBS_USED.any << mode), () => l.run(forgetLarge, tlbOf(l, mode), linear));
        l.run(forgetJumps);
      },
      () => l.run(forgetJumpsOfPage, linear),
    );
  },
});
