// Floating-point arithmetic, comparison and rounding of SSE to SSE4.1. SDM vol 1 §10.4.1, §11.4.1,
// §12.3, §12.10.
//
// WebAssembly's arithmetic is used where it is exact: rounding to nearest, everything masked, and
// nothing to note that is not sticky already. sse-fast.ts says when; all else goes lane by lane
// through microcode/sse/soft-float.ts.

import type { FunctionRef } from '../lift/function.ts';
import type { Lift } from '../lift/lift.ts';
import { constant, type Value } from '../lift/value.ts';
import { MXCSR } from '../microcode/sse/check.ts';
import { dotProduct } from '../microcode/sse/dot-product.ts';
import type { Operation } from '../microcode/sse/inexact.ts';
import { scalarFunction, vectorFunction, type Width } from '../microcode/sse/lanes.ts';
import { softToIntegral } from '../microcode/sse/soft-convert.ts';
import { RELATION, SOFT } from '../microcode/sse/soft-float.ts';
import { S } from '../state/layout.ts';
import {
  form,
  Ib,
  type Instruction,
  instruction,
  type LiftOperand,
  type OperandSpec,
  SSE,
  Vd,
  Vq,
  Vx,
  Wd,
  Wq,
  Wx,
} from './instruction.ts';
import {
  anyTrue,
  type FloatKind,
  ifDisordered,
  quickly,
  roundsSpecially,
  unlessPlain,
  when,
} from './sse-fast.ts';
import { readFloat, source, writeFloat } from './sse-operands.ts';

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
export const PS: Sort = {
  suffix: 'PS',
  prefix: 'NP',
  width: 32,
  isPacked: true,
  feature: 'SSE',
  operands: [Vx, Wx],
  shape: 'f32x4',
};
export const PD: Sort = {
  suffix: 'PD',
  prefix: '66',
  width: 64,
  isPacked: true,
  feature: 'SSE2',
  operands: [Vx, Wx],
  shape: 'f64x2',
};
export const SS: Sort = {
  suffix: 'SS',
  prefix: 'F3',
  width: 32,
  isPacked: false,
  feature: 'SSE',
  operands: [Vd, Wd],
  shape: 'f32',
};
export const SD: Sort = {
  suffix: 'SD',
  prefix: 'F2',
  width: 64,
  isPacked: false,
  feature: 'SSE2',
  operands: [Vq, Wq],
  shape: 'f64',
};
export const SORTS: readonly Sort[] = [PS, PD, SS, SD];

/** Reads operands as the sort's fast operations take them: floats or vectors. */
export const readSource = (l: Lift, sort: Sort, operand: LiftOperand): Value =>
  sort.isPacked ? source(l, operand) : readFloat(l, operand);
export const readTarget = (l: Lift, sort: Sort, operand: LiftOperand): Value =>
  sort.isPacked ? l.let(operand.read()) : readFloat(l, operand);
function writeTarget(l: Lift, operand: LiftOperand, value: Value): void {
  if (value.type === 'v128') operand.write(value);
  else writeFloat(l, operand, value);
}

