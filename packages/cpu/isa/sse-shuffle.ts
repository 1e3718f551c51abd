// Shuffles, blends, shifts by an immediate, widening moves and MPSADBW of MMX to SSE4.1. Where an
// immediate is only known at run time, byte indices and masks are computed from it. SDM vol 1 §9.4,
// §11.4.2, §12.6–12.10.

import type { Lift } from '../lift/lift.ts';
import { constantOf, type Value, v128 } from '../lift/value.ts';
import { S } from '../state/layout.ts';
import {
  type Form,
  form,
  Ib,
  type Instruction,
  instruction,
  MMX,
  Nq,
  type OperandSpec,
  Pq,
  Qq,
  SSE,
  Ux,
  Vx,
  Wd,
  Wq,
  Ww,
  Wx,
} from './instruction.ts';
import { shiftBy } from './sse-integer.ts';
import {
  enterMmx,
  IOTA,
  low,
  type Packed,
  type PackedRow,
  packed,
  source,
  widen,
  writeMmx,
} from './sse-operands.ts';

const bytes = (width: 1 | 2 | 4, lanes: readonly number[]): Value =>
  v128(lanes.flatMap((n) => Array.from({ length: width }, (_, i) => (n >>> (8 * i)) & 0xff)));
const swizzle = (l: Lift, v: Value, index: Value) => l.op('i8x16.swizzle', v, index);
export const splat = (l: Lift, shape: string, v: Value) => l.op(`${shape}.splat`, v);

/** An immediate that is known while its instruction is lifted. */
export function known(immediate: Value): number | undefined {
  const value = constantOf(immediate);
  return value === undefined ? undefined : Number(value);
}
/** One of the known numbers' fields of two bits. */
const fieldOf = (immediate: number, n: number) => (immediate >> (2 * n)) & 3;
/** Picks bytes out of two vectors by units, each given as its number in both. */
const pickUnits = (l: Lift, width: number, units: readonly number[], a: Value, b: Value): Value =>
  l.lanes(
    'i8x16.shuffle',
    units.flatMap((unit) => Array.from({ length: width }, (_, i) => unit * width + i)),
    a,
    b,
  );

/**
 * Byte indices that pick four units by the immediate's two-bit fields: scale * field + base, unit
 * by unit.
 */
function fields(
  l: Lift,
  shape: 'i16x8' | 'i32x4',
  immediate: Value,
  factors: Value,
  scale: Value,
  base: Value,
): Value {
  // Multiplying puts each unit's field at bits 6 and 7.
  const placed = l.op(`${shape}.mul`, splat(l, shape, immediate), factors);
  const field = l.op('v128.and', l.op(`${shape}.shr_u`, placed, 6), splat(l, shape, l.i32(3)));
  return l.op(`${shape}.add`, l.op(`${shape}.mul`, field, scale), base);
}

const dwordIndices = (l: Lift, immediate: Value) =>
  fields(
    l,
    'i32x4',
    immediate,
    bytes(4, [64, 16, 4, 1]),
    bytes(4, new Array(4).fill(0x04040404)),
    bytes(4, new Array(4).fill(0x03020100)),
  );
const wordIndices = (l: Lift, immediate: Value, half: 'low' | 'high') => {
  const identity = [0x0100, 0x0302, 0x0504, 0x0706, 0x0908, 0x0b0a, 0x0d0c, 0x0f0e];
  const factors = half === 'low' ? [64, 16, 4, 1, 0, 0, 0, 0] : [0, 0, 0, 0, 64, 16, 4, 1];
  const base = identity.map((own, n) => (factors[n] ? (half === 'low' ? 0x0100 : 0x0908) : own));
  return fields(
    l,
    'i16x8',
    immediate,
    bytes(2, factors),
    bytes(2, new Array(8).fill(0x0202)),
    bytes(2, base),
  );
};

const shuffleDwords: Packed = (l, _a, b, { immediate }) => {
  const n = known(immediate);
  if (n === undefined) return swizzle(l, b, dwordIndices(l, immediate));
  return pickUnits(
    l,
    4,
    [0, 1, 2, 3].map((unit) => fieldOf(n, unit)),
    b,
    b,
  );
};
const shuffleWords =
  (half: 'low' | 'high'): Packed =>
  (l, _a, b, { immediate }) => {
    const n = known(immediate);
    if (n === undefined) return swizzle(l, b, wordIndices(l, immediate, half));
    const first = half === 'low' ? 0 : 4;
    const units = [0, 1, 2, 3, 4, 5, 6, 7].map((unit) =>
      unit >= first && unit < first + 4 ? first + fieldOf(n, unit - first) : unit,
    );
    return pickUnits(l, 2, units, b, b);
  };
