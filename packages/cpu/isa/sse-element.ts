// Insertion and extraction of one element, and PTEST, of SSE to SSE4.1. The element's number may only be known at
// run time. SDM vol 1 §11.4.2, §12.6, §12.10.

import { writeArithmeticFlags } from '../lift/flags.ts';
import type { Lift } from '../lift/lift.ts';
import type { Value } from '../lift/value.ts';
import {
  Ed,
  Ew,
  Ey,
  type Form,
  form,
  Gd,
  Ib,
  type Instruction,
  instruction,
  type LiftOperand,
  Mb,
  Md,
  MMX,
  Mw,
  Nq,
  Pq,
  Rd,
  SSE,
  Ux,
  Vx,
  Wx,
} from './instruction.ts';
import { enterMmx, IOTA, low, source, widen, writeMmx } from './sse-operands.ts';
import { bytesFrom, known, laneMask, splat } from './sse-shuffle.ts';

export type Unit = readonly [shape: string, bytes: 1 | 2 | 4 | 8];
export const unitOf = (bits: number): Unit => (bits === 64 ? ['i64x2', 8] : ['i32x4', 4]);

/** Element n (taken modulo the count) as the lowest of a vector. */
function elementToFront(l: Lift, v: Value, bytesEach: number, n: Value, count: number): Value {
  return bytesFrom(l, v, n.and(count - 1).mul(bytesEach));
}
/** Element n, taken modulo the count. */
export function extractElement(
  l: Lift,
  operation: string,
  bytesEach: number,
  v: Value,
  n: Value,
  count: number,
): Value {
  const fixed = known(n);
  if (fixed !== undefined) return l.lanes(operation, [fixed & (count - 1)], v);
  return l.lanes(operation, [0], elementToFront(l, v, bytesEach, n, count));
}
/** Replaces element n, taken modulo the count. */
export function insert(
  l: Lift,
  [shape, bytesEach]: Unit,
  v: Value,
  value: Value,
  n: Value,
  count: number,
): Value {
  const fixed = known(n);
  if (fixed !== undefined) return l.lanes(`${shape}.replace_lane`, [fixed & (count - 1)], v, value);
  const order = l.op('i8x16.shr_u', IOTA, Math.log2(bytesEach));
  const mask = l.op('i8x16.eq', order, splat(l, 'i8x16', n.and(count - 1)));
  return l.op('v128.bitselect', splat(l, shape, value), v, mask);
}

type ElementLift = (l: Lift, dst: LiftOperand, src: LiftOperand, immediate: Value) => void;
const element = (
  name: string,
  feature: string,
  access: 'w' | 'rw',
  meaning: ElementLift,
  ...forms: Form[]
) =>
  instruction({
    name,
    manual: `SDM vol 2B, ${name}`,
    feature,
    forms,
    access: [access, 'r', 'r'],
    lift: (l, _i, dst, src, immediate) =>
      meaning(l, dst!, src!, l.let(immediate!.read().i32().and(0xff))),
  });

const extract =
  (shape: string, suffix: string, bytesEach: number): ElementLift =>
  (l, dst, src, n) =>
    dst.write(
      extractElement(
        l,
        `${shape}.extract_lane${suffix}`,
        bytesEach,
        l.let(src.read()),
        n,
        16 / bytesEach,
      ),
    );
const extractDouble: ElementLift = (l, dst, src, n) => {
  const [shape, bytesEach] = unitOf(dst.bits);
  extract(shape, '', bytesEach)(l, dst, src, n);
};
const insertUnit =
  (unit: Unit): ElementLift =>
  (l, dst, src, n) => {
    const value = l.let(src.read());
    dst.write(insert(l, unit, l.let(dst.read()), value, n, 16 / unit[1]));
  };

/** INSERTPS: a lane of a register or memory goes to a lane, then lanes of the mask are cleared. */
export function insertSingle(l: Lift, first: () => Value, src: LiftOperand, n: Value): Value {
  const value = src.isMemory
    ? l.let(src.read())
    : extractElement(l, 'i32x4.extract_lane', 4, l.let(src.read()), n.shru(6), 4);
  const merged = insert(l, ['i32x4', 4], first(), l.let(value), n.shru(4), 4);
  return l.op('v128.andnot', merged, laneMask(l, 'i32x4', n));
}

