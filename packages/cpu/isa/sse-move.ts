// SSE to SSE4.1 data transfer between XMM registers, memory, general and MMX registers. SDM vol 1
// §10.4.1, §11.4.1. Non-temporal stores are ordinary stores: we have no caches to bypass.

import type { Lift } from '../lift/lift.ts';
import type { Value } from '../lift/value.ts';
import { addressMask, dataLinear } from '../microcode/address.ts';
import { maskedStore } from '../microcode/sse/masked-store.ts';
import { GPR, S } from '../state/layout.ts';
import {
  Ey,
  type Form,
  family,
  form,
  Gd,
  Gy,
  type Instruction,
  type InstructionContext,
  instruction,
  type LiftOperand,
  Mq,
  Mx,
  My,
  Nq,
  Pq,
  SSE,
  Uq,
  Ux,
  Vd,
  Vq,
  Vx,
  Wd,
  Wq,
  Wx,
} from './instruction.ts';
import {
  enterMmx,
  low,
  requireMmx,
  source,
  storeAligned,
  widen,
  writeMmx,
  ZERO,
} from './sse-operands.ts';

type Meaning = (l: Lift, dst: LiftOperand, src: LiftOperand) => void;

/** A plain copy; memory need not be aligned. */
const copy: Meaning = (_l, dst, src) => dst.write(src.read());
/** A copy whose 128-bit memory operand must be aligned. */
const copyAligned: Meaning = (l, dst, src) => storeAligned(l, dst, source(l, src));
/** Replaces one 64-bit lane. */
const intoLane =
  (lane: 0 | 1): Meaning =>
  (l, dst, src) => {
    const value = l.let(src.read());
    dst.write(l.lanes('i64x2.replace_lane', [lane], dst.read(), value));
  };
const fromHigh: Meaning = (l, dst, src) =>
  dst.write(l.lanes('i64x2.extract_lane', [1], src.read()));
const shuffle =
  (lanes: readonly number[]): Meaning =>
  (l, dst, src) => {
    const value = source(l, src);
    dst.write(l.lanes('i8x16.shuffle', lanes, value, value));
  };
/** Bytes of 32-bit lanes in that order. */
const dwords = (...order: number[]) =>
  order.flatMap((n) => [4 * n, 4 * n + 1, 4 * n + 2, 4 * n + 3]);

/** From memory the rest of the register is cleared, from a register it is kept. */
const moveScalar: Meaning = (l, dst, src) => {
  const value = l.let(src.read());
  if (dst.isMemory) dst.write(value);
  else if (src.isMemory) dst.write(zeroExtend(l, value));
  else
    dst.write(
      l.lanes(
        value.type === 'i64' ? 'i64x2.replace_lane' : 'i32x4.replace_lane',
        [0],
        dst.read(),
        value,
      ),
    );
};
/** A 32- or 64-bit value with zeros above it. */
const zeroExtend = (l: Lift, value: Value): Value =>
  l.lanes(value.type === 'i64' ? 'i64x2.replace_lane' : 'i32x4.replace_lane', [0], ZERO, value);
const moveZeroExtended: Meaning = (l, dst, src) => dst.write(zeroExtend(l, l.let(src.read())));

interface Row {
  readonly name: string;
  readonly feature: string;
  readonly meaning: Meaning;
  readonly forms: readonly Form[];
  /** The destination's old value matters. */
  readonly merges?: boolean;
}

const row = (name: string, feature: string, meaning: Meaning, ...forms: Form[]): Row => ({
  name,
  feature,
  meaning,
  forms,
});
const merging = (name: string, feature: string, meaning: Meaning, ...forms: Form[]): Row => ({
  name,
  feature,
  meaning,
  forms,
  merges: true,
});

