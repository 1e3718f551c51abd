// The shape of a region: blocks in reverse postorder, their dominators, and which edges close loops. What WebAssembly's
// structured control flow is made from. A region has several entries; a loop with several ways in, which structured
// control flow does not know, goes round by way of the place where they begin.

/** Stands before all blocks: where the region's entries begin. */
export const ROOT = -1;

export interface FlowGraph {
  /** Blocks by number, in reverse postorder; without ROOT. */
  readonly order: readonly number[];
  /** Blocks that can be reached. */
  has(block: number): boolean;
  /** Blocks that this one (or ROOT) dominates immediately, in reverse postorder. */
  children(block: number): readonly number[];
  /** The edge goes back, or nowhere: it closes a loop. */
  isBackEdge(from: number, to: number): boolean;
  /** The edge goes back to a block that does not dominate its source: it must go by way of ROOT, which leads to `to`. */
  isIrreducible(from: number, to: number): boolean;
  /** Block that an edge goes back to whose source it dominates. */
  isLoopHeader(block: number): boolean;
  /** Where ROOT leads to: the entries, then what else irreducible edges go back to. */
  readonly roots: readonly number[];
  /** There are irreducible edges. */
  readonly goesRound: boolean;
}

export function analyse(
  entries: readonly number[],
  successors: (block: number) => readonly number[],
): FlowGraph {
  for (let roots = entries; ; ) {
    const { graph, irreducible } = tryRoots(roots, successors);
    if (irreducible.length === 0) return graph;
    roots = [...roots, ...irreducible];
  }
}

/** The graph, and what irreducible edges go back to without ROOT leading there. */
function tryRoots(
  roots: readonly number[],
  successors: (block: number) => readonly number[],
): { graph: FlowGraph; irreducible: readonly number[] } {
  const next = (block: number) => (block === ROOT ? roots : successors(block));
  const order = reversePostorder(ROOT, next);
  const position = new Map(order.map((block, n) => [block, n]));
  const predecessors = new Map<number, number[]>(order.map((block) => [block, []]));
  for (const block of order) for (const to of next(block)) predecessors.get(to)!.push(block);
  const immediate = dominators(order, position, predecessors);
  const dominates = (a: number, b: number): boolean => {
    for (let x = b; ; x = immediate[x]!) {
      if (x === a) return true;
      if (x === 0) return false;
    }
  };
  const isBackEdge = (from: number, to: number) => position.get(to)! <= position.get(from)!;
  const isIrreducible = (from: number, to: number) =>
    isBackEdge(from, to) && !dominates(position.get(to)!, position.get(from)!);
  const children = new Map<number, number[]>(order.map((block) => [block, []]));
  for (let n = 1; n < order.length; n++) children.get(order[immediate[n]!]!)!.push(order[n]!);
  const blocks = order.slice(1);
  const graph: FlowGraph = {
    order: blocks,
    has: (block) => position.has(block),
    children: (block) => children.get(block)!,
    isBackEdge,
    isIrreducible,
    isLoopHeader: (block) =>
      predecessors
        .get(block)!
        .some((from) => isBackEdge(from, block) && !isIrreducible(from, block)),
    roots,
    goesRound: blocks.some((to) => predecessors.get(to)!.some((from) => isIrreducible(from, to))),
  };
  const isLost = (to: number) =>
    !roots.includes(to) && predecessors.get(to)!.some((from) => isIrreducible(from, to));
  return { graph, irreducible: blocks.filter(isLost) };
}

function reversePostorder(
  entry: number,
  successors: (block: number) => readonly number[],
): number[] {
  const seen = new Set<number>([entry]);
  const result: number[] = [];
  const stack = [{ block: entry, next: [...successors(entry)] }];
  for (let top = stack.at(-1); top; top = stack.at(-1)) {
    const next = top.next.shift();
    if (next === undefined) {
      result.push(top.block);
      stack.pop();
    } else if (!seen.has(next)) {
      seen.add(next);
      stack.push({ block: next, next: [...successors(next)] });
    }
  }
  return result.reverse();
}

/** Immediate dominators by position in reverse postorder (Cooper, Harvey, Kennedy: A Simple, Fast Dominance Algorithm). */
function dominators(
  order: readonly number[],
  position: ReadonlyMap<number, number>,
  predecessors: ReadonlyMap<number, readonly number[]>,
): number[] {
  const immediate: number[] = new Array(order.length).fill(-1);
  immediate[0] = 0;
  const meet = (first: number, second: number): number => {
    let a = first;
    let b = second;
    while (a !== b) {
      if (a > b) a = immediate[a]!;
      else b = immediate[b]!;
    }
    return a;
  };
  for (let changed = true; changed; ) {
    changed = false;
    for (let n = 1; n < order.length; n++) {
      let best = -1;
      for (const from of predecessors.get(order[n]!)!) {
        const p = position.get(from)!;
        if (immediate[p] === -1) continue;
        best = best === -1 ? p : meet(p, best);
      }
      if (best !== immediate[n]) {
        immediate[n] = best;
        changed = true;
      }
    }
  }
  return immediate;
}
