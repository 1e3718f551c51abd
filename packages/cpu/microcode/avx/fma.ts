// Fused multiply-add of whole vectors. The quick way is WebAssembly's relaxed_madd where the host rounds it once. Where
// not, it is computed, as exactly: of singles the product is exact in double precision, of doubles as the sum of two
// (Dekker), and rounding to odd before the last rounding makes two roundings one: Boldo and Melquiond, Emulation of FMA
// and correctly rounded sums (IEEE Trans. Computers 57, 2008). Everything else goes lane by lane through soft-fma.ts.

import { type FunctionRef, fn } from '../../lift/function.ts';
import type { Lift } from '../../lift/lift.ts';
import { constant, type Value } from '../../lift/value.ts';
import { S } from '../../state/layout.ts';
import { hasFusedMultiplyAdd } from '../../wasm/host-features.ts';
import { MXCSR, reportSse } from '../sse/check.ts';
import { type Computed, inexactSigns } from '../sse/inexact.ts';
import { begin, laneCount, laneOf, type Width, withLane } from '../sse/lanes.ts';
import { oddRounding } from '../sse/plain.ts';
import { SOFT_FMA } from './soft-fma.ts';

function splat(width: Width, value: number): Value {
  const bytes = new Uint8Array(16);
  const view = new DataView(bytes.buffer);
  for (let at = 0; at < 16; at += width / 8) {
    if (width === 32) view.setFloat32(at, value, true);
    else view.setFloat64(at, value, true);
  }
  return constant('v128', bytes);
}
const ZERO = constant('v128', new Uint8Array(16));
const ONE = constant(
  'v128',
  Uint8Array.from({ length: 16 }, (_, n) => (n % 8 ? 0 : 1)),
);
/** Dekker's constant: 2^27 + 1. */
const SPLITTER = 134217729;

/** a + b as the rounded sum and what it lost (Knuth's TwoSum), of doubles. */
function twoSum(l: Lift, a: Value, b: Value): { sum: Value; rest: Value } {
  const op = (name: string, x: Value, y: Value) => l.let(l.op(`f64x2.${name}`, x, y));
  const sum = op('add', a, b);
  const second = op('sub', sum, a);
  const first = op('sub', sum, second);
  return { sum, rest: op('add', op('sub', a, first), op('sub', b, second)) };
}

/** A sum rounded to odd: towards zero or away from it so that the last bit is 1, unless it is exact. */
function toOdd(l: Lift, { sum, rest }: { sum: Value; rest: Value }): Value {
  const isInexact = l.op('f64x2.ne', rest, ZERO);
  const isEven = l.op('i64x2.eq', l.op('v128.and', sum, ONE), ZERO);
  const adjusts = l.op('v128.and', isInexact, isEven);
  // The neighbour in the direction of the rest: one more in magnitude if the signs agree, else one less.
  const isTowardsZero = l.op('i64x2.shr_s', l.op('v128.xor', sum, rest), 63);
  const step = l.op('v128.or', isTowardsZero, ONE);
  return l.let(l.op('i64x2.add', sum, l.op('v128.and', step, adjusts)));
}

interface Operands {
  readonly a: Value;
  readonly b: Value;
  readonly c: Value;
}

/** Two doubles; the operands are of moderate size. */
function quickDoubles(l: Lift, { a, b, c }: Operands): Value {
  const op = (name: string, x: Value, y: Value) => l.let(l.op(`f64x2.${name}`, x, y));
  const split = (v: Value) => {
    const scaled = op('mul', v, splat(64, SPLITTER));
    const high = op('sub', scaled, op('sub', scaled, v));
    return { high, low: op('sub', v, high) };
  };
  const [x, y] = [split(a), split(b)];
  const product = op('mul', a, b);
  const cross = op('add', op('mul', x.high, y.low), op('sub', op('mul', x.high, y.high), product));
  const lost = op('add', op('mul', x.low, y.low), op('add', op('mul', x.low, y.high), cross));
  const small = twoSum(l, c, lost);
  const large = twoSum(l, product, small.sum);
  return op('add', large.sum, toOdd(l, twoSum(l, large.rest, small.rest)));
}

