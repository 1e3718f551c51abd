// A region: the instructions of one page that are reached from its entry by known branches, lifted with their operands
// known, cut into blocks.

import type { Local } from '../lift/ir.ts';
import { newLocal } from '../lift/lift.ts';
import { PAGE_BYTES } from '../state/memory-map.ts';
import { translatedAccess } from './access.ts';
import type { InstructionSource, RegionInstruction } from './instructions.ts';
import { RegisterLocals } from './registers.ts';

/** Instructions of one region at most. */
export const REGION_LENGTH_MAX = 200;

/** Each return compares with so many places at most. */
const RETURN_POINTS_MAX = 4;

export interface RegionBlock {
  readonly offset: number;
  readonly instructions: readonly RegionInstruction[];
  /** Offsets of the blocks that may follow: targets in the region and what it falls into. */
  readonly successors: readonly number[];
}

export interface Region {
  readonly gpa: number;
  readonly mode: number;
  readonly entry: number;
  readonly blocks: ReadonlyMap<number, RegionBlock>;
  readonly registers: RegisterLocals;
  readonly ripBase: Local;
  readonly next: Local;
  readonly tlb: Local;
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
export function buildRegion(options: {
  readonly source: InstructionSource;
  readonly gpa: number;
  readonly mode: number;
  readonly lengthMax: number;
  readonly isShared: boolean;
  /** Whether code has been entered at an address: what has never run is left out, if it is not on the way. */
  readonly hasRun: (gpa: number) => boolean;
}): Region | undefined {
  const { source, gpa, mode, lengthMax } = options;
  const entry = gpa % PAGE_BYTES;
  const page = gpa - entry;
  const [ripBase, next, tlb] = [newLocal('i64'), newLocal('i64'), newLocal('i32')];
  const registers = new RegisterLocals(ripBase);
  const locals = { registers, ripBase, next, access: translatedAccess(tlb, options.isShared) };
  const lifted = new Map<number, RegionInstruction | undefined>();
  const leaders = new Set([entry]);
  const work = [entry];
  const returnPoints = new Set<number>();
  while (work.length && lifted.size < lengthMax) {
    let offset = work.pop()!;
    while (!lifted.has(offset) && lifted.size < lengthMax) {
      const instruction = offset < PAGE_BYTES ? source.read(page, offset, mode, locals) : undefined;
      lifted.set(offset, instruction);
      if (!instruction) break;
      for (const target of instruction.targets) {
        if (leaders.has(target)) continue;
        leaders.add(target);
        // What a jump without a condition leads to has run, or will have.
        if (!instruction.fallsThrough || options.hasRun(page + target)) work.push(target);
      }
      const { returnsTo } = instruction;
      if (returnsTo !== undefined && returnPoints.size < RETURN_POINTS_MAX) {
        returnPoints.add(returnsTo);
        leaders.add(returnsTo);
        work.unshift(returnsTo);
      }
      if (!instruction.fallsThrough) break;
      offset += instruction.length;
    }
  }
  const all = [...lifted.values()].filter((i) => i !== undefined);
  if (!lifted.get(entry)) return undefined;
  return {
    gpa,
    mode,
    entry,
    blocks: cutBlocks(lifted, leaders, returnPoints),
    returnPoints: [...returnPoints].filter((offset) => lifted.get(offset)),
    registers,
    ripBase,
    next,
    tlb,
    start: Math.min(...all.map((i) => i.offset)),
    end: Math.max(...all.map((i) => i.offset + i.length)),
    length: all.length,
    simple: all.filter((i) => i.statements).length,
  };
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
