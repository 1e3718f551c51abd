// AES-NI and PCLMULQDQ, with their AVX forms. SDM vol 1 §12.13, §14.3.

import type { FunctionRef } from '../lift/function.ts';
import type { Lift } from '../lift/lift.ts';
import type { Value } from '../lift/value.ts';
import {
  aesDecrypt,
  aesDecryptLast,
  aesEncrypt,
  aesEncryptLast,
  aesInverseMix,
  aesKeyAssist,
} from '../microcode/aes.ts';
import { multiplyCarryless } from '../microcode/carryless.ts';
import { readVector, writeVector } from './avx-operands.ts';
import {
  AVX,
  type Form,
  form,
  Hx,
  Ib,
  type Instruction,
  instruction,
  type LiftOperand,
  type OperandSpec,
  SSE,
  Vx,
  Wx,
} from './instruction.ts';
import { source } from './sse-operands.ts';

/** What an instruction computes from its first and last vector (the same, if there is one only) and its immediate. */
type Meaning = (l: Lift, first: Value, second: Value, immediate: Value) => Value;

interface Row {
  readonly name: string;
  readonly feature: string;
  /** Behind the prefix 66: '0F38 DC /r'. */
  readonly map: string;
  readonly rest: string;
  readonly inputs: 1 | 2;
  readonly hasImmediate?: boolean;
  readonly meaning: Meaning;
}

const round =
  (f: FunctionRef): Meaning =>
  (l, state, roundKey) =>
    l.call(f, state, roundKey);

/** The halves are named by bits 0 and 4 of the immediate. */
const carryless: Meaning = (l, a, b, immediate) => {
  const half = (v: Value, bit: number) =>
    l.select(
      immediate.bit(bit),
      l.lanes('i64x2.extract_lane', [1], v),
      l.lanes('i64x2.extract_lane', [0], v),
    );
  return l.call(multiplyCarryless, half(a, 0), half(b, 4));
};

// biome-ignore format: a table
const ROWS: readonly Row[] = [
  { name: 'AESIMC', feature: 'AES', map: '0F38', rest: 'DB /r', inputs: 1, meaning: (l, _, v) => l.call(aesInverseMix, v) },
  { name: 'AESENC', feature: 'AES', map: '0F38', rest: 'DC /r', inputs: 2, meaning: round(aesEncrypt) },
  { name: 'AESENCLAST', feature: 'AES', map: '0F38', rest: 'DD /r', inputs: 2, meaning: round(aesEncryptLast) },
  { name: 'AESDEC', feature: 'AES', map: '0F38', rest: 'DE /r', inputs: 2, meaning: round(aesDecrypt) },
  { name: 'AESDECLAST', feature: 'AES', map: '0F38', rest: 'DF /r', inputs: 2, meaning: round(aesDecryptLast) },
  { name: 'AESKEYGENASSIST', feature: 'AES', map: '0F3A', rest: 'DF /r ib', inputs: 1, hasImmediate: true,
    meaning: (l, _, v, immediate) => l.call(aesKeyAssist, v, immediate) },
  { name: 'PCLMULQDQ', feature: 'PCLMULQDQ', map: '0F3A', rest: '44 /r ib', inputs: 2, hasImmediate: true,
    meaning: carryless },
];

function lift(l: Lift, row: Row, operands: readonly LiftOperand[], isVex: boolean): void {
  const dst = operands[0]!;
  const vectors = operands.slice(0, row.hasImmediate ? -1 : undefined);
  const immediate = row.hasImmediate ? l.let(operands.at(-1)!.read().i32()) : l.i32(0);
  const read = (o: LiftOperand) => (isVex ? readVector(l, o)[0]! : source(l, o));
  const second = read(vectors.at(-1)!);
  const first = row.inputs === 1 ? second : read(vectors.at(-2)!);
  const result = l.let(row.meaning(l, first, second, immediate));
  if (isVex) writeVector(l, dst, [result]);
  else dst.write(result);
}

function encoded(row: Row, isVex: boolean): Instruction {
  const { name, feature, map, rest, inputs } = row;
  const immediate: OperandSpec[] = row.hasImmediate ? [Ib] : [];
  const between: OperandSpec[] = isVex && inputs === 2 ? [Hx] : [];
  const opcode = `${map.slice(0, 2)} ${map.slice(2)} ${rest}`;
  const only: Form = isVex
    ? form(`VEX.128.66.${map}.WIG ${rest}`, Vx, ...between, Wx, ...immediate, AVX)
    : form(`66 ${opcode}`, Vx, Wx, ...immediate, SSE);
  const writesOnly = isVex || inputs === 1;
  return instruction({
    name: isVex ? `V${name}` : name,
    manual: `SDM vol 2, ${name}`,
    feature: isVex ? `${feature} + AVX` : feature,
    forms: [only],
    access: [writesOnly ? 'w' : 'rw', 'r', 'r', 'r'],
    lift: (l, _i, ...operands) => lift(l, row, operands, isVex),
  });
}

export const INSTRUCTIONS_AES: readonly Instruction[] = ROWS.flatMap((row) => [
  encoded(row, false),
  encoded(row, true),
]);
