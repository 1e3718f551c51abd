// Shuffles, blends, widening moves, broadcasts and permutations of AVX and AVX2. What SSE has too comes from its rows:
// each 128-bit half is shuffled by itself. SDM vol 1 §14.1.5, §14.2, §14.6, §14.7.

import type { Lift } from '../lift/lift.ts';
import { type Value, v128 } from '../lift/value.ts';
import {
  eachHalf,
  type Halves,
  immediateOf,
  readNarrow,
  readVector,
  type VexRow,
  vex,
  writeVector,
} from './avx-operands.ts';
import {
  Hqq,
  Hx,
  Ib,
  type Instruction,
  Lqq,
  Lx,
  Mx,
  type OperandSpec,
  Vqq,
  Vx,
  Wb,
  Wd,
  Wq,
  Wqq,
  Ww,
  Wx,
} from './instruction.ts';
import { type Packed, type PackedRow, ZERO } from './sse-operands.ts';
import { PREFIXED_SHUFFLES, SHUFFLE_ROWS } from './sse-shuffle.ts';

const rowOf = (name: string): PackedRow => SHUFFLE_ROWS.find((r) => r.name === name)!;
const meaningOf = (name: string): Packed => rowOf(name).meaning;
const swizzle = (l: Lift, v: Value, index: Value) => l.op('i8x16.swizzle', v, index);
const lanes32 = (n: number) => v128([0, 1, 2, 3].flatMap(() => [0, 8, 16, 24].map((k) => n >>> k)));

// --- Two sources or one, perhaps an immediate of which the upper half takes later bits ---

interface ShuffleRow {
  readonly name: string;
  readonly encoding: string;
  readonly w?: 'W0' | 'W1';
  readonly meaning: Packed;
  readonly sources: 1 | 2;
  /** How far the immediate is shifted for the upper half; undefined: no immediate. */
  readonly shift?: number;
  readonly wide: 'AVX' | 'AVX2';
  /** Feature of the 128-bit form. */
  readonly narrow?: 'AVX' | 'AVX2';
}

function shuffle(row: ShuffleRow): Instruction[] {
  const one = (length: 128 | 256, feature: string, list: readonly OperandSpec[]) =>
    vex({
      name: row.name,
      feature,
      length,
      encoding: row.encoding,
      ...(row.w && { w: row.w }),
      operands: [
        ...(row.sources === 1 ? [list[0]!, list[2]!] : list),
        ...(row.shift === undefined ? [] : [Ib]),
      ],
      lift(l, _i, dst, ...rest) {
        const immediate = row.shift === undefined ? l.i32(0) : immediateOf(l, rest.at(-1)!);
        const vectors = rest.slice(0, row.sources).map((o) => readVector(l, o));
        const both = [vectors[0]!, vectors.at(-1)!];
        const result = eachHalf(l, vectors[0]!.length, both, (half, a, b) => {
          const own = half ? l.let(immediate.shru(row.shift ?? 0)) : immediate;
          return row.meaning(l, a!, b!, { mmx: false, immediate: own });
        });
        writeVector(l, dst!, result);
      },
    });
  return [one(128, row.narrow ?? 'AVX', [Vx, Hx, Wx]), one(256, row.wide, [Vqq, Hqq, Wqq])];
}

/** From a row that makes an SSE instruction. */
const likeSse = (
  name: string,
  wide: 'AVX' | 'AVX2',
  sources: 1 | 2,
  shift?: number,
): Instruction[] => {
  const prefixed = PREFIXED_SHUFFLES.find((r) => r[0] === name);
  const encoding = prefixed?.[1] ?? `66 ${rowOf(name).opcode.replace(' /r', '')}`;
  const meaning = prefixed?.[3] ?? meaningOf(name);
  return shuffle({ name, encoding, meaning, sources, wide, ...(shift !== undefined && { shift }) });
};

