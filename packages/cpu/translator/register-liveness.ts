// Which registers a block may still need in their locals, and which may differ there from the vCPU's state: data flow over a
// region's blocks. What is not needed is not loaded where the region is entered or behind a handler, and what has not
// been set is not written back where it is left. Leaving reads all that may have been set, so that is loaded if it may not be.
//
// A set of registers is a word of bits for the first that the region uses; any further ones are always loaded and written.

import type { Local } from '../lift/ir.ts';
import { type Flow, scanBlock, solveBackwards, solveForwards } from './block-scan.ts';
import type { RegionInstruction } from './instructions.ts';
import type { RegionBlock } from './region.ts';
import type { Promoted, RegisterLocals } from './registers.ts';

/** Bits of a word that are used; with more, the sign would tell sets apart that are equal. */
const BITS_MAX = 30;

/** The bits of a region's registers. */
export class RegisterBits {
  readonly #bits = new Map<Local, number>();

  constructor(registers: RegisterLocals) {
    for (const { local, flag } of registers.all)
      if (!flag && this.#bits.size < BITS_MAX) this.#bits.set(local, 1 << this.#bits.size);
  }
  /** 0 for what is not a register, and for those without a bit. */
  of(local: Local): number {
    return local.register === undefined ? 0 : (this.#bits.get(local) ?? 0);
  }
  /** Whether a register is in a set. */
  has(set: number, { local }: Promoted): boolean {
    const bit = this.#bits.get(local);
    return bit === undefined || (set & bit) !== 0;
  }
}

/** What matters in a block, in order. `set`: what was set so far in the block; `isFresh`: the state had all behind a handler
 *  of the block, so that what was set before it does not count. */
type Happening =
  | { readonly kind: 'read' | 'set'; readonly bits: number }
  | { readonly kind: 'leave'; readonly set: number; readonly isFresh: boolean }
  | {
      readonly kind: 'edge';
      readonly target: number;
      readonly set: number;
      readonly isFresh: boolean;
    }
  | {
      readonly kind: 'handler';
      readonly instruction: RegionInstruction;
      readonly set: number;
      readonly isFresh: boolean;
    };

export interface RegisterLiveness {
  /** Registers that must be in their locals where a block begins. */
  liveAt(block: number): number;
  /** As above, behind an instruction that its handler runs. */
  liveBehind(handlerCall: RegionInstruction): number;
  /** Registers that may not be in the vCPU's state where a block begins. */
  dirtyAt(block: number): number;
}

export function registerLiveness(
  blocks: ReadonlyMap<number, RegionBlock>,
  order: readonly number[],
  bits: RegisterBits,
  flow: Flow,
): RegisterLiveness {
  const happenings = new Map(order.map((at) => [at, happeningsOf(blocks.get(at)!, bits, flow)]));
  const dirty = solveForwards(happenings, (edge, atStart) => dirtyHere(atStart, edge));
  const behind = new Map<RegionInstruction, number>();
  const live = solveBackwards(happenings, (h, now, { block, sets }) => {
    switch (h.kind) {
      case 'read':
        return now | h.bits;
      case 'set':
        return now & ~h.bits;
      case 'leave':
        return now | dirtyHere(dirty.get(block)!, h);
      case 'edge':
        return now | sets.get(h.target)!;
      case 'handler':
        behind.set(h.instruction, now);
        return dirtyHere(dirty.get(block)!, h);
    }
  });
  return {
    liveAt: (block) => live.get(block)!,
    liveBehind: (handlerCall) => behind.get(handlerCall) ?? 0,
    dirtyAt: (block) => dirty.get(block)!,
  };
}

function dirtyHere(atStart: number, { set, isFresh }: { set: number; isFresh: boolean }): number {
  return isFresh ? set : atStart | set;
}

function happeningsOf(block: RegionBlock, bits: RegisterBits, flow: Flow): readonly Happening[] {
  const found: Happening[] = [];
  let set = 0;
  let isFresh = false;
  scanBlock(block, flow, {
    read(local) {
      const bit = bits.of(local);
      if (!bit) return;
      const last = found.at(-1);
      if (last?.kind === 'read') found.pop();
      found.push({ kind: 'read', bits: last?.kind === 'read' ? bit | last.bits : bit });
    },
    set(local, isSure) {
      const bit = bits.of(local);
      if (bit && isSure) found.push({ kind: 'set', bits: bit });
      set |= bit;
    },
    leave() {
      const last = found.at(-1);
      if (last?.kind !== 'leave' || last.set !== set) found.push({ kind: 'leave', set, isFresh });
    },
    edge(target) {
      found.push({ kind: 'edge', target, set, isFresh });
    },
    handler(instruction) {
      found.push({ kind: 'handler', instruction, set, isFresh });
      set = 0;
      isFresh = true;
    },
  });
  return found;
}
