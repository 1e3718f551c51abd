// Data transfer of AVX and AVX2: vectors, scalars, halves, masked and clearing moves. SDM vol 1 §14.1, §14.2, §14.7.
// Non-temporal stores are ordinary stores: we have no caches to bypass.

import type { Lift } from '../lift/lift.ts';
import type { Value } from '../lift/value.ts';
import { maskedElements } from '../microcode/avx/masked.ts';
import { hostAddressForRead, hostAddressForWrite } from '../microcode/memory.ts';
import { segmentLinear } from '../microcode/segment-access.ts';
import { MXCSR } from '../microcode/sse/check.ts';
import { S, YMM_HIGH } from '../state/layout.ts';
import {
  eachHalf,
  type Halves,
  readAligned,
  readVector,
  vex,
  writeAligned,
  writeVector,
} from './avx-operands.ts';
import {
  Ed,
  Eq,
  Hqq,
  Hx,
  type Instruction,
  type InstructionContext,
  type InstructionSpec,
  type LiftOperand,
  Md,
  Mq,
  Mqq,
  Mx,
  ONLY64,
  type OperandSpec,
  Ux,
  Vd,
  Vq,
  Vqq,
  Vx,
  Wq,
  Wqq,
  Wx,
} from './instruction.ts';
import { liftMaskedStore } from './sse-move.ts';
import { low, ZERO } from './sse-operands.ts';

const GP = 13;

type Meaning = (l: Lift, dst: LiftOperand, src: LiftOperand) => void;
type LiftFunction = InstructionSpec['lift'];

const copy: Meaning = (l, dst, src) => writeVector(l, dst, readVector(l, src));
const copyAligned: Meaning = (l, dst, src) => writeAligned(l, dst, readAligned(l, src));
const shuffled =
  (order: readonly number[]): Meaning =>
  (l, dst, src) => {
    const value = readVector(l, src);
    const result = eachHalf(l, value.length, [value], (_half, v) =>
      l.lanes('i8x16.shuffle', order, v!, v!),
    );
    writeVector(l, dst, result);
  };
/** Bytes of 32-bit lanes in that order. */
const dwords = (...order: number[]) =>
  order.flatMap((n) => [4 * n, 4 * n + 1, 4 * n + 2, 4 * n + 3]);

type Pair = readonly [OperandSpec, OperandSpec];

/** A move in both vector lengths. */
const both = (
  name: string,
  encoding: string,
  meaning: Meaning,
  narrow: Pair,
  wide: Pair,
  feature = 'AVX',
): Instruction[] =>
  (
    [
      [128, narrow, 'AVX'],
      [256, wide, feature],
    ] as const
  ).map(([length, operands, own]) =>
    vex({
      name,
      feature: own,
      length,
      encoding,
      operands,
      lift: (l, _i, dst, src) => meaning(l, dst!, src!),
    }),
  );
/** Register or memory to register, and back. */
const twoWays = (name: string, load: string, store: string, meaning: Meaning): Instruction[] => [
  ...both(name, load, meaning, [Vx, Wx], [Vqq, Wqq]),
  ...both(name, store, meaning, [Wx, Vx], [Wqq, Vqq]),
];

const VECTORS: readonly Instruction[] = [
  ...twoWays('MOVAPS', 'NP 0F 28', 'NP 0F 29', copyAligned),
  ...twoWays('MOVAPD', '66 0F 28', '66 0F 29', copyAligned),
  ...twoWays('MOVDQA', '66 0F 6F', '66 0F 7F', copyAligned),
  ...twoWays('MOVUPS', 'NP 0F 10', 'NP 0F 11', copy),
  ...twoWays('MOVUPD', '66 0F 10', '66 0F 11', copy),
  ...twoWays('MOVDQU', 'F3 0F 6F', 'F3 0F 7F', copy),
  ...both('LDDQU', 'F2 0F F0', copy, [Vx, Mx], [Vqq, Mqq]),
  ...both('MOVNTPS', 'NP 0F 2B', copyAligned, [Mx, Vx], [Mqq, Vqq]),
  ...both('MOVNTPD', '66 0F 2B', copyAligned, [Mx, Vx], [Mqq, Vqq]),
  ...both('MOVNTDQ', '66 0F E7', copyAligned, [Mx, Vx], [Mqq, Vqq]),
  ...both('MOVNTDQA', '66 0F 38 2A', copyAligned, [Vx, Mx], [Vqq, Mqq], 'AVX2'),
  ...both('MOVSLDUP', 'F3 0F 12', shuffled(dwords(0, 0, 2, 2)), [Vx, Wx], [Vqq, Wqq]),
  ...both('MOVSHDUP', 'F3 0F 16', shuffled(dwords(1, 1, 3, 3)), [Vx, Wx], [Vqq, Wqq]),
  ...both('MOVDDUP', 'F2 0F 12', duplicate, [Vx, Wq], [Vqq, Wqq]),
];