/** Calls the careful function of a sort. */
export function careful(
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

export type Soft = (l: Lift, width: Width, a: Value, b: Value, lane: number) => Value;
export interface Arithmetic {
  readonly name: string;
  readonly opcode: string;
  readonly kind: FloatKind;
  readonly soft: Soft;
  /** What the careful way tries first; minima and maxima do not round. */
  readonly rounds?: Operation;
  /** Reads only the source. */
  readonly isUnary?: boolean;
  readonly quick: (l: Lift, shape: string, a: Value, b: Value) => Value;
}

const SIGN = { 32: 1n << 31n, 64: 1n << 63n } as const;
export const softAdd: Soft = (l, width, a, b) => l.call(SOFT[width].add, a, b, 0n);
export const softSubtract: Soft = (l, width, a, b) => l.call(SOFT[width].add, a, b, SIGN[width]);
const softMultiply: Soft = (l, width, a, b) => l.call(SOFT[width].multiply, a, b);
const binary = (name: string) => (l: Lift, shape: string, a: Value, b: Value) =>
  l.op(`${shape}.${name}`, a, b);

export const ARITHMETIC: readonly Arithmetic[] = [
  { name: 'ADD', opcode: '0F 58', kind: 'sum', soft: softAdd, rounds: 'add', quick: binary('add') },
  { name: 'MUL', opcode: '0F 59', kind: 'product', soft: softMultiply, rounds: 'mul', quick: binary('mul') },
  { name: 'SUB', opcode: '0F 5C', kind: 'sum', soft: softSubtract, rounds: 'sub', quick: binary('sub') },
  { name: 'DIV', opcode: '0F 5E', kind: 'product', soft: (l, w, a, b) => l.call(SOFT[w].divide, a, b), rounds: 'div', quick: binary('div') },
  { name: 'MIN', opcode: '0F 5D', kind: 'order', soft: (l, w, a, b) => l.call(SOFT[w].minimum, a, b), quick: extreme('pmin') },
  { name: 'MAX', opcode: '0F 5F', kind: 'order', soft: (l, w, a, b) => l.call(SOFT[w].maximum, a, b), quick: extreme('pmax') },
  { name: 'SQRT', opcode: '0F 51', kind: 'root', soft: (l, w, _a, b) => l.call(SOFT[w].squareRoot, b), rounds: 'sqrt', quick: (l, shape, _a, b) => l.op(`${shape}.sqrt`, b), isUnary: true },
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

export function slowArithmetic(row: Arithmetic, sort: Sort): FunctionRef {
  const { rounds } = row;
  const { width } = sort;
  const name = `sse${row.name}${sort.suffix}`;
  return sort.isPacked
    ? vectorFunction(
        name,
        width,
        (l, a, b, lane) => row.soft(l, width, a, b, lane),
        rounds && (() => rounds),
      )
    : scalarFunction(
        name,
        (l, a, b) => row.soft(l, width, a, b, 0),
        rounds && { width, operation: rounds },
      );
}

function arithmetic(row: Arithmetic, sort: Sort): Instruction {
  const name = `${row.name}${sort.suffix}`;
  const slow = slowArithmetic(row, sort);
  return instruction({
    name,
    manual: `SDM vol 2, ${name}`,
    feature: sort.feature,
    forms: [form(`${sort.prefix} ${row.opcode} /r`, ...sort.operands, SSE)],
    exceptions: '#XM',
    lift(l, _i, dst, src) {
      const b = readSource(l, sort, src!);
      const a = row.isUnary ? b : readTarget(l, sort, dst!);
      const quick = l.let(row.quick(l, sort.shape, a, b));
      const operands = row.isUnary ? [b] : [a, b];
      const result = quickly(l, row.kind, sort.shape, operands, quick, () =>
        careful(l, sort, slow, a, b, l.i32(0)),
      );
      writeTarget(l, dst!, result);
    },
  });
}

// --- SSE3: neighbours ---

/** Even and odd lanes of both sources. */
export function deinterleave(l: Lift, width: Width, a: Value, b: Value): [Value, Value] {
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

function horizontal(
  name: string,
  opcode: string,
  soft: Soft,
  operation: 'add' | 'sub',
  sort: Sort,
): Instruction {
  const full = `${name}${sort.suffix}`;
  const slow = vectorFunction(
    `sse${full}`,
    sort.width,
    (l, a, b, lane) => soft(l, sort.width, a, b, lane),
    () => operation,
  );
  return instruction({
    name: full,
    manual: `SDM vol 2A, ${full}`,
    feature: 'SSE3',
    forms: [form(`${sort === PS ? 'F2' : '66'} ${opcode} /r`, Vx, Wx, SSE)],
    exceptions: '#XM',
    lift(l, _i, dst, src) {
      const second = source(l, src!);
      const [a, b] = deinterleave(l, sort.width, l.let(dst!.read()), second);
      const quick = l.let(l.op(`${sort.shape}.${operation}`, a, b));
      dst!.write(quickly(l, 'sum', sort.shape, [a, b], quick, () => l.call(slow, a, b, 0)));
    },
  });
}

/** ADDSUBPS: even lanes are subtracted, odd ones added. */
function alternating(sort: Sort): Instruction {
  const name = `ADDSUB${sort.suffix}`;
  const slow = vectorFunction(
    `sse${name}`,
    sort.width,
    (l, a, b, lane) => (lane % 2 ? softAdd : softSubtract)(l, sort.width, a, b, lane),
    (lane) => (lane % 2 ? 'add' : 'sub'),
  );
  const signs = new Uint8Array(16);
  for (let at = 0; at < 16; at += sort.width / 4) signs[at + sort.width / 8 - 1] = 0x80;
  return instruction({
    name,
    manual: `SDM vol 2A, ${name}`,
    feature: 'SSE3',
    forms: [form(`${sort === PS ? 'F2' : '66'} 0F D0 /r`, Vx, Wx, SSE)],
    exceptions: '#XM',
    lift(l, _i, dst, src) {
      const b = source(l, src!);
      const a = l.let(dst!.read());
      const quick = l.let(
        l.op(`${sort.shape}.add`, a, l.op('v128.xor', b, constant('v128', signs))),
      );
      dst!.write(quickly(l, 'sum', sort.shape, [a, b], quick, () => l.call(slow, a, b, 0)));
    },
  });
}

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
export function softCompare(l: Lift, width: Width, a: Value, b: Value, predicate: Value): Value {
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

export function quickCompare(l: Lift, sort: Sort, x: Value, y: Value, predicate: Value): Value {
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

function compare(sort: Sort): Instruction {
  const name = `CMP${sort.suffix}`;
  const slow = sort.isPacked
    ? vectorFunction(`sse${name}`, sort.width, (l, a, b, _lane, c) =>
        softCompare(l, sort.width, a, b, c),
      )
    : scalarFunction(`sse${name}`, (l, a, b, c) => softCompare(l, sort.width, a, b, c));
  return instruction({
    name,
    manual: `SDM vol 2A, ${name}`,
    feature: sort.feature,
    forms: [form(`${sort.prefix} 0F C2 /r`, ...sort.operands, Ib, SSE)],
    exceptions: '#XM',
    lift(l, _i, dst, src, immediate) {
      const predicate = l.let(immediate!.read().i32().and(7));
      const b = readSource(l, sort, src!);
      const a = readTarget(l, sort, dst!);
      const quick = quickCompare(l, sort, a, b, predicate);
      const result = l.var(quick.type, quick);
      ifDisordered(l, sort.shape, [a, b], () => {
        const value = careful(l, sort, slow, a, b, predicate);
        result.set(sort.isPacked ? value : value.bits());
      });
      dst!.write(result.get());
    },
  });
}

/** UCOMISx and COMISx: ZF, PF, CF; the others are cleared. COMIS objects to any NaN. */
function compareFlags(name: string, opcode: string, signals: 0 | 1, sort: Sort): Instruction {
  const full = `${name}${sort.suffix}`;
  const slow = scalarFunction(`sse${full}`, (l, a, b) =>
    l.call(SOFT[sort.width].relate, a, b, signals).u64(),
  );
  return instruction({
    name: full,
    manual: `SDM vol 2, ${full}`,
    feature: sort.feature,
    forms: [form(`${sort === SS ? 'NP' : '66'} ${opcode} /r`, ...sort.operands, SSE)],
    access: ['r', 'r'],
    flags: { writes: 'OSZAPC' },
    exceptions: '#XM',
    lift(l, _i, dst, src) {
      const b = readSource(l, sort, src!);
      const a = readTarget(l, sort, dst!);
      const isBelow = l.var('i32', a.lt(b));
      const isDifferent = l.var('i32', a.ne(b));
      const isOrdered = l.var('i32', 1);
      ifDisordered(l, sort.shape, [a, b], () => {
        const relation = l.call(slow, a.bits().u64(), b.bits().u64(), 0).i32();
        isOrdered.set(relation.and(RELATION.unordered).eqz());
        isBelow.set(relation.and(RELATION.unordered | RELATION.less).nez());
        isDifferent.set(relation.and(RELATION.unordered | RELATION.equal).eqz());
      });
      l.set(S.flagC, isBelow.get());
      l.set(S.flagZ, isDifferent.get().u64());
      // An odd byte has PF clear, an even one has it set; SF is clear.
      l.set(S.flagSP, isOrdered.get().u64());
      l.set(S.flagO, 0n);
      l.set(S.flagA, 0);
    },
  });
}

// --- SSE4.1: rounding and dot products ---

export const ROUND_OPCODE = { PS: '08', PD: '09', SS: '0A', SD: '0B' } as const;

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

function roundTo(sort: Sort): Instruction {
  const name = `ROUND${sort.suffix}`;
  const slow = sort.isPacked
    ? vectorFunction(`sse${name}`, sort.width, (l, _a, b, _lane, c) =>
        l.call(softToIntegral[sort.width], b, c),
      )
    : scalarFunction(`sse${name}`, (l, _a, b, c) => l.call(softToIntegral[sort.width], b, c));
  return instruction({
    name,
    manual: `SDM vol 2B, ${name}`,
    feature: 'SSE4.1',
    forms: [form(`66 0F 3A ${ROUND_OPCODE[sort.suffix]} /r`, ...sort.operands, Ib, SSE)],
    access: ['w', 'r', 'r'],
    exceptions: '#XM',
    lift(l, _i, dst, src, immediate) {
      const control = l.let(immediate!.read().i32());
      const b = readSource(l, sort, src!);
      const quick = quickRound(l, sort, b, control);
      const result = l.var(quick.type, quick);
      const differs = l.op(`${sort.shape}.ne`, quick, b);
      const any = (v: Value) => (sort.isPacked ? anyTrue(l, v) : v);
      unlessPlain(
        l,
        [
          when(l, any(l.op(`${sort.shape}.ne`, b, b))),
          when(l, l.get(S.mxcsr).and(MXCSR.daz)),
          when(l, any(differs).and(control.bit(3).eqz()).and(roundsSpecially(l))),
        ],
        () => result.set(careful(l, sort, slow, b, b, control)),
      );
      writeTarget(l, dst!, result.get());
    },
  });
}

function dot(sort: Sort): Instruction {
  const callee = dotProduct(`sseDP${sort.suffix}`, sort.width);
  return instruction({
    name: `DP${sort.suffix}`,
    manual: `SDM vol 2A, DP${sort.suffix}`,
    feature: 'SSE4.1',
    forms: [form(`66 0F 3A ${sort === PS ? '40' : '41'} /r`, Vx, Wx, Ib, SSE)],
    exceptions: '#XM',
    lift(l, _i, dst, src, immediate) {
      const control = l.let(immediate!.read().i32());
      const b = source(l, src!);
      dst!.write(l.call(callee, l.let(dst!.read()), b, control));
    },
  });
}

export const INSTRUCTIONS_SSE_FLOAT: readonly Instruction[] = [
  ...ARITHMETIC.flatMap((row) => SORTS.map((sort) => arithmetic(row, sort))),
  ...SORTS.map(compare),
  ...[SS, SD].flatMap((sort) => [
    compareFlags('UCOMI', '0F 2E', 0, sort),
    compareFlags('COMI', '0F 2F', 1, sort),
  ]),
  ...[PS, PD].flatMap((sort) => [
    horizontal('HADD', '0F 7C', softAdd, 'add', sort),
    horizontal('HSUB', '0F 7D', softSubtract, 'sub', sort),
    alternating(sort),
    dot(sort),
  ]),
  ...SORTS.map(roundTo),
];
