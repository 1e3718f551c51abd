// A region: the instructions of one page that are reached from an address by known branches, and behind the calls that
// leave it; lifted with their operands known, cut into blocks. It is entered where it was asked for and behind its calls.

import type { Local } from '../lift/ir.ts';
import { newLocal } from '../lift/lift.ts';
import { PAGE_BYTES } from '../state/memory-map.ts';
import { translatedAccess } from './access.ts';
import type { InstructionSource, RegionInstruction, RegionLocals } from './instructions.ts';
import { LINKS_MAX, pageDistance } from './links.ts';
import type { MovedNumber, MovedNumbers } from './moved-numbers.ts';
import { linkOf, offsetOf, placeIn } from './places.ts';
import { RegisterLocals } from './registers.ts';

/** Instructions of one region at most. */
export const REGION_LENGTH_MAX = 400;

/** Places where one region can be entered, at most. */
export const REGION_ENTRIES_MAX = 40;

/** Each return compares with so many places at most. */
const RETURN_POINTS_MAX = 8;
/** Instructions of one link, and of all, at most. */
const LINK_LENGTH_MAX = 120;
const LINKED_LENGTH_MAX = 240;

export interface RegionBlock {
  readonly offset: number;
  readonly instructions: readonly RegionInstruction[];
  /** Offsets of the blocks that may follow: targets in the region and what it falls into. */
  readonly successors: readonly number[];
}

export interface Region {
  /** Guest-physical address of its page. */
  readonly page: number;
  readonly mode: number;
  /** Page offsets where it can be entered; the first is the one that was asked for. All other numbers are places (places.ts). */
  readonly entries: readonly number[];
  readonly blocks: ReadonlyMap<number, RegionBlock>;
  readonly registers: RegisterLocals;
  readonly ripBase: Local;
  readonly next: Local;
  readonly tlb: Local;
  /** Address of the region's own memory; what it begins with. */
  readonly base: Local;
  readonly moved: readonly MovedNumber[];
  /** Places behind calls of the region to code of the region: where a return there mostly leads. */
  readonly returnPoints: (from: number) => readonly number[];
  /** Functions of other pages that it has a copy of; in its numbers they count from 1. */
  readonly links: readonly RegionLink[];
  /** First and last byte offsets of its own code in the page, the latter exclusive. */
  readonly start: number;
  readonly end: number;
  /** Instructions, and those among them that need no handler. */
  readonly length: number;
  readonly simple: number;
}

/** Finds and lifts the region at a guest-physical address; undefined when its first instruction cannot be translated. */
export function buildRegion(options: RegionOptions & { readonly gpa: number }): Region | undefined {
  const entry = options.gpa % PAGE_BYTES;
  const builder = new RegionBuilder(options, options.gpa - entry);
  builder.explore(entry);
  return builder.finish();
}

/** Where a link leads, as far as is known. */
export interface Linkable {
  /** Guest-physical address, and the range in its page that it may have its code from. */
  readonly gpa: number;
  readonly start: number;
  readonly end: number;
  readonly hasRun: (gpa: number) => boolean;
  /** Its page as it was before any of it was read for this region; whether that still holds behind it. */
  readonly page: Uint8Array;
  readonly isStill: () => boolean;
}
export interface RegionLink extends Linkable {
  /** Its address, less that of the region's page. */
  readonly target: number;
}

interface RegionOptions {
  readonly source: InstructionSource;
  readonly mode: number;
  readonly lengthMax: number;
  readonly isShared: boolean;
  /** The code is to hold for the same instructions elsewhere, with other addresses in them (MovedNumbers). */
  readonly moves: boolean;
  /** Whether code has been entered at an address: what has never run is left out, if it is not on the way. */
  readonly hasRun: (gpa: number) => boolean;
  /** Whether another region is entered at an address: there it goes on, and the code is not made twice. */
  readonly isEntered: (gpa: number) => boolean;
  /** What is at an address outside of its page, given as the distance from that, if it may be linked to. */
  readonly linkTo?: (distance: number) => Linkable | undefined;
}

