// Translations of earlier machines: which of them hold for the code of this one. A region holds for a page that has, at
// the same offsets, the bytes that it was made from; addresses that a kernel moves at each boot it reads from its own
// memory (MovedNumbers), so they may differ. Nothing else of a guest is in its code.

import { isCopyOf, type Link } from './links.ts';
import { areMoved, type MovedNumber, movedIn } from './moved-numbers.ts';
import { linkOf, offsetOf } from './places.ts';
import type { Region } from './region.ts';

/** A region of a kept module; places are offsets in its page. Can be cloned. */
export interface KeptRegion {
  /** Name under which the module exports it; it has its memory's address in the constant of the same number. */
  readonly name: string;
  readonly number: number;
  /** Of the machine that made it: regions with the same were on one page. */
  readonly page: number;
  readonly mode: number;
  readonly entries: readonly number[];
  readonly inner: readonly number[];
  /** The code that it was made from: pairs of a place and a length; all bytes, one after the other. */
  readonly pieces: readonly number[];
  readonly code: Uint8Array;
  /** Numbers that it reads from its memory. */
  readonly moved: readonly MovedNumber[];
  /** Functions of other pages that it has a copy of. */
  readonly links: readonly Link[];
  /** Places of instructions that handlers run, in the order of their records. */
  readonly handled: readonly number[];
  readonly start: number;
  readonly end: number;
  readonly instructions: number;
  /** Bytes of its function. */
  readonly bytes: number;
}

/** What is known of a kept module; opaque to stores. Can be cloned. */
export interface KeptModule {
  readonly regions: readonly KeptRegion[];
}

/** A module that this machine has made. */
export interface MadeModule extends KeptModule {
  readonly module: WebAssembly.Module;
  /** What it was compiled from. */
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** Where a host keeps translations. Synchronous: the translator's thread has no event loop. */
export interface TranslationStore {
  /** What earlier machines left. */
  readonly kept: readonly KeptModule[];
  /** Code of kept[n]; undefined when it cannot be read any more. */
  load(n: number): WebAssembly.Module | undefined;
  /**
   * Keeps what was made, and for longer what was used: which of `kept` have been loaded. Called now and then when there
   * is something new, and at the end. Does not throw.
   */
  save(state: { readonly used: ReadonlySet<number>; readonly made: readonly MadeModule[] }): void;
}

/** What to know of a region in order to find it again. */
export function keptRegion(
  region: Region,
  o: Pick<KeptRegion, 'name' | 'number' | 'handled' | 'bytes'> & { readonly page: Uint8Array },
): KeptRegion {
  const { page, ...rest } = o;
  const { mode, moved, start, end, length: instructions, entries } = region;
  const isInner = (place: number) => !linkOf(place) && !entries.includes(place);
  const inner = [...region.blocks.keys()].filter(isInner);
  const links = region.links.map(({ target, page: of }, n) => ({
    target,
    ...codeOf(region, n + 1, of),
  }));
  return {
    ...rest,
    page: region.page,
    ...codeOf(region, 0, page),
    ...{ mode, entries, inner, moved, links, start, end, instructions },
  };
}

/** Offsets and lengths of a region's code in its page (0) or in that of a link, in order, without overlaps; and the bytes. */
function codeOf({ blocks }: Region, link: number, page: Uint8Array): Pick<Link, 'pieces' | 'code'> {
  const instructions = [...blocks.values()]
    .flatMap((block) => block.instructions)
    .filter(({ offset }) => linkOf(offset) === link)
    .map(({ offset, length }) => ({ offset: offsetOf(offset), length }));
  const pieces: number[] = [];
  let end = -1;
  for (const { offset, length } of instructions.toSorted((a, b) => a.offset - b.offset)) {
    if (offset > end) pieces.push(offset, 0);
    end = Math.max(end, offset + length);
    pieces[pieces.length - 1] = end - pieces.at(-2)!;
  }
  const code = new Uint8Array(pieces.reduce((sum, n, at) => sum + (at % 2 ? n : 0), 0));
  for (let n = 0, at = 0; n < pieces.length; at += pieces[n + 1]!, n += 2)
    code.set(page.subarray(pieces[n]!, pieces[n]! + pieces[n + 1]!), at);
  return { pieces, code };
}

/** Whether a region holds for a page; what it links to is seen when it goes there. */
export function holdsFor(region: KeptRegion, page: Uint8Array): boolean {
  const moved = movedIn(region.moved, 0);
  return isCopyOf(region, page, moved) && areMoved(page, moved);
}

/** A kept region, and the number of its module. */
export interface Found {
  readonly n: number;
  readonly region: KeptRegion;
}

/** Finds kept regions by the places where they are entered. */
export class KeptCode {
  readonly #byEntry = new Map<number, Found[]>();
  readonly #byPage = new Map<number, Found[]>();

  constructor(kept: readonly KeptModule[]) {
    for (const [n, { regions }] of kept.entries()) {
      for (const region of regions) {
        const found = { n, region };
        const { page, mode, entries } = region;
        for (const entry of entries) add(this.#byEntry, entryKey(entry, mode), found);
        add(this.#byPage, entryKey(page, mode), found);
      }
    }
  }

  /** The region that is entered at a place of a page, and after it others that were on its page and hold for this one. */
  find(page: Uint8Array, entry: number, mode: number): readonly Found[] {
    const wanted = this.#byEntry
      .get(entryKey(entry, mode))
      ?.find(({ region }) => holdsFor(region, page));
    if (!wanted) return [];
    const others = this.#byPage.get(entryKey(wanted.region.page, mode)) ?? [];
    return [wanted, ...others.filter((other) => other !== wanted && holdsFor(other.region, page))];
  }
}

/** One number for a place and a mode, which has four bits. */
export function entryKey(address: number, mode: number): number {
  return address * 16 + mode;
}
function add(map: Map<number, Found[]>, key: number, found: Found): void {
  const list = map.get(key);
  if (list) list.push(found);
  else map.set(key, [found]);
}
