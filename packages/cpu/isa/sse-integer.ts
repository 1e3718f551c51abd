// Packed integer arithmetic, logic, comparison and conversion of MMX, SSE2, SSSE3, SSE4.1 and
// SSE4.2: one row for each instruction, from which its MMX and XMM forms come. SDM vol 1 §9.4,
// §11.4.2, §12.7, §12.10.

import type { Lift } from '../lift/lift.ts';
import { constant, type Value, v128 } from '../lift/value.ts';
import { form, type Instruction, instruction, Pq, Qd, Qq, SSE, Vx, Wx } from './instruction.ts';
import { low, type Packed, type PackedRow, packed, source } from './sse-operands.ts';

/** One SIMD operation of the same meaning. */
const op =
  (name: string): Packed =>
  (l, a, b) =>
    l.op(name, a, b);
const swapped =
  (name: string): Packed =>
  (l, a, b) =>
    l.op(name, b, a);
/** An operation of the source alone. */
const unary =
  (name: string): Packed =>
  (l, _a, b) =>
    l.op(name, b);

const words = (n: number) => v128(new Array(8).fill([n & 0xff, (n >> 8) & 0xff]).flat());
const dwordsOf = (...lanes: readonly number[]) =>
  v128(lanes.flatMap((n) => [n & 0xff, (n >> 8) & 0xff, (n >> 16) & 0xff, n >>> 24]));
const shuffle = (l: Lift, lanes: readonly number[], a: Value, b: Value) =>
  l.lanes('i8x16.shuffle', lanes, a, b);
/** Bytes of words or dwords in that order. */
const lanesOf = (bytes: 2 | 4, order: readonly number[]) =>
  order.flatMap((n) => Array.from({ length: bytes }, (_, i) => n * bytes + i));

/** Saturating narrowing; MMX puts its two sources side by side first. */
const pack =
  (name: string): Packed =>
  (l, a, b, { mmx }) => {
    if (!mmx) return l.op(name, a, b);
    const both = l.let(shuffle(l, [0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23], a, b));
    return l.op(name, both, both);
  };

/** Interleaves the low or high halves in units of that many bytes. */
const unpack =
  (bytes: number, high: boolean): Packed =>
  (l, a, b, { mmx }) => {
    const start = high ? (mmx ? 4 : 8) : 0;
    const lanes: number[] = [];
    for (let at = start; lanes.length < 16; at += bytes) {
      for (const from of [0, 16])
        for (let i = 0; i < bytes; i++) lanes.push(from + ((at + i) % 16));
    }
    return shuffle(l, lanes, a, b);
  };

/**
 * Elements taken alternately from both sources: the even ones and the odd ones, in the order of
 * PHADD.
 */
function pairs(l: Lift, bytes: 2 | 4, a: Value, b: Value, mmx: boolean): [Value, Value] {
  const count = (mmx ? 4 : 8) / bytes;
  const evens = Array.from({ length: count }, (_, i) => 2 * i);
  const pick = (odd: number) => {
    const own = evens.map((n) => n + odd);
    const order = [...own, ...own.map((n) => n + 16 / bytes)];
    return lanesOf(bytes, mmx ? [...order, ...order] : order);
  };
  return [l.let(shuffle(l, pick(0), a, b)), l.let(shuffle(l, pick(1), a, b))];
}
const horizontal =
  (bytes: 2 | 4, name: string): Packed =>
  (l, a, b, { mmx }) => {
    const [even, odd] = pairs(l, bytes, a, b, mmx);
    return l.op(name, even, odd);
  };

/** High halves of 16-bit products. */
const multiplyHigh =
  (sign: 's' | 'u'): Packed =>
  (l, a, b) =>
    shuffle(
      l,
      lanesOf(2, [1, 3, 5, 7, 9, 11, 13, 15]),
      l.op(`i32x4.extmul_low_i16x8_${sign}`, a, b),
      l.op(`i32x4.extmul_high_i16x8_${sign}`, a, b),
    );
/** Products of the even 32-bit elements. */
const multiplyEven =
  (sign: 's' | 'u'): Packed =>
  (l, a, b) => {
    const even = (v: Value) => shuffle(l, lanesOf(4, [0, 2, 0, 2]), v, v);
    return l.op(`i64x2.extmul_low_i32x4_${sign}`, even(a), even(b));
  };