/** VPERMILPS by a vector: each element's low two bits pick one of its half. */
const permuteSingles: Packed = (l, a, b) => {
  const picked = l.op('i32x4.mul', l.op('v128.and', b, lanes32(3)), lanes32(0x0404_0404));
  return swizzle(l, a, l.op('i32x4.add', picked, lanes32(0x0302_0100)));
};
/** VPERMILPD by a vector: bit 1 of each element. */
const permuteDoubles: Packed = (l, a, b) => {
  const splat = (n: number) => l.op('i64x2.splat', l.lanes('i64x2.extract_lane', [n], a));
  const mask = l.op('i64x2.shr_s', l.op('i64x2.shl', b, 62), 63);
  return l.op('v128.bitselect', splat(1), splat(0), mask);
};

const SHUFFLES: readonly Instruction[] = [
  ...likeSse('PSHUFB', 'AVX2', 2),
  ...likeSse('PALIGNR', 'AVX2', 2, 0),
  ...likeSse('PSHUFD', 'AVX2', 1, 0),
  ...likeSse('PSHUFLW', 'AVX2', 1, 0),
  ...likeSse('PSHUFHW', 'AVX2', 1, 0),
  ...likeSse('SHUFPS', 'AVX', 2, 0),
  ...likeSse('SHUFPD', 'AVX', 2, 2),
  ...likeSse('BLENDPS', 'AVX', 2, 4),
  ...likeSse('BLENDPD', 'AVX', 2, 2),
  ...likeSse('PBLENDW', 'AVX2', 2, 0),
  ...likeSse('MPSADBW', 'AVX2', 2, 3),
  ...shuffle({
    name: 'PBLENDD', encoding: '66 0F 3A 02', w: 'W0', meaning: meaningOf('BLENDPS'), sources: 2, shift: 4,
    wide: 'AVX2', narrow: 'AVX2',
  }),
  ...shuffle({ name: 'PERMILPS', encoding: '66 0F 38 0C', w: 'W0', meaning: permuteSingles, sources: 2, wide: 'AVX' }),
  ...shuffle({ name: 'PERMILPD', encoding: '66 0F 38 0D', w: 'W0', meaning: permuteDoubles, sources: 2, wide: 'AVX' }),
  ...shuffle({
    name: 'PERMILPS', encoding: '66 0F 3A 04', w: 'W0', meaning: meaningOf('PSHUFD'), sources: 1, shift: 0, wide: 'AVX',
  }),
  ...shuffle({
    name: 'PERMILPD', encoding: '66 0F 3A 05', w: 'W0', meaning: meaningOf('SHUFPD'), sources: 1, shift: 2, wide: 'AVX',
  }),
]; // biome-ignore format: a table

// --- Blends by the signs of a register that the last byte names ---

function variableBlend(
  name: string,
  opcode: string,
  wide: 'AVX' | 'AVX2',
  [shape, bits]: readonly [string, number],
): Instruction[] {
  const one = (length: 128 | 256, feature: string, operands: readonly OperandSpec[]) =>
    vex({
      name,
      feature,
      length,
      encoding: `66 0F 3A ${opcode} /r /is4`,
      w: 'W0',
      operands,
      lift(l, _i, dst, ...rest) {
        const vectors = [rest[1]!, rest[0]!, rest[2]!].map((o) => readVector(l, o));
        const result = eachHalf(l, vectors[0]!.length, vectors, (_half, b, a, mask) =>
          l.op('v128.bitselect', b!, a!, l.op(`${shape}.shr_s`, mask!, bits - 1)),
        );
        writeVector(l, dst!, result);
      },
    });
  return [one(128, 'AVX', [Vx, Hx, Wx, Lx]), one(256, wide, [Vqq, Hqq, Wqq, Lqq])];
}

// --- Widening moves ---

/** What the 256-bit form reads: twice as much. */
const TWICE = new Map<OperandSpec, OperandSpec>([
  [Ww, Wd],
  [Wd, Wq],
  [Wq, Wx],
]);
const BYTES = new Map<OperandSpec, number>([
  [Ww, 2],
  [Wd, 4],
  [Wq, 8],
]);

