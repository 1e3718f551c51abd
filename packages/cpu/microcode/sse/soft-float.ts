// IEEE 754 single and double precision by integer arithmetic, with MXCSR's rounding, DAZ and FTZ,
// and exact exception flags. It computes what WebAssembly's arithmetic cannot, and what is too rare
// to be worth a faster way. SDM vol 1 §4.8–4.9, §10.2.3, §11.5, appendix E. Conversions are in
// soft-convert.ts.
//
// Values are bit patterns in an i64 (singles zero-extended). Inside, a finite number other than
// zero is a biased exponent and a significand with its leading one in bit 62, whose bit 0 stands
// for all that was shifted out.

import { type FunctionRef, fn } from '../../lift/function.ts';
import type { Lift } from '../../lift/lift.ts';
import type { Value } from '../../lift/value.ts';
import { S } from '../../state/layout.ts';
import { MXCSR } from './check.ts';

export interface Layout {
  readonly bits: 16 | 32 | 64;
  readonly fractionBits: number;
  readonly bias: number;
  /** Exponent field of infinities and NaNs. */
  readonly exponentMax: number;
  readonly sign: bigint;
  readonly infinity: bigint;
  /** The bit that tells a quiet NaN. */
  readonly quiet: bigint;
  readonly leastNormal: bigint;
  /** Significand bits below the last fraction bit. */
  readonly guardBits: number;
}
/** What arithmetic is done in. */
export interface Format extends Layout {
  readonly bits: 32 | 64;
}

export const SINGLE: Format = {
  bits: 32, fractionBits: 23, bias: 127, exponentMax: 255, sign: 1n << 31n, infinity: 0xffn << 23n, quiet: 1n << 22n,
  leastNormal: 1n << 23n, guardBits: 39,
}; // biome-ignore format: a format
export const DOUBLE: Format = {
  bits: 64, fractionBits: 52, bias: 1023, exponentMax: 2047, sign: 1n << 63n, infinity: 0x7ffn << 52n, quiet: 1n << 51n,
  leastNormal: 1n << 52n, guardBits: 10,
}; // biome-ignore format: a format
/** Leading bit of an unpacked significand. */
const TOP = 1n << 62n;
/** Rounding modes in MXCSR.RC. SDM vol 1 table 4-8. */
export const ROUND = { nearest: 0, down: 1, up: 2, truncate: 3 } as const;

export const defaultNaN = (f: Format): bigint => f.sign | f.infinity | f.quiet;
export const magnitude = (f: Format, v: Value): Value => v.and(f.sign - 1n);
export const holdsNaN = (f: Format, v: Value): Value => magnitude(f, v).gtu(f.infinity);
export const isSignaling = (f: Format, v: Value): Value => holdsNaN(f, v).and(v.and(f.quiet).eqz());
export const isDenormal = (f: Format, v: Value): Value =>
  magnitude(f, v)
    .sub(1n)
    .ltu(f.leastNormal - 1n);
export const isInfinite = (f: Format, v: Value): Value => magnitude(f, v).eq(f.infinity);
export const isZero = (f: Format, v: Value): Value => magnitude(f, v).eqz();
export const signOf = (f: Format, v: Value): Value => v.and(f.sign);

/** Notes an exception condition: a constant set of flags, or one computed from a condition. */
export function flag(l: Lift, flags: Value | number): void {
  l.set(S.sseFlags, l.get(S.sseFlags).or(flags));
}
const when = (condition: Value, flags: number): Value => condition.mul(flags);

/** An operand as DAZ lets it be seen. */
export function operand(l: Lift, f: Format, v: Value): Value {
  const flushed = l.get(S.mxcsr).and(MXCSR.daz).nez().and(magnitude(f, v).ltu(f.leastNormal));
  return l.let(l.select(flushed, signOf(f, v), v));
}
export function noteDenormals(l: Lift, f: Format, ...operands: Value[]): void {
  const any = operands.map((v) => isDenormal(f, v)).reduce((x, y) => x.or(y));
  flag(l, when(any, MXCSR.de));
}
export function invalid(l: Lift, f: Format): void {
  flag(l, MXCSR.ie);
  l.return(l.i64(defaultNaN(f)));
}
export function roundingMode(l: Lift): Value {
  return l.let(l.get(S.mxcsr).shru(MXCSR.rcShift).and(3));
}

