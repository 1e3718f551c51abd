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

/** What an instruction computes from its first and last vector (the same, if there is one only) and its immediate. */
type Meaning = (l: Lift, first: Value, second: Value, immediate: Value) => Value;

interface Row {
  readonly name: string;
  readonly feature: string;
  /** Feature of the form that is 256 bits wide, if there is one. */
  readonly wide?: string;
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
  { name: 'AESENC', feature: 'AES', wide: 'VAES', map: '0F38', rest: 'DC /r', inputs: 2, meaning: round(aesEncrypt) },
  { name: 'AESENCLAST', feature: 'AES', wide: 'VAES', map: '0F38', rest: 'DD /r', inputs: 2, meaning: round(aesEncryptLast) },
  { name: 'AESDEC', feature: 'AES', wide: 'VAES', map: '0F38', rest: 'DE /r', inputs: 2, meaning: round(aesDecrypt) },
  { name: 'AESDECLAST', feature: 'AES', wide: 'VAES', map: '0F38', rest: 'DF /r', inputs: 2, meaning: round(aesDecryptLast) },
  { name: 'AESKEYGENASSIST', feature: 'AES', map: '0F3A', rest: 'DF /r ib', inputs: 1, hasImmediate: true,
    meaning: (l, _, v, immediate) => l.call(aesKeyAssist, v, immediate) },
  { name: 'PCLMULQDQ', feature: 'PCLMULQDQ', wide: 'VPCLMULQDQ', map: '0F3A', rest: '44 /r ib', inputs: 2, hasImmediate: true,
    meaning: carryless },
];

/** How a row is encoded: with SSE, with AVX, or with AVX twice as wide (VAES, VPCLMULQDQ). */
type Encoding = 'sse' | 'avx' | 'wide';

function lift(l: Lift, row: Row, operands: readonly LiftOperand[], encoding: Encoding): void {
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

function formOf(row: Row, encoding: Encoding): Form {
  const { map, rest, inputs } = row;
  const immediate: OperandSpec[] = row.hasImmediate ? [Ib] : [];
  if (encoding === 'sse')
    return form(`66 ${map.slice(0, 2)} ${map.slice(2)} ${rest}`, Vx, Wx, ...immediate, SSE);
  const isWide = encoding === 'wide';
  const [v, h, w] = isWide ? [Vqq, Hqq, Wqq] : [Vx, Hx, Wx];
  const between: OperandSpec[] = inputs === 2 ? [h!] : [];
  const prefix = `VEX.${isWide ? 256 : 128}.66.${map}.WIG`;
  return form(`${prefix} ${rest}`, v!, ...between, w!, ...immediate, AVX);
}

function encoded(row: Row, encoding: Encoding): Instruction {
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

export const INSTRUCTIONS_AES: readonly Instruction[] = ROWS.flatMap((row) => [
  encoded(row, 'sse'),
  encoded(row, 'avx'),
  ...(row.wide ? [encoded(row, 'wide')] : []),
]);