function widening(row: PackedRow): Instruction[] {
  const from = row.xmmOperands[1]!;
  const none = (l: Lift) => ({ mmx: false, immediate: l.i32(0) });
  const encoding = `66 ${row.opcode.replace(' /r', '')}`;
  const common = { name: row.name, encoding };
  /** The second half's elements, brought to the front. */
  const later = (l: Lift, v: Value) => {
    const first = BYTES.get(from)!;
    const order = Array.from({ length: 16 }, (_, n) => (n + first) % 16);
    return l.let(l.lanes('i8x16.shuffle', order, v, v));
  };
  return [
    vex({
      ...common,
      feature: 'AVX',
      length: 128,
      operands: [Vx, from],
      lift(l, _i, dst, src) {
        const v = readNarrow(l, src!);
        writeVector(l, dst!, [row.meaning(l, v, v, none(l))]);
      },
    }),
    vex({
      ...common,
      feature: 'AVX2',
      length: 256,
      operands: [Vqq, TWICE.get(from)!],
      lift(l, _i, dst, src) {
        const low = readNarrow(l, src!);
        const high = later(l, low);
        const each = (v: Value) => l.let(row.meaning(l, v, v, none(l)));
        writeVector(l, dst!, [each(low), each(high)]);
      },
    }),
  ];
}

// --- Broadcasts ---

const WIDE_VECTORS = [
  [128, Vx],
  [256, Vqq],
] as const;

function broadcast(
  name: string,
  opcode: string,
  shape: string,
  from: OperandSpec,
  o: { readonly feature: 'AVX' | 'AVX2'; readonly lengths?: readonly number[] },
): Instruction[] {
  const lengths = o.lengths ?? [128, 256];
  return WIDE_VECTORS.filter(([length]) => lengths.includes(length)).map(([length, to]) =>
    vex({
      name,
      feature: o.feature,
      length,
      encoding: `66 0F 38 ${opcode}`,
      w: 'W0',
      operands: [to, from],
      lift(l, _i, dst, src) {
        const value = l.let(src!.read());
        const all = value.type === 'v128' ? value : l.let(l.op(`${shape}.splat`, value));
        writeVector(l, dst!, length === 256 ? [all, all] : [all]);
      },
    }),
  );
}

// --- Halves: insertion, extraction, permutation ---

/** Of 256 bits only, with an immediate that says which halves. */
const ofHalves =
  (operands: readonly OperandSpec[], lift: VexRow['lift']) =>
  (name: string, opcode: string, feature: string): Instruction =>
    vex({ name, feature, length: 256, encoding: `66 0F 3A ${opcode}`, w: 'W0', operands, lift });

const insertHalf = ofHalves([Vqq, Hqq, Wx, Ib], (l, _i, dst, first, src, immediate) => {
  const isHigh = l.let(immediateOf(l, immediate!).and(1));
  const value = l.let(src!.read());
  const [low, high] = readVector(l, first!);
  writeVector(l, dst!, [l.select(isHigh, low!, value), l.select(isHigh, value, high!)]);
});
const extractHalf = ofHalves([Wx, Vqq, Ib], (l, _i, dst, src, immediate) => {
  const [low, high] = readVector(l, src!);
  const isHigh = immediateOf(l, immediate!).and(1);
  writeVector(l, dst!, [l.let(l.select(isHigh, high!, low!))]);
});

/** VPERM2F128: each half by a field of two bits that picks one of four, and a bit that clears it. */
const permuteHalves = ofHalves([Vqq, Hqq, Wqq, Ib], (l, _i, dst, first, second, immediate) => {
  const control = immediateOf(l, immediate!);
  const b = readVector(l, second!);
  const a = readVector(l, first!);
  const pick = (field: Value) => {
    const of = (v: Halves) => l.select(field.and(1), v[1]!, v[0]!);
    const picked = l.select(field.and(2), of(b), of(a));
    return l.let(l.select(field.and(8), ZERO, picked));
  };
  writeVector(l, dst!, [pick(control), pick(l.let(control.shru(4)))]);
});

