// Conversions of AVX, by those of SSE, and the half-precision numbers of F16C. SDM vol 1 §14.1, §14.4; vol 2C,
// VCVTPH2PS and VCVTPS2PH.

import type { Lift } from '../lift/lift.ts';
import type { Value } from '../lift/value.ts';
import { halvesToSingles, singlesToHalves } from '../microcode/avx/half.ts';
import { S } from '../state/layout.ts';
import { withLowest } from './avx-float.ts';
import { immediateOf, readNarrow, readVector, vex, writeVector } from './avx-operands.ts';
import {
  Ed,
  Eq,
  Gd,
  Gq,
  Hx,
  Ib,
  type Instruction,
  ONLY64,
  type OperandSpec,
  Vqq,
  Vx,
  Wd,
  Wq,
  Wqq,
  Wx,
} from './instruction.ts';
import {
  convertTwo,
  convertVector,
  doubleToSingle,
  FROM_INTEGER,
  floatToInteger,
  integersToDoubles,
  integerToFloat,
  singleToDouble,
  TO_INTEGER,
  VECTOR_CONVERSIONS,
  type VectorConversion,
} from './sse-convert.ts';
import { readFloat } from './sse-operands.ts';

/** SSE's encoding of a form without '/r'. */
const encodingOf = (c: VectorConversion) => c.row.form.encoding.replace(' /r', '');

/** Bytes of the upper half brought to the front. */
const upper = (l: Lift, v: Value): Value =>
  l.let(l.lanes('i8x16.shuffle', [8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7], v, v));
/** The lower halves of two vectors. */
const lowerHalves = (l: Lift, a: Value, b: Value): Value =>
  l.let(l.lanes('i8x16.shuffle', [0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23], a, b));

/** A conversion's 128-bit form, and the 256-bit one: it keeps the number of bits, doubles or halves it. */
function conversion(c: VectorConversion): Instruction[] {
  const { from, to, name } = c.row;
  const common = { name, feature: 'AVX', encoding: encodingOf(c), exceptions: '#XM' };
  const narrow = vex({
    ...common,
    length: 128,
    operands: [Vx, c.row.form.operands[1]!],
    lift: (l, _i, dst, src) => writeVector(l, dst!, [convertVector(l, c, readNarrow(l, src!))]),
  });
  const operands: readonly OperandSpec[] =
    from === to ? [Vqq, Wqq] : from < to ? [Vqq, Wx] : [Vx, Wqq];
  const wide = vex({
    ...common,
    length: 256,
    operands,
    lift(l, _i, dst, src) {
      const v = readVector(l, src!);
      const second = from < to ? upper(l, v[0]!) : v[1]!;
      const result = convertTwo(l, c, v[0]!, second);
      writeVector(l, dst!, from > to ? [lowerHalves(l, ...result)] : result);
    },
  });
  return [narrow, wide];
}

const DOUBLES_OF_INTEGERS: readonly Instruction[] = (
  [
    [128, [Vx, Wq]],
    [256, [Vqq, Wx]],
  ] as const
).map(([length, operands]) =>
  vex({
    name: 'CVTDQ2PD',
    feature: 'AVX',
    length,
    encoding: 'F3 0F E6',
    operands,
    lift(l, _i, dst, src) {
      const v = readNarrow(l, src!);
      const low = l.let(integersToDoubles(l, v));
      writeVector(
        l,
        dst!,
        length === 256 ? [low, l.let(integersToDoubles(l, upper(l, v)))] : [low],
      );
    },
  }),
);

// --- Scalars ---

/** Each in 32 and, in 64-bit mode, 64 bits of the general register. */
const WIDTHS = [
  { w: 'W0', from: Ed, to: Gd },
  { w: 'W1', from: Eq, to: Gq, options: ONLY64 },
] as const;

const general: readonly Instruction[] = WIDTHS.flatMap(({ w, from, to, ...more }) => [
  ...FROM_INTEGER.map((c) =>
    vex({
      name: c.name,
      feature: 'AVX',
      length: 'LIG',
      encoding: c.encoding,
      w,
      operands: [Vx, Hx, from],
      exceptions: '#XM',
      ...more,
      lift(l, _i, dst, first, src) {
        const value = integerToFloat(l, c, l.let(src!.read()));
        writeVector(l, dst!, [withLowest(l, l.let(first!.read()), value)]);
      },
    }),
  ),
  ...TO_INTEGER.map((c) =>
    vex({
      name: c.name,
      feature: 'AVX',
      length: 'LIG',
      encoding: c.encoding,
      w,
      operands: [to, c.width === 32 ? Wd : Wq],
      exceptions: '#XM',
      ...more,
      lift: (l, _i, dst, src) =>
        dst!.write(floatToInteger(l, c, readFloat(l, src!), w === 'W1' ? 64 : 32)),
    }),
  ),
]);

const resize = (
  name: string,
  encoding: string,
  from: OperandSpec,
  convert: (l: Lift, x: Value) => Value,
): Instruction =>
  vex({
    name,
    feature: 'AVX',
    length: 'LIG',
    encoding,
    operands: [Vx, Hx, from],
    exceptions: '#XM',
    lift(l, _i, dst, first, src) {
      const value = convert(l, readFloat(l, src!));
      writeVector(l, dst!, [withLowest(l, l.let(first!.read()), value)]);
    },
  });

// --- Half precision ---

/** Memory is proven to be writable before exceptions are noted. */
const narrowToHalves = (length: 128 | 256, operands: readonly OperandSpec[]): Instruction =>
  vex({
    name: 'CVTPS2PH',
    feature: 'F16C',
    length,
    encoding: '66 0F 3A 1D',
    w: 'W0',
    operands,
    access: ['rw', 'r', 'r'],
    exceptions: '#XM',
    lift(l, _i, dst, src, immediate) {
      if (dst!.isMemory) dst!.read();
      const v = readVector(l, src!);
      const callee = singlesToHalves[length === 256 ? 8 : 4];
      const result = l.call(callee, v[0]!, v.at(-1)!, immediateOf(l, immediate!));
      if (!dst!.isMemory) writeVector(l, dst!, [result]);
      else dst!.write(length === 256 ? result : l.lanes('i64x2.extract_lane', [0], result));
    },
  });

const HALVES: readonly Instruction[] = [
  vex({
    name: 'CVTPH2PS', feature: 'F16C', length: 128, encoding: '66 0F 38 13', w: 'W0', operands: [Vx, Wq], exceptions: '#XM',
    lift: (l, _i, dst, src) =>
      writeVector(l, dst!, [l.call(halvesToSingles[4], readNarrow(l, src!))]),
  }),
  vex({
    name: 'CVTPH2PS', feature: 'F16C', length: 256, encoding: '66 0F 38 13', w: 'W0', operands: [Vqq, Wx], exceptions: '#XM',
    lift(l, _i, dst, src) {
      const low = l.call(halvesToSingles[8], readNarrow(l, src!));
      writeVector(l, dst!, [low, l.get(S.scratch)]);
    },
  }),
  narrowToHalves(128, [Wq, Vx, Ib]),
  narrowToHalves(256, [Wx, Vqq, Ib]),
]; // biome-ignore format: a table

export const INSTRUCTIONS_AVX_CONVERT: readonly Instruction[] = [
  ...VECTOR_CONVERSIONS.flatMap(conversion),
  ...DOUBLES_OF_INTEGERS,
  ...HALVES,
  ...general,
  resize('CVTSS2SD', 'F3 0F 5A', Wd, singleToDouble),
  resize('CVTSD2SS', 'F2 0F 5A', Wq, doubleToSingle),
];
