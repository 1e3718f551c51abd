// Links: functions of other pages that a region contains a copy of, so that calls to them stay in it. The copy is
// made from where the jump cache says that the call leads now. It is gone to only while the jump cache says so still: for
// that address, in the context in force, it names the entry of one certain region, and that one is valid, so its code
// has not changed. Which region that is the vCPU finds out when the link is first taken (`resolveLink`), and that the
// copy is of its code. Until then, and whenever it is another one, the call leaves the region.

import { resolveLink } from '../interpreter/block-cache.ts';
import { RECORD_BYTES } from '../interpreter/record.ts';
import type { Lift } from '../lift/lift.ts';
import type { Value } from '../lift/value.ts';
import { jumpCacheEntry } from '../microcode/jump-cache.ts';
import { JUMP_CACHE_ENTRY, JUMP_CACHE_OFFSET, S } from '../state/layout.ts';
import { PAGE_BYTES } from '../state/memory-map.ts';
import { isInMoved, type MovedNumber } from './moved-numbers.ts';

/** Links of a region at most. */
export const LINKS_MAX = 7;

/**
 * What a region's memory has of a link: where it leads, which is the ENTRY_POINT that it goes by, or NOT_RESOLVED or NEVER, and in the
 * upper half the address of a word that is 0 when that region is no longer valid; and how often it has been resolved. Both halves are
 * read and written as one: all vCPUs share them.
 */
export const LINK_BYTES = 16;
const LINK = { leadsTo: 0, tries: 8 } as const;
const NOT_RESOLVED = 0xffff_fffen;
const NEVER = 0xffff_ffffn;
const ENTRY_POINT_BITS = 0xffff_ffffn;
const TRIES_MAX = 8;

/** A link of a region, which may have been made in another machine. Can be cloned. */
export interface Link {
  /** Where it leads, less the address of the region's page. */
  readonly target: number;
  /** The code of the copy: pairs of an offset in its page and a length; all bytes, one after the other. */
  readonly pieces: readonly number[];
  readonly code: Uint8Array;
}

/** Address of a page's byte 0, less that of the region's page. */
export function pageDistance({ target }: Pick<Link, 'target'>): number {
  return target - (target & (PAGE_BYTES - 1));
}

/** Offset in a region's memory of a link, from 1. */
export function linkAt(link: number, movedBytes: number): number {
  return movedBytes + (link - 1) * LINK_BYTES;
}

/** A link of a region with its memory at `base`; `rip`: the address that it leads to. */
export interface LinkCheck {
  readonly base: Value;
  readonly at: number;
  readonly link: number;
  readonly rip: Value;
}

/** Does `otherwise` unless the jump cache says that a link leads where it should. */
export function checkLink(l: Lift, o: LinkCheck, otherwise: () => void): void {
  const { isOther, isUnusable, expected, entryPoint } = lookUp(l, o);
  l.unlikely(isUnusable.nez(), () => {
    // The cache may go on naming a region that is no longer valid.
    const mayBe = expected.ne(Number(BigInt.asIntN(32, NEVER))).and(expected.ne(entryPoint));
    l.if(isOther.eqz().and(mayBe), () => l.run(resolveLink, o.base, o.link, entryPoint));
    otherwise();
  });
}
/** Whether what a link has a copy of is what would run there now: for ways into the middle of the copy. */
export function isLinkInForce(l: Lift, o: LinkCheck): Value {
  return lookUp(l, o).isUnusable.eqz();
}

function lookUp(l: Lift, { base, at, rip }: LinkCheck) {
  const entry = jumpCacheEntry(l, rip);
  const cached = (field: number) => JUMP_CACHE_OFFSET + field;
  const ripDiffers = l.loadRaw('i64.load', entry, cached(JUMP_CACHE_ENTRY.rip)).xor(rip);
  const context = l.loadRaw('i32.load', entry, cached(JUMP_CACHE_ENTRY.context));
  const isOther = l.let(ripDiffers.or(context.xor(l.get(S.context)).u64()));
  const entryPoint = l.loadRaw('i32.load', entry, cached(JUMP_CACHE_ENTRY.entryPoint));
  const leadsTo = l.let(l.loadRaw('i64.load', base, at + LINK.leadsTo));
  const expected = leadsTo.i32();
  const isGone = l.loadRaw('i32.load16_u', leadsTo.shru(32).i32()).eqz();
  const isUnusable = isOther.or(expected.xor(entryPoint).or(isGone).u64());
  return { isOther, isUnusable, expected, entryPoint };
}

/** Links in the memories of regions. */
export class LinkWords {
  readonly #i32: Int32Array;
  readonly #u64: BigUint64Array;
  readonly #u16: Uint16Array;

  constructor(memory: WebAssembly.Memory) {
    this.#i32 = new Int32Array(memory.buffer);
    this.#u64 = new BigUint64Array(memory.buffer);
    this.#u16 = new Uint16Array(memory.buffer);
  }

  /** A new region's links, at an address. */
  clear(address: number, count: number): void {
    for (let at = address; at < address + count * LINK_BYTES; at += LINK_BYTES) {
      Atomics.store(this.#u64, (at + LINK.leadsTo) / 8, NOT_RESOLVED);
      Atomics.store(this.#i32, (at + LINK.tries) / 4, 0);
    }
  }
  /** Counts an attempt; undefined when there were enough, else whether it is the first. */
  attempt(address: number): { readonly isFirst: boolean } | undefined {
    const before = Atomics.add(this.#i32, (address + LINK.tries) / 4, 1);
    if (before < TRIES_MAX) return { isFirst: before === 0 };
    Atomics.store(this.#u64, (address + LINK.leadsTo) / 8, NEVER);
    return undefined;
  }
  /** From now on the link goes by an entry of the region with these blocks. */
  resolve(address: number, entryPoint: number, records: number): void {
    const leadsTo = (BigInt(records + RECORD_BYTES) << 32n) | BigInt(entryPoint >>> 0);
    Atomics.store(this.#u64, (address + LINK.leadsTo) / 8, leadsTo);
  }
  /** Forgets where a link leads if that is what is going. */
  forget(address: number, isGoing: (entryPoint: number) => boolean): void {
    const word = (address + LINK.leadsTo) / 8;
    const leadsTo = Atomics.load(this.#u64, word);
    const entryPoint = leadsTo & ENTRY_POINT_BITS;
    if (entryPoint >= NOT_RESOLVED || !isGoing(Number(entryPoint))) return;
    // Another vCPU may have resolved it to another one meanwhile.
    Atomics.compareExchange(this.#u64, word, leadsTo, NOT_RESOLVED);
  }
  /** Whether the region with these blocks is valid. */
  isInForce(records: number): boolean {
    return this.#u16[(records + RECORD_BYTES) / 2] !== 0;
  }
}

/** Whether a link's copy is of what a page has there, but for numbers that move. */
export function isCopyOf(
  { pieces, code }: Pick<Link, 'pieces' | 'code'>,
  page: Uint8Array,
  moved: readonly MovedNumber[],
): boolean {
  for (let n = 0, at = 0; n < pieces.length; n += 2) {
    const end = pieces[n]! + pieces[n + 1]!;
    for (let offset = pieces[n]!; offset < end; offset++, at++)
      if (page[offset] !== code[at] && !isInMoved(moved, offset)) return false;
  }
  return true;
}
