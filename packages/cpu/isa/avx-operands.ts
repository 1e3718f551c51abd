// How AVX meanings reach their operands: values of one or two 128-bit halves, unaligned memory, and registers whose
// upper bits are cleared by what writes less. SDM vol 1 §14.1, §14.9; vol 2A §2.3.10.1.

import { type FunctionRef, fn } from '../lift/function.ts';
import type { Lift } from '../lift/lift.ts';
import type { Value } from '../lift/value.ts';
import {
  AVX,
  type FormOptions,
  form,
  type Instruction,
  type InstructionSpec,
  instruction,
  type LiftOperand,
  type OperandSpec,
} from './instruction.ts';
import { widen, ZERO } from './sse-operands.ts';

const GP = 13;
const PAGE_BYTES = 4096;
const YMM_BYTES = 32;

/** A vector: bits 127:0, and bits 255:128 when it has them. */
export type Halves = readonly Value[];

export const is256 = (operand: LiftOperand): boolean => operand.bits === 256;

/** Reads a vector; memory need not be aligned. */
export function readVector(l: Lift, operand: LiftOperand): Halves {
  if (!is256(operand)) return [l.let(operand.read())];
  return [l.let(operand.readHalf(0)), l.let(operand.readHalf(1))];
}

/** Reads a vector whose memory form must be aligned. */
export function readAligned(l: Lift, operand: LiftOperand): Halves {
  if (!operand.isMemory) return readVector(l, operand);
  const linear = aligned(l, operand, 'read');
  const low = l.load(16, linear);
  return is256(operand) ? [low, l.load(16, linear.add(16n))] : [low];
}

function aligned(l: Lift, operand: LiftOperand, access: 'read' | 'write'): Value {
  const bytes = operand.bits / 8;
  const linear = l.let(operand.linear(bytes, access));
  l.raiseIf(linear.i32().and(bytes - 1), GP, 0);
  return linear;
}

/** Writes a register, clearing what is above, or memory that need not be aligned. */
export function writeVector(l: Lift, operand: LiftOperand, value: Halves): void {
  if (operand.isMemory) store(l, l.let(operand.linear(operand.bits / 8, 'write')), value);
  else {
    operand.writeHalf(0, value[0]!);
    operand.writeHalf(1, value[1] ?? ZERO);
  }
}

/** Writes a destination whose memory form must be aligned. */
export function writeAligned(l: Lift, operand: LiftOperand, value: Halves): void {
  if (!operand.isMemory) writeVector(l, operand, value);
  else store(l, aligned(l, operand, 'write'), value);
}

/** Proves that 32 bytes on two pages can be written. */
const probeWide: FunctionRef = fn('probeWide', {
  params: { linear: 'i64' },
  faults: true,
  build(l, { linear }) {
    l.update(16, linear);
    l.update(16, linear.add(16n));
  },
});

function store(l: Lift, linear: Value, [low, high]: Halves): void {
  if (high) {
    const crosses = linear
      .i32()
      .and(PAGE_BYTES - 1)
      .gtu(PAGE_BYTES - YMM_BYTES);
    l.unlikely(crosses, () => l.run(probeWide, linear));
  }
  l.store(16, linear, low!);
  if (high) l.store(16, linear.add(16n), high);
}

/** Applies a meaning to each half of vectors; what has one half only serves for both. */
export function eachHalf(
  l: Lift,
  count: number,
  vectors: readonly Halves[],
  meaning: (half: number, ...values: Value[]) => Value,
): Halves {
  return Array.from({ length: count }, (_, half) =>
    l.let(meaning(half, ...vectors.map((v) => v[half] ?? v[0]!))),
  );
}

/** The low eight bits of an immediate. */
export const immediateOf = (l: Lift, operand: LiftOperand): Value =>
  l.let(operand.read().i32().and(0xff));

/** A source of 8 to 128 bits as a vector; what is above it in the vector does not matter. */
export function readNarrow(l: Lift, operand: LiftOperand): Value {
  const value = l.let(operand.read());
  return widen(l, value.type === 'i32' ? value.u64() : value);
}

export type Length = 128 | 256 | 'LIG' | 'LZ';

/** '66 0F 38 00 /r' in SSE's notation as 'VEX.128.66.0F38.WIG 00 /r'. '/r' need not be written; a space behind the
 *  opcode says that no ModRM byte follows. */
export function vexEncoding(length: Length, encoding: string, w = 'WIG'): string {
  const [prefix = '', ...words] = encoding.split(' ');
  const mapWords = words[1] === '38' || words[1] === '3A' ? 2 : 1;
  const map = words.splice(0, mapWords).join('');
  const tail = words.length > 1 ? words.join(' ').trim() : `${words[0]} /r`;
  return `VEX.${length}.${prefix === 'NP' ? '' : `${prefix}.`}${map}.${w} ${tail}`;
}

export interface VexRow extends Pick<InstructionSpec, 'lift' | 'access' | 'flags' | 'exceptions'> {
  /** Without the V. */
  readonly name: string;
  readonly feature: string;
  readonly length: Length;
  /** In SSE's notation: '66 0F 38 00'. */
  readonly encoding: string;
  readonly w?: 'W0' | 'W1' | 'WIG';
  readonly operands: readonly OperandSpec[];
  readonly options?: FormOptions;
}

/** One form of a VEX-encoded vector instruction; the first operand is written unless `access` says more. */
export function vex(row: VexRow): Instruction {
  const { name, feature, length, encoding, w, operands, options, lift, ...rest } = row;
  return instruction({
    name: `V${name}`,
    manual: `SDM vol 2, V${name}`,
    feature,
    forms: [form(vexEncoding(length, encoding, w), ...operands, AVX, options ?? {})],
    access: operands.map((_, n) => (n === 0 ? 'w' : 'r')),
    lift,
    ...rest,
  });
}
