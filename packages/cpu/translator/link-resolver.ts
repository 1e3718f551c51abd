// A vCPU's side of links (links.ts): which region a link leads to is found out when it is first taken, and forgotten when that
// region goes.

import { ENTRY_POINT } from '../interpreter/record.ts';
import { PAGE_BYTES, RAM_BASE } from '../state/memory-map.ts';
import { isCopyOf, type Link, LinkWords, linkAt } from './links.ts';
import { areMoved, MOVED_BYTES, movedIn, movedNumber } from './moved-numbers.ts';
import type { TranslatedRegion } from './translator.ts';

export class LinkResolver {
  readonly #memory: WebAssembly.Memory;
  readonly #i64: BigInt64Array;
  readonly #words: LinkWords;
  readonly #bySlot = new Map<number, TranslatedRegion>();
  /** Regions with links, by the address of their memory. */
  readonly #linking = new Map<number, TranslatedRegion>();

  constructor(memory: WebAssembly.Memory) {
    this.#memory = memory;
    this.#i64 = new BigInt64Array(memory.buffer);
    this.#words = new LinkWords(memory);
  }

  /** How often a link was found to lead where it should. */
  resolved = 0;

  /** A region is put into the vCPU's table. */
  add(region: TranslatedRegion): void {
    this.#bySlot.set(region.slot, region);
    if (region.links.length) this.#linking.set(region.memory, region);
  }

  /** These go: no link leads to them any more. */
  forget(regions: readonly TranslatedRegion[]): void {
    const slots = new Set(regions.map(({ slot }) => slot));
    const isGoing = (entryPoint: number) => slots.has(entryPoint & ENTRY_POINT.slot);
    for (const { slot, memory } of regions) {
      this.#bySlot.delete(slot);
      this.#linking.delete(memory);
    }
    for (const from of this.#linking.values())
      for (const n of from.links.keys()) this.#words.forget(wordsOf(from, n + 1), isGoing);
  }

  /**
   * A region, by the address of its memory, has gone to a link that is not resolved, or leads to another region by now: it goes
   * by an entry of that one from now on, if it has a copy of its code.
   */
  resolve(memory: number, number: number, entryPoint: number): void {
    const from = this.#linking.get(memory);
    const to = this.#bySlot.get(entryPoint & ENTRY_POINT.slot);
    const link = from?.links[number - 1];
    if (!from || !to || !link) return;
    // What the jump cache has of a dropped region does not count.
    if (!this.#words.isInForce(to.records)) return;
    const attempt = this.#words.attempt(wordsOf(from, number));
    if (!attempt || to.mode !== from.mode) return;
    const gpa = to.entries[entryPoint >>> ENTRY_POINT.numberShift];
    if (gpa === undefined || (gpa - link.target) % PAGE_BYTES) return;
    const start = gpa - (gpa % PAGE_BYTES);
    const page = new Uint8Array(this.#memory.buffer, RAM_BASE + start, PAGE_BYTES);
    const moved = movedIn(from.moved, number);
    // Numbers that have been read stay: another vCPU may be using them.
    if (moved.length && !attempt.isFirst) return;
    const isSame = isCopyOf(link, page, moved) && areMoved(page, moved);
    if (!isWithin(link, start, to) || !isSame) return;
    for (const { n, ...numbers } of moved)
      this.#i64[(memory + n * MOVED_BYTES) / 8] = movedNumber(page, numbers);
    // What was compared is still what the region was made from.
    if (!this.#words.isInForce(to.records)) return;
    this.#words.resolve(wordsOf(from, number), entryPoint, to.records);
    this.resolved++;
  }
}

/** Address of a region's words for a link. */
function wordsOf({ memory, moved }: TranslatedRegion, link: number): number {
  return memory + linkAt(link, moved.length * MOVED_BYTES);
}

/** A write to any of the link's code drops the region. */
function isWithin({ pieces }: Link, page: number, { start, end }: TranslatedRegion): boolean {
  for (let n = 0; n < pieces.length; n += 2) {
    const at = page + pieces[n]!;
    if (at < start || at + pieces[n + 1]! > end) return false;
  }
  return true;
}
