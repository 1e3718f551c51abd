// Floating-point operations as SSE and AVX share them: what WebAssembly does quickly, the tests that say whether that
// will do, and what happens lane by lane when it will not. SDM vol 1 §10.4.1, §11.4.1, §12.3, §12.10, §14.4.
//
// WebAssembly's arithmetic is used where it is exact: rounding to nearest, everything masked, and nothing to note that
// is not sticky already. sse-fast.ts says when; all else goes through microcode/sse/soft-float.ts.

import type { FunctionRef } from '../lift/function.ts';
import type { Lift } from '../lift/lift.ts';
import { constant, type Value } from '../lift/value.ts';
import { MXCSR } from '../microcode/sse/check.ts';
import type { Computed, Operation } from '../microcode/sse/inexact.ts';
import {
  type Lane,
  type Rounded,
  scalarFunction,
  vectorFunction,
  type Width,
  wideFunction,
} from '../microcode/sse/lanes.ts';
import {
  anyTrue,
  type Guard,
  plainGuards,
  roundsSpecially,
  unlessPlain,
  when,
} from '../microcode/sse/plain.ts';
import { softToIntegral } from '../microcode/sse/soft-convert.ts';
import { SOFT } from '../microcode/sse/soft-float.ts';
import { S } from '../state/layout.ts';
import { type OperandSpec, Vd, Vq, Vx, Wd, Wq, Wx } from './instruction.ts';
import { quickGuards } from './sse-fast.ts';

/** The four sorts of floating-point instruction by mandatory prefix. */
export interface Sort {
  readonly suffix: 'PS' | 'PD' | 'SS' | 'SD';
  readonly prefix: 'NP' | '66' | 'F3' | 'F2';
  readonly width: Width;
  readonly isPacked: boolean;
  readonly feature: string;
  readonly operands: readonly [OperandSpec, OperandSpec];
  readonly shape: 'f32x4' | 'f64x2' | 'f32' | 'f64';
}

const SINGLE = { width: 32, feature: 'SSE' } as const;
const DOUBLE = { width: 64, feature: 'SSE2' } as const;
const PACKED = { isPacked: true, operands: [Vx, Wx] } as const;
const ONE_SINGLE = { isPacked: false, operands: [Vd, Wd], ...SINGLE } as const;
const ONE_DOUBLE = { isPacked: false, operands: [Vq, Wq], ...DOUBLE } as const;
export const PS: Sort = { suffix: 'PS', prefix: 'NP', ...SINGLE, ...PACKED, shape: 'f32x4' };
export const PD: Sort = { suffix: 'PD', prefix: '66', ...DOUBLE, ...PACKED, shape: 'f64x2' };
export const SS: Sort = { suffix: 'SS', prefix: 'F3', ...ONE_SINGLE, shape: 'f32' };
export const SD: Sort = { suffix: 'SD', prefix: 'F2', ...ONE_DOUBLE, shape: 'f64' };
export const SORTS: readonly Sort[] = [PS, PD, SS, SD];

// --- Operations ---

/** Operands and results are vectors or, of scalars, floats; a scalar comparison gives a mask as wide as they are. */
export interface FloatOperation {
  /** With its suffix: 'ADDPS'. */
  readonly name: string;
  readonly sort: Sort;
  /** Reads only the second operand. */
  readonly isUnary: boolean;
  /** Brings the operands' lanes in order first. */
  readonly arrange: ((l: Lift, a: Value, b: Value) => readonly [Value, Value]) | undefined;
  readonly quick: (l: Lift, a: Value, b: Value, control: Value) => Value;
  /** The tests of the quick way, of one vector or of both halves of two. */
  readonly guards: (l: Lift, halves: readonly Operands[]) => readonly Guard[];
  /** The careful way; of packed operations also for 256 bits. */
  readonly slow: FunctionRef;
  readonly wide: FunctionRef;
}
interface Operands {
  readonly a: Value;
  readonly b: Value;
  readonly quick: Value;
  readonly control: Value;
}

function operation(
  o: Pick<FloatOperation, 'name' | 'sort' | 'quick' | 'guards'> &
    Partial<FloatOperation> & { readonly lane: Lane; readonly rounded?: Rounded },
): FloatOperation {
  const { name, lane, rounded } = o;
  const { width, isPacked } = o.sort;
  const first = rounded && { width, operation: rounded.lane(0) };
  const slow = isPacked
    ? vectorFunction(`sse${name}`, width, lane, rounded)
    : scalarFunction(`sse${name}`, (l, a, b, c) => lane(l, a, b, 0, c), first);
  return {
    isUnary: false,
    arrange: undefined,
    slow,
    wide: wideFunction(`avx${name}`, width, lane, rounded),
    ...o,
  };
}

