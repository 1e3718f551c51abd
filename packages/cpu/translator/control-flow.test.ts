// The shape of graphs that code has: loops, loops with several ways in, several entries.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { analyse, ROOT } from './control-flow.ts';

/** Blocks are numbers; each has those that may follow it. */
function graph(entries: readonly number[], edges: Readonly<Record<number, readonly number[]>>) {
  return analyse(entries, (block) => edges[block] ?? []);
}

test('a loop closes where its header dominates', () => {
  const flow = graph([1], { 1: [2], 2: [3, 4], 3: [2] });
  assert.deepEqual(flow.order, [1, 2, 4, 3]);
  assert.deepEqual(flow.children(ROOT), [1]);
  assert.deepEqual(flow.children(2).toSorted(), [3, 4]);
  assert.ok(flow.isLoopHeader(2) && !flow.isLoopHeader(1) && !flow.isLoopHeader(3));
  assert.ok(flow.isBackEdge(3, 2) && !flow.isIrreducible(3, 2) && !flow.isBackEdge(2, 3));
  assert.ok(!flow.goesRound);
  assert.ok(flow.has(3) && !flow.has(5));
});

test('a block alone may be its own loop', () => {
  const flow = graph([1], { 1: [1] });
  assert.ok(flow.isLoopHeader(1) && flow.isBackEdge(1, 1) && !flow.goesRound);
});

test('a loop with two ways in goes round by way of the root', () => {
  const flow = graph([1], { 1: [2, 3], 2: [3], 3: [2, 4] });
  assert.ok(flow.goesRound);
  const [from, to] = flow.isBackEdge(3, 2) ? [3, 2] : [2, 3];
  assert.ok(flow.isBackEdge(from, to) && flow.isIrreducible(from, to));
  assert.ok(!flow.isLoopHeader(to), 'the root is where it closes');
  assert.deepEqual(flow.roots, [1, to]);
  assert.ok(flow.children(ROOT).includes(to));
});

test('an entry within a loop makes it one that goes round', () => {
  // 2 is the header, 3 and 4 its body; 4 is entered from outside as well.
  const flow = graph([1, 4], { 1: [2], 2: [3, 5], 3: [4], 4: [2] });
  assert.deepEqual(flow.roots.slice(0, 2), [1, 4]);
  assert.deepEqual(flow.children(ROOT).toSorted(), [1, 2, 4]);
  const edges = [[2, 3], [3, 4], [4, 2]] as const; // biome-ignore format: a list
  const back = edges.filter(([from, to]) => flow.isBackEdge(from, to));
  assert.equal(back.length, 1);
  const [from, to] = back[0]!;
  assert.ok(flow.isIrreducible(from, to));
  assert.ok(flow.roots.includes(to));
});

test('entries that meet have the meeting below the root', () => {
  const flow = graph([1, 2], { 1: [3], 2: [3], 3: [4] });
  assert.deepEqual(flow.children(ROOT).toSorted(), [1, 2, 3]);
  assert.deepEqual(flow.children(3), [4]);
  assert.ok(!flow.goesRound);
});

test('each block is below just one other, and all edges go back or forward in order', () => {
  const [BLOCKS, GRAPHS] = [12, 300];
  let seed = 1;
  const random = (below: number) => {
    seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fff_ffff;
    return (seed >> 8) % below;
  };
  for (let n = 0; n < GRAPHS; n++) {
    const edges = Object.fromEntries(
      Array.from({ length: BLOCKS }, (_, block) => [block, [random(BLOCKS), random(BLOCKS)]]),
    );
    const flow = graph([0, random(BLOCKS - 1) + 1], edges);
    const below = [ROOT, ...flow.order].flatMap((block) => flow.children(block));
    assert.deepEqual(below.toSorted(), flow.order.toSorted());
    for (const from of flow.order)
      for (const to of edges[from]!) {
        const isForward = flow.order.indexOf(from) < flow.order.indexOf(to);
        assert.equal(flow.isBackEdge(from, to), !isForward);
        if (flow.isIrreducible(from, to)) assert.ok(flow.roots.includes(to) && flow.goesRound);
        else if (!isForward) assert.ok(flow.isLoopHeader(to));
      }
  }
});