const MOVES: readonly Row[] = [
  row(
    'MOVAPS',
    'SSE',
    copyAligned,
    form('NP 0F 28 /r', Vx, Wx, SSE),
    form('NP 0F 29 /r', Wx, Vx, SSE),
  ),
  row(
    'MOVAPD',
    'SSE2',
    copyAligned,
    form('66 0F 28 /r', Vx, Wx, SSE),
    form('66 0F 29 /r', Wx, Vx, SSE),
  ),
  row(
    'MOVDQA',
    'SSE2',
    copyAligned,
    form('66 0F 6F /r', Vx, Wx, SSE),
    form('66 0F 7F /r', Wx, Vx, SSE),
  ),
  row('MOVUPS', 'SSE', copy, form('NP 0F 10 /r', Vx, Wx, SSE), form('NP 0F 11 /r', Wx, Vx, SSE)),
  row('MOVUPD', 'SSE2', copy, form('66 0F 10 /r', Vx, Wx, SSE), form('66 0F 11 /r', Wx, Vx, SSE)),
  row('MOVDQU', 'SSE2', copy, form('F3 0F 6F /r', Vx, Wx, SSE), form('F3 0F 7F /r', Wx, Vx, SSE)),
  row('LDDQU', 'SSE3', copy, form('F2 0F F0 /r', Vx, Mx, SSE)),
  row('MOVNTPS', 'SSE', copyAligned, form('NP 0F 2B /r', Mx, Vx, SSE)),
  row('MOVNTPD', 'SSE2', copyAligned, form('66 0F 2B /r', Mx, Vx, SSE)),
  row('MOVNTDQ', 'SSE2', copyAligned, form('66 0F E7 /r', Mx, Vx, SSE)),
  row('MOVNTDQA', 'SSE4.1', copyAligned, form('66 0F 38 2A /r', Vx, Mx, SSE)),
  row('MOVNTI', 'SSE2', copy, form('NP 0F C3 /r', My, Gy)),

  merging('MOVSS', 'SSE', moveScalar, form('F3 0F 10 /r', Vx, Wd, SSE)),
  row('MOVSS', 'SSE', copy, form('F3 0F 11 /r', Wd, Vd, SSE)),
  merging('MOVSD', 'SSE2', moveScalar, form('F2 0F 10 /r', Vx, Wq, SSE)),
  row('MOVSD', 'SSE2', copy, form('F2 0F 11 /r', Wq, Vq, SSE)),
  row('MOVQ', 'SSE2', moveZeroExtended, form('F3 0F 7E /r', Vx, Wq, SSE)),
  row('MOVD', 'SSE2', moveZeroExtended, form('66 0F 6E /r', Vx, Ey, SSE)),

  merging('MOVLPS', 'SSE', intoLane(0), form('NP 0F 12 /r', Vx, Mq, SSE)),
  merging('MOVLPD', 'SSE2', intoLane(0), form('66 0F 12 /r', Vx, Mq, SSE)),
  row('MOVLPS', 'SSE', copy, form('NP 0F 13 /r', Mq, Vq, SSE)),
  row('MOVLPD', 'SSE2', copy, form('66 0F 13 /r', Mq, Vq, SSE)),
  merging('MOVHPS', 'SSE', intoLane(1), form('NP 0F 16 /r', Vx, Mq, SSE)),
  merging('MOVHPD', 'SSE2', intoLane(1), form('66 0F 16 /r', Vx, Mq, SSE)),
  row('MOVHPS', 'SSE', fromHigh, form('NP 0F 17 /r', Mq, Vx, SSE)),
  row('MOVHPD', 'SSE2', fromHigh, form('66 0F 17 /r', Mq, Vx, SSE)),
  merging('MOVLHPS', 'SSE', intoLane(1), form('NP 0F 16 /r', Vx, Uq, SSE)),
  row('MOVHLPS', 'SSE', fromHigh, form('NP 0F 12 /r', Vq, Ux, SSE)),
  row('MOVSLDUP', 'SSE3', shuffle(dwords(0, 0, 2, 2)), form('F3 0F 12 /r', Vx, Wx, SSE)),
  row('MOVSHDUP', 'SSE3', shuffle(dwords(1, 1, 3, 3)), form('F3 0F 16 /r', Vx, Wx, SSE)),
  row(
    'MOVDDUP',
    'SSE3',
    (l, dst, src) => dst.write(widen(l, l.let(src.read()))),
    form('F2 0F 12 /r', Vx, Wq, SSE),
  ),
];