/** PMULHRSW: as q15mulr, but -1 * -1 gives -1. */
const multiplyRound: Packed = (l, a, b) => {
  const least = words(0x8000);
  const bothLeast = l.op('v128.and', l.op('i16x8.eq', a, least), l.op('i16x8.eq', b, least));
  return l.op('v128.xor', l.op('i16x8.q15mulr_sat_s', a, b), bothLeast);
};

/**
 * PMADDUBSW: unsigned bytes of the first times signed bytes of the second, pairs added with
 * saturation.
 */
const multiplyAddBytes: Packed = (l, a, b) => {
  const even = l.op(
    'i16x8.mul',
    l.op('v128.and', a, words(0xff)),
    l.op('i16x8.shr_s', l.op('i16x8.shl', b, 8), 8),
  );
  const odd = l.op('i16x8.mul', l.op('i16x8.shr_u', a, 8), l.op('i16x8.shr_s', b, 8));
  return l.op('i16x8.add_sat_s', even, odd);
};

/** PSADBW: sums of absolute differences of eight bytes. */
const sumDifferences: Packed = (l, a, b) => {
  const differences = l.op('v128.or', l.op('i8x16.sub_sat_u', a, b), l.op('i8x16.sub_sat_u', b, a));
  const fours = l.let(
    l.op('i32x4.extadd_pairwise_i16x8_u', l.op('i16x8.extadd_pairwise_i8x16_u', differences)),
  );
  return l.op(
    'i64x2.add',
    l.op('i64x2.shr_u', fours, 32),
    l.op('v128.and', fours, dwordsOf(-1, 0, -1, 0)),
  );
};

/** PSIGN: negates where the source is negative, clears where it is zero. */
const sign =
  (shape: string): Packed =>
  (l, a, b) => {
    const zero = constant('v128', new Uint8Array(16));
    const negative = l.let(l.op(`${shape}.lt_s`, b, zero));
    const flipped = l.op(`${shape}.sub`, l.op('v128.xor', a, negative), negative);
    return l.op('v128.andnot', flipped, l.op(`${shape}.eq`, b, zero));
  };

/** PHMINPOSUW: the least word and, above it, its index. */
const minimumPosition: Packed = (l, _a, b) => {
  const key = (half: 'low' | 'high', first: number) =>
    l.op(
      'v128.or',
      l.op('i32x4.shl', l.op(`i32x4.extend_${half}_i16x8_u`, b), 3),
      dwordsOf(first, first + 1, first + 2, first + 3),
    );
  const four = l.let(l.op('i32x4.min_u', key('low', 0), key('high', 4)));
  const two = l.let(l.op('i32x4.min_u', four, shuffle(l, lanesOf(4, [2, 3, 0, 1]), four, four)));
  const lane = (n: number) => l.lanes('i32x4.extract_lane', [n], two);
  const least = l.let(l.select(lane(0).ltu(lane(1)), lane(0), lane(1)));
  const result = least.shru(3).or(least.and(7).shl(16));
  return l.lanes('i32x4.replace_lane', [0], constant('v128', new Uint8Array(16)), result);
};

/** A shift by the low 64 bits of the source: too large a count shifts everything out. */
const shift =
  (shape: string, bits: number, direction: 'shl' | 'shr_s' | 'shr_u'): Packed =>
  (l, a, b) =>
    shiftBy(l, shape, bits, direction, a, l.let(low(l, b)));

export function shiftBy(
  l: Lift,
  shape: string,
  bits: number,
  direction: 'shl' | 'shr_s' | 'shr_u',
  a: Value,
  count: Value,
): Value {
  const tooLarge = count.gtu(bits - 1);
  if (direction === 'shr_s')
    return l.op(`${shape}.shr_s`, a, l.select(tooLarge, bits - 1, count.i32()));
  return l.select(
    tooLarge,
    constant('v128', new Uint8Array(16)),
    l.op(`${shape}.${direction}`, a, count.i32()),
  );
}

export type Columns = readonly [
  opcode: string,
  name: string,
  meaning: Packed,
  mmx: string | undefined,
  xmm: string | undefined,
];