interface Unpacked {
  readonly exponent: Value;
  readonly significand: Value;
}
/** Of a finite number other than zero. */
export function unpack(l: Lift, f: Format, v: Value): Unpacked {
  const exponent = l.let(magnitude(f, v).shru(f.fractionBits).i32());
  const implicit = l.select(exponent, l.i64(f.leastNormal), l.i64(0));
  const raw = l.let(
    v
      .and(f.leastNormal - 1n)
      .or(implicit)
      .shl(f.guardBits),
  );
  const shift = l.let(raw.clz().sub(1n));
  const effective = l.select(exponent, exponent, l.i32(1));
  return { exponent: l.let(effective.sub(shift.i32())), significand: l.let(raw.shl(shift)) };
}
/** Shifts right by 0 or more, keeping in bit 0 whether anything was lost. */
function shiftRightSticky(l: Lift, v: Value, count: Value): Value {
  const n = l.let(l.select(count.gtu(63), l.i32(63), count));
  const lost = v.and(l.i64(1).shl(n).sub(1n)).nez();
  return l.let(v.shru(n).or(lost.u64()));
}

// --- Rounding ---

/** How a significand with `guardBits` below its last bit is rounded in the current mode. */
function rounding(l: Lift, f: Layout, negative: Value) {
  const mode = roundingMode(l);
  const mask = (1n << BigInt(f.guardBits)) - 1n;
  const half = 1n << BigInt(f.guardBits - 1);
  const isNearest = l.let(mode.eqz());
  // Away from zero: down for negative numbers, up for positive ones.
  const isAway = l.let(mode.eq(l.select(negative, l.i32(ROUND.down), l.i32(ROUND.up))));
  const increment = l.let(
    l.select(isNearest, l.i64(half), l.select(isAway, l.i64(mask), l.i64(0))),
  );
  const round = (significand: Value) => {
    const rest = l.let(significand.and(mask));
    const isTie = isNearest.and(rest.eq(half));
    const rounded = significand.add(increment).shru(f.guardBits).and(isTie.u64().not());
    return { rounded: l.let(rounded), inexact: l.let(rest.nez()) };
  };
  return { round, increment, isNearest, isAway };
}

/** Rounds and packs; `sign` is the sign in place, the significand not zero. Notes O, U and P. */
export function roundAndPack(f: Layout): FunctionRef {
  return fn(`softRound${f.bits}`, {
    params: { sign: 'i64', exponent: 'i32', significand: 'i64' },
    result: 'i64',
    build(l, { sign, exponent, significand }) {
      const mxcsr = l.get(S.mxcsr);
      const r = rounding(l, f, sign.nez());
      const { rounded, inexact } = r.round(significand);
      l.unlikely(exponent.lts(1), () => {
        // Tininess is detected after rounding as if the exponent were unbounded.
        const carries = exponent.eqz().and(significand.add(r.increment).geu(TOP << 1n));
        const tiny = l.let(carries.eqz());
        l.if(tiny.and(mxcsr.and(MXCSR.um).eqz()), () => {
          flag(l, when(inexact, MXCSR.pe).or(MXCSR.ue));
          l.return(sign);
        });
        l.if(tiny.and(mxcsr.and(MXCSR.fz).nez()), () => {
          flag(l, MXCSR.ue | MXCSR.pe);
          l.return(sign);
        });
        const denormal = r.round(shiftRightSticky(l, significand, l.i32(1).sub(exponent)));
        flag(l, when(denormal.inexact, MXCSR.pe).or(when(denormal.inexact.and(tiny), MXCSR.ue)));
        l.return(sign.or(denormal.rounded));
      });
      const packed = l.let(exponent.sub(1).u64().shl(f.fractionBits).add(rounded));
      l.unlikely(exponent.ges(f.exponentMax).or(packed.geu(f.infinity)), () => {
        flag(l, when(inexact.or(mxcsr.and(MXCSR.om).nez()), MXCSR.pe).or(MXCSR.oe));
        const toInfinity = r.isNearest.or(r.isAway);
        l.return(sign.or(l.select(toInfinity, l.i64(f.infinity), l.i64(f.infinity - 1n))));
      });
      flag(l, when(inexact, MXCSR.pe));
      l.return(sign.or(packed));
    },
  });
}

