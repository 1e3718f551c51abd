// Instructions of whole vectors that have an SSE form (a destructive one, with aligned memory), an AVX form and one
// twice as wide: one row makes the two or three of them. SDM vol 1 §14.3.

import type { Lift } from '../lift/lift.ts';
import type { Value } from '../lift/value.ts';
import { eachHalf, readVector, writeVector } from './avx-operands.ts';
import {
  AVX,
  type Form,
  form,
  Hqq,
  Hx,
  Ib,
  type Instruction,
  instruction,
  type LiftOperand,
  type OperandSpec,
  SSE,
  Vqq,
  Vx,
  Wqq,
  Wx,
} from './instruction.ts';
import { source } from './sse-operands.ts';

/** What an instruction computes from its first and last vector (the same, if there is one only) and its immediate (i32). */
export type VectorMeaning = (l: Lift, first: Value, second: Value, immediate: Value) => Value;

export interface VectorRow {
  readonly name: string;
  readonly feature: string;
  /** Feature of the form that is 256 bits wide, if there is one. */
  readonly wide?: string;
  /** All have the prefix 66. */
  readonly map: '0F38' | '0F3A';
  /** Behind the map: 'DC /r'. */
  readonly rest: string;
  /** W of the VEX forms. Default WIG. */
  readonly w?: 'W0' | 'W1';
  readonly inputs: 1 | 2;
  readonly hasImmediate?: boolean;
  readonly meaning: VectorMeaning;
}

type Encoding = 'sse' | 'avx' | 'wide';

function lift(l: Lift, row: VectorRow, operands: readonly LiftOperand[], encoding: Encoding): void {
  const dst = operands[0]!;
  const vectors = operands.slice(0, row.hasImmediate ? -1 : undefined);
  const immediate = row.hasImmediate ? l.let(operands.at(-1)!.read().i32()) : l.i32(0);
  const read = (o: LiftOperand) => (encoding === 'sse' ? [source(l, o)] : readVector(l, o));
  const second = read(vectors.at(-1)!);
  const first = row.inputs === 1 ? second : read(vectors.at(-2)!);
  const result = eachHalf(l, second.length, [first, second], (_half, a, b) =>
    row.meaning(l, a!, b!, immediate),
  );
  if (encoding === 'sse') dst.write(result[0]!);
  else writeVector(l, dst, result);
}

function formOf(row: VectorRow, encoding: Encoding): Form {
  const { map, rest, inputs } = row;
  const immediate: OperandSpec[] = row.hasImmediate ? [Ib] : [];
  if (encoding === 'sse')
    return form(`66 ${map.slice(0, 2)} ${map.slice(2)} ${rest}`, Vx, Wx, ...immediate, SSE);
  const isWide = encoding === 'wide';
  const [v, h, w] = isWide ? [Vqq, Hqq, Wqq] : [Vx, Hx, Wx];
  const between: OperandSpec[] = inputs === 2 ? [h!] : [];
  const prefix = `VEX.${isWide ? 256 : 128}.66.${map}.${row.w ?? 'WIG'}`;
  return form(`${prefix} ${rest}`, v!, ...between, w!, ...immediate, AVX);
}

function encoded(row: VectorRow, encoding: Encoding): Instruction {
  const { name, feature, inputs } = row;
  const features = { sse: feature, avx: `${feature} + AVX`, wide: `${row.wide} + AVX` };
  const writesOnly = encoding !== 'sse' || inputs === 1;
  return instruction({
    name: encoding === 'sse' ? name : `V${name}`,
    manual: `SDM vol 2, ${name}`,
    feature: features[encoding],
    forms: [formOf(row, encoding)],
    access: [writesOnly ? 'w' : 'rw', 'r', 'r', 'r'],
    lift: (l, _i, ...operands) => lift(l, row, operands, encoding),
  });
}

/** The instructions that a row makes. */
export function vectorInstructions(row: VectorRow): Instruction[] {
  return [encoded(row, 'sse'), encoded(row, 'avx'), ...(row.wide ? [encoded(row, 'wide')] : [])];
}