/** The even double of each half twice; the 128-bit form reads 64 bits. */
function duplicate(l: Lift, dst: LiftOperand, src: LiftOperand): void {
  if (src.bits === 64) writeVector(l, dst, [l.op('i64x2.splat', l.let(src.read()))]);
  else shuffled(dwords(0, 1, 0, 1))(l, dst, src);
}

// --- Scalars and halves of 128 bits ---

const replaceQuad = (l: Lift, lane: 0 | 1, v: Value, value: Value) =>
  l.lanes('i64x2.replace_lane', [lane], v, value);
/** A 32- or 64-bit value with zeros above it. */
const zeroExtend = (l: Lift, value: Value): Value =>
  l.lanes(value.type === 'i64' ? 'i64x2.replace_lane' : 'i32x4.replace_lane', [0], ZERO, value);

const one = (
  name: string,
  encoding: string,
  operands: readonly OperandSpec[],
  lift: LiftFunction,
  more: { length?: 128 | 'LIG' | 'LZ'; w?: 'W0' | 'W1'; only64?: boolean } = {},
): Instruction =>
  vex({
    name,
    feature: 'AVX',
    length: more.length ?? 128,
    encoding,
    operands,
    ...(more.w && { w: more.w }),
    ...(more.only64 && { options: ONLY64 }),
    lift,
  });

const clearing: LiftFunction = (l, _i, dst, src) =>
  writeVector(l, dst!, [zeroExtend(l, l.let(src!.read()))]);
const plain: LiftFunction = (_l, _i, dst, src) => dst!.write(src!.read());
/** The lowest element of the second source, the rest of the first. */
const merging =
  (shape: 'i32x4' | 'i64x2'): LiftFunction =>
  (l, _i, dst, first, second) => {
    const value = l.lanes(`${shape}.extract_lane`, [0], l.let(second!.read()));
    writeVector(l, dst!, [
      l.let(l.lanes(`${shape}.replace_lane`, [0], l.let(first!.read()), value)),
    ]);
  };
/** The first source with one half from 64 bits of memory. */
const withHalf =
  (lane: 0 | 1): LiftFunction =>
  (l, _i, dst, first, src) => {
    const value = l.let(src!.read());
    writeVector(l, dst!, [l.let(replaceQuad(l, lane, l.let(first!.read()), value))]);
  };
const highOf = (l: Lift, v: Value) => l.lanes('i64x2.extract_lane', [1], v);