class RegionBuilder {
  readonly #options: RegionOptions;
  readonly #page: number;
  readonly #lifted = new Map<number, RegionInstruction | undefined>();
  readonly #leaders = new Set<number>();
  /** By the link that is called. */
  readonly #returnPoints = new Map<number, Set<number>>();
  readonly #links: RegionLink[] = [];
  /** By link: instructions so far. */
  readonly #linked: number[] = [];
  /** Addresses that cannot be linked to. */
  readonly #notLinked = new Set<number>();
  readonly #entries = new Set<number>();
  /** Functions that it calls: they are in it although they are entered elsewhere, too. */
  readonly #callees = new Set<number>();
  /** What to look at next is at the end. */
  readonly #work: number[] = [];
  readonly #ripBase = newLocal('i64');
  readonly #next = newLocal('i64');
  readonly #tlb = newLocal('i32');
  readonly #moved: MovedNumbers = { base: newLocal('i32'), numbers: [] };
  readonly #registers = new RegisterLocals(this.#ripBase);

  constructor(options: RegionOptions, page: number) {
    this.#options = options;
    this.#page = page;
  }

  explore(entry: number): void {
    const { lengthMax, isShared, moves } = this.#options;
    const locals: RegionLocals = {
      registers: this.#registers,
      ripBase: this.#ripBase,
      next: this.#next,
      access: translatedAccess(this.#tlb, isShared),
      moved: moves ? this.#moved : undefined,
    };
    this.#entries.add(entry);
    this.#leaders.add(entry);
    this.#work.push(entry);
    while (this.#work.length && this.#lifted.size < lengthMax) {
      let offset = this.#work.pop()!;
      while (!this.#lifted.has(offset) && this.#lifted.size < lengthMax) {
        const instruction = this.#isOurs(offset) ? this.#read(offset, locals) : undefined;
        this.#lifted.set(offset, instruction);
        if (!instruction) break;
        this.#follow(instruction);
        if (!instruction.fallsThrough) break;
        offset += instruction.length;
      }
    }
  }

  #read(place: number, locals: RegionLocals): RegionInstruction | undefined {
    const { source, mode } = this.#options;
    const number = linkOf(place);
    const link = this.#links[number - 1];
    const offset = offsetOf(place);
    const page = link ? link.gpa - (link.gpa % PAGE_BYTES) : this.#page;
    const distance = link ? pageDistance(link) + offset : offset;
    const placeOf = (to: number) => this.#placeOf(to, number);
    const instruction = source.read(page, offset, mode, locals, { place, distance, placeOf });
    if (!instruction || !link) return instruction;
    this.#linked[number - 1]!++;
    return offset + instruction.length <= link.end ? instruction : undefined;
  }

