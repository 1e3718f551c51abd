// Conversions between singles, doubles and integers, in XMM, MMX and general registers, and the
// approximations RCPPS and RSQRTPS. SDM vol 1 §10.4.1, §11.4.1.6. Which forms switch the x87 to
// MMX: SDM vol 2A, CVTPI2PD.

import type { FunctionRef } from '../lift/function.ts';
import type { Lift } from '../lift/lift.ts';
import type { Value } from '../lift/value.ts';
import { approximate } from '../microcode/sse/approximate.ts';
import { conversionFunction, scalarFunction, type Width } from '../microcode/sse/lanes.ts';
import {
  conversionMode,
  softFromInteger,
  softNarrow,
  softToInteger,
  softWiden,
} from '../microcode/sse/soft-convert.ts';
import {
  Ey,
  type Form,
  form,
  Gy,
  type Instruction,
  instruction,
  type LiftOperand,
  type OperandSpec,
  Pq,
  Qq,
  SSE,
  Vd,
  Vq,
  Vx,
  Wd,
  Wq,
  Wx,
} from './instruction.ts';
import {
  anyTrue,
  type Guard,
  ifDisordered,
  quickly,
  roundsSpecially,
  splat,
  unlessPlain,
  when,
} from './sse-fast.ts';
import {
  enterMmx,
  low,
  readFloat,
  requireMmx,
  source,
  widen,
  writeFloat,
  writeMmx,
} from './sse-operands.ts';

/** WebAssembly's result and what must not hold for it to be right. */
interface Quick {
  readonly quick: Value;
  readonly guards: readonly Guard[];
}

const isRounded = (l: Lift): Guard => when(l, roundsSpecially(l));
const any = (l: Lift, shape: string, relation: string, a: Value, b: Value): Value =>
  anyTrue(l, l.op(`${shape}.${relation}`, a, b));

/** To integers: they must fit, and be exact or inexact as before. */
const toIntegers =
  (shape: 'f32x4' | 'f64x2', rounding: 'nearest' | 'trunc') =>
  (l: Lift, v: Value): Quick => {
    const rounded = l.let(l.op(`${shape}.${rounding}`, v));
    const quick = l.let(
      l.op(`i32x4.trunc_sat_${shape}_s${shape === 'f64x2' ? '_zero' : ''}`, rounded),
    );
    const fits = l.op(`${shape}.lt`, l.op(`${shape}.abs`, rounded), splat(shape, 2 ** 31));
    const allFit = l.op(`${shape === 'f32x4' ? 'i32x4' : 'i64x2'}.all_true`, fits);
    const isInexact = any(l, shape, 'ne', rounded, v);
    return {
      quick,
      guards: [when(l, allFit.eqz()), (slow) => l.if(isInexact, () => isRounded(l)(slow))],
    };
  };

const SINGLES = 'f32x4';
const DOUBLES = 'f64x2';
const DENORMAL_OR_NAN = (l: Lift, v: Value): Guard[] => {
  const size = l.let(l.op('f32x4.abs', v));
  const isSmall = l.op('f32x4.lt', size, splat(SINGLES, 2 ** -126));
  const denormal = l.op('v128.and', isSmall, l.op('f32x4.gt', size, splat(SINGLES, 0)));
  return [when(l, anyTrue(l, denormal)), when(l, any(l, SINGLES, 'ne', v, v))];
};

/** By instruction; lanes that the result does not have are copies of others. */
const QUICK_VECTORS = {
  CVTDQ2PS: (l: Lift, v: Value): Quick => ({
    quick: l.let(l.op('f32x4.convert_i32x4_s', v)),
    guards: [(slow) => l.unlikely(roundsSpecially(l), () => l.if(singlesDiffer(l, v), slow))],
  }),
  CVTPS2DQ: toIntegers(SINGLES, 'nearest'),
  CVTTPS2DQ: toIntegers(SINGLES, 'trunc'),
  CVTPD2DQ: toIntegers(DOUBLES, 'nearest'),
  CVTTPD2DQ: toIntegers(DOUBLES, 'trunc'),
  CVTPS2PD: (l: Lift, v: Value): Quick => ({
    quick: l.let(l.op('f64x2.promote_low_f32x4', v)),
    guards: DENORMAL_OR_NAN(l, v),
  }),
  CVTPD2PS: (l: Lift, v: Value): Quick => {
    const quick = l.let(l.op('f32x4.demote_f64x2_zero', v));
    const size = l.let(l.op('f64x2.abs', l.op('f64x2.promote_low_f32x4', quick)));
    // Above the least normal single, or zero that was zero.
    const isNormal = l.op('f64x2.gt', size, splat(DOUBLES, 2 ** -126));
    const inRange = l.op('f64x2.lt', size, splat(DOUBLES, Number.POSITIVE_INFINITY));
    const isZero = l.op('f64x2.eq', v, splat(DOUBLES, 0));
    const plain = l.op('v128.or', l.op('v128.and', isNormal, inRange), isZero);
    return { quick, guards: [when(l, l.op('i64x2.all_true', plain).eqz()), isRounded(l)] };
  },
} as const;

