// Half-precision numbers to singles and back: F16C. SDM vol 2C, VCVTPH2PS and VCVTPS2PH; vol 1 §14.4.

import { type FunctionRef, fn } from '../../lift/function.ts';
import type { Lift } from '../../lift/lift.ts';
import type { Value } from '../../lift/value.ts';
import { S } from '../../state/layout.ts';
import { MXCSR, reportSse } from '../sse/check.ts';
import { begin, laneOf, withLane } from '../sse/lanes.ts';
import {
  flag,
  holdsNaN,
  isSignaling,
  type Layout,
  magnitude,
  noteDenormals,
  operand,
  roundAndPack,
  SINGLE,
  unpack,
} from '../sse/soft-float.ts';

const HALF: Layout = {
  bits: 16, fractionBits: 10, bias: 15, exponentMax: 31, sign: 1n << 15n, infinity: 0x1fn << 10n, quiet: 1n << 9n,
  leastNormal: 1n << 10n, guardBits: 52,
}; // biome-ignore format: a format
/** From the exponent's bias in a half to that in a single. */
const REBIAS = 2 ** (SINGLE.bias - HALF.bias);
const PAYLOAD_SHIFT = SINGLE.fractionBits - HALF.fractionBits;

/** A half's bits, i32, to a single's: exact, and denormals are numbers whatever MXCSR says. */
const widen: FunctionRef = fn('halfToSingle', {
  params: { half: 'i32' },
  result: 'i32',
  build(l, { half }) {
    const sign = l.let(half.and(0x8000).shl(16));
    const size = l.let(half.and(0x7fff));
    l.unlikely(size.geu(0x7c00), () => {
      const holdsPayload = size.gtu(0x7c00);
      flag(l, holdsPayload.and(half.and(0x200).eqz()).mul(MXCSR.ie));
      const quiet = holdsPayload.shl(22);
      const payload = half.and(0x3ff).shl(PAYLOAD_SHIFT);
      l.return(sign.or(payload).or(quiet).or(0x7f80_0000));
    });
    const scaled = l.op('f32.mul', size.shl(PAYLOAD_SHIFT).float(), REBIAS);
    l.return(scaled.bits().or(sign));
  },
});

const round = roundAndPack(HALF);

/** A single's bits, zero-extended, to a half's. MXCSR has the rounding mode that counts, and does not flush results. */
const narrow: FunctionRef = fn('singleToHalf', {
  params: { single: 'i64' },
  result: 'i64',
  build(l, { single }) {
    const a = operand(l, SINGLE, single);
    const sign = l.let(a.and(SINGLE.sign).shru(16));
    l.unlikely(holdsNaN(SINGLE, a), () => {
      flag(l, isSignaling(SINGLE, a).mul(MXCSR.ie));
      const payload = a.and(SINGLE.leastNormal - 1n).shru(PAYLOAD_SHIFT);
      l.return(sign.or(payload).or(HALF.infinity | HALF.quiet));
    });
    l.if(magnitude(SINGLE, a).eq(SINGLE.infinity), () => l.return(sign.or(HALF.infinity)));
    l.if(magnitude(SINGLE, a).eqz(), () => l.return(sign));
    noteDenormals(l, SINGLE, a);
    const x = unpack(l, SINGLE, a);
    l.return(l.call(round, sign, x.exponent.add(HALF.bias - SINGLE.bias), x.significand));
  },
});

function widenHalf(l: Lift, v: Value, first: number): Value {
  let result = l.op('i64x2.splat', 0n);
  for (let lane = 0; lane < 4; lane++) {
    const half = l.lanes('i16x8.extract_lane_u', [first + lane], v);
    result = withLane(l, 32, result, lane, l.call(widen, half).u64());
  }
  return result;
}

/** Four halves, or eight: gives the lower singles; the upper ones are in S.scratch. */
export const halvesToSingles: Readonly<Record<4 | 8, FunctionRef>> = {
  4: fromHalves(4),
  8: fromHalves(8),
};
function fromHalves(count: 4 | 8): FunctionRef {
  return fn(`halvesToSingles${count}`, {
    params: { v: 'v128' },
    result: 'v128',
    faults: true,
    build(l, { v }) {
      begin(l);
      const low = l.let(widenHalf(l, v, 0));
      const high = count === 8 ? l.let(widenHalf(l, v, 4)) : undefined;
      l.run(reportSse);
      if (high) l.set(S.scratch, high);
      l.return(low);
    },
  });
}

/** Singles of one vector, or of two, to as many halves; the rest is zero. `control` is the immediate. */
export const singlesToHalves: Readonly<Record<4 | 8, FunctionRef>> = {
  4: toHalves(4),
  8: toHalves(8),
};
function toHalves(count: 4 | 8): FunctionRef {
  return fn(`singlesToHalves${count}`, {
    params: { low: 'v128', high: 'v128', control: 'i32' },
    result: 'v128',
    faults: true,
    build(l, { low, high, control }) {
      begin(l);
      const mxcsr = l.get(S.mxcsr);
      const mode = l.select(control.and(4), mxcsr.and(MXCSR.rc), control.and(3).shl(MXCSR.rcShift));
      l.set(S.mxcsr, mxcsr.and(~(MXCSR.rc | MXCSR.fz)).or(mode));
      let result = l.op('i64x2.splat', 0n);
      for (let lane = 0; lane < count; lane++) {
        const single = laneOf(l, 32, lane < 4 ? low : high, lane % 4);
        const half = l.call(narrow, single).i32();
        result = l.let(l.lanes('i16x8.replace_lane', [lane], result, half));
      }
      l.set(S.mxcsr, mxcsr);
      l.run(reportSse);
      l.return(result);
    },
  });
}
