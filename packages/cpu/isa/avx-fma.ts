// FMA3: 132, 213 and 231 tell which operands are multiplied, the last digit which one is added. SDM vol 1 §14.5;
// vol 2C, VFMADD132PD and the following.

import type { Lift } from '../lift/lift.ts';
import { type Value, v128 } from '../lift/value.ts';
import { FMA } from '../microcode/avx/fma.ts';
import { S } from '../state/layout.ts';
import { lowFloat, withLowest } from './avx-float.ts';
import { type Halves, readVector, vex, writeVector } from './avx-operands.ts';
import {
  Hqq,
  Hx,
  type Instruction,
  type LiftOperand,
  Vqq,
  Vx,
  Wd,
  Wq,
  Wqq,
  Wx,
} from './instruction.ts';
import { readFloat } from './sse-operands.ts';

type Width = 32 | 64;
type Order = '132' | '213' | '231';
const ORDERS = ['132', '213', '231'] as const;

interface Kind {
  readonly name: string;
  /** Low digit of the packed opcode; the scalar one follows it. */
  readonly opcode: number;
  readonly negatesProduct: boolean;
  /** The addend's sign in even and in odd lanes. */
  readonly subtracts: readonly [even: boolean, odd: boolean];
}
// biome-ignore format: a table
const KINDS: readonly Kind[] = [
  { name: 'FMADDSUB', opcode: 6, negatesProduct: false, subtracts: [true, false] },
  { name: 'FMSUBADD', opcode: 7, negatesProduct: false, subtracts: [false, true] },
  { name: 'FMADD', opcode: 8, negatesProduct: false, subtracts: [false, false] },
  { name: 'FMSUB', opcode: 0xa, negatesProduct: false, subtracts: [true, true] },
  { name: 'FNMADD', opcode: 0xc, negatesProduct: true, subtracts: [false, false] },
  { name: 'FNMSUB', opcode: 0xe, negatesProduct: true, subtracts: [true, true] },
];

/** Sign bits of the lanes for which it is true. */
function signs(width: Width, [even, odd]: readonly [boolean, boolean]): Value {
  const bytes = width / 8;
  const isSign = (n: number) => (Math.floor(n / bytes) % 2 ? odd : even) && n % bytes === bytes - 1;
  return v128(Array.from({ length: 16 }, (_, n) => (isSign(n) ? 0x80 : 0)));
}
const flips = (width: Width, { negatesProduct, subtracts }: Kind): [Value, Value] => [
  signs(width, [negatesProduct, negatesProduct]),
  signs(width, subtracts),
];

/** The operands in the order of a * b + c: digits are their places in the instruction. */
function ordered<T>(order: Order, operands: readonly T[]): [T, T, T] {
  return [...order].map((digit) => operands[Number(digit) - 1]!) as [T, T, T];
}
const suffix = (width: Width) => (width === 32 ? 'S' : 'D');
const vexW = (width: Width) => (width === 32 ? 'W0' : 'W1');
const opcodeOf = (order: Order, low: number) =>
  ((9 + ORDERS.indexOf(order)) * 16 + low).toString(16).toUpperCase();

function packed(kind: Kind, order: Order, width: Width): Instruction[] {
  const make = (length: 128 | 256) =>
    vex({
      name: `${kind.name}${order}P${suffix(width)}`,
      feature: 'FMA',
      length,
      encoding: `66 0F 38 ${opcodeOf(order, kind.opcode)}`,
      w: vexW(width),
      operands: length === 128 ? [Vx, Hx, Wx] : [Vqq, Hqq, Wqq],
      access: ['rw', 'r', 'r'],
      exceptions: '#XM',
      lift(l, _i, dst, second, third) {
        const last = readVector(l, third!);
        const [a, b, c] = ordered<Halves>(order, [
          readVector(l, dst!),
          readVector(l, second!),
          last,
        ]);
        const masks = flips(width, kind);
        if (length === 128) {
          const result = l.call(FMA[width].packed, a[0]!, b[0]!, c[0]!, ...masks);
          writeVector(l, dst!, [result]);
        } else {
          const low = l.call(FMA[width].wide, ...a, ...b, ...c, ...masks);
          writeVector(l, dst!, [low, l.get(S.scratch)]);
        }
      },
    });
  return [make(128), make(256)];
}

function scalar(kind: Kind, order: Order, width: Width): Instruction {
  const shape = width === 32 ? 'f32x4' : 'f64x2';
  const spread = (l: Lift, v: Value) => l.let(l.op(`${shape}.splat`, v));
  const lowest = (l: Lift, operand: LiftOperand) => spread(l, readFloat(l, operand));
  return vex({
    name: `${kind.name}${order}S${suffix(width)}`,
    feature: 'FMA',
    length: 'LIG',
    encoding: `66 0F 38 ${opcodeOf(order, kind.opcode + 1)}`,
    w: vexW(width),
    operands: [Vx, Hx, width === 32 ? Wd : Wq],
    access: ['rw', 'r', 'r'],
    exceptions: '#XM',
    lift(l, _i, dst, second, third) {
      const last = lowest(l, third!);
      const old = l.let(dst!.read());
      const all = [old, l.let(second!.read())].map((v) => spread(l, lowFloat(l, width, v)));
      const result = l.call(
        FMA[width].scalar,
        ...ordered(order, [...all, last]),
        ...flips(width, kind),
      );
      writeVector(l, dst!, [withLowest(l, old, lowFloat(l, width, result))]);
    },
  });
}

export const INSTRUCTIONS_AVX_FMA: readonly Instruction[] = KINDS.flatMap((kind) =>
  ORDERS.flatMap((order) =>
    ([32, 64] as const).flatMap((width) => [
      ...packed(kind, order, width),
      ...(kind.opcode < 8 ? [] : [scalar(kind, order, width)]),
    ]),
  ),
);
