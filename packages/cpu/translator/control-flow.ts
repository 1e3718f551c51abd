// The shape of a region: blocks in reverse postorder, their dominators, and which edges close loops. What WebAssembly's
// structured control flow is made from.

export interface FlowGraph {
  /** Blocks by number, in reverse postorder; block 0 is the entry. */
  readonly order: readonly number[];
  /** Position in `order` of a block. */
  readonly position: ReadonlyMap<number, number>;
  /** Blocks that this one dominates immediately, in reverse postorder. */
  children(block: number): readonly number[];
  /** The edge goes back to a block that dominates its source: it closes a loop. */
  isBackEdge(from: number, to: number): boolean;
  /** The edge goes back to a block that does not dominate its source: the loop has several entries. */
  isIrreducible(from: number, to: number): boolean;
  isLoopHeader(block: number): boolean;
}

export function analyse(
  entry: number,
  successors: (block: number) => readonly number[],
): FlowGraph {
  const order = reversePostorder(entry, successors);
  const position = new Map(order.map((block, n) => [block, n]));
  const predecessors = new Map<number, number[]>(order.map((block) => [block, []]));
  for (const block of order)
    for (const next of successors(block)) predecessors.get(next)!.push(block);
  const immediate = dominators(order, position, predecessors);
  const dominates = (a: number, b: number): boolean => {
    for (let x = b; ; x = immediate[x]!) {
      if (x === a) return true;
      if (x === 0) return false;
    }
  };
  const retreats = (from: number, to: number) => position.get(to)! <= position.get(from)!;
  const isBackEdge = (from: number, to: number) =>
    retreats(from, to) && dominates(position.get(to)!, position.get(from)!);
  return {
    order,
    position,
    children: (block) => order.filter((_, n) => n !== 0 && immediate[n] === position.get(block)),
    isBackEdge,
    isIrreducible: (from, to) =>
      retreats(from, to) && !dominates(position.get(to)!, position.get(from)!),
    isLoopHeader: (block) => predecessors.get(block)!.some((from) => isBackEdge(from, block)),
  };
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