/** An operation that rounds; `signs` flips some of the second operand's first. */
function rounding(
  o: Pick<FloatOperation, 'name' | 'sort'> &
    Partial<FloatOperation> & {
      readonly operation: Operation;
      readonly signs?: Value;
      readonly lane: Lane;
      readonly ofLane?: (lane: number) => Operation;
    },
): FloatOperation {
  const { signs, ofLane, operation: name, ...rest } = o;
  const { shape } = o.sort;
  const compute = (l: Lift, a: Value, b: Value): Value =>
    name === 'sqrt' ? l.op(`${shape}.sqrt`, b) : l.op(`${shape}.${name}`, a, b);
  const flip = (l: Lift, b: Value): Value => (signs ? l.let(b.xor(signs)) : b);
  const computed = (l: Lift, a: Value, second: Value, result?: Value): Computed => {
    const b = flip(l, second);
    return { operation: name, shape, a, b, result: result ?? l.let(compute(l, a, b)) };
  };
  return operation({
    ...rest,
    quick: (l, a, b) => compute(l, a, flip(l, b)),
    guards: (l, halves) =>
      quickGuards(
        l,
        halves.map(({ a, b, quick }) => computed(l, a, b, quick)),
      ),
    rounded: { whole: computed, lane: ofLane ?? (() => name) },
  });
}

/** The result in 128 bits or a scalar. `a` is ignored by an operation of one operand. */
export function compute(
  l: Lift,
  o: FloatOperation,
  first: Value,
  second: Value,
  control: Value = l.i32(0),
): Value {
  const [a, b] = o.arrange ? o.arrange(l, first, second) : [first, second];
  const quick = l.let(o.quick(l, a, b, control));
  const result = l.var(quick.type, quick);
  unlessPlain(l, o.guards(l, [{ a, b, quick, control }]), () => {
    const value = careful(l, o.sort, o.slow, a, b, control);
    result.set(value.type === quick.type ? value : value.bits());
  });
  return result.get();
}

/** The result in 256 bits, both halves or none by the quick way. */
export function computeWide(
  l: Lift,
  o: FloatOperation,
  first: readonly Value[],
  second: readonly Value[],
  control: Value = l.i32(0),
): Value[] {
  const pairs = first.map((a, n) =>
    o.arrange ? o.arrange(l, a, second[n]!) : ([a, second[n]!] as const),
  );
  const quick = pairs.map(([a, b]) => l.let(o.quick(l, a, b, control)));
  const result = quick.map((value) => l.var('v128', value));
  const halves = pairs.map(([a, b], n) => ({ a, b, quick: quick[n]!, control }));
  unlessPlain(l, o.guards(l, halves), () => {
    const [[a0, b0], [a1, b1]] = pairs as [readonly [Value, Value], readonly [Value, Value]];
    result[0]!.set(l.call(o.wide, a0, a1, b0, b1, control));
    result[1]!.set(l.get(S.scratch));
  });
  return result.map((value) => value.get());
}

/** Calls the careful function of a sort. */
function careful(
  l: Lift,
  sort: Sort,
  callee: FunctionRef,
  a: Value,
  b: Value,
  control: Value,
): Value {
  if (sort.isPacked) return l.call(callee, a, b, control);
  const result = l.call(callee, a.bits().u64(), b.bits().u64(), control);
  return sort.width === 64 ? result.float() : result.i32().float();
}

// --- Arithmetic ---

type Soft = (l: Lift, width: Width, a: Value, b: Value, lane: number) => Value;
interface Arithmetic {
  readonly name: string;
  readonly opcode: string;
  /** WebAssembly's name of it; minima and maxima do not round. */
  readonly operation: Operation | 'pmin' | 'pmax';
  readonly soft: Soft;
}

const SIGN = { 32: 1n << 31n, 64: 1n << 63n } as const;
const softAdd: Soft = (l, width, a, b) => l.call(SOFT[width].add, a, b, 0n);
const softSubtract: Soft = (l, width, a, b) => l.call(SOFT[width].add, a, b, SIGN[width]);
const softMultiply: Soft = (l, width, a, b) => l.call(SOFT[width].multiply, a, b);