const ELEMENTS: readonly Instruction[] = [
  element(
    'PINSRB',
    'SSE4.1',
    'rw',
    insertUnit(['i8x16', 1]),
    form('66 0F 3A 20 /r', Vx, Rd, Ib, SSE),
    form('66 0F 3A 20 /r', Vx, Mb, Ib, SSE),
  ),
  element('PINSRW', 'SSE2', 'rw', insertUnit(['i16x8', 2]), form('66 0F C4 /r', Vx, Ew, Ib, SSE)),
  element(
    'PINSRD',
    'SSE4.1',
    'rw',
    (l, dst, src, n) => insertUnit(unitOf(src.bits))(l, dst, src, n),
    form('66 0F 3A 22 /r', Vx, Ey, Ib, SSE),
  ),
  element(
    'INSERTPS',
    'SSE4.1',
    'rw',
    (l, dst, src, n) => dst.write(insertSingle(l, () => l.let(dst.read()), src, n)),
    form('66 0F 3A 21 /r', Vx, Ux, Ib, SSE),
    form('66 0F 3A 21 /r', Vx, Md, Ib, SSE),
  ),
  element(
    'PEXTRB',
    'SSE4.1',
    'w',
    extract('i8x16', '_u', 1),
    form('66 0F 3A 14 /r', Rd, Vx, Ib, SSE),
    form('66 0F 3A 14 /r', Mb, Vx, Ib, SSE),
  ),
  element(
    'PEXTRW',
    'SSE4.1',
    'w',
    extract('i16x8', '_u', 2),
    form('66 0F 3A 15 /r', Rd, Vx, Ib, SSE),
    form('66 0F 3A 15 /r', Mw, Vx, Ib, SSE),
  ),
  element('PEXTRW', 'SSE2', 'w', extract('i16x8', '_u', 2), form('66 0F C5 /r', Gd, Ux, Ib, SSE)),
  element('PEXTRD', 'SSE4.1', 'w', extractDouble, form('66 0F 3A 16 /r', Ey, Vx, Ib, SSE)),
  element('EXTRACTPS', 'SSE4.1', 'w', extractDouble, form('66 0F 3A 17 /r', Ed, Vx, Ib, SSE)),
  element(
    'PINSRW',
    'SSE',
    'rw',
    (l, dst, src, n) => {
      const value = l.let(src.read());
      const old = widen(l, l.let(dst.read()));
      enterMmx(l);
      writeMmx(l, dst, low(l, insert(l, ['i16x8', 2], old, value, n, 4)));
    },
    form('NP 0F C4 /r', Pq, Ew, Ib, MMX),
  ),
  element(
    'PEXTRW',
    'SSE',
    'w',
    (l, dst, src, n) => {
      enterMmx(l);
      dst.write(
        l.lanes(
          'i16x8.extract_lane_u',
          [0],
          elementToFront(l, widen(l, l.let(src.read())), 2, n, 4),
        ),
      );
    },
    form('NP 0F C5 /r', Gd, Nq, Ib, MMX),
  ),
];

/** ZF: nothing in common; CF: nothing of b outside a; both over all halves that are given as pairs. */
export function testBits(l: Lift, pairs: readonly (readonly [a: Value, b: Value])[]): void {
  const none = (values: readonly Value[]) =>
    l
      .op(
        'v128.any_true',
        values.reduce((x, y) => l.op('v128.or', x, y)),
      )
      .eqz();
  const zf = none(pairs.map(([a, b]) => l.op('v128.and', a, b)));
  const cf = none(pairs.map(([a, b]) => l.op('v128.andnot', b, a)));
  writeArithmeticFlags(l, zf.shl(6).or(cf));
}

const PTEST: Instruction = instruction({
  name: 'PTEST',
  manual: 'SDM vol 2B, PTEST',
  feature: 'SSE4.1',
  forms: [form('66 0F 38 17 /r', Vx, Wx, SSE)],
  access: ['r', 'r'],
  flags: { writes: 'OSZAPC' },
  lift(l, _i, dst, src) {
    const b = source(l, src!);
    testBits(l, [[l.let(dst!.read()), b]]);
  },
});

export const INSTRUCTIONS_SSE_ELEMENT: readonly Instruction[] = [...ELEMENTS, PTEST];
