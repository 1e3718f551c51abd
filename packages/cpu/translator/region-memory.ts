// The memory that a region has for itself: numbers that its code is not to contain, the blocks that lead to it, records of
// instructions that handlers run. Its code finds it through a constant of its instance, so that it can lie anywhere.

import { TRANSLATED_BLOCK_BYTES } from '../decode/block-store.ts';
import { RECORD_BYTES } from '../interpreter/record.ts';
import { PAGE_BYTES, RAM_BASE } from '../state/memory-map.ts';
import type { RegionPlace } from './code-cache.ts';
import type { KeptRegion } from './kept.ts';
import { LINK_BYTES, LinkWords, linkAt } from './links.ts';
import {
  type IndexedNumber,
  MOVED_BYTES,
  type MovedNumber,
  movedIn,
  movedNumber,
} from './moved-numbers.ts';
import type { Region } from './region.ts';
import type { TranslatedRegion, TranslationRequest } from './translator.ts';

/** Bytes from its beginning. */
export interface RegionMemoryPlan {
  readonly links: number;
  readonly blocks: number;
  readonly records: number;
  readonly bytes: number;
}

export function planOf({ length, simple, ...region }: Region): RegionMemoryPlan {
  return plan(region, length - simple);
}
export function planOfKept(region: KeptRegion): RegionMemoryPlan {
  return plan(region, region.handled.length);
}

/** `handled`: instructions that handlers run. */
function plan(
  { moved, entries, links }: Record<'moved' | 'entries' | 'links', readonly unknown[]>,
  handled: number,
): RegionMemoryPlan {
  const linksAt = linkAt(1, moved.length * MOVED_BYTES);
  const end = linksAt + links.length * LINK_BYTES;
  const blocks = Math.ceil(end / RECORD_BYTES) * RECORD_BYTES;
  const records = blocks + entries.length * TRANSLATED_BLOCK_BYTES;
  return { links: linksAt, blocks, records, bytes: records + handled * RECORD_BYTES };
}

/** Name under which a module imports the address of one of its regions' memory. */
export function memoryName(number: number): string {
  return `region${number}`;
}

/** Fills memories of regions. */
export class RegionMemories {
  readonly #u8: Uint8Array;
  readonly #i64: BigInt64Array;
  readonly #links: LinkWords;
  readonly #firstFunction: number;

  /** `firstFunction`: number of the handler that is entry 0 of the table. */
  constructor(o: { readonly memory: WebAssembly.Memory; readonly firstFunction: number }) {
    this.#u8 = new Uint8Array(o.memory.buffer);
    this.#i64 = new BigInt64Array(o.memory.buffer);
    this.#links = new LinkWords(o.memory);
    this.#firstFunction = o.firstFunction;
  }

  /** The guest's page at an address. */
  page(gpa: number): Uint8Array {
    return this.#u8.subarray(RAM_BASE + gpa, RAM_BASE + gpa + PAGE_BYTES);
  }
  write(bytes: Uint8Array, { records }: RegionPlace, offset: number): void {
    this.#u8.set(bytes, records + offset);
  }
  /** The numbers of its own page, and its links, which are to be resolved. */
  begin(
    page: Uint8Array,
    region: { moved: readonly MovedNumber[]; links: readonly unknown[] },
    at: RegionPlace,
  ): void {
    const { moved, links } = region;
    this.writeMoved(page, movedIn(moved, 0), at.records);
    this.#links.clear(at.records + linkAt(1, moved.length * MOVED_BYTES), links.length);
  }
  /** `memory`: address of the region's. */
  writeMoved(page: Uint8Array, moved: readonly IndexedNumber[], memory: number): void {
    for (const { n, ...number } of moved)
      this.#i64[(memory + n * MOVED_BYTES) / 8] = movedNumber(page, number);
  }

  /** A region on the page of a request, in its place. */
  placed(region: KeptRegion, request: TranslationRequest, place: RegionPlace): TranslatedRegion {
    const { mode, name, instructions, bytes, links, moved } = region;
    const page = request.gpa - (request.gpa % PAGE_BYTES);
    const inPage = (offset: number) => page + offset;
    return {
      entries: region.entries.map(inPage),
      inner: region.inner.map(inPage),
      start: inPage(region.start),
      end: inPage(region.end),
      mode,
      version: request.version,
      handler: this.#firstFunction + place.slot,
      slot: place.slot,
      records: place.records + planOfKept(region).blocks,
      memory: place.records,
      links,
      moved,
      name,
      instructions,
      bytes,
    };
  }
}