/** The two singles in the lower half of each operand, as two doubles that are to be rounded once more. */
function quickSingles(l: Lift, { a, b, c }: Operands): Value {
  const wide = (v: Value) => l.let(l.op('f64x2.promote_low_f32x4', v));
  const product = l.let(l.op('f64x2.mul', wide(a), wide(b)));
  return toOdd(l, twoSum(l, product, wide(c)));
}
const upper = (l: Lift, v: Value): Value =>
  l.let(l.lanes('i8x16.shuffle', [8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7], v, v));

/** Least normal and largest finite number. */
const RANGE = {
  32: { least: 2 ** -126, most: 2 ** 127 * (2 - 2 ** -23) },
  64: { least: 2 ** -1022, most: Number.MAX_VALUE },
} as const;

/** The host's fused result, and where it holds: at a glance for normal numbers, or looking closer for zeros. */
function fused(l: Lift, width: Width, { a, b, c }: Operands) {
  const shape = width === 32 ? 'f32x4' : 'f64x2';
  const op = (name: string, x: Value, y: Value) => l.op(`${shape}.${name}`, x, y);
  const and = (x: Value, y: Value) => l.op('v128.and', x, y);
  const or = (x: Value, y: Value) => l.op('v128.or', x, y);
  const least = splat(width, RANGE[width].least);
  const result = l.let(l.op(`${shape}.relaxed_madd`, a, b, c));
  const sizes = [a, b, c].map((v) => l.let(l.op(`${shape}.abs`, v)));
  const size = l.let(l.op(`${shape}.abs`, result));
  // One that equals the least normal number may have been rounded up to it.
  const isNormal = l.let(
    and(op('gt', size, least), op('le', size, splat(width, RANGE[width].most))),
  );
  const smallest = sizes.reduce((x, y) => op('pmin', x, y));
  const atAGlance = l.let(and(op('ge', smallest, least), isNormal));
  const closer = () => {
    const zeros = sizes.map((v) => l.let(op('eq', v, ZERO)));
    const plain = sizes.map((v, n) => or(op('ge', v, least), zeros[n]!)).reduce(and);
    // Zero is exact when numbers cancel or a factor is zero; else the product has underflowed.
    const exact = or(or(zeros[0]!, zeros[1]!), l.op('v128.not', zeros[2]!));
    return and(plain, or(isNormal, and(op('eq', result, ZERO), exact)));
  };
  return { result, atAGlance, closer };
}

interface Quick {
  readonly result: Value;
  /** All ones in lanes whose result holds. */
  readonly isRight: Value;
}

