// Conversions between singles, doubles and integers, in XMM, MMX and general registers, and the
// approximations RCPPS and RSQRTPS. SDM vol 1 §10.4.1, §11.4.1.6. Which forms switch the x87 to
// MMX: SDM vol 2A, CVTPI2PD.

import type { FunctionRef } from '../lift/function.ts';
import type { Lift } from '../lift/lift.ts';
import type { Value } from '../lift/value.ts';
import { approximate } from '../microcode/sse/approximate.ts';
import { MXCSR } from '../microcode/sse/check.ts';
import {
  conversionFunction,
  scalarFunction,
  type Width,
  wideConversion,
} from '../microcode/sse/lanes.ts';
import {
  anyTrue,
  type Guard,
  oddRounding,
  plainGuards,
  roundsSpecially,
  splat,
  unlessPlain,
  when,
} from '../microcode/sse/plain.ts';
import {
  conversionMode,
  softFromInteger,
  softNarrow,
  softToInteger,
  softWiden,
} from '../microcode/sse/soft-convert.ts';
import { S } from '../state/layout.ts';
import {
  Ey,
  type Form,
  form,
  Gy,
  type Instruction,
  instruction,
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
import { ifDisordered } from './sse-fast.ts';
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

type Convert = (l: Lift, a: Value) => Value;
const toSingle: Convert = (l, a) => l.call(softFromInteger[32], a);
const toDouble: Convert = (l, a) => l.call(softFromInteger[64], a);
const narrow: Convert = (l, a) => l.call(softNarrow, a);
const widenFloat: Convert = (l, a) => l.call(softWiden, a);
const toInteger =
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

export interface VectorConversion {
  readonly row: VectorRow;
  readonly quick: (l: Lift, v: Value) => Quick;
  readonly slow: FunctionRef;
  /** Of two vectors. */
  readonly wide: FunctionRef;
}
export const VECTOR_CONVERSIONS: readonly VectorConversion[] = VECTORS.map((row) => {
  const options = { isSigned: row.isSigned ?? false, lanes: row.lanes };
  return {
    row,
    quick: QUICK_VECTORS[row.name as keyof typeof QUICK_VECTORS],
    slow: vectorConversion(row),
    wide: wideConversion(`avx${row.name}`, row.from, row.to, options, row.convert),
  };
});

export function convertVector(l: Lift, c: VectorConversion, v: Value): Value {
  const { quick, guards } = c.quick(l, v);
  const result = l.var('v128', quick);
  unlessPlain(l, guards, () => result.set(l.call(c.slow, v)));
  return result.get();
}
/** Two vectors, both by the quick way or neither. */
export function convertTwo(l: Lift, c: VectorConversion, a: Value, b: Value): [Value, Value] {
  const both = [a, b].map((v) => c.quick(l, v));
  const [low, high] = both.map(({ quick }) => l.var('v128', quick));
  const guards = both.flatMap((q) => q.guards);
  unlessPlain(l, guards, () => {
    low!.set(l.call(c.wide, a, b));
    high!.set(l.get(S.scratch));
  });
  return [low!.get(), high!.get()];
}

const vectors = VECTOR_CONVERSIONS.map((c) =>
  instruction({
    ...spec(c.row.name, c.row.form),
    lift: (l, _i, dst, src) => dst!.write(convertVector(l, c, widen(l, source(l, src!)))),
  }),
);

/** Doubles of two integers are exact. */
export const integersToDoubles = (l: Lift, v: Value): Value => l.op('f64x2.convert_low_i32x4_s', v);

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

const scalar = (name: string, convert: Convert): FunctionRef =>
  scalarFunction(`sse${name}`, convert);

/** A general register's integer to float: 32 bits to double is exact, the others round. */
export interface FromInteger {
  readonly name: string;
  readonly encoding: string;
  readonly width: Width;
  readonly slow: FunctionRef;
}
export const FROM_INTEGER: readonly FromInteger[] = [
  { name: 'CVTSI2SS', encoding: 'F3 0F 2A', width: 32, slow: scalar('CVTSI2SS', toSingle) },
  { name: 'CVTSI2SD', encoding: 'F2 0F 2A', width: 64, slow: scalar('CVTSI2SD', toDouble) },
];

export function integerToFloat(l: Lift, c: FromInteger, value: Value): Value {
  const { width } = c;
  const bits = value.type === 'i64' ? 64 : 32;
  const float = `f${width}`;
  const quick = l.let(l.op(`${float}.convert_i${bits}_s`, value));
  if (width === 64 && bits === 32) return quick;
  const result = l.var(quick.type, quick);
  l.unlikely(roundsSpecially(l), () => {
    // What is exact is right in any mode. The largest integers are rounded up to a power of two.
    const back = l.op(`i${bits}.trunc_sat_${float}_s`, quick);
    const isInexact = back.ne(value).or(l.op(`${float}.eq`, quick, 2 ** (bits - 1)));
    l.if(isInexact, () => {
      const careful = l.call(c.slow, value.s64(), 0n, 0);
      result.set((width === 64 ? careful : careful.i32()).float());
    });
  });
  return result.get();
}

/** Float to a general register. Quick when it fits, and it is exact or its inexactness is nothing new. */
export interface ToInteger {
  readonly name: string;
  readonly encoding: string;
  readonly width: Width;
  readonly truncates: boolean;
  readonly slow: Readonly<Record<Width, FunctionRef>>;
}
const toGeneral = (
  name: string,
  encoding: string,
  width: Width,
  truncates: boolean,
): ToInteger => ({
  name,
  encoding,
  width,
  truncates,
  slow: {
    32: scalar(`${name}To32`, toInteger(width, 32, truncates)),
    64: scalar(`${name}To64`, toInteger(width, 64, truncates)),
  },
});
export const TO_INTEGER: readonly ToInteger[] = [
  toGeneral('CVTTSS2SI', 'F3 0F 2C', 32, true),
  toGeneral('CVTTSD2SI', 'F2 0F 2C', 64, true),
  toGeneral('CVTSS2SI', 'F3 0F 2D', 32, false),
  toGeneral('CVTSD2SI', 'F2 0F 2D', 64, false),
];

export function floatToInteger(l: Lift, c: ToInteger, x: Value, bits: Width): Value {
  const rounded = l.let(c.truncates ? x.unary('trunc') : x.unary('nearest'));
  const result = l.var(`i${bits}`, l.op(`i${bits}.trunc_sat_f${c.width}_s`, rounded));
  // The comparison is false for NaNs; the most negative integer takes the careful way.
  const fits = rounded.abs().lt(2 ** (bits - 1));
  unlessPlain(
    l,
    [
      when(l, fits.eqz()),
      (slow) => l.if(rounded.ne(x), () => l.unlikely(roundsSpecially(l), slow)),
    ],
    () => {
      const careful = l.call(c.slow[bits], x.bits().u64(), 0n, 0);
      result.set(bits === 64 ? careful : careful.i32());
    },
  );
  return result.get();
}

const wideningScalar = scalar('CVTSS2SD', widenFloat);
/** CVTSS2SD. */
export function singleToDouble(l: Lift, x: Value): Value {
  const result = l.var('f64', l.op('f64.promote_f32', x));
  ifDisordered(l, 'f32', [x], () =>
    result.set(l.call(wideningScalar, x.bits().u64(), 0n, 0).float()),
  );
  return result.get();
}
const narrowingScalar = scalar('CVTSD2SS', narrow);
/** CVTSD2SS. */
export function doubleToSingle(l: Lift, x: Value): Value {
  const result = l.var('f32', l.op('f32.demote_f64', x));
  const quick = result.get();
  unlessPlain(
    l,
    [
      // A result that is normal was made of a normal number.
      ...plainGuards(l, 'mul', 'f32', [], quick),
      (slow) => {
        const odd = l.let(oddRounding(l));
        l.unlikely(odd, () => {
          l.if(odd.ne(MXCSR.pe), slow);
          l.if(l.op('f64.promote_f32', quick).ne(x), slow);
        });
      },
    ],
    () => result.set(l.call(narrowingScalar, x.bits(), 0n, 0).i32().float()),
  );
  return result.get();
}

const general: readonly Instruction[] = [
  ...FROM_INTEGER.map((c) =>
    instruction({
      ...spec(c.name, form(`${c.encoding} /r`, c.width === 32 ? Vd : Vq, Ey, SSE)),
      lift: (l, _i, dst, src) => writeFloat(l, dst!, integerToFloat(l, c, l.let(src!.read()))),
    }),
  ),
  ...TO_INTEGER.map((c) =>
    instruction({
      ...spec(c.name, form(`${c.encoding} /r`, Gy, c.width === 32 ? Wd : Wq, SSE)),
      lift: (l, _i, dst, src) =>
        dst!.write(floatToInteger(l, c, readFloat(l, src!), dst!.bits as Width)),
    }),
  ),
];
const scalars: readonly Instruction[] = [
  instruction({
    ...spec('CVTSS2SD', form('F3 0F 5A /r', Vq, Wd, SSE)),
    lift: (l, _i, dst, src) => writeFloat(l, dst!, singleToDouble(l, readFloat(l, src!))),
  }),
  instruction({
    ...spec('CVTSD2SS', form('F2 0F 5A /r', Vd, Wq, SSE)),
    lift: (l, _i, dst, src) => writeFloat(l, dst!, doubleToSingle(l, readFloat(l, src!))),
  }),
];

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
  ...general,
  ...scalars,
  ...approximation('RCP', '0F 53'),
  ...approximation('RSQRT', '0F 52'),
];