/** SHUFPS: two lanes of the first source, then two of the second. */
const shuffleSingles: Packed = (l, a, b, { immediate }) => {
  const n = known(immediate);
  if (n !== undefined) {
    const units = [0, 1, 2, 3].map((unit) => fieldOf(n, unit) + (unit < 2 ? 0 : 4));
    return pickUnits(l, 4, units, a, b);
  }
  const index = l.let(dwordIndices(l, immediate));
  return l.lanes(
    'i8x16.shuffle',
    [0, 1, 2, 3, 4, 5, 6, 7, 24, 25, 26, 27, 28, 29, 30, 31],
    swizzle(l, a, index),
    swizzle(l, b, index),
  );
};
const shuffleDoubles: Packed = (l, a, b, { immediate }) => {
  const n = known(immediate);
  if (n !== undefined) return pickUnits(l, 8, [n & 1, 2 + ((n >> 1) & 1)], a, b);
  const lane = (v: Value, n: number) => l.lanes('i64x2.extract_lane', [n], v);
  const pick = (v: Value, bit: number) => l.select(immediate.bit(bit), lane(v, 1), lane(v, 0));
  return l.lanes('i64x2.replace_lane', [1], splat(l, 'i64x2', pick(a, 0)), pick(b, 1));
};
/** PSHUFB: an index with its sign set gives zero. */
const shuffleBytes: Packed = (l, a, b, { mmx }) =>
  swizzle(l, a, l.op('v128.and', b, bytes(1, new Array(16).fill(mmx ? 0x87 : 0x8f))));

function atMost(l: Lift, v: Value, limit: number): Value {
  const n = known(v);
  if (n !== undefined) return l.i32(Math.min(n, limit));
  return l.let(l.select(v.gtu(limit), l.i32(limit), v));
}
/** Bytes of `v` from a position on, zero outside of it; the position may be negative. */
export function bytesFrom(l: Lift, v: Value, position: Value): Value {
  const n = known(position);
  if (n === undefined) return swizzle(l, v, l.op('i8x16.add', IOTA, splat(l, 'i8x16', position)));
  // An index with its sign set gives zero.
  const index = Array.from({ length: 16 }, (_, i) => (i + n >= 0 && i + n < 16 ? i + n : 0x80));
  return swizzle(l, v, v128(index));
}

/** PALIGNR: sixteen (MMX: eight) bytes out of destination above source, from the immediate on. */
const align: Packed = (l, a, b, { mmx, immediate }) => {
  if (mmx) {
    const both = l.lanes(
      'i8x16.shuffle',
      [0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23],
      b,
      a,
    );
    return bytesFrom(l, both, atMost(l, immediate, 16));
  }
  const fixed = known(immediate);
  if (fixed !== undefined && fixed <= 16) {
    const lanes = Array.from({ length: 16 }, (_, i) => i + fixed);
    return l.lanes('i8x16.shuffle', lanes, b, a);
  }
  const n = atMost(l, immediate, 32);
  return l.op('v128.or', bytesFrom(l, b, n), bytesFrom(l, a, n.sub(16)));
};

/** A mask with lane n set when bit n of the immediate is. */
export function laneMask(l: Lift, shape: 'i16x8' | 'i32x4' | 'i64x2', immediate: Value): Value {
  const count = Number(shape.split('x')[1]);
  const bits = Array.from({ length: count }, (_, n) => 1 << n);
  const vector =
    shape === 'i16x8'
      ? bytes(2, bits)
      : shape === 'i32x4'
        ? bytes(4, bits)
        : bytes(4, [1, 0, 2, 0]);
  const value = splat(l, shape, shape === 'i64x2' ? immediate.u64() : immediate);
  return l.op(`${shape}.eq`, l.op('v128.and', value, vector), vector);
}
const blend =
  (shape: 'i16x8' | 'i32x4' | 'i64x2'): Packed =>
  (l, a, b, { immediate }) => {
    const n = known(immediate);
    if (n === undefined) return l.op('v128.bitselect', b, a, laneMask(l, shape, immediate));
    const count = Number(shape.split('x')[1]);
    const units = Array.from({ length: count }, (_, i) => i + ((n >> i) & 1) * count);
    return pickUnits(l, 16 / count, units, a, b);
  };
/** Blends by the signs of XMM0. */
const blendVariable =
  (shape: string, bits: number): Packed =>
  (l, a, b) =>
    l.op('v128.bitselect', b, a, l.op(`${shape}.shr_s`, l.get(S.xmm, 0), bits - 1));

