// Fused multiply-add of whole vectors. The quick way is exact where it is taken: of singles the product is exact in
// double precision, of doubles as the sum of two (Dekker), and rounding to odd before the last rounding makes two
// roundings one: Boldo and Melquiond, Emulation of FMA and correctly rounded sums (IEEE Trans. Computers 57, 2008).
// Everything else goes lane by lane through soft-fma.ts.

import { type FunctionRef, fn } from '../../lift/function.ts';
import type { Lift } from '../../lift/lift.ts';
import { constant, type Value } from '../../lift/value.ts';
import { S } from '../../state/layout.ts';
import { MXCSR, reportSse } from '../sse/check.ts';
import { begin, laneCount, laneOf, type Width, withLane } from '../sse/lanes.ts';
import { SOFT_FMA } from './soft-fma.ts';

/** Rounding to nearest, inexactness masked and noted already, no flushing to zero. */
const QUICK_BITS = MXCSR.rc | MXCSR.fz | MXCSR.pm | MXCSR.pe;
const QUICK_VALUE = MXCSR.pm | MXCSR.pe;

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
  const least = 2 ** -126;
  const most = 2 ** 127 * (2 - 2 ** -23);
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
  } else isZero = l.let(l.lanes('i8x16.shuffle', EVEN_DWORDS, isZero, isZero));
  // Above the least normal number, or zero that is exact.
  const s = size(result);
  const normal = both(op('gt', s, splat(32, least)), op('le', s, splat(32, most)));
  return { result, isRight: both(plain, l.op('v128.or', normal, isZero)) };
}
const LOW_HALVES = [0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23];
const EVEN_DWORDS = [0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27];

interface Halves {
  readonly a: readonly Value[];
  readonly b: readonly Value[];
  readonly c: readonly Value[];
  readonly flipProduct: Value;
  readonly flipAddend: Value;
}

/** The results of one or two halves, of which `lanes` lanes count; exceptions are reported before it gives them. */
function compute(
  l: Lift,
  width: Width,
  lanes: number,
  o: Halves,
  give: (v: Value[]) => void,
): void {
  l.if(l.get(S.mxcsr).and(QUICK_BITS).eq(QUICK_VALUE), () => {
    const quick = o.a.map((a, n) =>
      quickly(
        l,
        width,
        {
          a: l.let(l.op('v128.xor', a, o.flipProduct)),
          b: o.b[n]!,
          c: l.let(l.op('v128.xor', o.c[n]!, o.flipAddend)),
        },
        lanes,
      ),
    );
    const isRight = quick.map((q) => q.isRight).reduce((x, y) => l.op('v128.and', x, y));
    l.if(l.op('i32x4.all_true', isRight), () => give(quick.map((q) => q.result)));
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

function narrow(width: Width, lanes: number): FunctionRef {
  return fn(`fma${width}x${lanes}`, {
    params: { a: 'v128', b: 'v128', c: 'v128', flipProduct: 'v128', flipAddend: 'v128' },
    result: 'v128',
    faults: true,
    build: (l, { a, b, c, flipProduct, flipAddend }) =>
      compute(l, width, lanes, { a: [a], b: [b], c: [c], flipProduct, flipAddend }, ([v]) =>
        l.return(v!),
      ),
  });
}
function wide(width: Width): FunctionRef {
  return fn(`fma${width}x${2 * laneCount(width)}`, {
    params: {
      a0: 'v128', a1: 'v128', b0: 'v128', b1: 'v128', c0: 'v128', c1: 'v128', flipProduct: 'v128', flipAddend: 'v128',
    }, // biome-ignore format: one line
    result: 'v128',
    faults: true,
    build(l, { a0, a1, b0, b1, c0, c1, flipProduct, flipAddend }) {
      const halves = { a: [a0, a1], b: [b0, b1], c: [c0, c1], flipProduct, flipAddend };
      compute(l, width, laneCount(width), halves, ([low, high]) => {
        l.set(S.scratch, high!);
        l.return(low!);
      });
    },
  });
}

/**
 * By width. Signs to be flipped are given as masks, all zeros or sign bits. `scalar` and `packed` take vectors, the
 * former with its operands in every lane; `wide` takes low and high halves in turn and leaves the high half of the
 * result in S.scratch.
 */
export const FMA: Readonly<
  Record<
    Width,
    { readonly scalar: FunctionRef; readonly packed: FunctionRef; readonly wide: FunctionRef }
  >
> = {
  32: { scalar: narrow(32, 1), packed: narrow(32, 4), wide: wide(32) },
  64: { scalar: narrow(64, 1), packed: narrow(64, 2), wide: wide(64) },
};