const LIG = { length: 'LIG' } as const;
const SCALARS: readonly Instruction[] = [
  one('MOVSS', 'F3 0F 10', [Vx, Md], clearing, LIG),
  one('MOVSS', 'F3 0F 10', [Vx, Hx, Ux], merging('i32x4'), LIG),
  one('MOVSS', 'F3 0F 11', [Md, Vd], plain, LIG),
  one('MOVSS', 'F3 0F 11', [Ux, Hx, Vx], merging('i32x4'), LIG),
  one('MOVSD', 'F2 0F 10', [Vx, Mq], clearing, LIG),
  one('MOVSD', 'F2 0F 10', [Vx, Hx, Ux], merging('i64x2'), LIG),
  one('MOVSD', 'F2 0F 11', [Mq, Vq], plain, LIG),
  one('MOVSD', 'F2 0F 11', [Ux, Hx, Vx], merging('i64x2'), LIG),
  one('MOVD', '66 0F 6E', [Vx, Ed], clearing, { w: 'W0' }),
  one('MOVQ', '66 0F 6E', [Vx, Eq], clearing, { w: 'W1', only64: true }),
  one('MOVD', '66 0F 7E', [Ed, Vd], plain, { w: 'W0' }),
  one('MOVQ', '66 0F 7E', [Eq, Vq], plain, { w: 'W1', only64: true }),
  one('MOVQ', 'F3 0F 7E', [Vx, Wq], clearing),
  one('MOVQ', '66 0F D6', [Wq, Vq], (l, _i, dst, src) => {
    if (dst!.isMemory) dst!.write(src!.read());
    else writeVector(l, dst!, [zeroExtend(l, l.let(src!.read()))]);
  }),
  one('MOVLPS', 'NP 0F 12', [Vx, Hx, Mq], withHalf(0)),
  one('MOVLPD', '66 0F 12', [Vx, Hx, Mq], withHalf(0)),
  one('MOVHPS', 'NP 0F 16', [Vx, Hx, Mq], withHalf(1)),
  one('MOVHPD', '66 0F 16', [Vx, Hx, Mq], withHalf(1)),
  one('MOVLPS', 'NP 0F 13', [Mq, Vq], plain),
  one('MOVLPD', '66 0F 13', [Mq, Vq], plain),
  one('MOVHPS', 'NP 0F 17', [Mq, Vx], (l, _i, dst, src) => dst!.write(highOf(l, src!.read()))),
  one('MOVHPD', '66 0F 17', [Mq, Vx], (l, _i, dst, src) => dst!.write(highOf(l, src!.read()))),
  one('MOVHLPS', 'NP 0F 12', [Vx, Hx, Ux], (l, _i, dst, first, second) => {
    const value = highOf(l, l.let(second!.read()));
    writeVector(l, dst!, [l.let(replaceQuad(l, 0, l.let(first!.read()), value))]);
  }),
  one('MOVLHPS', 'NP 0F 16', [Vx, Hx, Ux], (l, _i, dst, first, second) => {
    const value = low(l, l.let(second!.read()));
    writeVector(l, dst!, [l.let(replaceQuad(l, 1, l.let(first!.read()), value))]);
  }),
];

// --- Masked moves ---

type Shape = 'i32x4' | 'i64x2';
const bytesOf = (shape: Shape) => (shape === 'i32x4' ? 4 : 8);

/** The elements whose mask has its sign set, as bits. */
function selected(l: Lift, shape: Shape, [first, second]: Halves): Value {
  const bits = l.op(`${shape}.bitmask`, first!);
  if (!second) return l.let(bits);
  return l.let(bits.or(l.op(`${shape}.bitmask`, second).shl(16 / bytesOf(shape))));
}

/** Linear address of the operand; only the selected elements must lie in the segment. */
function maskedLinear(
  l: Lift,
  i: InstructionContext,
  operand: LiftOperand,
  o: { readonly elements: Value; readonly bytes: 4 | 8; readonly access: 'read' | 'write' },
): Value {
  if (i.mode64) return l.let(operand.linear(undefined, o.access));
  const first = l.let(o.elements.ctz().mul(o.bytes));
  const last = l.i32(32).sub(o.elements.clz()).mul(o.bytes);
  const offset = operand.effective();
  return l.choose(
    o.elements.eqz(),
    'i64',
    () => offset,
    () => {
      const write = o.access === 'write' ? 1 : 0;
      const at = offset.add(first.u64());
      return l.call(segmentLinear, i.segment(), at, last.sub(first), write).sub(first.u64());
    },
  );
}

/** Plain memory is read whole and masked; anything that might mind goes element by element. */
const maskedLoad =
  (shape: Shape): LiftFunction =>
  (l, i, dst, mask, src) => {
    const masks = readVector(l, mask!);
    const bytes = bytesOf(shape);
    const elements = selected(l, shape, masks);
    const linear = maskedLinear(l, i, src!, { elements, bytes, access: 'read' });
    const host = l.call(hostAddressForRead, linear, 16 * masks.length);
    const result = masks.map(() => l.var('v128', ZERO));
    l.if(
      host,
      () => {
        for (const [half, m] of masks.entries()) {
          const signs = l.op(`${shape}.shr_s`, m, 8 * bytes - 1);
          result[half]!.set(l.op('v128.and', l.loadRaw('v128.load', host, 16 * half), signs));
        }
      },
      () => {
        l.run(maskedElements[bytes].load, linear, elements);
        for (const half of masks.keys()) result[half]!.set(l.get(S.scratch, half));
      },
    );
    writeVector(
      l,
      dst!,
      result.map((v) => v.get()),
    );
  };

