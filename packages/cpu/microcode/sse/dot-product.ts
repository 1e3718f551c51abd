// DPPS and DPPD: products, then sums of pairs, each step rounded and its exceptions reported before
// the next. SDM vol 2A, DPPD and DPPS.

import { type FunctionRef, fn } from '../../lift/function.ts';
import type { Lift } from '../../lift/lift.ts';
import { constant, type Value } from '../../lift/value.ts';
import { S } from '../../state/layout.ts';
import { reportSse } from './check.ts';
import { begin, laneCount, laneOf, type Width, withLane } from './lanes.ts';
import { SOFT } from './soft-float.ts';

/**
 * `control`: high four bits say which products count, low four which lanes get the sum; others are
 * +0.
 */
export function dotProduct(name: string, width: Width): FunctionRef {
  return fn(name, {
    params: { a: 'v128', b: 'v128', control: 'i32' },
    result: 'v128',
    faults: true,
    build: (l, { a, b, control }) => l.return(dot(l, width, [[a, b]], control)[0]!),
  });
}

/** For two halves of 256 bits, each a sum of its own. Gives the low half; the high one is in S.scratch. */
export function wideDotProduct(name: string, width: Width): FunctionRef {
  return fn(name, {
    params: { a0: 'v128', a1: 'v128', b0: 'v128', b1: 'v128', control: 'i32' },
    result: 'v128',
    faults: true,
    build(l, { a0, a1, b0, b1, control }) {
      const pairs = [
        [a0, b0],
        [a1, b1],
      ] as const;
      const [low, high] = dot(l, width, pairs, control);
      l.set(S.scratch, high!);
      l.return(low!);
    },
  });
}

function dot(
  l: Lift,
  width: Width,
  pairs: readonly (readonly [a: Value, b: Value])[],
  control: Value,
): Value[] {
  begin(l);
  const count = laneCount(width);
  const lanes = Array.from({ length: count }, (_, n) => n);
  let terms = pairs.flatMap(([a, b]) =>
    lanes.map((lane) =>
      l.choose(
        control.bit(4 + lane),
        'i64',
        () => l.call(SOFT[width].multiply, laneOf(l, width, a, lane), laneOf(l, width, b, lane)),
        () => l.i64(0),
      ),
    ),
  );
  l.run(reportSse);
  while (terms.length > pairs.length) terms = addPairs(l, width, terms);
  return terms.map((sum) =>
    lanes.reduce(
      (v, lane) => withLane(l, width, v, lane, l.select(control.bit(lane), sum, l.i64(0))),
      constant('v128', new Uint8Array(16)),
    ),
  );
}

function addPairs(l: Lift, width: Width, terms: readonly Value[]): Value[] {
  begin(l);
  const sums = Array.from({ length: terms.length / 2 }, (_, n) =>
    l.call(SOFT[width].add, terms[2 * n]!, terms[2 * n + 1]!, 0n),
  );
  l.run(reportSse);
  return sums;
}