/** MPSADBW: eight sums of four absolute differences, the first source sliding. */
const multipleSums: Packed = (l, a, b, { immediate }) => {
  const start = l.let(immediate.and(4));
  const fixed = l.let(immediate.and(3).shl(2));
  const term = (k: number) => {
    const sliding = l.op('i16x8.extend_low_i8x16_u', bytesFrom(l, a, start.add(k)));
    const still = l.op('i16x8.extend_low_i8x16_u', swizzle(l, b, splat(l, 'i8x16', fixed.add(k))));
    return l.op('i16x8.abs', l.op('i16x8.sub', sliding, still));
  };
  const sum = (x: Value, y: Value) => l.op('i16x8.add', x, y);
  return sum(sum(term(0), term(1)), sum(term(2), term(3)));
};

type Operands = readonly OperandSpec[];
const row = (
  name: string,
  opcode: string,
  meaning: Packed,
  mmx: string | undefined,
  xmm: string | undefined,
  options: { immediate?: boolean; writes?: boolean; from?: OperandSpec } = {},
): PackedRow => {
  const tail: Operands = options.immediate ? [Ib] : [];
  return {
    name,
    opcode: `${opcode} /r`,
    meaning,
    mmx,
    xmm,
    writes: options.writes ?? false,
    mmxOperands: [Pq, Qq, ...tail],
    xmmOperands: [Vx, options.from ?? Wx, ...tail],
  };
};
const IMMEDIATE = { immediate: true };
const extend = (name: string, opcode: string, from: OperandSpec, steps: readonly string[]) =>
  row(
    name,
    opcode,
    (l, _a, b) => steps.reduce((v, step) => l.op(`${step}`, v), b),
    undefined,
    'SSE4.1',
    { from, writes: true },
  );
const WIDENING = {
  b: 'i16x8.extend_low_i8x16',
  w: 'i32x4.extend_low_i16x8',
  d: 'i64x2.extend_low_i32x4',
} as const;
/** PMOVSX and PMOVZX: source and destination elements by their letters. */
const widening = (letter: 's' | 'z', opcode: string, path: string, from: OperandSpec) => {
  const steps = [...path.slice(0, -1)].map(
    (from) => `${WIDENING[from as 'b' | 'w' | 'd']}_${letter === 's' ? 's' : 'u'}`,
  );
  return extend(
    `PMOV${letter.toUpperCase()}X${path[0]!.toUpperCase()}${path.at(-1)!.toUpperCase()}`,
    opcode,
    from,
    steps,
  );
};

// biome-ignore format: a table
export const SHUFFLE_ROWS: readonly PackedRow[] = [
  row('PSHUFB', '0F 38 00', shuffleBytes, 'SSSE3', 'SSSE3'),
  row('PALIGNR', '0F 3A 0F', align, 'SSSE3', 'SSSE3', IMMEDIATE),
  row('PSHUFD', '0F 70', shuffleDwords, undefined, 'SSE2', { immediate: true, writes: true }),
  row('PSHUFW', '0F 70', shuffleWords('low'), 'SSE', undefined, { immediate: true, writes: true }),
  row('SHUFPD', '0F C6', shuffleDoubles, undefined, 'SSE2', IMMEDIATE),
  row('BLENDPS', '0F 3A 0C', blend('i32x4'), undefined, 'SSE4.1', IMMEDIATE),
  row('BLENDPD', '0F 3A 0D', blend('i64x2'), undefined, 'SSE4.1', IMMEDIATE),
  row('PBLENDW', '0F 3A 0E', blend('i16x8'), undefined, 'SSE4.1', IMMEDIATE),
  row('PBLENDVB', '0F 38 10', blendVariable('i8x16', 8), undefined, 'SSE4.1'),
  row('BLENDVPS', '0F 38 14', blendVariable('i32x4', 32), undefined, 'SSE4.1'),
  row('BLENDVPD', '0F 38 15', blendVariable('i64x2', 64), undefined, 'SSE4.1'),
  row('MPSADBW', '0F 3A 42', multipleSums, undefined, 'SSE4.1', IMMEDIATE),
  widening('s', '0F 38 20', 'bw', Wq), widening('s', '0F 38 21', 'bwd', Wd), widening('s', '0F 38 22', 'bwdq', Ww),
  widening('s', '0F 38 23', 'wd', Wq), widening('s', '0F 38 24', 'wdq', Wd), widening('s', '0F 38 25', 'dq', Wq),
  widening('z', '0F 38 30', 'bw', Wq), widening('z', '0F 38 31', 'bwd', Wd), widening('z', '0F 38 32', 'bwdq', Ww),
  widening('z', '0F 38 33', 'wd', Wq), widening('z', '0F 38 34', 'wdq', Wd), widening('z', '0F 38 35', 'dq', Wq),
];