const maskedStore =
  (shape: Shape): LiftFunction =>
  (l, i, dst, mask, src) => {
    const bytes = bytesOf(shape);
    const elements = selected(l, shape, readVector(l, mask!));
    const value = readVector(l, src!);
    const linear = maskedLinear(l, i, dst!, { elements, bytes, access: 'write' });
    for (const [half, v] of value.entries()) l.set(S.scratch, v, half);
    const all = l.i32(2 ** ((16 / bytes) * value.length) - 1);
    const host = l.call(hostAddressForWrite, linear, 16 * value.length);
    l.if(
      elements.eq(all).and(host.nez()),
      () => {
        for (const [half, v] of value.entries()) l.storeRaw('v128.store', host, 16 * half, v);
      },
      () => l.run(maskedElements[bytes].store, linear, elements),
    );
  };

function masked(
  name: string,
  load: string,
  store: string,
  o: { shape: Shape; w: 'W0' | 'W1'; feature: 'AVX' | 'AVX2' },
): Instruction[] {
  const make = (length: 128 | 256, opcode: string, operands: OperandSpec[], lift: LiftFunction) =>
    vex({
      name,
      feature: o.feature,
      length,
      encoding: `66 0F 38 ${opcode}`,
      w: o.w,
      operands,
      lift,
    });
  return [
    make(128, load, [Vx, Hx, Mx], maskedLoad(o.shape)),
    make(256, load, [Vqq, Hqq, Mqq], maskedLoad(o.shape)),
    make(128, store, [Mx, Hx, Vx], maskedStore(o.shape)),
    make(256, store, [Mqq, Hqq, Vqq], maskedStore(o.shape)),
  ];
}

// --- Clearing all registers, MXCSR ---

/** Of the registers that the mode has. SDM vol 2C, VZEROUPPER. */
const clearAll =
  (isWhole: boolean): LiftFunction =>
  (l, i) => {
    for (let n = 0; n < (i.mode64 ? 16 : 8); n++) {
      if (isWhole) l.set(S.xmm, ZERO, n);
      l.set(YMM_HIGH, ZERO, n);
    }
  };

const CONTROL: readonly Instruction[] = [
  vex({ name: 'ZEROUPPER', feature: 'AVX', length: 128, encoding: 'NP 0F 77 ', operands: [], lift: clearAll(false) }),
  vex({ name: 'ZEROALL', feature: 'AVX', length: 256, encoding: 'NP 0F 77 ', operands: [], lift: clearAll(true) }),
  vex({
    name: 'LDMXCSR', feature: 'AVX', length: 'LZ', encoding: 'NP 0F AE /2', operands: [Md], access: ['r'],
    exceptions: '#GP(0)',
    lift(l, _i, src) {
      const value = l.let(src!.read());
      l.raiseIf(value.and(~MXCSR.valid), GP, 0);
      l.set(S.mxcsr, value);
    },
  }),
  vex({
    name: 'STMXCSR', feature: 'AVX', length: 'LZ', encoding: 'NP 0F AE /3', operands: [Md],
    lift: (l, _i, dst) => dst!.write(l.get(S.mxcsr)),
  }),
  vex({
    name: 'MASKMOVDQU', feature: 'AVX', length: 128, encoding: '66 0F F7', operands: [Vx, Ux], access: ['r', 'r'],
    lift: (l, i, value, selector) => liftMaskedStore(l, i, l.let(value!.read()), l.let(selector!.read())),
  }),
]; // biome-ignore format: a table

export const INSTRUCTIONS_AVX_MOVE: readonly Instruction[] = [
  ...VECTORS,
  ...SCALARS,
  ...masked('MASKMOVPS', '2C', '2E', { shape: 'i32x4', w: 'W0', feature: 'AVX' }),
  ...masked('MASKMOVPD', '2D', '2F', { shape: 'i64x2', w: 'W0', feature: 'AVX' }),
  ...masked('PMASKMOVD', '8C', '8E', { shape: 'i32x4', w: 'W0', feature: 'AVX2' }),
  ...masked('PMASKMOVQ', '8C', '8E', { shape: 'i64x2', w: 'W1', feature: 'AVX2' }),
  ...CONTROL,
];
