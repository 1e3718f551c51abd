// Data flow over a region's blocks. A walk over a block's instructions in the order in which they run says what they read and set,
// where they leave the region or go on in it: expressions come before what is nested in their statement, and a set behind its
// value. What an analysis makes of that, its happenings, is solved forwards or backwards, with sets as bits of a word.

import type { Local, Node, Statement } from '../lift/ir.ts';
import { eachExpression, eachOperand, innerLists } from '../lift/traverse.ts';
import type { RegionInstruction } from './instructions.ts';
import type { RegionBlock } from './region.ts';

/** Ways between blocks. */
export interface Flow {
  staysInside(to: number): boolean;
  isBackEdge(from: number, to: number): boolean;
  /** Whether it is looked first where the way leads now. */
  isLink(from: number, to: number): boolean;
  /** Where a jump to an address that is not known may lead in the region. */
  returnsTo(from: number): readonly number[];
}

/** Told of what happens, in order. */
export interface BlockVisitor {
  read(local: Local): void;
  /** `isSure`: whenever control comes to where it stands in the block, not in an arm or a loop. */
  set(local: Local, isSure: boolean): void;
  /** A statement of the block itself, and not of what is nested in one, begins and ends. */
  begin?(s: Statement): void;
  end?(s: Statement): void;
  /** Control may leave the region here. */
  leave(): void;
  /** Control may go on at the beginning of another block. */
  edge(target: number): void;
  /** An instruction is run by its handler. */
  handler(instruction: RegionInstruction): void;
}

export function scanBlock(block: RegionBlock, flow: Flow, visitor: BlockVisitor): void {
  const from = block.offset;
  const expression = (node: Node): void => {
    if (node.kind === 'local') visitor.read(node.local);
    else eachOperand(node, expression);
  };
  const goTo = (target: number): void => {
    const isInside = flow.staysInside(target);
    if (isInside) visitor.edge(target);
    // An event may end a loop at its back edge.
    if (!isInside || flow.isBackEdge(from, target) || flow.isLink(from, target)) visitor.leave();
  };
  const exit = (s: Statement & { kind: 'exit' }): void => {
    if (s.exit === 'jump' && s.target !== undefined) {
      goTo(s.target);
      return;
    }
    visitor.leave();
    if (s.exit === 'jump') flow.returnsTo(from).forEach(goTo);
  };
  const list = (statements: readonly Statement[], isSure: boolean): void => {
    for (const s of statements) {
      eachExpression(s, expression);
      if (isSure) visitor.begin?.(s);
      for (const inner of innerLists(s)) list(inner, false);
      if (isSure) visitor.end?.(s);
      if (s.kind === 'set') visitor.set(s.local, isSure);
      else if (s.kind === 'exit') exit(s);
    }
  };
  for (const instruction of block.instructions) {
    if (instruction.statements) list(instruction.statements, true);
    else visitor.handler(instruction);
  }
  const last = block.instructions.at(-1)!;
  if (last.fallsThrough) goTo(last.offset + last.length);
}

/** A set for the beginning of each block. */
export type SetsAtStart = ReadonlyMap<number, number>;

/** The smallest sets so that each contains what `before` makes of all that is behind; a block's end has the empty one. */
export function solveBackwards<H>(
  happenings: ReadonlyMap<number, readonly H[]>,
  before: (h: H, behind: number, where: { block: number; sets: SetsAtStart }) => number,
): SetsAtStart {
  const order = [...happenings.keys()].toReversed();
  const sets = new Map<number, number>(order.map((block) => [block, 0]));
  for (let changed = true; changed; ) {
    changed = false;
    for (const block of order) {
      const where = { block, sets };
      const now = happenings.get(block)!.reduceRight((behind, h) => before(h, behind, where), 0);
      if (now !== sets.get(block)) changed = true;
      sets.set(block, now);
    }
  }
  return sets;
}

/** The smallest sets so that each contains what comes along every edge to its block, given what its source begins with. */
export function solveForwards<H extends { readonly kind: string }>(
  happenings: ReadonlyMap<number, readonly H[]>,
  along: (edge: H & { readonly kind: 'edge' }, atStart: number) => number,
): SetsAtStart {
  const isEdge = (h: H): h is H & { kind: 'edge'; target: number } => h.kind === 'edge';
  const sets = new Map<number, number>([...happenings.keys()].map((block) => [block, 0]));
  for (let changed = true; changed; ) {
    changed = false;
    for (const [block, all] of happenings)
      for (const h of all) {
        if (!isEdge(h)) continue;
        const before = sets.get(h.target)!;
        const now = before | along(h, sets.get(block)!);
        if (now === before) continue;
        sets.set(h.target, now);
        changed = true;
      }
  }
  return sets;
}