const ARITHMETIC: readonly Arithmetic[] = [
  { name: 'ADD', opcode: '0F 58', operation: 'add', soft: softAdd },
  { name: 'MUL', opcode: '0F 59', operation: 'mul', soft: softMultiply },
  { name: 'SUB', opcode: '0F 5C', operation: 'sub', soft: softSubtract },
  { name: 'DIV', opcode: '0F 5E', operation: 'div', soft: (l, w, a, b) => l.call(SOFT[w].divide, a, b) },
  { name: 'MIN', opcode: '0F 5D', operation: 'pmin', soft: (l, w, a, b) => l.call(SOFT[w].minimum, a, b) },
  { name: 'MAX', opcode: '0F 5F', operation: 'pmax', soft: (l, w, a, b) => l.call(SOFT[w].maximum, a, b) },
  { name: 'SQRT', opcode: '0F 51', operation: 'sqrt', soft: (l, w, _a, b) => l.call(SOFT[w].squareRoot, b) },
]; // biome-ignore format: a table

/**
 * a if it compares so with b, else b: what WebAssembly's pseudo-minimum is with its operands
 * exchanged.
 */
function extreme(pseudo: string) {
  return (l: Lift, shape: string, a: Value, b: Value): Value => {
    if (shape.includes('x')) return l.op(`${shape}.${pseudo}`, b, a);
    const vector = shape === 'f64' ? 'f64x2' : 'f32x4';
    const spread = (v: Value) => l.op(`${vector}.splat`, v);
    return l.lanes(
      `${vector}.extract_lane`,
      [0],
      l.op(`${vector}.${pseudo}`, spread(b), spread(a)),
    );
  };
}

function arithmetic(row: Arithmetic, sort: Sort): FloatOperation {
  const { operation: name } = row;
  const lane: Lane = (l, a, b, n) => row.soft(l, sort.width, a, b, n);
  const common = { name: `${row.name}${sort.suffix}`, sort, isUnary: name === 'sqrt', lane };
  if (name !== 'pmin' && name !== 'pmax') return rounding({ ...common, operation: name });
  return operation({
    ...common,
    quick: (l, a, b) => extreme(name)(l, sort.shape, a, b),
    guards: (l, halves) => halves.flatMap(({ a, b }) => orderGuards(l, sort, a, b)),
  });
}
const orderGuards = (l: Lift, sort: Sort, a: Value, b: Value): Guard[] =>
  plainGuards(l, 'order', sort.shape, [a, b], a);

/** By opcode, in all four sorts. */
export const ARITHMETIC_OPERATIONS: readonly (readonly [opcode: string, FloatOperation])[] =
  ARITHMETIC.flatMap((row) => SORTS.map((sort) => [row.opcode, arithmetic(row, sort)] as const));

/** Even and odd lanes of both sources. */
function deinterleave(l: Lift, width: Width, a: Value, b: Value): [Value, Value] {
  const unit = width / 8;
  const pick = (odd: number) =>
    Array.from({ length: 16 }, (_, i) => {
      const lane = Math.floor(i / unit) * 2 + odd;
      return lane * unit + (i % unit);
    });
  return [
    l.let(l.lanes('i8x16.shuffle', pick(0), a, b)),
    l.let(l.lanes('i8x16.shuffle', pick(1), a, b)),
  ];
}

function horizontal(name: string, soft: Soft, rounds: 'add' | 'sub', sort: Sort): FloatOperation {
  return rounding({
    name: `${name}${sort.suffix}`,
    sort,
    arrange: (l, a, b) => deinterleave(l, sort.width, a, b),
    operation: rounds,
    lane: (l, a, b, lane) => soft(l, sort.width, a, b, lane),
  });
}

/** ADDSUBPS: even lanes are subtracted, odd ones added. */
function alternating(sort: Sort): FloatOperation {
  const signs = new Uint8Array(16);
  for (let at = 0; at < 16; at += sort.width / 4) signs[at + sort.width / 8 - 1] = 0x80;
  return rounding({
    name: `ADDSUB${sort.suffix}`,
    sort,
    operation: 'add',
    signs: constant('v128', signs),
    lane: (l, a, b, lane) => (lane % 2 ? softAdd : softSubtract)(l, sort.width, a, b, lane),
    ofLane: (lane) => (lane % 2 ? 'add' : 'sub'),
  });
}
/** Of SSE3, packed only. */
export const NEIGHBOUR_OPERATIONS: readonly (readonly [opcode: string, FloatOperation])[] = [
  PS,
  PD,
].flatMap((sort) => [
  ['0F 7C', horizontal('HADD', softAdd, 'add', sort)] as const,
  ['0F 7D', horizontal('HSUB', softSubtract, 'sub', sort)] as const,
  ['0F D0', alternating(sort)] as const,
]);

// --- Comparison ---

