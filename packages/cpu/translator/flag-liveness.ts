// Which arithmetic flags a block may still need of those before it, and where a region may have changed any since it was
// entered: data flow over its blocks, with sets of flags as bits (registers.ts gives each flag one). Whoever reads a flag
// needs its value; leaving the region needs all, but a note of what they come from will do (flag-note.ts), and where nothing
// was set yet they are still where they were.

import type { Node, Statement } from '../lift/ir.ts';
import { eachExpression, eachOperand, eachStatement, innerLists } from '../lift/traverse.ts';
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

/** Ways between blocks. */
export interface Flow {
  staysInside(to: number): boolean;
  isBackEdge(from: number, to: number): boolean;
  /** Where a jump to an address that is not known may lead in the region. */
  returnsTo(from: number): readonly number[];
}

export function flagLiveness(
  blocks: ReadonlyMap<number, RegionBlock>,
  order: readonly number[],
  registers: RegisterLocals,
  flow: Flow,
): FlagLiveness {
  const happenings = new Map<number, readonly Happening[]>();
  for (const offset of order)
    happenings.set(offset, new Scan(blocks.get(offset)!, registers, flow).run());
  const dirty = dirtyBlocks(order, happenings);
  const live = new Map<number, number>(order.map((offset) => [offset, 0]));
  const behind = new Map<RegionInstruction, number>();
  const isDirty = (block: number, state: State) =>
    state === 'as before' ? dirty.has(block) : state;
  const liveBefore = (block: number, h: Happening, now: number): number => {
    switch (h.kind) {
      case 'read':
        return now | h.flags;
      case 'set':
        return (now & NOTE ? ALL_FLAGS : now) & ~h.flags;
      case 'perhaps':
        return now & NOTE ? ALL_FLAGS : now;
      case 'edge':
        return now | (live.get(h.target)! & (dirty.has(h.target) ? ~0 : ~NOTE));
      case 'leave':
        return isDirty(block, h.isDirty) ? now | NOTE : now;
      case 'handler':
        behind.set(h.instruction, now & ALL_FLAGS);
        return isDirty(block, h.isDirty) ? NOTE : 0;
    }
  };
  for (let changed = true; changed; ) {
    changed = false;
    for (const offset of order.toReversed()) {
      const now = happenings
        .get(offset)!
        .reduceRight((after, h) => liveBefore(offset, h, after), 0);
      if (now !== live.get(offset)) changed = true;
      live.set(offset, now);
    }
  }
  return {
    liveAt: (block) => live.get(block)! & (dirty.has(block) ? ~0 : ~NOTE),
    liveBehind: (handlerCall) => behind.get(handlerCall) ?? 0,
    isDirtyAt: (block) => dirty.has(block),
  };
}

function dirtyBlocks(
  order: readonly number[],
  happenings: ReadonlyMap<number, readonly Happening[]>,
): ReadonlySet<number> {
  const dirty = new Set<number>();
  for (let changed = true; changed; ) {
    changed = false;
    for (const offset of order)
      for (const h of happenings.get(offset)!) {
        if (h.kind !== 'edge' || dirty.has(h.target)) continue;
        if (h.isDirty === 'as before' ? !dirty.has(offset) : !h.isDirty) continue;
        dirty.add(h.target);
        changed = true;
      }
  }
  return dirty;
}

class Scan {
  readonly #block: RegionBlock;
  readonly #registers: RegisterLocals;
  readonly #flow: Flow;
  readonly #happenings: Happening[] = [];
  #isDirty: State = 'as before';
  /** Flags that the expressions looked at read. */
  #found = 0;

  constructor(block: RegionBlock, registers: RegisterLocals, flow: Flow) {
    this.#block = block;
    this.#registers = registers;
    this.#flow = flow;
  }

  run(): readonly Happening[] {
    for (const instruction of this.#block.instructions) {
      if (instruction.statements) this.#list(instruction.statements, false);
      else {
        // One that has nothing to do with flags is as a way out: what delivers its fault may want them.
        if (instruction.keepsFlags) this.#leave();
        else this.#happenings.push({ kind: 'handler', instruction, isDirty: this.#isDirty });
        this.#isDirty = false;
      }
    }
    const last = this.#block.instructions.at(-1)!;
    if (last.fallsThrough) this.#goTo(last.offset + last.length);
    return this.#happenings;
  }

  #leave(): void {
    this.#happenings.push({ kind: 'leave', isDirty: this.#isDirty });
  }
  #goTo(target: number): void {
    const from = this.#block.offset;
    const isInside = this.#flow.staysInside(target);
    if (isInside) this.#happenings.push({ kind: 'edge', target, isDirty: this.#isDirty });
    // An event may end a loop at its back edge.
    if (!isInside || this.#flow.isBackEdge(from, target)) this.#leave();
  }

  #list(statements: readonly Statement[], isConditional: boolean): void {
    for (const s of statements) {
      const reads = this.#reads(s);
      if (reads) this.#happenings.push({ kind: 'read', flags: reads });
      if (!isConditional) this.#perhaps(s);
      for (const inner of innerLists(s)) this.#list(inner, true);
      if (!isConditional) this.#perhaps(s);
      if (s.kind === 'set' && !isConditional) this.#set(s);
      else if (s.kind === 'exit') this.#exit(s);
    }
  }
  #reads(s: Statement): number {
    this.#found = 0;
    eachExpression(s, this.#node);
    return this.#found;
  }
  readonly #node = (node: Node): void => {
    if (node.kind === 'local') this.#found |= this.#registers.of(node.local)?.flag ?? 0;
    else eachOperand(node, this.#node);
  };
  #set(s: Statement & { kind: 'set' }): void {
    const flags = this.#registers.of(s.local)?.flag ?? 0;
    if (!flags) return;
    this.#isDirty = true;
    this.#happenings.push({ kind: 'set', flags });
  }
  /** From the beginning of such a statement on, the flags are values. */
  #perhaps(s: Statement): void {
    if (!flagsSetInside(s, this.#registers)) return;
    this.#isDirty = true;
    this.#happenings.push({ kind: 'perhaps' });
  }
  #exit(s: Statement & { kind: 'exit' }): void {
    if (s.exit === 'jump' && s.target !== undefined) {
      this.#goTo(s.target);
      return;
    }
    this.#leave();
    if (s.exit === 'jump')
      for (const target of this.#flow.returnsTo(this.#block.offset)) this.#goTo(target);
  }
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