/** Whether a 32-bit integer of the vector is no single-precision number. */
function singlesDiffer(l: Lift, v: Value): Value {
  const halves = [v, l.lanes('i8x16.shuffle', HIGH_HALF, v, v)];
  return halves
    .map((half) => {
      const single = l.op('f32x4.convert_i32x4_s', half);
      return any(
        l,
        DOUBLES,
        'ne',
        l.op('f64x2.convert_low_i32x4_s', half),
        l.op('f64x2.promote_low_f32x4', single),
      );
    })
    .reduce((a, b) => a.or(b));
}
const HIGH_HALF = [8, 9, 10, 11, 12, 13, 14, 15, 8, 9, 10, 11, 12, 13, 14, 15];

export type Convert = (l: Lift, a: Value) => Value;
export const toSingle: Convert = (l, a) => l.call(softFromInteger[32], a);
export const toDouble: Convert = (l, a) => l.call(softFromInteger[64], a);
export const narrow: Convert = (l, a) => l.call(softNarrow, a);
export const widenFloat: Convert = (l, a) => l.call(softWiden, a);
export const toInteger =
  (from: Width, to: Width, truncates: boolean): Convert =>
  (l, a) =>
    l.call(softToInteger[from][to], a, conversionMode(l, truncates));

// --- Vectors ---

interface VectorRow {
  readonly name: string;
  readonly form: Form;
  readonly from: Width;
  readonly to: Width;
  readonly lanes: 2 | 4;
  readonly isSigned?: boolean;
  readonly convert: Convert;
}

// biome-ignore format: a table
const VECTORS: readonly VectorRow[] = [
  { name: 'CVTDQ2PS', form: form('NP 0F 5B /r', Vx, Wx, SSE), from: 32, to: 32, lanes: 4, isSigned: true, convert: toSingle },
  { name: 'CVTPS2DQ', form: form('66 0F 5B /r', Vx, Wx, SSE), from: 32, to: 32, lanes: 4, convert: toInteger(32, 32, false) },
  { name: 'CVTTPS2DQ', form: form('F3 0F 5B /r', Vx, Wx, SSE), from: 32, to: 32, lanes: 4, convert: toInteger(32, 32, true) },
  { name: 'CVTPD2DQ', form: form('F2 0F E6 /r', Vx, Wx, SSE), from: 64, to: 32, lanes: 2, convert: toInteger(64, 32, false) },
  { name: 'CVTTPD2DQ', form: form('66 0F E6 /r', Vx, Wx, SSE), from: 64, to: 32, lanes: 2, convert: toInteger(64, 32, true) },
  { name: 'CVTPS2PD', form: form('NP 0F 5A /r', Vx, Wq, SSE), from: 32, to: 64, lanes: 2, convert: widenFloat },
  { name: 'CVTPD2PS', form: form('66 0F 5A /r', Vx, Wx, SSE), from: 64, to: 32, lanes: 2, convert: narrow },
];

const spec = (name: string, only: Form) => ({
  name,
  manual: `SDM vol 2A, ${name}`,
  feature: /S[SI]|P[SI]/.test(name) && !/[SP]D|DQ/.test(name) ? 'SSE' : 'SSE2',
  forms: [only],
  access: ['w', 'r'] as const,
  exceptions: '#XM',
});

const vectorConversion = (row: VectorRow): FunctionRef =>
  conversionFunction(
    `sse${row.name}`,
    row.from,
    row.to,
    { isSigned: row.isSigned ?? false, lanes: row.lanes },
    row.convert,
  );

const vectors = VECTORS.map((row): Instruction => {
  const callee = vectorConversion(row);
  const quickVector = QUICK_VECTORS[row.name as keyof typeof QUICK_VECTORS];
  return instruction({
    ...spec(row.name, row.form),
    lift(l, _i, dst, src) {
      const v = widen(l, source(l, src!));
      const { quick, guards } = quickVector(l, v);
      const result = l.var('v128', quick);
      unlessPlain(l, guards, () => result.set(l.call(callee, v)));
      dst!.write(result.get());
    },
  });
});