/**
 * For each predicate the set of relations that satisfy it, four bits each from predicate 0 on; 16
 * to 31 are as 0 to 15. SDM vol 2A table 3-1.
 */
const PREDICATES = [
  0x2, 0x1, 0x3, 0x8, 0xd, 0xe, 0xc, 0x7, 0xa, 0x9, 0xb, 0x0, 0x5, 0x6, 0x4, 0xf,
].reduce((all, set, n) => all | (BigInt(set) << BigInt(4 * n)), 0n);
/** Predicates that any NaN makes invalid: LT, LE, NLT, NLE and their like; from 16 on the others are. */
const SIGNALING_PREDICATES = 0x9999_6666;

/** All ones if the predicate (0–31, SSE has 0–7) holds. */
function softCompare(l: Lift, width: Width, a: Value, b: Value, predicate: Value): Value {
  const signals = l
    .i32(SIGNALING_PREDICATES | 0)
    .shru(predicate)
    .and(1);
  const relation = l.call(SOFT[width].relate, a, b, signals);
  const set = l.i64(PREDICATES).shru(predicate.and(15).shl(2)).i32();
  return set.and(relation).nez().u64().neg();
}

/** The comparison of each predicate without NaNs, for which 8 to 31 are as 0 to 7. */
const QUICK_COMPARISONS = ['eq', 'lt', 'le', undefined, 'ne', 'ge', 'gt', undefined] as const;

function quickCompare(l: Lift, sort: Sort, x: Value, y: Value, predicate: Value): Value {
  const never = sort.isPacked ? constant('v128', new Uint8Array(16)) : l.i32(0);
  const result = l.var(never.type, never);
  const always = () => (sort.isPacked ? l.op('v128.not', never) : l.i32(1));
  const cases = QUICK_COMPARISONS.map((name, n) => () => {
    if (name) result.set(l.op(`${sort.shape}.${name}`, x, y));
    else if (n === 7) result.set(always());
  });
  l.switch(predicate, cases);
  if (sort.isPacked) return result.get();
  const mask = result.get().neg();
  return sort.width === 64 ? mask.s64() : mask;
}

/** `control` is the predicate: 0–7, of AVX 0–31. */
export const COMPARISONS: readonly FloatOperation[] = SORTS.map((sort) =>
  operation({
    name: `CMP${sort.suffix}`,
    sort,
    quick: (l, a, b, predicate) => quickCompare(l, sort, a, b, l.let(predicate.and(7))),
    guards: (l, halves) => halves.flatMap(({ a, b }) => orderGuards(l, sort, a, b)),
    lane: (l, a, b, _lane, predicate) => softCompare(l, sort.width, a, b, predicate),
  }),
);

// --- Rounding ---

const ROUND_OPCODE = { PS: '08', PD: '09', SS: '0A', SD: '0B' } as const;

/** Rounded in the mode of the immediate, or MXCSR's when it says so. */
function quickRound(l: Lift, sort: Sort, x: Value, control: Value): Value {
  const mode = l.choose(
    control.bit(2),
    'i32',
    () => l.get(S.mxcsr).shru(MXCSR.rcShift).and(3),
    () => control.and(3),
  );
  const result = l.var(x.type, x);
  const modes = ['nearest', 'floor', 'ceil', 'trunc'];
  l.switch(
    mode,
    modes.map((name) => () => result.set(l.op(`${sort.shape}.${name}`, x))),
  );
  return result.get();
}

/** `control` is the immediate. */
export const ROUNDINGS: readonly (readonly [opcode: string, FloatOperation])[] = SORTS.map(
  (sort) => {
    const any = (l: Lift, v: Value) => (sort.isPacked ? anyTrue(l, v) : v);
    const differ = (l: Lift, a: Value, b: Value) => l.op(`${sort.shape}.ne`, a, b);
    const toIntegral = operation({
      name: `ROUND${sort.suffix}`,
      sort,
      isUnary: true,
      quick: (l, _a, b, control) => quickRound(l, sort, b, control),
      guards: (l, halves) =>
        halves.flatMap(({ b, quick, control }) => [
          when(l, any(l, differ(l, b, b))),
          when(l, l.get(S.mxcsr).and(MXCSR.daz)),
          when(
            l,
            any(l, differ(l, quick, b))
              .and(control.bit(3).eqz())
              .and(roundsSpecially(l)),
          ),
        ]),
      lane: (l, _a, b, _lane, control) => l.call(softToIntegral[sort.width], b, control),
    });
    return [`0F 3A ${ROUND_OPCODE[sort.suffix]}`, toIntegral] as const;
  },
);