const mask =
  (name: string): Meaning =>
  (l, dst, src) =>
    dst.write(l.op(name, src.read()));

const MASKS: readonly Row[] = [
  row('MOVMSKPS', 'SSE', mask('i32x4.bitmask'), form('NP 0F 50 /r', Gd, Ux, SSE)),
  row('MOVMSKPD', 'SSE2', mask('i64x2.bitmask'), form('66 0F 50 /r', Gd, Ux, SSE)),
  row('PMOVMSKB', 'SSE2', mask('i8x16.bitmask'), form('66 0F D7 /r', Gd, Ux, SSE)),
];

/** MOVD and MOVQ out of an XMM register: the general register's width decides. */
const fromXmm: Meaning = (l, dst, src) =>
  dst.write(
    l.lanes(dst.bits === 64 ? 'i64x2.extract_lane' : 'i32x4.extract_lane', [0], src.read()),
  );

/** MOVQ to XMM or memory: a register's upper half is cleared. */
const storeQuad: Meaning = (l, dst, src) => {
  const value = l.let(src.read());
  dst.write(value);
  if (dst.isMemory) return;
  l.storeRaw('i64.store', l.cpu.add(dst.stateOffset()), 8, l.i64(0));
};

const STORES: readonly Row[] = [
  row('MOVD', 'SSE2', fromXmm, form('66 0F 7E /r', Ey, Vx, SSE)),
  row('MOVQ', 'SSE2', storeQuad, form('66 0F D6 /r', Wq, Vq, SSE)),
];

const moves = family(
  [...MOVES, ...MASKS, ...STORES],
  ({ name, feature, meaning, forms, merges }) => ({
    name,
    manual: `SDM vol 2B, ${name}`,
    feature,
    forms,
    access: [merges ? 'rw' : 'w', 'r'],
    lift: (l, _i, dst, src) => meaning(l, dst!, src!),
  }),
);

/** MASKMOVDQU and MASKMOVQ: bytes whose mask byte has its sign set go to DS:rDI. */
export function liftMaskedStore(
  l: Lift,
  i: InstructionContext,
  value: Value,
  selector: Value,
): void {
  const offset = l.let(l.get(S.gpr, GPR.rdi).and(addressMask(l, i)));
  const bytes = value.type === 'v128' ? 16 : 8;
  const linear = dataLinear(l, i, offset, bytes, 'write');
  l.run(
    maskedStore,
    linear,
    widen(l, value),
    bytes === 16
      ? l.op('i8x16.bitmask', selector)
      : l.op('i8x16.bitmask', widen(l, selector)).and(0xff),
  );
}

export const INSTRUCTIONS_SSE_MOVE: readonly Instruction[] = [
  ...moves,
  instruction({
    name: 'MASKMOVDQU',
    manual: 'SDM vol 2B, MASKMOVDQU',
    feature: 'SSE2',
    forms: [form('66 0F F7 /r', Vx, Ux, SSE)],
    access: ['r', 'r'],
    lift: (l, i, value, selector) =>
      liftMaskedStore(l, i, l.let(value!.read()), l.let(selector!.read())),
  }),
  instruction({
    name: 'MOVQ2DQ',
    manual: 'SDM vol 2B, MOVQ2DQ',
    feature: 'SSE2',
    forms: [form('F3 0F D6 /r', Vx, Nq, SSE)],
    access: ['w', 'r'],
    lift(l, _i, dst, src) {
      requireMmx(l);
      enterMmx(l);
      dst!.write(zeroExtend(l, src!.read()));
    },
  }),
  instruction({
    name: 'MOVDQ2Q',
    manual: 'SDM vol 2B, MOVDQ2Q',
    feature: 'SSE2',
    forms: [form('F2 0F D6 /r', Pq, Ux, SSE)],
    access: ['w', 'r'],
    lift(l, _i, dst, src) {
      requireMmx(l);
      enterMmx(l);
      writeMmx(l, dst!, low(l, src!.read()));
    },
  }),
];