/** VPERMQ and VPERMPD: four of the source's four 64-bit elements. */
const permuteQuads = (name: string, opcode: string): Instruction =>
  vex({
    name,
    feature: 'AVX2',
    length: 256,
    encoding: `66 0F 3A ${opcode}`,
    w: 'W1',
    operands: [Vqq, Wqq, Ib],
    lift(l, _i, dst, src, immediate) {
      const control = immediateOf(l, immediate!);
      const quads = readVector(l, src!).flatMap((v) =>
        [0, 1].map((n) => l.let(l.lanes('i64x2.extract_lane', [n], v))),
      );
      const pick = (n: number) => {
        const isOdd = control.bit(2 * n);
        const of = (k: number) => l.select(isOdd, quads[k + 1]!, quads[k]!);
        return l.let(l.select(control.bit(2 * n + 1), of(2), of(0)));
      };
      const pair = (n: number) =>
        l.let(l.lanes('i64x2.replace_lane', [1], l.op('i64x2.splat', pick(n)), pick(n + 1)));
      writeVector(l, dst!, [pair(0), pair(2)]);
    },
  });

/** VPERMD and VPERMPS: eight of the second source's eight 32-bit elements, by the first source. */
const permuteDwords = (name: string, opcode: string): Instruction =>
  vex({
    name,
    feature: 'AVX2',
    length: 256,
    encoding: `66 0F 38 ${opcode}`,
    w: 'W0',
    operands: [Vqq, Hqq, Wqq],
    lift(l, _i, dst, indices, src) {
      const [low, high] = readVector(l, src!);
      const result = eachHalf(l, 2, [readVector(l, indices!)], (_half, index) => {
        const scaled = l.op(
          'i32x4.mul',
          l.op('v128.and', index!, lanes32(7)),
          lanes32(0x0404_0404),
        );
        const place = l.let(l.op('i32x4.add', scaled, lanes32(0x0302_0100)));
        // An index outside of 0 to 15 gives zero: of the two lookups one counts.
        const beyond = l.op('i8x16.sub', place, lanes32(0x1010_1010));
        return l.op('v128.or', swizzle(l, low!, place), swizzle(l, high!, beyond));
      });
      writeVector(l, dst!, result);
    },
  });

export const INSTRUCTIONS_AVX_SHUFFLE: readonly Instruction[] = [
  ...SHUFFLES,
  ...variableBlend('BLENDVPS', '4A', 'AVX', ['i32x4', 32]),
  ...variableBlend('BLENDVPD', '4B', 'AVX', ['i64x2', 64]),
  ...variableBlend('PBLENDVB', '4C', 'AVX2', ['i8x16', 8]),
  ...SHUFFLE_ROWS.filter((r) => /^PMOV[SZ]X/.test(r.name)).flatMap(widening),
  ...broadcast('BROADCASTSS', '18', 'i32x4', Wd, { feature: 'AVX' }),
  ...broadcast('BROADCASTSD', '19', 'i64x2', Wq, { feature: 'AVX', lengths: [256] }),
  ...broadcast('BROADCASTF128', '1A', 'i64x2', Mx, { feature: 'AVX', lengths: [256] }),
  ...broadcast('BROADCASTI128', '5A', 'i64x2', Mx, { feature: 'AVX2', lengths: [256] }),
  ...broadcast('PBROADCASTB', '78', 'i8x16', Wb, { feature: 'AVX2' }),
  ...broadcast('PBROADCASTW', '79', 'i16x8', Ww, { feature: 'AVX2' }),
  ...broadcast('PBROADCASTD', '58', 'i32x4', Wd, { feature: 'AVX2' }),
  ...broadcast('PBROADCASTQ', '59', 'i64x2', Wq, { feature: 'AVX2' }),
  insertHalf('INSERTF128', '18', 'AVX'),
  extractHalf('EXTRACTF128', '19', 'AVX'),
  permuteHalves('PERM2F128', '06', 'AVX'),
  insertHalf('INSERTI128', '38', 'AVX2'),
  extractHalf('EXTRACTI128', '39', 'AVX2'),
  permuteHalves('PERM2I128', '46', 'AVX2'),
  permuteQuads('PERMQ', '00'),
  permuteQuads('PERMPD', '01'),
  permuteDwords('PERMD', '36'),
  permuteDwords('PERMPS', '16'),
];
