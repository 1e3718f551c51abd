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

/** What a region's memory has of a link: the ENTRY_POINT that it goes by, or NOT_RESOLVED or NEVER; the address of a word that
 *  is 0 when that region is no longer valid; how often it has been resolved. */
export const LINK_BYTES = 16;
const LINK = { entryPoint: 0, validAt: 4, tries: 8 } as const;
const NOT_RESOLVED = 0xffff_fffe;
const NEVER = 0xffff_ffff;
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
    const mayBe = expected.ne(NEVER | 0).and(expected.ne(entryPoint));
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
  const expected = l.loadRaw('i32.load', base, at + LINK.entryPoint);
  const validAt = l.loadRaw('i32.load', base, at + LINK.validAt);
  const isGone = l.loadRaw('i32.load16_u', validAt).eqz();
  const isUnusable = isOther.or(expected.xor(entryPoint).or(isGone).u64());
  return { isOther, isUnusable, expected, entryPoint };
}

/** Links in the memories of regions. */
export class LinkWords {
  readonly #u32: Uint32Array;
  readonly #u16: Uint16Array;

  constructor(memory: WebAssembly.Memory) {
    this.#u32 = new Uint32Array(memory.buffer);
    this.#u16 = new Uint16Array(memory.buffer);
  }

  /** A new region's links, at an address. */
  clear(address: number, count: number): void {
    for (let n = 0; n < count; n++) {
      const word = (address + n * LINK_BYTES) / 4;
      this.#u32[word + LINK.entryPoint / 4] = NOT_RESOLVED;
      this.#u32[word + LINK.validAt / 4] = 0;
      this.#u32[word + LINK.tries / 4] = 0;
    }
  }
  /** Counts an attempt; undefined when there were enough, else whether it is the first. */
  attempt(address: number): { readonly isFirst: boolean } | undefined {
    const word = address / 4;
    const tries = ++this.#u32[word + LINK.tries / 4]!;
    if (tries <= TRIES_MAX) return { isFirst: tries === 1 };
    this.#u32[word + LINK.entryPoint / 4] = NEVER;
    return undefined;
  }
  /** From now on the link goes by an entry of the region with these blocks. */
  resolve(address: number, entryPoint: number, records: number): void {
    const word = address / 4;
    this.#u32[word + LINK.validAt / 4] = records + RECORD_BYTES;
    this.#u32[word + LINK.entryPoint / 4] = entryPoint;
  }
  /** Forgets where a link leads if that is what is going. */
  forget(address: number, isGoing: (entryPoint: number) => boolean): void {
    const word = address / 4;
    const entryPoint = this.#u32[word + LINK.entryPoint / 4]!;
    if (entryPoint >= NOT_RESOLVED || !isGoing(entryPoint)) return;
    this.#u32[word + LINK.entryPoint / 4] = NOT_RESOLVED;
    this.#u32[word + LINK.validAt / 4] = 0;
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