/** Forms with a prefix of their own. */
const prefixed = (name: string, encoding: string, feature: string, meaning: Packed): Instruction =>
  instruction({
    name,
    manual: `SDM vol 2B, ${name}`,
    feature,
    forms: [form(encoding, Vx, Wx, Ib, SSE)],
    lift(l, _i, dst, src, immediate) {
      const b = source(l, src!);
      dst!.write(
        meaning(l, l.let(dst!.read()), b, {
          mmx: false,
          immediate: l.let(immediate!.read().i32().and(0xff)),
        }),
      );
    },
  });

export const PREFIXED_SHUFFLES: readonly (readonly [
  name: string,
  encoding: string,
  feature: string,
  meaning: Packed,
])[] = [
  ['PSHUFLW', 'F2 0F 70', 'SSE2', shuffleWords('low')],
  ['PSHUFHW', 'F3 0F 70', 'SSE2', shuffleWords('high')],
  ['SHUFPS', 'NP 0F C6', 'SSE', shuffleSingles],
];

// --- Shifts by an immediate ---

export type ShiftColumns = readonly [
  name: string,
  opcode: string,
  shape: string,
  bits: number,
  direction: 'shl' | 'shr_s' | 'shr_u',
];
export const SHIFTS: readonly ShiftColumns[] = [
  ['PSRLW', '0F 71 /2', 'i16x8', 16, 'shr_u'],
  ['PSRAW', '0F 71 /4', 'i16x8', 16, 'shr_s'],
  ['PSLLW', '0F 71 /6', 'i16x8', 16, 'shl'],
  ['PSRLD', '0F 72 /2', 'i32x4', 32, 'shr_u'],
  ['PSRAD', '0F 72 /4', 'i32x4', 32, 'shr_s'],
  ['PSLLD', '0F 72 /6', 'i32x4', 32, 'shl'],
  ['PSRLQ', '0F 73 /2', 'i64x2', 64, 'shr_u'],
  ['PSLLQ', '0F 73 /6', 'i64x2', 64, 'shl'],
];

type ShiftMeaning = (l: Lift, value: Value, count: Value) => Value;
/** Shifts of 128 bits by bytes. */
export const BYTE_SHIFTS: readonly (readonly [
  name: string,
  opcode: string,
  meaning: ShiftMeaning,
])[] = [
  ['PSRLDQ', '0F 73 /3', (l, v, n) => bytesFrom(l, v, atMost(l, n, 16))],
  ['PSLLDQ', '0F 73 /7', (l, v, n) => bytesFrom(l, v, l.i32(0).sub(atMost(l, n, 16)))],
];

const immediateShift = (name: string, feature: string, only: Form, meaning: ShiftMeaning) =>
  instruction({
    name,
    manual: `SDM vol 2B, ${name}`,
    feature,
    forms: [only],
    lift(l, _i, dst, immediate) {
      const count = l.let(immediate!.read().i32().and(0xff));
      const value = l.let(dst!.read());
      if (dst!.bits === 128) {
        dst!.write(meaning(l, value, count));
        return;
      }
      enterMmx(l);
      writeMmx(l, dst!, low(l, meaning(l, widen(l, value), count)));
    },
  });

const IMMEDIATE_SHIFTS: readonly Instruction[] = [
  ...SHIFTS.flatMap(([name, opcode, shape, bits, direction]) => {
    const meaning = (l: Lift, value: Value, count: Value) =>
      shiftBy(l, shape, bits, direction, value, count);
    return [
      immediateShift(name, 'MMX', form(`NP ${opcode} ib`, Nq, Ib, MMX), meaning),
      immediateShift(name, 'SSE2', form(`66 ${opcode} ib`, Ux, Ib, SSE), meaning),
    ];
  }),
  ...BYTE_SHIFTS.map(([name, opcode, meaning]) =>
    immediateShift(name, 'SSE2', form(`66 ${opcode} ib`, Ux, Ib, SSE), meaning),
  ),
];

export const INSTRUCTIONS_SSE_SHUFFLE: readonly Instruction[] = [
  ...SHUFFLE_ROWS.flatMap(packed),
  ...PREFIXED_SHUFFLES.map(([name, encoding, feature, meaning]) =>
    prefixed(name, `${encoding} /r`, feature, meaning),
  ),
  ...IMMEDIATE_SHIFTS,
];
