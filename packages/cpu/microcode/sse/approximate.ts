// The values of RCPPS and RSQRTPS. SDM vol 2B, RCPPS and RSQRTPS: denormal operands count as zeros
// and tiny results become zeros, whatever MXCSR says.

import { type FunctionRef, fn } from '../../lift/function.ts';
import type { Lift } from '../../lift/lift.ts';
import type { Value } from '../../lift/value.ts';
import { laneCount, laneOf, withLane } from './lanes.ts';
import { defaultNaN, holdsNaN, magnitude, SINGLE } from './soft-float.ts';

type Name = 'RCP' | 'RSQRT';

/** Computed in double precision and rounded once more. */
const exact = (l: Lift, name: Name, x: Value): Value => {
  const root = name === 'RCP' ? x : x.sqrt();
  return l.op('f32.demote_f64', l.op('f64.div', 1, root));
};

function scalar(name: Name): FunctionRef {
  return fn(`sse${name}`, {
    params: { bits: 'i32' },
    result: 'i32',
    build(l, { bits }) {
      const a = l.let(bits.u64());
      l.unlikely(holdsNaN(SINGLE, a), () => l.return(bits.or(Number(SINGLE.quiet))));
      const sign = l.let(bits.and(Number(SINGLE.sign)));
      const size = l.let(magnitude(SINGLE, a));
      l.unlikely(size.ltu(SINGLE.leastNormal), () => l.return(sign.or(Number(SINGLE.infinity))));
      if (name === 'RSQRT') l.unlikely(sign, () => l.return(Number(defaultNaN(SINGLE))));
      const result = l.let(exact(l, name, l.op('f64.promote_f32', bits.float())).bits());
      const isTiny = magnitude(SINGLE, result.u64()).ltu(SINGLE.leastNormal);
      l.return(l.select(isTiny, sign, result));
    },
  });
}

function vector(name: Name, one: FunctionRef): FunctionRef {
  return fn(`sse${name}PS`, {
    params: { a: 'v128' },
    result: 'v128',
    build(l, { a }) {
      let result = a;
      for (let lane = 0; lane < laneCount(32); lane++) {
        result = withLane(l, 32, result, lane, l.call(one, laneOf(l, 32, a, lane).i32()).u64());
      }
      l.return(result);
    },
  });
}

function both(name: Name): { readonly vector: FunctionRef; readonly scalar: FunctionRef } {
  const one = scalar(name);
  return { scalar: one, vector: vector(name, one) };
}

/** By instruction: bits of a single to bits of a single, and all four lanes. */
export const approximate: Readonly<Record<Name, ReturnType<typeof both>>> = {
  RCP: both('RCP'),
  RSQRT: both('RSQRT'),
};
