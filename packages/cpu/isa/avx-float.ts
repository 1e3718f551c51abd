// Floating-point arithmetic, comparison and rounding of AVX, by the operations that SSE has. Exceptions are gathered
// over all lanes of both halves before any is reported. SDM vol 1 §14.1, §14.4.

import type { FunctionRef } from '../lift/function.ts';
import type { Lift } from '../lift/lift.ts';
import type { Value } from '../lift/value.ts';
import { approximate } from '../microcode/sse/approximate.ts';
import { wideDotProduct } from '../microcode/sse/dot-product.ts';
import { S } from '../state/layout.ts';
import { eachHalf, immediateOf, is256, readVector, vex, writeVector } from './avx-operands.ts';
import {
  ARITHMETIC_OPERATIONS,
  COMPARISONS,
  compute,
  computeWide,
  type FloatOperation,
  NEIGHBOUR_OPERATIONS,
  ROUNDINGS,
  SS,
} from './float-operation.ts';
import {
  Hqq,
  Hx,
  Ib,
  type Instruction,
  type LiftOperand,
  type OperandSpec,
  Vqq,
  Vx,
  Wd,
  Wqq,
  Wx,
} from './instruction.ts';
import { compareFlags, DOT_PRODUCTS, FLAG_COMPARISONS, neighbourPrefix } from './sse-float.ts';
import { readFloat } from './sse-operands.ts';

/** The lowest element of a vector as a float, and a vector with it replaced by a float or a pattern. */
export const lowFloat = (l: Lift, width: 32 | 64, v: Value): Value =>
  l.let(l.lanes(`${width === 32 ? 'f32x4' : 'f64x2'}.extract_lane`, [0], v));
export function withLowest(l: Lift, v: Value, value: Value): Value {
  const shape = { f32: 'f32x4', f64: 'f64x2', i32: 'i32x4', i64: 'i64x2' }[value.type as 'f32'];
  return l.let(l.lanes(`${shape}.replace_lane`, [0], v, value));
}

interface FloatRow {
  readonly operation: FloatOperation;
  /** In SSE's notation, with its prefix. */
  readonly encoding: string;
  /** The bits of an immediate that control the operation. */
  readonly control?: number;
}

/** All forms of a packed operation, or the one of a scalar: its upper elements come from the first source. */
function float({ operation, encoding, control }: FloatRow): Instruction[] {
  const { sort, isUnary } = operation;
  const immediates = control === undefined ? [] : [Ib];
  const controlOf = (l: Lift, rest: readonly LiftOperand[]) =>
    control === undefined ? l.i32(0) : l.let(immediateOf(l, rest.at(-1)!).and(control));
  const common = { name: operation.name, feature: 'AVX', encoding, exceptions: '#XM' };
  if (!sort.isPacked) {
    return [
      vex({
        ...common,
        length: 'LIG',
        operands: [Vx, Hx, sort.operands[1], ...immediates],
        lift(l, _i, dst, first, ...rest) {
          const b = readFloat(l, rest[0]!);
          const old = l.let(first!.read());
          const a = isUnary ? b : lowFloat(l, sort.width, old);
          writeVector(l, dst!, [
            withLowest(l, old, compute(l, operation, a, b, controlOf(l, rest))),
          ]);
        },
      }),
    ];
  }
  const packed = (length: 128 | 256, list: readonly [OperandSpec, OperandSpec, OperandSpec]) =>
    vex({
      ...common,
      length,
      operands: [...(isUnary ? [list[0], list[2]] : list), ...immediates],
      lift(l, _i, dst, ...rest) {
        const c = controlOf(l, rest);
        const b = readVector(l, rest[isUnary ? 0 : 1]!);
        const a = isUnary ? b : readVector(l, rest[0]!);
        const result =
          length === 256
            ? computeWide(l, operation, a, b, c)
            : [compute(l, operation, a[0]!, b[0]!, c)];
        writeVector(l, dst!, result);
      },
    });
  return [packed(128, [Vx, Hx, Wx]), packed(256, [Vqq, Hqq, Wqq])];
}

/** DPPS in both lengths, DPPD in one. */
function dot(name: string, opcode: string, slow: FunctionRef): Instruction[] {
  const make = (length: 128 | 256, list: readonly OperandSpec[], callee: FunctionRef) =>
    vex({
      name,
      feature: 'AVX',
      length,
      encoding: `66 0F 3A ${opcode}`,
      operands: [...list, Ib],
      exceptions: '#XM',
      lift(l, _i, dst, first, second, immediate) {
        const control = immediateOf(l, immediate!);
        const b = readVector(l, second!);
        const a = readVector(l, first!);
        const low = l.call(callee, ...a, ...b, control);
        writeVector(l, dst!, is256(dst!) ? [low, l.get(S.scratch)] : [low]);
      },
    });
  const narrow = make(128, [Vx, Hx, Wx], slow);
  if (name === 'DPPD') return [narrow];
  return [narrow, make(256, [Vqq, Hqq, Wqq], wideDotProduct(`avx${name}`, 32))];
}

function approximation(name: 'RCP' | 'RSQRT', opcode: string): Instruction[] {
  const { vector, scalar } = approximate[name];
  const packed = (length: 128 | 256, operands: readonly OperandSpec[]) =>
    vex({
      name: `${name}PS`,
      feature: 'AVX',
      length,
      encoding: `NP ${opcode}`,
      operands,
      lift(l, _i, dst, src) {
        const v = readVector(l, src!);
        writeVector(
          l,
          dst!,
          eachHalf(l, v.length, [v], (_half, x) => l.call(vector, x!)),
        );
      },
    });
  return [
    packed(128, [Vx, Wx]),
    packed(256, [Vqq, Wqq]),
    vex({
      name: `${name}SS`,
      feature: 'AVX',
      length: 'LIG',
      encoding: `F3 ${opcode}`,
      operands: [Vx, Hx, Wd],
      lift(l, _i, dst, first, src) {
        const value = l.call(scalar, l.let(src!.read()));
        writeVector(l, dst!, [withLowest(l, l.let(first!.read()), value)]);
      },
    }),
  ];
}

export const INSTRUCTIONS_AVX_FLOAT: readonly Instruction[] = [
  ...ARITHMETIC_OPERATIONS.flatMap(([opcode, operation]) =>
    float({ operation, encoding: `${operation.sort.prefix} ${opcode}` }),
  ),
  ...NEIGHBOUR_OPERATIONS.flatMap(([opcode, operation]) =>
    float({ operation, encoding: `${neighbourPrefix(operation.sort)} ${opcode}` }),
  ),
  ...COMPARISONS.flatMap((operation) =>
    float({ operation, encoding: `${operation.sort.prefix} 0F C2`, control: 31 }),
  ),
  ...ROUNDINGS.flatMap(([opcode, operation]) =>
    float({ operation, encoding: `66 ${opcode}`, control: 0xff }),
  ),
  ...FLAG_COMPARISONS.map((row) =>
    vex({
      name: row.name,
      feature: 'AVX',
      length: 'LIG',
      encoding: `${row.sort === SS ? 'NP' : '66'} ${row.opcode}`,
      operands: row.sort.operands,
      access: ['r', 'r'],
      flags: { writes: 'OSZAPC' },
      exceptions: '#XM',
      lift: (l, _i, first, second) => compareFlags(l, row, first!, second!),
    }),
  ),
  ...DOT_PRODUCTS.flatMap(({ name, opcode, slow }) => dot(name, opcode, slow)),
  ...approximation('RCP', '0F 53'),
  ...approximation('RSQRT', '0F 52'),
];