// biome-ignore format: a table
export const INTEGER_ROWS: readonly Columns[] = [
  ['0F FC', 'PADDB', op('i8x16.add'), 'MMX', 'SSE2'],
  ['0F FD', 'PADDW', op('i16x8.add'), 'MMX', 'SSE2'],
  ['0F FE', 'PADDD', op('i32x4.add'), 'MMX', 'SSE2'],
  ['0F D4', 'PADDQ', op('i64x2.add'), 'SSE2', 'SSE2'],
  ['0F EC', 'PADDSB', op('i8x16.add_sat_s'), 'MMX', 'SSE2'],
  ['0F ED', 'PADDSW', op('i16x8.add_sat_s'), 'MMX', 'SSE2'],
  ['0F DC', 'PADDUSB', op('i8x16.add_sat_u'), 'MMX', 'SSE2'],
  ['0F DD', 'PADDUSW', op('i16x8.add_sat_u'), 'MMX', 'SSE2'],
  ['0F F8', 'PSUBB', op('i8x16.sub'), 'MMX', 'SSE2'],
  ['0F F9', 'PSUBW', op('i16x8.sub'), 'MMX', 'SSE2'],
  ['0F FA', 'PSUBD', op('i32x4.sub'), 'MMX', 'SSE2'],
  ['0F FB', 'PSUBQ', op('i64x2.sub'), 'SSE2', 'SSE2'],
  ['0F E8', 'PSUBSB', op('i8x16.sub_sat_s'), 'MMX', 'SSE2'],
  ['0F E9', 'PSUBSW', op('i16x8.sub_sat_s'), 'MMX', 'SSE2'],
  ['0F D8', 'PSUBUSB', op('i8x16.sub_sat_u'), 'MMX', 'SSE2'],
  ['0F D9', 'PSUBUSW', op('i16x8.sub_sat_u'), 'MMX', 'SSE2'],
  ['0F DB', 'PAND', op('v128.and'), 'MMX', 'SSE2'],
  ['0F DF', 'PANDN', swapped('v128.andnot'), 'MMX', 'SSE2'],
  ['0F EB', 'POR', op('v128.or'), 'MMX', 'SSE2'],
  ['0F EF', 'PXOR', op('v128.xor'), 'MMX', 'SSE2'],
  ['0F 74', 'PCMPEQB', op('i8x16.eq'), 'MMX', 'SSE2'],
  ['0F 75', 'PCMPEQW', op('i16x8.eq'), 'MMX', 'SSE2'],
  ['0F 76', 'PCMPEQD', op('i32x4.eq'), 'MMX', 'SSE2'],
  ['0F 38 29', 'PCMPEQQ', op('i64x2.eq'), undefined, 'SSE4.1'],
  ['0F 64', 'PCMPGTB', op('i8x16.gt_s'), 'MMX', 'SSE2'],
  ['0F 65', 'PCMPGTW', op('i16x8.gt_s'), 'MMX', 'SSE2'],
  ['0F 66', 'PCMPGTD', op('i32x4.gt_s'), 'MMX', 'SSE2'],
  ['0F 38 37', 'PCMPGTQ', op('i64x2.gt_s'), undefined, 'SSE4.2'],
  ['0F DA', 'PMINUB', op('i8x16.min_u'), 'SSE', 'SSE2'],
  ['0F DE', 'PMAXUB', op('i8x16.max_u'), 'SSE', 'SSE2'],
  ['0F EA', 'PMINSW', op('i16x8.min_s'), 'SSE', 'SSE2'],
  ['0F EE', 'PMAXSW', op('i16x8.max_s'), 'SSE', 'SSE2'],
  ['0F 38 38', 'PMINSB', op('i8x16.min_s'), undefined, 'SSE4.1'],
  ['0F 38 39', 'PMINSD', op('i32x4.min_s'), undefined, 'SSE4.1'],
  ['0F 38 3A', 'PMINUW', op('i16x8.min_u'), undefined, 'SSE4.1'],
  ['0F 38 3B', 'PMINUD', op('i32x4.min_u'), undefined, 'SSE4.1'],
  ['0F 38 3C', 'PMAXSB', op('i8x16.max_s'), undefined, 'SSE4.1'],
  ['0F 38 3D', 'PMAXSD', op('i32x4.max_s'), undefined, 'SSE4.1'],
  ['0F 38 3E', 'PMAXUW', op('i16x8.max_u'), undefined, 'SSE4.1'],
  ['0F 38 3F', 'PMAXUD', op('i32x4.max_u'), undefined, 'SSE4.1'],
  ['0F E0', 'PAVGB', op('i8x16.avgr_u'), 'SSE', 'SSE2'],
  ['0F E3', 'PAVGW', op('i16x8.avgr_u'), 'SSE', 'SSE2'],
  ['0F D5', 'PMULLW', op('i16x8.mul'), 'MMX', 'SSE2'],
  ['0F E5', 'PMULHW', multiplyHigh('s'), 'MMX', 'SSE2'],
  ['0F E4', 'PMULHUW', multiplyHigh('u'), 'SSE', 'SSE2'],
  ['0F F4', 'PMULUDQ', multiplyEven('u'), 'SSE2', 'SSE2'],
  ['0F 38 28', 'PMULDQ', multiplyEven('s'), undefined, 'SSE4.1'],
  ['0F 38 40', 'PMULLD', op('i32x4.mul'), undefined, 'SSE4.1'],
  ['0F F5', 'PMADDWD', op('i32x4.dot_i16x8_s'), 'MMX', 'SSE2'],
  ['0F 38 0B', 'PMULHRSW', multiplyRound, 'SSSE3', 'SSSE3'],
  ['0F 38 04', 'PMADDUBSW', multiplyAddBytes, 'SSSE3', 'SSSE3'],
  ['0F F6', 'PSADBW', sumDifferences, 'SSE', 'SSE2'],
  ['0F 38 41', 'PHMINPOSUW', minimumPosition, undefined, 'SSE4.1'],
  ['0F 63', 'PACKSSWB', pack('i8x16.narrow_i16x8_s'), 'MMX', 'SSE2'],
  ['0F 67', 'PACKUSWB', pack('i8x16.narrow_i16x8_u'), 'MMX', 'SSE2'],
  ['0F 6B', 'PACKSSDW', pack('i16x8.narrow_i32x4_s'), 'MMX', 'SSE2'],
  ['0F 38 2B', 'PACKUSDW', pack('i16x8.narrow_i32x4_u'), undefined, 'SSE4.1'],
  ['0F 68', 'PUNPCKHBW', unpack(1, true), 'MMX', 'SSE2'],
  ['0F 69', 'PUNPCKHWD', unpack(2, true), 'MMX', 'SSE2'],
  ['0F 6A', 'PUNPCKHDQ', unpack(4, true), 'MMX', 'SSE2'],
  ['0F 6D', 'PUNPCKHQDQ', unpack(8, true), undefined, 'SSE2'],
  ['0F 6C', 'PUNPCKLQDQ', unpack(8, false), undefined, 'SSE2'],
  ['0F 38 01', 'PHADDW', horizontal(2, 'i16x8.add'), 'SSSE3', 'SSSE3'],
  ['0F 38 02', 'PHADDD', horizontal(4, 'i32x4.add'), 'SSSE3', 'SSSE3'],
  ['0F 38 03', 'PHADDSW', horizontal(2, 'i16x8.add_sat_s'), 'SSSE3', 'SSSE3'],
  ['0F 38 05', 'PHSUBW', horizontal(2, 'i16x8.sub'), 'SSSE3', 'SSSE3'],
  ['0F 38 06', 'PHSUBD', horizontal(4, 'i32x4.sub'), 'SSSE3', 'SSSE3'],
  ['0F 38 07', 'PHSUBSW', horizontal(2, 'i16x8.sub_sat_s'), 'SSSE3', 'SSSE3'],
  ['0F 38 08', 'PSIGNB', sign('i8x16'), 'SSSE3', 'SSSE3'],
  ['0F 38 09', 'PSIGNW', sign('i16x8'), 'SSSE3', 'SSSE3'],
  ['0F 38 0A', 'PSIGND', sign('i32x4'), 'SSSE3', 'SSSE3'],
  ['0F 38 1C', 'PABSB', unary('i8x16.abs'), 'SSSE3', 'SSSE3'],
  ['0F 38 1D', 'PABSW', unary('i16x8.abs'), 'SSSE3', 'SSSE3'],
  ['0F 38 1E', 'PABSD', unary('i32x4.abs'), 'SSSE3', 'SSSE3'],
  ['0F D1', 'PSRLW', shift('i16x8', 16, 'shr_u'), 'MMX', 'SSE2'],
  ['0F D2', 'PSRLD', shift('i32x4', 32, 'shr_u'), 'MMX', 'SSE2'],
  ['0F D3', 'PSRLQ', shift('i64x2', 64, 'shr_u'), 'MMX', 'SSE2'],
  ['0F E1', 'PSRAW', shift('i16x8', 16, 'shr_s'), 'MMX', 'SSE2'],
  ['0F E2', 'PSRAD', shift('i32x4', 32, 'shr_s'), 'MMX', 'SSE2'],
  ['0F F1', 'PSLLW', shift('i16x8', 16, 'shl'), 'MMX', 'SSE2'],
  ['0F F2', 'PSLLD', shift('i32x4', 32, 'shl'), 'MMX', 'SSE2'],
  ['0F F3', 'PSLLQ', shift('i64x2', 64, 'shl'), 'MMX', 'SSE2'],
];