  /** The place that a jump from a link (or 0) leads to, given its distance from the page. */
  #placeOf(to: number, from: number): number | undefined {
    if (to >= 0 && to < PAGE_BYTES) return to;
    const own = this.#links[from - 1];
    const offset = own ? to - pageDistance(own) : -1;
    if (own && offset >= own.start && offset < own.end) return placeIn(from, offset);
    const known = this.#links.findIndex(({ target }) => target === to);
    const number = known >= 0 ? known + 1 : this.#link(to);
    return number === undefined ? undefined : placeIn(number, to & (PAGE_BYTES - 1));
  }
  #link(target: number): number | undefined {
    const { linkTo } = this.#options;
    if (!linkTo || this.#links.length === LINKS_MAX || this.#notLinked.has(target))
      return undefined;
    const found = linkTo(target);
    if (!found) {
      this.#notLinked.add(target);
      return undefined;
    }
    this.#linked.push(0);
    return this.#links.push({ ...found, target });
  }
  #isLinkFull(number: number): boolean {
    const all = this.#linked.reduce((sum, count) => sum + count, 0);
    return this.#linked[number - 1]! >= LINK_LENGTH_MAX || all >= LINKED_LENGTH_MAX;
  }

  #isOurs(offset: number): boolean {
    const number = linkOf(offset);
    if (number) return !this.#isLinkFull(number) && offsetOf(offset) < this.#links[number - 1]!.end;
    if (offset >= PAGE_BYTES) return false;
    const [entry] = this.#entries;
    if (offset === entry || this.#callees.has(offset)) return true;
    return !this.#options.isEntered(this.#page + offset);
  }

  /** Notes where an instruction leads to. */
  #follow({ targets, fallsThrough, returnsTo, continuesAt }: RegionInstruction): void {
    const hasRun = (place: number) => {
      const link = this.#links[linkOf(place) - 1];
      if (!link) return this.#options.hasRun(this.#page + place);
      return link.hasRun(link.gpa - (link.gpa % PAGE_BYTES) + offsetOf(place));
    };
    for (const target of targets) {
      if (returnsTo !== undefined) this.#callees.add(target);
      if (this.#leaders.has(target)) continue;
      this.#leaders.add(target);
      // What a jump without a condition leads to has run, or will have.
      if (fallsThrough && !hasRun(target)) continue;
      // The page's own code comes first.
      if (linkOf(target)) this.#work.unshift(target);
      else this.#work.push(target);
    }
    const points = returnsTo === undefined ? undefined : this.#returnPointsOf(targets[0]!);
    if (returnsTo !== undefined && points && points.size < RETURN_POINTS_MAX) {
      points.add(returnsTo);
      this.#leaders.add(returnsTo);
      this.#work.unshift(returnsTo);
    }
    if (continuesAt !== undefined && this.#entries.size < REGION_ENTRIES_MAX) {
      if (!hasRun(continuesAt)) return;
      this.#entries.add(continuesAt);
      this.#leaders.add(continuesAt);
      this.#work.unshift(continuesAt);
    }
  }

  #returnPointsOf(place: number): Set<number> {
    const number = linkOf(place);
    const known = this.#returnPoints.get(number) ?? new Set();
    this.#returnPoints.set(number, known);
    return known;
  }

  finish(): Region | undefined {
    const lifted = this.#lifted;
    const [entry] = this.#entries;
    if (!lifted.get(entry!)) return undefined;
    const all = [...lifted.values()].filter((i) => i !== undefined);
    const isLifted = (offset: number) => lifted.get(offset) !== undefined;
    const own = all.filter(({ offset }) => !linkOf(offset));
    const returnPoints = (from: number) => [...this.#returnPointsOf(from)].filter(isLifted);
    return {
      page: this.#page,
      mode: this.#options.mode,
      entries: [...this.#entries].filter(isLifted),
      blocks: cutBlocks(lifted, this.#leaders, returnPoints),
      returnPoints,
      links: this.#links,
      registers: this.#registers,
      ripBase: this.#ripBase,
      next: this.#next,
      tlb: this.#tlb,
      base: this.#moved.base,
      moved: this.#moved.numbers,
      start: Math.min(...own.map((i) => i.offset)),
      end: Math.max(...own.map((i) => i.offset + i.length)),
      length: all.length,
      simple: all.filter((i) => i.statements).length,
    };
  }
}

function cutBlocks(
  lifted: ReadonlyMap<number, RegionInstruction | undefined>,
  leaders: ReadonlySet<number>,
  returnPoints: (from: number) => readonly number[],
): Map<number, RegionBlock> {
  const blocks = new Map<number, RegionBlock>();
  for (const leader of leaders) {
    const instructions: RegionInstruction[] = [];
    const successors = new Set<number>();
    for (let offset = leader; ; ) {
      const instruction = lifted.get(offset);
      if (!instruction) break;
      instructions.push(instruction);
      const { targets, returns } = instruction;
      for (const target of returns ? returnPoints(leader) : targets)
        if (lifted.get(target)) successors.add(target);
      if (!instruction.fallsThrough) break;
      offset += instruction.length;
      if (leaders.has(offset)) {
        if (lifted.get(offset)) successors.add(offset);
        break;
      }
    }
    if (instructions.length)
      blocks.set(leader, { offset: leader, instructions, successors: [...successors] });
  }
  return blocks;
}