function quickly(l: Lift, width: Width, o: Operands, lanes: number): Quick {
  const shape = width === 32 ? 'f32x4' : 'f64x2';
  const op = (name: string, x: Value, y: Value) => l.op(`${shape}.${name}`, x, y);
  const both = (x: Value, y: Value) => l.op('v128.and', x, y);
  const size = (v: Value) => l.let(l.op(`${shape}.abs`, v));
  const within = (v: Value, least: number, most: number) => {
    const s = size(v);
    return both(op('ge', s, splat(width, least)), op('le', s, splat(width, most)));
  };
  const orZero = (v: Value, mask: Value) => l.op('v128.or', mask, op('eq', v, ZERO));
  if (width === 64) {
    // Neither the product's lower half nor what cancellation leaves gets near the denormals.
    const factors = both(within(o.a, 2 ** -400, 2 ** 400), within(o.b, 2 ** -400, 2 ** 400));
    const addend = orZero(o.c, within(o.c, 2 ** -900, 2 ** 900));
    return { result: quickDoubles(l, o), isRight: both(factors, addend) };
  }
  const { least, most } = RANGE[32];
  const plain = [o.a, o.b, o.c].map((v) => orZero(v, within(v, least, most))).reduce(both);
  const narrow = (v: Value) => l.let(l.op('f32x4.demote_f64x2_zero', v));
  const low = quickSingles(l, o);
  let result = narrow(low);
  let isZero = l.op('f64x2.eq', low, ZERO);
  if (lanes > 2) {
    const high = quickSingles(l, { a: upper(l, o.a), b: upper(l, o.b), c: upper(l, o.c) });
    const join = (x: Value, y: Value, bytes: readonly number[]) =>
      l.let(l.lanes('i8x16.shuffle', bytes, x, y));
    result = join(result, narrow(high), LOW_HALVES);
    isZero = join(isZero, l.op('f64x2.eq', high, ZERO), EVEN_DWORDS);
  } else {
    // The other lanes are copies.
    result = l.let(l.lanes('i8x16.shuffle', LOW_HALVES, result, result));
    isZero = l.let(l.lanes('i8x16.shuffle', EVEN_DWORDS, isZero, isZero));
  }
  // Above the least normal number, or zero that is exact.
  const s = size(result);
  const normal = both(op('gt', s, splat(32, least)), op('le', s, splat(32, most)));
  return { result, isRight: both(plain, l.op('v128.or', normal, isZero)) };
}
const LOW_HALVES = [0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23];
const EVEN_DWORDS = [0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27];

/** How operands that are not special are computed: by the host's fused operation, by exact steps, or as all others. */
export type Way = 'fused' | 'steps' | 'careful';
interface Shape {
  readonly width: Width;
  readonly lanes: number;
  readonly way: () => Way;
}

interface Halves {
  readonly a: readonly Value[];
  readonly b: readonly Value[];
  readonly c: readonly Value[];
  readonly flipProduct: Value;
  readonly flipAddend: Value;
}

/** Gives the results if masks of all halves are all ones. */
type IfAll = (masks: readonly Value[], results: Value[]) => void;

/** Gives results that are exact because products and sums are, each by itself; operands that are denormal are none. */
function giveIfExact(
  l: Lift,
  width: Width,
  halves: readonly Operands[],
  give: (results: Value[]) => void,
): void {
  const shape = width === 32 ? 'f32x4' : 'f64x2';
  const op = (name: string, x: Value, y: Value) => l.op(`${shape}.${name}`, x, y);
  const either = (x: Value, y: Value) => l.op('v128.or', x, y);
  const least = splat(width, RANGE[width].least);
  const isNormal = (v: Value) => op('ge', l.op(`${shape}.abs`, v), least);
  l.block((otherwise) => {
    const results = halves.map(({ a, b, c }) => {
      const zeros = [a, b, c].map((v) => l.let(op('eq', v, ZERO)));
      const product = l.let(op('mul', a, b));
      const result = l.let(op('add', product, c));
      const plain = [
        ...[a, b, c].map((v, n) => either(isNormal(v), zeros[n]!)),
        either(isNormal(product), either(zeros[0]!, zeros[1]!)),
      ].reduce((x, y) => l.op('v128.and', x, y));
      l.if(l.op('i32x4.all_true', plain).eqz(), otherwise);
      const steps: Computed[] = [
        { operation: 'mul', shape, a, b, result: product },
        { operation: 'add', shape, a: product, b: c, result },
      ];
      for (const step of steps) for (const sign of inexactSigns(l, step)) l.if(sign, otherwise);
      return result;
    });
    give(results);
  });
}

