// Which arithmetic flags a block may still need of those before it, and where a region may have changed any since it was
// entered: data flow over its blocks, with sets of flags as bits (registers.ts gives each flag one). Leaving the region
// needs all that the region sets, but where nothing was set yet they are still where they were.

import type { Statement } from '../lift/ir.ts';
import { eachExpression, eachNode, innerLists } from '../lift/traverse.ts';
import type { RegionBlock } from './region.ts';
import type { RegisterLocals } from './registers.ts';

/** A place in a block: what it has surely set by then, and whether it may have changed any flag. */
interface Place {
  readonly set: number;
  /** 'as before': since the block began, nothing; 'clean': a handler has stored all, and nothing since. */
  readonly state: 'as before' | 'dirty' | 'clean';
}

/** What one block does with flags. */
interface Facts {
  /** Read before the block sets them. */
  reads: number;
  /** Where it may leave the region. */
  readonly leaves: Place[];
  /** Ways to other blocks. */
  readonly edges: (Place & { readonly target: number })[];
}

export interface FlagLiveness {
  /** Flags that must be in their locals where a block begins. */
  liveAt(block: number): number;
  /** Where a block begins, the region may have changed a flag since it was entered. */
  isDirtyAt(block: number): boolean;
  /** Flags that the region sets anywhere. */
  readonly written: number;
}

/** Ways between blocks. */
export interface Flow {
  staysInside(from: number, to: number): boolean;
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
  const written = registers.all.reduce((set, p) => (p.isWritten ? set | p.flag : set), 0);
  const facts = new Map<number, Facts>();
  for (const offset of order)
    facts.set(offset, new Scan(blocks.get(offset)!, registers, flow).run());
  const dirty = dirtyBlocks(order, facts);
  const isDirty = (block: number, { state }: Place) =>
    state === 'dirty' || (state === 'as before' && dirty.has(block));
  const live = new Map<number, number>(order.map((offset) => [offset, 0]));
  const needs = new Map<number, number>(
    order.map((offset) => {
      const { reads, leaves } = facts.get(offset)!;
      const stored = leaves.filter((place) => isDirty(offset, place));
      return [offset, stored.reduce((set, place) => set | (written & ~place.set), reads)];
    }),
  );
  for (let changed = true; changed; ) {
    changed = false;
    for (const offset of order.toReversed()) {
      const { edges } = facts.get(offset)!;
      const now = edges.reduce(
        (set, e) => set | (live.get(e.target)! & ~e.set),
        needs.get(offset)!,
      );
      if (now !== live.get(offset)) changed = true;
      live.set(offset, now);
    }
  }
  return {
    written,
    liveAt: (block) => live.get(block)!,
    isDirtyAt: (block) => dirty.has(block),
  };
}

function dirtyBlocks(
  order: readonly number[],
  facts: ReadonlyMap<number, Facts>,
): ReadonlySet<number> {
  const dirty = new Set<number>();
  for (let changed = true; changed; ) {
    changed = false;
    for (const offset of order)
      for (const { target, state } of facts.get(offset)!.edges) {
        const isDirty = state === 'dirty' || (state === 'as before' && dirty.has(offset));
        if (!isDirty || dirty.has(target)) continue;
        dirty.add(target);
        changed = true;
      }
  }
  return dirty;
}

class Scan {
  readonly #block: RegionBlock;
  readonly #registers: RegisterLocals;
  readonly #flow: Flow;
  readonly #facts: Facts = { reads: 0, leaves: [], edges: [] };
  #set = 0;
  #state: Place['state'] = 'as before';

  constructor(block: RegionBlock, registers: RegisterLocals, flow: Flow) {
    this.#block = block;
    this.#registers = registers;
    this.#flow = flow;
  }

  run(): Facts {
    for (const instruction of this.#block.instructions) {
      if (instruction.statements) this.#list(instruction.statements, false);
      else {
        this.#leave();
        this.#set = ~0;
        this.#state = 'clean';
      }
    }
    const last = this.#block.instructions.at(-1)!;
    if (last.fallsThrough) this.#goTo(last.offset + last.length);
    return this.#facts;
  }

  get #place(): Place {
    return { set: this.#set, state: this.#state };
  }
  #leave(): void {
    this.#facts.leaves.push(this.#place);
  }
  #goTo(target: number): void {
    const from = this.#block.offset;
    const isInside = this.#flow.staysInside(from, target);
    if (isInside) this.#facts.edges.push({ target, ...this.#place });
    // An event may end a loop at its back edge.
    if (!isInside || this.#flow.isBackEdge(from, target)) this.#leave();
  }

  /** What only may be set does not count as set. */
  #list(statements: readonly Statement[], isConditional: boolean): void {
    for (const s of statements) {
      eachExpression(s, (expression) =>
        eachNode(expression, (node) => {
          if (node.kind === 'local')
            this.#facts.reads |= (this.#registers.of(node.local)?.flag ?? 0) & ~this.#set;
        }),
      );
      for (const inner of innerLists(s)) this.#list(inner, true);
      if (s.kind === 'set') {
        const flag = this.#registers.of(s.local)?.flag ?? 0;
        if (flag) this.#state = 'dirty';
        if (!isConditional) this.#set |= flag;
      } else if (s.kind === 'exit') {
        if (s.exit === 'jump' && s.target !== undefined) this.#goTo(s.target);
        else {
          this.#leave();
          if (s.exit === 'jump')
            for (const target of this.#flow.returnsTo(this.#block.offset)) this.#goTo(target);
        }
      }
    }
  }
}