/** Low unpacking reads only 32 bits of an MMX memory operand. */
export const LOW_UNPACKS: readonly Columns[] = [
  ['0F 60', 'PUNPCKLBW', unpack(1, false), 'MMX', 'SSE2'],
  ['0F 61', 'PUNPCKLWD', unpack(2, false), 'MMX', 'SSE2'],
  ['0F 62', 'PUNPCKLDQ', unpack(4, false), 'MMX', 'SSE2'],
];

/** Those that read the source alone. */
export const WRITES_ONLY: ReadonlySet<string> = new Set(['PABSB', 'PABSW', 'PABSD', 'PHMINPOSUW']);

const toRow = ([opcode, name, meaning, mmx, xmm]: Columns, mmxSource = Qq): PackedRow => ({
  name,
  opcode: `${opcode} /r`,
  meaning,
  mmx,
  xmm,
  mmxOperands: [Pq, mmxSource],
  xmmOperands: [Vx, Wx],
  writes: WRITES_ONLY.has(name),
});

/** Bitwise operations on floating-point registers are the integer ones under other names. */
export const LOGIC: readonly (readonly [
  encoding: string,
  name: string,
  feature: string,
  meaning: Packed,
])[] = [
  ['NP 0F 54', 'ANDPS', 'SSE', op('v128.and')],
  ['66 0F 54', 'ANDPD', 'SSE2', op('v128.and')],
  ['NP 0F 55', 'ANDNPS', 'SSE', swapped('v128.andnot')],
  ['66 0F 55', 'ANDNPD', 'SSE2', swapped('v128.andnot')],
  ['NP 0F 56', 'ORPS', 'SSE', op('v128.or')],
  ['66 0F 56', 'ORPD', 'SSE2', op('v128.or')],
  ['NP 0F 57', 'XORPS', 'SSE', op('v128.xor')],
  ['66 0F 57', 'XORPD', 'SSE2', op('v128.xor')],
  ['NP 0F 14', 'UNPCKLPS', 'SSE', unpack(4, false)],
  ['66 0F 14', 'UNPCKLPD', 'SSE2', unpack(8, false)],
  ['NP 0F 15', 'UNPCKHPS', 'SSE', unpack(4, true)],
  ['66 0F 15', 'UNPCKHPD', 'SSE2', unpack(8, true)],
];

export const INSTRUCTIONS_SSE_INTEGER: readonly Instruction[] = [
  ...INTEGER_ROWS.flatMap((columns) => packed(toRow(columns))),
  ...LOW_UNPACKS.flatMap((columns) => packed(toRow(columns, Qd))),
  ...LOGIC.map(([encoding, name, feature, meaning]) =>
    instruction({
      name,
      manual: `SDM vol 2, ${name}`,
      feature,
      forms: [form(`${encoding} /r`, Vx, Wx, SSE)],
      lift(l, _i, dst, src) {
        const b = source(l, src!);
        const none = l.i32(0);
        dst!.write(meaning(l, l.let(dst!.read()), b, { mmx: false, immediate: none }));
      },
    }),
  ),
];