/** Doubles of two integers are exact. */
const integersToDoubles = (l: Lift, v: Value): Value => l.op('f64x2.convert_low_i32x4_s', v);

const CVTDQ2PD: Instruction = instruction({
  ...spec('CVTDQ2PD', form('F3 0F E6 /r', Vx, Wq, SSE)),
  lift: (l, _i, dst, src) => dst!.write(integersToDoubles(l, widen(l, l.let(src!.read())))),
});

// --- MMX ---

// biome-ignore format: a table
const TO_MMX: readonly VectorRow[] = [
  { name: 'CVTPS2PI', form: form('NP 0F 2D /r', Pq, Wq, SSE), from: 32, to: 32, lanes: 2, convert: toInteger(32, 32, false) },
  { name: 'CVTTPS2PI', form: form('NP 0F 2C /r', Pq, Wq, SSE), from: 32, to: 32, lanes: 2, convert: toInteger(32, 32, true) },
  { name: 'CVTPD2PI', form: form('66 0F 2D /r', Pq, Wx, SSE), from: 64, to: 32, lanes: 2, convert: toInteger(64, 32, false) },
  { name: 'CVTTPD2PI', form: form('66 0F 2C /r', Pq, Wx, SSE), from: 64, to: 32, lanes: 2, convert: toInteger(64, 32, true) },
];

const toMmx = TO_MMX.map((row): Instruction => {
  const callee = vectorConversion(row);
  return instruction({
    ...spec(row.name, row.form),
    lift(l, _i, dst, src) {
      requireMmx(l);
      const value = widen(l, source(l, src!));
      // Processors switch even when the conversion then raises #XM.
      enterMmx(l);
      const result = l.call(callee, value);
      writeMmx(l, dst!, low(l, result));
    },
  });
});

const singlesOfPair = conversionFunction(
  'sseCVTPI2PS',
  32,
  32,
  { isSigned: true, lanes: 2 },
  toSingle,
);

const CVTPI2PS: Instruction = instruction({
  ...spec('CVTPI2PS', form('NP 0F 2A /r', Vq, Qq, SSE)),
  lift(l, _i, dst, src) {
    requireMmx(l);
    const value = l.let(src!.read());
    // Intel's switch to MMX with a memory operand too, AMD's do not.
    enterMmx(l);
    const result = l.call(singlesOfPair, widen(l, value));
    dst!.write(low(l, result));
  },
});

const CVTPI2PD: Instruction = instruction({
  ...spec('CVTPI2PD', form('66 0F 2A /r', Vx, Qq, SSE)),
  lift(l, _i, dst, src) {
    // From memory it does not touch the x87.
    if (!src!.isMemory) requireMmx(l);
    const value = l.let(src!.read());
    if (!src!.isMemory) enterMmx(l);
    dst!.write(integersToDoubles(l, widen(l, value)));
  },
});

// --- Scalars ---

/** A careful conversion of one value whose bits are as wide as the operands are. */
function carefully(l: Lift, callee: FunctionRef, dst: LiftOperand, value: Value): Value {
  const result = l.call(callee, value, 0n, 0);
  return dst.bits === 64 ? result : result.i32();
}
const scalar = (name: string, convert: Convert): FunctionRef =>
  scalarFunction(`sse${name}`, convert);

/** Integer to float: 32 bits to double is exact, the others round. */
function fromGeneral(
  name: string,
  encoding: string,
  operands: readonly [OperandSpec, OperandSpec],
  width: Width,
): Instruction {
  const callee = scalar(name, width === 32 ? toSingle : toDouble);
  const float = `f${width}`;
  return instruction({
    ...spec(name, form(encoding, ...operands, SSE)),
    lift(l, _i, dst, src) {
      const value = l.let(src!.read());
      const { bits } = src!;
      const quick = l.let(l.op(`${float}.convert_i${bits}_s`, value));
      if (width === 64 && bits === 32) {
        writeFloat(l, dst!, quick);
        return;
      }
      const result = l.var(quick.type, quick);
      l.unlikely(roundsSpecially(l), () => {
        // What is exact is right in any mode. The largest integers are rounded up to a power of two.
        const back = l.op(`i${bits}.trunc_sat_${float}_s`, quick);
        const isInexact = back.ne(value).or(l.op(`${float}.eq`, quick, 2 ** (bits - 1)));
        l.if(isInexact, () => result.set(carefully(l, callee, dst!, value.s64()).float()));
      });
      writeFloat(l, dst!, result.get());
    },
  });
}

