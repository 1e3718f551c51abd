// Which arithmetic flags a block may still need of those before it, and where a region may have changed any since it was
// entered: data flow over its blocks, with sets of flags as bits (registers.ts gives each flag one). Whoever reads a flag
// needs its value; leaving the region needs all, but a note of what they come from will do (flag-note.ts), and where nothing
// was set yet they are still where they were.

import type { Local, Statement } from '../lift/ir.ts';
import { eachStatement } from '../lift/traverse.ts';
import { type Flow, scanBlock, solveBackwards, solveForwards } from './block-scan.ts';
import type { RegionInstruction } from './instructions.ts';
import type { RegionBlock } from './region.ts';
import type { RegisterLocals } from './registers.ts';

/** Bits of flags, in the order of FLAG_FIELDS. */
export const FLAG = { z: 1, sp: 2, o: 4, c: 8, a: 16 } as const;
const ALL_FLAGS = 0x1f;
/** Among flags that are live: all are, but a note of them will do. */
export const NOTE = 0x20;

/** What matters to flags in a block, in order. */
type Happening =
  | { readonly kind: 'read'; readonly flags: number }
  | { readonly kind: 'set'; readonly flags: number }
  /** Flags that may or may not be set: behind it, all are values. */
  | { readonly kind: 'perhaps' }
  | { readonly kind: 'leave'; readonly isDirty: State }
  | { readonly kind: 'edge'; readonly target: number; readonly isDirty: State }
  /** The vCPU's state gets all flags, and has them behind it. */
  | { readonly kind: 'handler'; readonly instruction: RegionInstruction; readonly isDirty: State };

/** Whether a flag may have changed; 'as before': as where the block began. */
type State = boolean | 'as before';

export interface FlagLiveness {
  /** Flags that must be in their locals where a block begins, and NOTE if they must be noted. */
  liveAt(block: number): number;
  /** Flags that must be in their locals behind an instruction that its handler runs, if it may have changed them. */
  liveBehind(handlerCall: RegionInstruction): number;
  /** Where a block begins, the region may have changed a flag since it was entered. */
  isDirtyAt(block: number): boolean;
}

export function flagLiveness(
  blocks: ReadonlyMap<number, RegionBlock>,
  order: readonly number[],
  registers: RegisterLocals,
  flow: Flow,
): FlagLiveness {
  const happenings = new Map(
    order.map((at) => [at, happeningsOf(blocks.get(at)!, registers, flow)]),
  );
  const isDirtyHere = (atStart: number, state: State) =>
    state === 'as before' ? atStart !== 0 : state;
  const dirty = solveForwards(happenings, (edge, atStart) =>
    isDirtyHere(atStart, edge.isDirty) ? 1 : 0,
  );
  const isDirty = (block: number, state: State) => isDirtyHere(dirty.get(block)!, state);
  /** What is clean where a block begins needs no note. */
  const noted = (block: number, flags: number) => (dirty.get(block) ? flags : flags & ~NOTE);
  const behind = new Map<RegionInstruction, number>();
  const live = solveBackwards(happenings, (h, now, { block, sets }) => {
    switch (h.kind) {
      case 'read':
        return now | h.flags;
      case 'set':
        return (now & NOTE ? ALL_FLAGS : now) & ~h.flags;
      case 'perhaps':
        return now & NOTE ? ALL_FLAGS : now;
      case 'edge':
        return now | noted(h.target, sets.get(h.target)!);
      case 'leave':
        return isDirty(block, h.isDirty) ? now | NOTE : now;
      case 'handler':
        behind.set(h.instruction, now & ALL_FLAGS);
        return isDirty(block, h.isDirty) ? NOTE : 0;
    }
  });
  return {
    liveAt: (block) => noted(block, live.get(block)!),
    liveBehind: (handlerCall) => behind.get(handlerCall) ?? 0,
    isDirtyAt: (block) => dirty.get(block) !== 0,
  };
}

function happeningsOf(
  block: RegionBlock,
  registers: RegisterLocals,
  flow: Flow,
): readonly Happening[] {
  const found: Happening[] = [];
  let isDirty: State = 'as before';
  const flagOf = (local: Local) => registers.of(local)?.flag ?? 0;
  // From the beginning of a statement on that may set some, the flags are values.
  const perhaps = (s: Statement) => {
    if (!flagsSetInside(s, registers)) return;
    isDirty = true;
    found.push({ kind: 'perhaps' });
  };
  const leave = () => found.push({ kind: 'leave', isDirty });
  scanBlock(block, flow, {
    read(local) {
      const flags = flagOf(local);
      if (flags) found.push({ kind: 'read', flags });
    },
    begin: perhaps,
    end: perhaps,
    set(local, isSure) {
      const flags = isSure ? flagOf(local) : 0;
      if (!flags) return;
      isDirty = true;
      found.push({ kind: 'set', flags });
    },
    leave,
    edge(target) {
      found.push({ kind: 'edge', target, isDirty });
    },
    handler(instruction) {
      // One that has nothing to do with flags is as a way out: what delivers its fault may want them.
      if (instruction.keepsFlags) leave();
      else found.push({ kind: 'handler', instruction, isDirty });
      isDirty = false;
    },
  });
  return found;
}

/** Flags that statements inside this one may set. */
export function flagsSetInside(s: Statement, registers: RegisterLocals): number {
  if (s.kind !== 'if' && s.kind !== 'switch' && s.kind !== 'loop' && s.kind !== 'block') return 0;
  let set = 0;
  eachStatement([s], (inner) => {
    if (inner.kind === 'set') set |= registers.of(inner.local)?.flag ?? 0;
  });
  return set;
}