// --- NaNs ---

/**
 * The NaN that two operands give, at least one being a NaN: the first one, made quiet. SDM vol 1
 * table 4-7.
 */
function nan(f: Format): FunctionRef {
  return fn(`softNaN${f.bits}`, {
    params: { a: 'i64', b: 'i64' },
    result: 'i64',
    build(l, { a, b }) {
      flag(l, when(isSignaling(f, a).or(isSignaling(f, b)), MXCSR.ie));
      l.return(l.select(holdsNaN(f, a), a, b).or(f.quiet));
    },
  });
}

// --- Arithmetic ---

/** a + b, or a - b when `flip` is the sign bit instead of 0. */
function add(f: Format, round: FunctionRef, nanOf: FunctionRef): FunctionRef {
  return fn(`softAdd${f.bits}`, {
    params: { a: 'i64', b: 'i64', flip: 'i64' },
    result: 'i64',
    build(l, args) {
      const a = operand(l, f, args.a);
      const unflipped = operand(l, f, args.b);
      l.unlikely(holdsNaN(f, a).or(holdsNaN(f, unflipped)), () =>
        l.return(l.call(nanOf, a, unflipped)),
      );
      const b = l.let(unflipped.xor(args.flip));
      const zero = (sum: () => Value) =>
        l.select(roundingMode(l).eq(ROUND.down), l.i64(f.sign), sum());
      l.unlikely(isInfinite(f, a).or(isInfinite(f, b)), () => {
        l.if(isInfinite(f, a).and(a.xor(b).eq(f.sign)), () => invalid(l, f));
        noteDenormals(l, f, a, b);
        l.return(l.select(isInfinite(f, a), a, b));
      });
      noteDenormals(l, f, a, b);
      l.unlikely(isZero(f, a).or(isZero(f, b)), () => {
        const other = l.let(l.select(isZero(f, a), b, a));
        l.if(isZero(f, other), () =>
          l.return(
            l.select(
              a.eq(b),
              a,
              zero(() => l.i64(0)),
            ),
          ),
        );
        const u = unpack(l, f, other);
        l.return(l.call(round, signOf(f, other), u.exponent, u.significand));
      });
      const isFirstLarger = magnitude(f, a).geu(magnitude(f, b));
      const larger = l.let(l.select(isFirstLarger, a, b));
      const smaller = l.let(l.select(isFirstLarger, b, a));
      const x = unpack(l, f, larger);
      const y = unpack(l, f, smaller);
      const aligned = shiftRightSticky(l, y.significand, x.exponent.sub(y.exponent));
      l.if(signOf(f, a.xor(b)).nez(), () => {
        const difference = l.let(x.significand.sub(aligned));
        l.if(difference.eqz(), () => l.return(zero(() => l.i64(0))));
        const shift = l.let(difference.clz().sub(1n));
        l.return(
          l.call(round, signOf(f, larger), x.exponent.sub(shift.i32()), difference.shl(shift)),
        );
      });
      const sum = l.let(x.significand.add(aligned));
      const carry = l.let(sum.shru(63));
      const shifted = sum.shru(carry).or(sum.and(carry));
      l.return(l.call(round, signOf(f, larger), x.exponent.add(carry.i32()), shifted));
    },
  });
}

/** The upper half of a 64 x 64 bit product, and the lower one. */
export function wideProduct(l: Lift, a: Value, b: Value): { high: Value; low: Value } {
  const low32 = (v: Value) => v.and(0xffff_ffffn);
  const [a0, a1, b0, b1] = [l.let(low32(a)), l.let(a.shru(32)), l.let(low32(b)), l.let(b.shru(32))];
  const least = l.let(a0.mul(b0));
  const middle = l.let(a0.mul(b1).add(least.shru(32)));
  const other = l.let(a1.mul(b0).add(low32(middle)));
  const high = l.let(a1.mul(b1).add(middle.shru(32)).add(other.shru(32)));
  return { high, low: l.let(other.shl(32).or(low32(least))) };
}