/** Float to integer. Quick when it fits, and it is exact or its inexactness is nothing new. */
function toGeneral(
  name: string,
  encoding: string,
  source: OperandSpec,
  width: Width,
  truncates: boolean,
): Instruction {
  const callees = {
    32: scalar(`${name}To32`, toInteger(width, 32, truncates)),
    64: scalar(`${name}To64`, toInteger(width, 64, truncates)),
  };
  return instruction({
    ...spec(name, form(encoding, Gy, source, SSE)),
    lift(l, _i, dst, src) {
      const bits = dst!.bits as Width;
      const x = readFloat(l, src!);
      const rounded = l.let(truncates ? x.unary('trunc') : x.unary('nearest'));
      const result = l.var(`i${bits}`, l.op(`i${bits}.trunc_sat_f${width}_s`, rounded));
      unlessPlain(
        l,
        [
          // The comparison is false for NaNs; the most negative integer takes the careful way.
          when(
            l,
            rounded
              .abs()
              .lt(2 ** (bits - 1))
              .eqz(),
          ),
          (slow) => l.if(rounded.ne(x), () => l.unlikely(roundsSpecially(l), slow)),
        ],
        () => result.set(carefully(l, callees[bits], dst!, x.bits().u64())),
      );
      dst!.write(result.get());
    },
  });
}

const wideningScalar = scalar('CVTSS2SD', widenFloat);
const CVTSS2SD: Instruction = instruction({
  ...spec('CVTSS2SD', form('F3 0F 5A /r', Vq, Wd, SSE)),
  lift(l, _i, dst, src) {
    const x = readFloat(l, src!);
    const result = l.var('f64', l.op('f64.promote_f32', x));
    ifDisordered(l, 'f32', [x], () =>
      result.set(l.call(wideningScalar, x.bits().u64(), 0n, 0).float()),
    );
    writeFloat(l, dst!, result.get());
  },
});

const narrowingScalar = scalar('CVTSD2SS', narrow);
const CVTSD2SS: Instruction = instruction({
  ...spec('CVTSD2SS', form('F2 0F 5A /r', Vd, Wq, SSE)),
  lift(l, _i, dst, src) {
    const x = readFloat(l, src!);
    const quick = l.let(l.op('f32.demote_f64', x));
    // A result that is normal was made of a normal number.
    const result = quickly(l, 'product', 'f32', [], quick, () =>
      l.call(narrowingScalar, x.bits(), 0n, 0).i32().float(),
    );
    writeFloat(l, dst!, result);
  },
});

// --- Approximations ---

/**
 * RCP and RSQRT. Deviation: hardware gives some value within 1.5 * 2^-12, different ones on
 * different processors; we give the rounded exact result. They note no exceptions.
 */
function approximation(name: 'RCP' | 'RSQRT', opcode: string): Instruction[] {
  const { vector, scalar } = approximate[name];
  const manual = `SDM vol 2B, ${name}`;
  return [
    instruction({
      name: `${name}PS`,
      manual: `${manual}PS`,
      feature: 'SSE',
      forms: [form(`NP ${opcode} /r`, Vx, Wx, SSE)],
      access: ['w', 'r'],
      lift: (l, _i, dst, src) => dst!.write(l.call(vector, source(l, src!))),
    }),
    instruction({
      name: `${name}SS`,
      manual: `${manual}SS`,
      feature: 'SSE',
      forms: [form(`F3 ${opcode} /r`, Vd, Wd, SSE)],
      access: ['w', 'r'],
      lift: (l, _i, dst, src) => dst!.write(l.call(scalar, src!.read())),
    }),
  ];
}

export const INSTRUCTIONS_SSE_CONVERT: readonly Instruction[] = [
  ...vectors,
  CVTDQ2PD,
  ...toMmx,
  CVTPI2PS,
  CVTPI2PD,
  fromGeneral('CVTSI2SS', 'F3 0F 2A /r', [Vd, Ey], 32),
  fromGeneral('CVTSI2SD', 'F2 0F 2A /r', [Vq, Ey], 64),
  toGeneral('CVTTSS2SI', 'F3 0F 2C /r', Wd, 32, true),
  toGeneral('CVTTSD2SI', 'F2 0F 2C /r', Wq, 64, true),
  toGeneral('CVTSS2SI', 'F3 0F 2D /r', Wd, 32, false),
  toGeneral('CVTSD2SI', 'F2 0F 2D /r', Wq, 64, false),
  CVTSS2SD,
  CVTSD2SS,
  ...approximation('RCP', '0F 53'),
  ...approximation('RSQRT', '0F 52'),
];