/** The results of one or two halves, of which `lanes` lanes count; exceptions are reported before it gives them. */
function compute(
  l: Lift,
  { width, lanes, way }: Shape,
  o: Halves,
  give: (v: Value[]) => void,
): void {
  const giveQuick = (operands: readonly Operands[], ifAll: IfAll): void => {
    if (way() === 'fused') {
      const quick = operands.map((x) => fused(l, width, x));
      const results = quick.map((q) => q.result);
      ifAll(
        quick.map((q) => q.atAGlance),
        results,
      );
      ifAll(
        quick.map((q) => q.closer()),
        results,
      );
    } else {
      const quick = operands.map((x) => quickly(l, width, x, lanes));
      ifAll(
        quick.map((q) => q.isRight),
        quick.map((q) => q.result),
      );
    }
  };
  const odd = l.let(oddRounding(l));
  const isNearest = odd.and(~MXCSR.pe).eqz();
  l.if(way() === 'careful' ? l.i32(0) : isNearest, () => {
    const operands = o.a.map((a, n) => ({
      a: l.let(l.op('v128.xor', a, o.flipProduct)),
      b: o.b[n]!,
      c: l.let(l.op('v128.xor', o.c[n]!, o.flipAddend)),
    }));
    const ifAll: IfAll = (masks, results) => {
      const all = masks.reduce((x, y) => l.op('v128.and', x, y));
      l.if(l.op('i32x4.all_true', all), () => give(results));
    };
    // PE may still have to be set.
    l.if(
      odd,
      () => giveIfExact(l, width, operands, give),
      () => giveQuick(operands, ifAll),
    );
  });
  begin(l);
  const results = o.a.map((a, half) => {
    let result = a;
    for (let lane = 0; lane < lanes; lane++) {
      const of = (v: Value) => laneOf(l, width, v, lane);
      const flips = [of(o.flipProduct), of(o.flipAddend)];
      const value = l.call(SOFT_FMA[width], of(a), of(o.b[half]!), of(o.c[half]!), ...flips);
      result = withLane(l, width, result, lane, value);
    }
    return result;
  });
  l.run(reportSse);
  give(results);
}

function narrow(shape: Shape): FunctionRef {
  return fn(`fma${shape.width}x${shape.lanes}`, {
    params: { a: 'v128', b: 'v128', c: 'v128', flipProduct: 'v128', flipAddend: 'v128' },
    result: 'v128',
    faults: true,
    build: (l, { a, b, c, flipProduct, flipAddend }) =>
      compute(l, shape, { a: [a], b: [b], c: [c], flipProduct, flipAddend }, ([v]) => l.return(v!)),
  });
}
function wide(shape: Shape): FunctionRef {
  return fn(`fma${shape.width}x${2 * shape.lanes}`, {
    params: {
      a0: 'v128', a1: 'v128', b0: 'v128', b1: 'v128', c0: 'v128', c1: 'v128', flipProduct: 'v128', flipAddend: 'v128',
    }, // biome-ignore format: one line
    result: 'v128',
    faults: true,
    build(l, { a0, a1, b0, b1, c0, c1, flipProduct, flipAddend }) {
      const halves = { a: [a0, a1], b: [b0, b1], c: [c0, c1], flipProduct, flipAddend };
      compute(l, shape, halves, ([low, high]) => {
        l.set(S.scratch, high!);
        l.return(low!);
      });
    },
  });
}

/**
 * Signs to be flipped are given as masks, all zeros or sign bits. `scalar` and `packed` take vectors, the former with
 * its operands in every lane; `wide` takes low and high halves in turn and leaves the high half of the result in
 * S.scratch.
 */
export interface FmaFunctions {
  readonly scalar: FunctionRef;
  readonly packed: FunctionRef;
  readonly wide: FunctionRef;
}
/** The functions of one width. The way is asked for when they are built. */
export function fmaFunctions(width: Width, way: () => Way): FmaFunctions {
  const lanes = laneCount(width);
  return {
    scalar: narrow({ width, lanes: 1, way }),
    packed: narrow({ width, lanes, way }),
    wide: wide({ width, lanes, way }),
  };
}
const bestWay = (): Way => (hasFusedMultiplyAdd() ? 'fused' : 'steps');

/** By width. */
export const FMA: Readonly<Record<Width, FmaFunctions>> = {
  32: fmaFunctions(32, bestWay),
  64: fmaFunctions(64, bestWay),
};
