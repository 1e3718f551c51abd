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
import { FloatLanes, roundsSpecially } from './sse-fast.ts';
import { enterMmx, low, requireMmx, source, widen, writeMmx } from './sse-operands.ts';

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
  return instruction({
    ...spec(row.name, row.form),
    lift: (l, _i, dst, src) => dst!.write(l.call(callee, widen(l, source(l, src!)))),
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
      const type = `i${src!.bits}`;
      const quick = l.let(l.op(`${float}.convert_${type}_s`, value).bits());
      if (width === 64 && src!.bits === 32) {
        dst!.write(quick);
        return;
      }
      const result = l.var(quick.type, quick);
      l.unlikely(roundsSpecially(l), () => result.set(carefully(l, callee, dst!, value.s64())));
      dst!.write(result.get());
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
  const float = `f${width}`;
  return instruction({
    ...spec(name, form(encoding, Gy, source, SSE)),
    lift(l, _i, dst, src) {
      const bits = dst!.bits as Width;
      const value = l.let(src!.read());
      const x = l.let(value.float());
      const rounded = l.let(truncates ? x.unary('trunc') : x.unary('nearest'));
      // The comparison is false for NaNs; the most negative integer takes the careful way.
      const fits = rounded.abs().lt(2 ** (bits - 1));
      const isExact = rounded.eq(x);
      const result = l.var(`i${bits}`, l.op(`i${bits}.trunc_sat_${float}_s`, rounded));
      const care = fits.eqz().or(isExact.eqz().and(roundsSpecially(l)));
      l.unlikely(care, () => result.set(carefully(l, callees[bits], dst!, value.u64())));
      dst!.write(result.get());
    },
  });
}

const wideningScalar = scalar('CVTSS2SD', widenFloat);
const CVTSS2SD: Instruction = instruction({
  ...spec('CVTSS2SD', form('F3 0F 5A /r', Vq, Wd, SSE)),
  lift(l, _i, dst, src) {
    const value = l.let(src!.read());
    const x = l.let(value.float());
    const lanes = new FloatLanes(l, 'f32');
    const result = l.var('i64', l.op('f64.promote_f32', x).bits());
    const care = lanes.isNaN(x).or(lanes.isDenormal(x));
    l.unlikely(care, () => result.set(l.call(wideningScalar, value.u64(), 0n, 0)));
    dst!.write(result.get());
  },
});

const narrowingScalar = scalar('CVTSD2SS', narrow);
const CVTSD2SS: Instruction = instruction({
  ...spec('CVTSD2SS', form('F2 0F 5A /r', Vd, Wq, SSE)),
  lift(l, _i, dst, src) {
    const value = l.let(src!.read());
    const x = l.let(value.float());
    const rounded = l.let(l.op('f32.demote_f64', x));
    const lanes = new FloatLanes(l, 'f32');
    const result = l.var('i32', rounded.bits());
    const underflows = lanes.mayHaveUnderflowed(rounded).and(new FloatLanes(l, 'f64').isNonzero(x));
    const care = lanes.isInfiniteOrNaN(rounded).or(underflows).or(roundsSpecially(l));
    l.unlikely(care, () => result.set(l.call(narrowingScalar, value, 0n, 0).i32()));
    dst!.write(result.get());
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
