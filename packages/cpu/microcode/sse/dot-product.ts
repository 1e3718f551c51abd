// DPPS and DPPD: products, then sums of pairs, each step rounded and its exceptions reported before
// the next. SDM vol 2A, DPPD and DPPS.

import { type FunctionRef, fn } from '../../lift/function.ts';
import type { Lift } from '../../lift/lift.ts';
import { constant, type Value } from '../../lift/value.ts';
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
    build(l, { a, b, control }) {
      begin(l);
      const count = laneCount(width);
      let terms = Array.from({ length: count }, (_, lane) =>
        l.choose(
          control.bit(4 + lane),
          'i64',
          () => l.call(SOFT[width].multiply, laneOf(l, width, a, lane), laneOf(l, width, b, lane)),
          () => l.i64(0),
        ),
      );
      l.run(reportSse);
      while (terms.length > 1) terms = addPairs(l, width, terms);
      let result = constant('v128', new Uint8Array(16));
      for (let lane = 0; lane < count; lane++) {
        result = withLane(l, width, result, lane, l.select(control.bit(lane), terms[0]!, l.i64(0)));
      }
      l.return(result);
    },
  });
}

function addPairs(l: Lift, width: Width, terms: readonly Value[]): Value[] {
  begin(l);
  const sums = Array.from({ length: terms.length / 2 }, (_, n) =>
    l.call(SOFT[width].add, terms[2 * n]!, terms[2 * n + 1]!, 0n),
  );
  l.run(reportSse);
  return sums;
}
