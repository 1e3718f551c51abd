// Which arithmetic flags a block may still need of those before it: backward data flow over a region's blocks, with sets
// of flags as bits (registers.ts gives each flag one). Leaving the region needs all that the region sets.

import type { Statement } from '../lift/ir.ts';
import { eachExpression, eachNode, innerLists } from '../lift/traverse.ts';
import type { RegionBlock } from './region.ts';
import type { RegisterLocals } from './registers.ts';

/** What one block does with flags. */
interface Facts {
  /** Needed before the block sets them, whatever follows. */
  needs: number;
  /** Ways to other blocks, with what the block has set by then. */
  readonly edges: { readonly target: number; readonly set: number }[];
}

export interface FlagLiveness {
  /** Flags that must be in their locals where a block begins. */
  liveAt(block: number): number;
  /** Flags that the region sets anywhere. */
  readonly written: number;
}

/** Ways between blocks. */
export interface Flow {
  staysInside(from: number, to: number): boolean;
  isBackEdge(from: number, to: number): boolean;
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
    facts.set(offset, new Scan(blocks.get(offset)!, registers, written, flow).run());
  const live = new Map<number, number>(order.map((offset) => [offset, 0]));
  for (let changed = true; changed; ) {
    changed = false;
    for (const offset of order.toReversed()) {
      const { needs, edges } = facts.get(offset)!;
      const now = edges.reduce((set, e) => set | (live.get(e.target)! & ~e.set), needs);
      if (now !== live.get(offset)) changed = true;
      live.set(offset, now);
    }
  }
  return { written, liveAt: (block) => live.get(block)! };
}

class Scan {
  readonly #block: RegionBlock;
  readonly #registers: RegisterLocals;
  readonly #written: number;
  readonly #flow: Flow;
  readonly #facts: Facts = { needs: 0, edges: [] };
  #set = 0;

  constructor(block: RegionBlock, registers: RegisterLocals, written: number, flow: Flow) {
    this.#block = block;
    this.#registers = registers;
    this.#written = written;
    this.#flow = flow;
  }

  run(): Facts {
    for (const instruction of this.#block.instructions) {
      if (instruction.statements) this.#list(instruction.statements, false);
      else {
        this.#leave();
        this.#set = ~0;
      }
    }
    const last = this.#block.instructions.at(-1)!;
    if (last.fallsThrough) this.#goTo(last.offset + last.length);
    return this.#facts;
  }

  #need(flags: number): void {
    this.#facts.needs |= flags & ~this.#set;
  }
  #leave(): void {
    this.#need(this.#written);
  }
  #goTo(target: number): void {
    const from = this.#block.offset;
    const isInside = this.#flow.staysInside(from, target);
    if (isInside) this.#facts.edges.push({ target, set: this.#set });
    // An event may end a loop at its back edge.
    if (!isInside || this.#flow.isBackEdge(from, target)) this.#leave();
  }

  /** What only may be set does not count as set. */
  #list(statements: readonly Statement[], isConditional: boolean): void {
    for (const s of statements) {
      eachExpression(s, (expression) =>
        eachNode(expression, (node) => {
          if (node.kind === 'local') this.#need(this.#registers.of(node.local)?.flag ?? 0);
        }),
      );
      for (const inner of innerLists(s)) this.#list(inner, true);
      if (s.kind === 'set' && !isConditional) this.#set |= this.#registers.of(s.local)?.flag ?? 0;
      else if (s.kind === 'exit') {
        if (s.exit === 'jump' && s.target !== undefined) this.#goTo(s.target);
        else this.#leave();
      }
    }
  }
}