function multiply(f: Format, round: FunctionRef, nanOf: FunctionRef): FunctionRef {
  return fn(`softMultiply${f.bits}`, {
    params: { a: 'i64', b: 'i64' },
    result: 'i64',
    build(l, args) {
      const a = operand(l, f, args.a);
      const b = operand(l, f, args.b);
      l.unlikely(holdsNaN(f, a).or(holdsNaN(f, b)), () => l.return(l.call(nanOf, a, b)));
      const sign = l.let(signOf(f, a.xor(b)));
      const anyZero = l.let(isZero(f, a).or(isZero(f, b)));
      l.unlikely(isInfinite(f, a).or(isInfinite(f, b)), () => {
        l.if(anyZero, () => invalid(l, f));
        noteDenormals(l, f, a, b);
        l.return(sign.or(f.infinity));
      });
      noteDenormals(l, f, a, b);
      l.if(anyZero, () => l.return(sign));
      const x = unpack(l, f, a);
      const y = unpack(l, f, b);
      const { high, low } = wideProduct(l, x.significand, y.significand.shl(1));
      // The product of two numbers in [1, 2) is in [1, 4).
      const isLarge = l.let(high.shru(62).i32());
      const kept = l.select(isLarge, high, high.shl(1).or(low.shru(63)));
      const exponent = x.exponent.add(y.exponent).sub(f.bias).add(isLarge);
      l.return(l.call(round, sign, exponent, kept.or(low.nez().u64())));
    },
  });
}

/**
 * Quotient of two significands with its leading one at bit `top` or below, and whether a remainder
 * is left.
 */
function quotient(
  l: Lift,
  f: Format,
  a: Value,
  b: Value,
): { bits: Value; rest: Value; top: number } {
  if (f.bits === 32) {
    const divisor = l.let(b.shru(f.guardBits));
    return { bits: l.let(a.divu(divisor)), rest: a.remu(divisor), top: f.guardBits };
  }
  const top = 55;
  const rest = l.var('i64', a);
  const bits = l.var('i64', 0n);
  const left = l.var('i32', top + 1);
  l.loop((again) => {
    const fits = l.let(rest.get().geu(b));
    rest.set(
      rest
        .get()
        .sub(l.select(fits, b, l.i64(0)))
        .shl(1),
    );
    bits.set(bits.get().shl(1).or(fits.u64()));
    left.set(left.get().sub(1));
    l.if(left.get(), again);
  });
  return { bits: bits.get(), rest: rest.get(), top };
}

function divide(f: Format, round: FunctionRef, nanOf: FunctionRef): FunctionRef {
  return fn(`softDivide${f.bits}`, {
    params: { a: 'i64', b: 'i64' },
    result: 'i64',
    build(l, args) {
      const a = operand(l, f, args.a);
      const b = operand(l, f, args.b);
      l.unlikely(holdsNaN(f, a).or(holdsNaN(f, b)), () => l.return(l.call(nanOf, a, b)));
      const sign = l.let(signOf(f, a.xor(b)));
      l.unlikely(isInfinite(f, a), () => {
        l.if(isInfinite(f, b), () => invalid(l, f));
        noteDenormals(l, f, b);
        l.return(sign.or(f.infinity));
      });
      l.unlikely(isZero(f, b), () => {
        l.if(isZero(f, a), () => invalid(l, f));
        flag(l, MXCSR.ze);
        l.return(sign.or(f.infinity));
      });
      noteDenormals(l, f, a, b);
      l.if(isZero(f, a).or(isInfinite(f, b)), () => l.return(sign));
      const x = unpack(l, f, a);
      const y = unpack(l, f, b);
      const q = quotient(l, f, x.significand, y.significand);
      const shift = l.let(q.bits.clz().sub(1n));
      const exponent = x.exponent
        .sub(y.exponent)
        .add(f.bias + 62 - q.top)
        .sub(shift.i32());
      l.return(l.call(round, sign, exponent, q.bits.shl(shift).or(q.rest.nez().u64())));
    },
  });
}

