// The careful way through a floating-point instruction: lane by lane in soft-float, exceptions
// gathered over all lanes and reported before the result is given. SDM vol 1 §11.5.2: nothing is
// written when one is unmasked.

import { type FunctionRef, fn } from '../../lift/function.ts';
import type { Lift } from '../../lift/lift.ts';
import { constant, type Value } from '../../lift/value.ts';
import { S } from '../../state/layout.ts';
import { reportSse } from './check.ts';
import { type Computed, type Operation, returnIfRound } from './inexact.ts';
import { returnIfPlain } from './plain.ts';

export type Width = 32 | 64;
/** What happens in one lane; bit patterns in an i64 in and out. */
export type LaneMeaning = (l: Lift, a: Value, b: Value, lane: number) => Value;

const SHAPE = { 32: 'i32x4', 64: 'i64x2' } as const;
export const laneCount = (width: Width): number => 128 / width;

/** A lane as i64, zero- or sign-extended. */
export function laneOf(l: Lift, width: Width, v: Value, lane: number, isSigned = false): Value {
  const value = l.lanes(`${SHAPE[width]}.extract_lane`, [lane], v);
  return l.let(isSigned ? value.s64() : value.u64());
}
/** The vector with a lane replaced by the low bits of an i64. */
export function withLane(l: Lift, width: Width, v: Value, lane: number, value: Value): Value {
  return l.let(
    l.lanes(`${SHAPE[width]}.replace_lane`, [lane], v, width === 64 ? value : value.i32()),
  );
}
const zeroVector = () => constant('v128', new Uint8Array(16));

/** Begins an instruction's account of exceptions. */
export function begin(l: Lift): void {
  l.set(S.sseFlags, 0);
}

/** The lanes' values put together. */
function join(l: Lift, width: Width, values: readonly Value[]): Value {
  return values.reduce((v, value, lane) => withLane(l, width, v, lane, value), zeroVector());
}

/** What WebAssembly has for an operation: it is tried first, with whole vectors and then lane by lane. */
export interface Rounded {
  readonly whole: (l: Lift, a: Value, b: Value) => Computed;
  readonly lane: (lane: number) => Operation;
}

/** All lanes of two vectors; `control` is passed through for those that need it. */
export function vectorFunction(
  name: string,
  width: Width,
  meaning: (l: Lift, a: Value, b: Value, lane: number, control: Value) => Value,
  rounded?: Rounded,
): FunctionRef {
  return fn(name, {
    params: { a: 'v128', b: 'v128', control: 'i32' },
    result: 'v128',
    faults: true,
    build(l, { a, b, control }) {
      if (rounded) {
        const whole = rounded.whole(l, a, b);
        returnIfPlain(l, [whole], () => l.return(whole.result));
        const lanes = Array.from({ length: laneCount(width) }, (_, lane) => ({
          operation: rounded.lane(lane),
          a: laneOf(l, width, a, lane),
          b: laneOf(l, width, b, lane),
        }));
        returnIfRound(l, width, lanes, (results) => join(l, width, results));
      }
      begin(l);
      let result = zeroVector();
      for (let lane = 0; lane < laneCount(width); lane++) {
        const value = meaning(
          l,
          laneOf(l, width, a, lane),
          laneOf(l, width, b, lane),
          lane,
          control,
        );
        result = withLane(l, width, result, lane, value);
      }
      l.run(reportSse);
      l.return(result);
    },
  });
}

/** One lane of two operands, bit patterns in an i64. `operation` as for vectors. */
export function scalarFunction(
  name: string,
  meaning: (l: Lift, a: Value, b: Value, control: Value) => Value,
  first?: { readonly width: Width; readonly operation: Operation },
): FunctionRef {
  return fn(name, {
    params: { a: 'i64', b: 'i64', control: 'i32' },
    result: 'i64',
    faults: true,
    build(l, { a, b, control }) {
      if (first)
        returnIfRound(
          l,
          first.width,
          [{ operation: first.operation, a, b }],
          ([result]) => result!,
        );
      begin(l);
      const result = l.let(meaning(l, a, b, control));
      l.run(reportSse);
      l.return(result);
    },
  });
}

/** Lanes of one width to lanes of another, as many as both have; the rest of the result is zero. */
export function conversionFunction(
  name: string,
  from: Width,
  to: Width,
  options: { isSigned: boolean; lanes: number },
  meaning: (l: Lift, a: Value) => Value,
): FunctionRef {
  return fn(name, {
    params: { a: 'v128' },
    result: 'v128',
    faults: true,
    build(l, { a }) {
      begin(l);
      let result = zeroVector();
      for (let lane = 0; lane < options.lanes; lane++) {
        const value = meaning(l, laneOf(l, from, a, lane, options.isSigned));
        result = withLane(l, to, result, lane, value);
      }
      l.run(reportSse);
      l.return(result);
    },
  });
}

/** What happens in one lane; `control` is passed through. */
export type Lane = (l: Lift, a: Value, b: Value, lane: number, control: Value) => Value;

/**
 * As vectorFunction, for two halves of 256 bits: exceptions are gathered over both. Gives the low half; the high one
 * is in S.scratch.
 */
export function wideFunction(
  name: string,
  width: Width,
  meaning: Lane,
  rounded?: Rounded,
): FunctionRef {
  return fn(name, {
    params: { a0: 'v128', a1: 'v128', b0: 'v128', b1: 'v128', control: 'i32' },
    result: 'v128',
    faults: true,
    build(l, { a0, a1, b0, b1, control }) {
      const count = laneCount(width);
      const lanes = [
        [a0, b0],
        [a1, b1],
      ].flatMap(([a, b]) =>
        Array.from({ length: count }, (_, lane) => ({
          lane,
          a: laneOf(l, width, a!, lane),
          b: laneOf(l, width, b!, lane),
        })),
      );
      const both = (values: readonly Value[]) => {
        l.set(S.scratch, join(l, width, values.slice(count)));
        return join(l, width, values.slice(0, count));
      };
      if (rounded) {
        const wholes = [rounded.whole(l, a0, b0), rounded.whole(l, a1, b1)] as const;
        returnIfPlain(l, wholes, () => {
          l.set(S.scratch, wholes[1].result);
          l.return(wholes[0].result);
        });
        const tried = lanes.map(({ lane, a, b }) => ({ operation: rounded.lane(lane), a, b }));
        returnIfRound(l, width, tried, both);
      }
      begin(l);
      const values = lanes.map(({ lane, a, b }) => l.let(meaning(l, a, b, lane, control)));
      l.run(reportSse);
      l.return(both(values));
    },
  });
}

/** As conversionFunction, of two vectors: gives the first result, the second one is in S.scratch. */
export function wideConversion(
  name: string,
  from: Width,
  to: Width,
  options: { isSigned: boolean; lanes: number },
  meaning: (l: Lift, a: Value) => Value,
): FunctionRef {
  return fn(name, {
    params: { a0: 'v128', a1: 'v128' },
    result: 'v128',
    faults: true,
    build(l, { a0, a1 }) {
      begin(l);
      const [low, high] = [a0, a1].map((a) =>
        join(
          l,
          to,
          Array.from({ length: options.lanes }, (_, lane) =>
            l.let(meaning(l, laneOf(l, from, a, lane, options.isSigned))),
          ),
        ),
      );
      l.run(reportSse);
      l.set(S.scratch, high!);
      l.return(low!);
    },
  });
}
