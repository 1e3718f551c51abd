// A region: the instructions of one page that are reached from an address by known branches, and behind the calls that
// leave it; lifted with their operands known, cut into blocks. It is entered where it was asked for and behind its calls.

import type { Local } from '../lift/ir.ts';
import { newLocal } from '../lift/lift.ts';
import { PAGE_BYTES } from '../state/memory-map.ts';
import { translatedAccess } from './access.ts';
import type { InstructionSource, RegionInstruction, RegionLocals } from './instructions.ts';
import type { MovedNumber, MovedNumbers } from './moved-numbers.ts';
import { RegisterLocals } from './registers.ts';

/** Instructions of one region at most. */
export const REGION_LENGTH_MAX = 250;

/** Places where one region can be entered, at most. */
export const REGION_ENTRIES_MAX = 40;

/** Each return compares with so many places at most. */
const RETURN_POINTS_MAX = 4;

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
  /** Page offsets where it can be entered; the first is the one that was asked for. */
  readonly entries: readonly number[];
  readonly blocks: ReadonlyMap<number, RegionBlock>;
  readonly registers: RegisterLocals;
  readonly ripBase: Local;
  readonly next: Local;
  readonly tlb: Local;
  /** Address of the region's own memory; what it begins with. */
  readonly base: Local;
  readonly moved: readonly MovedNumber[];
  /** Page offsets behind calls of the region to code of the region: where its returns mostly lead. */
  readonly returnPoints: readonly number[];
  /** First and last byte offsets in the page, the latter exclusive. */
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
}

class RegionBuilder {
  readonly #options: RegionOptions;
  readonly #page: number;
  readonly #lifted = new Map<number, RegionInstruction | undefined>();
  readonly #leaders = new Set<number>();
  readonly #returnPoints = new Set<number>();
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
    const { source, mode, lengthMax, isShared, moves } = this.#options;
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
        const instruction = this.#isOurs(offset)
          ? source.read(this.#page, offset, mode, locals)
          : undefined;
        this.#lifted.set(offset, instruction);
        if (!instruction) break;
        this.#follow(instruction);
        if (!instruction.fallsThrough) break;
        offset += instruction.length;
      }
    }
  }

  #isOurs(offset: number): boolean {
    if (offset >= PAGE_BYTES) return false;
    const [entry] = this.#entries;
    if (offset === entry || this.#callees.has(offset)) return true;
    return !this.#options.isEntered(this.#page + offset);
  }

  /** Notes where an instruction leads to. */
  #follow({ targets, fallsThrough, returnsTo, continuesAt }: RegionInstruction): void {
    const hasRun = (offset: number) => this.#options.hasRun(this.#page + offset);
    for (const target of targets) {
      if (returnsTo !== undefined) this.#callees.add(target);
      if (this.#leaders.has(target)) continue;
      this.#leaders.add(target);
      // What a jump without a condition leads to has run, or will have.
      if (!fallsThrough || hasRun(target)) this.#work.push(target);
    }
    if (returnsTo !== undefined && this.#returnPoints.size < RETURN_POINTS_MAX) {
      this.#returnPoints.add(returnsTo);
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

  finish(): Region | undefined {
    const lifted = this.#lifted;
    const [entry] = this.#entries;
    if (!lifted.get(entry!)) return undefined;
    const all = [...lifted.values()].filter((i) => i !== undefined);
    const isLifted = (offset: number) => lifted.get(offset) !== undefined;
    return {
      page: this.#page,
      mode: this.#options.mode,
      entries: [...this.#entries].filter(isLifted),
      blocks: cutBlocks(lifted, this.#leaders, this.#returnPoints),
      returnPoints: [...this.#returnPoints].filter(isLifted),
      registers: this.#registers,
      ripBase: this.#ripBase,
      next: this.#next,
      tlb: this.#tlb,
      base: this.#moved.base,
      moved: this.#moved.numbers,
      start: Math.min(...all.map((i) => i.offset)),
      end: Math.max(...all.map((i) => i.offset + i.length)),
      length: all.length,
      simple: all.filter((i) => i.statements).length,
    };
  }
}

function cutBlocks(
  lifted: ReadonlyMap<number, RegionInstruction | undefined>,
  leaders: ReadonlySet<number>,
  returnPoints: ReadonlySet<number>,
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
      for (const target of returns ? returnPoints : targets)
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