function squareRoot(f: Format, round: FunctionRef, nanOf: FunctionRef): FunctionRef {
  return fn(`softSquareRoot${f.bits}`, {
    params: { a: 'i64' },
    result: 'i64',
    build(l, args) {
      const a = operand(l, f, args.a);
      l.unlikely(holdsNaN(f, a), () => l.return(l.call(nanOf, a, a)));
      l.if(isZero(f, a), () => l.return(a));
      l.if(signOf(f, a).nez(), () => invalid(l, f));
      l.if(isInfinite(f, a), () => l.return(a));
      noteDenormals(l, f, a);
      const x = unpack(l, f, a);
      const power = l.let(x.exponent.sub(f.bias));
      // Two bits of the radicand for each bit of the root, whose first is at bit `digits` - 1.
      const digits = f.fractionBits + 3;
      const radicand = l.var('i64', x.significand.shl(power.and(1)));
      const rest = l.var('i64', 0n);
      const root = l.var('i64', 0n);
      const left = l.var('i32', digits);
      l.loop((again) => {
        const pulled = l.let(rest.get().shl(2).or(radicand.get().shru(62)));
        radicand.set(radicand.get().shl(2));
        const trial = l.let(root.get().shl(2).or(1n));
        const fits = l.let(pulled.geu(trial));
        rest.set(pulled.sub(l.select(fits, trial, l.i64(0))));
        root.set(root.get().shl(1).or(fits.u64()));
        left.set(left.get().sub(1));
        l.if(left.get(), again);
      });
      const significand = root
        .get()
        .shl(63 - digits)
        .or(rest.get().nez().u64());
      l.return(l.call(round, l.i64(0), power.shrs(1).add(f.bias), significand));
    },
  });
}

// --- Comparison ---

const float = (f: Format, v: Value): Value => (f.bits === 64 ? v.float() : v.i32().float());

/** Relations, as bits of a set. */
export const RELATION = { less: 1, equal: 2, greater: 4, unordered: 8 } as const;

/** The relation of a and b. Any NaN is invalid when `signals`, else only a signaling one. */
function relate(f: Format): FunctionRef {
  return fn(`softRelate${f.bits}`, {
    params: { a: 'i64', b: 'i64', signals: 'i32' },
    result: 'i32',
    build(l, args) {
      const a = operand(l, f, args.a);
      const b = operand(l, f, args.b);
      l.unlikely(holdsNaN(f, a).or(holdsNaN(f, b)), () => {
        const isInvalid = args.signals.or(isSignaling(f, a)).or(isSignaling(f, b));
        flag(l, when(isInvalid, MXCSR.ie));
        l.return(RELATION.unordered);
      });
      noteDenormals(l, f, a, b);
      const [x, y] = [l.let(float(f, a)), l.let(float(f, b))];
      const order = l.select(x.eq(y), l.i32(RELATION.equal), l.i32(RELATION.greater));
      l.return(l.select(x.lt(y), l.i32(RELATION.less), order));
    },
  });
}

/**
 * MIN or MAX: the second operand unless the first one wins; any NaN is invalid. SDM vol 2A, MAXPD.
 */
function extreme(f: Format, name: 'Minimum' | 'Maximum', relateTo: FunctionRef): FunctionRef {
  const wanted = name === 'Minimum' ? RELATION.less : RELATION.greater;
  return fn(`soft${name}${f.bits}`, {
    params: { a: 'i64', b: 'i64' },
    result: 'i64',
    build(l, { a, b }) {
      const relation = l.call(relateTo, a, b, 1);
      l.return(l.select(relation.eq(wanted), operand(l, f, a), operand(l, f, b)));
    },
  });
}

export interface SoftFloat {
  readonly format: Format;
  readonly round: FunctionRef;
  readonly nan: FunctionRef;
  readonly add: FunctionRef;
  readonly multiply: FunctionRef;
  readonly divide: FunctionRef;
  readonly squareRoot: FunctionRef;
  readonly relate: FunctionRef;
  readonly minimum: FunctionRef;
  readonly maximum: FunctionRef;
}

function softFloat(format: Format): SoftFloat {
  const round = roundAndPack(format);
  const nanOf = nan(format);
  const relateTo = relate(format);
  return {
    format,
    round,
    nan: nanOf,
    add: add(format, round, nanOf),
    multiply: multiply(format, round, nanOf),
    divide: divide(format, round, nanOf),
    squareRoot: squareRoot(format, round, nanOf),
    relate: relateTo,
    minimum: extreme(format, 'Minimum', relateTo),
    maximum: extreme(format, 'Maximum', relateTo),
  };
}

/** All operations for a width. */
export const SOFT: Readonly<Record<32 | 64, SoftFloat>> = {
  32: softFloat(SINGLE),
  64: softFloat(DOUBLE),
};
