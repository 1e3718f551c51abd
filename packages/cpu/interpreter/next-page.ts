// An instruction that crosses a page: its block begins with a record that proves, each time, that the page behind is
// still the one the instruction was decoded from.

import { type FunctionRef, fn } from '../lift/function.ts';
import { translateFetch } from '../microcode/memory.ts';
import { S, SEGMENT } from '../state/layout.ts';
import { BLOCK_HASH_ENTRY_BYTES, BLOCK_HASH_OFFSET } from '../state/memory-map.ts';
import { BLOCK_SET_BYTES } from './block-cache.ts';
import { R } from './record.ts';

/** 1 when the next page is unchanged; 0 after forgetting the block, so that the right one is looked for. May fault. */
export const verifyNextPage: FunctionRef = fn('verifyNextPage', {
  params: { record: 'i32' },
  result: 'i32',
  faults: true,
  build(l, { record }) {
    const base = l.get(S.segBase, SEGMENT.cs);
    const is64 = l.get(S.codeBits).eq(64);
    const start = l.let(l.get(S.ripBase).add(l.select(is64, l.i64(0), base)));
    const next = l.let(start.add(0x1000n));
    const linear = l.let(l.select(is64, next, next.and(0xffff_ffffn)));
    const page = l.call(translateFetch, linear).shru(12);
    l.if(page.eq(l.loadRaw('i64.load', record, R.immediate)), () => l.return(1));
    // Only this processor's way to the block: the block is right where the page behind is the one it knows.
    const set = l.let(l.loadRaw('i32.load', record, R.displacement).add(l.cpu));
    for (let place = 0; place < BLOCK_SET_BYTES; place += BLOCK_HASH_ENTRY_BYTES) {
      const first = l.loadRaw('i32.load', set, BLOCK_HASH_OFFSET + place + 8);
      l.if(first.eq(record), () =>
        l.storeRaw('i64.store', set, BLOCK_HASH_OFFSET + place, l.i64(-1n)),
      );
    }
    l.return(0);
  },
});
