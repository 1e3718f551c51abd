// Floating-point instructions of SSE to SSE4.1: arithmetic, comparison and rounding. SDM vol 1 §10.4.1, §11.4.1,
// §12.3, §12.10. The operations themselves are in float-operation.ts.

import type { FunctionRef } from '../lift/function.ts';
import type { Lift } from '../lift/lift.ts';
import type { Value } from '../lift/value.ts';
import { dotProduct } from '../microcode/sse/dot-product.ts';
import { scalarFunction } from '../microcode/sse/lanes.ts';
import { RELATION, SOFT } from '../microcode/sse/soft-float.ts';
import { S } from '../state/layout.ts';
import {
  ARITHMETIC_OPERATIONS,
  COMPARISONS,
  compute,
  type FloatOperation,
  NEIGHBOUR_OPERATIONS,
  PD,
  PS,
  ROUNDINGS,
  SD,
  type Sort,
  SS,
} from './float-operation.ts';
import {
  form,
  Ib,
  type Instruction,
  type InstructionSpec,
  instruction,
  type LiftOperand,
  SSE,
  Vx,
  Wx,
} from './instruction.ts';
import { ifDisordered } from './sse-fast.ts';
import { readFloat, source, writeFloat } from './sse-operands.ts';

/** Reads operands as the sort's fast operations take them: floats or vectors. */
const readSource = (l: Lift, sort: Sort, operand: LiftOperand): Value =>
  sort.isPacked ? source(l, operand) : readFloat(l, operand);
const readTarget = (l: Lift, sort: Sort, operand: LiftOperand): Value =>
  sort.isPacked ? l.let(operand.read()) : readFloat(l, operand);
function writeTarget(l: Lift, operand: LiftOperand, value: Value): void {
  if (value.type.startsWith('f')) writeFloat(l, operand, value);
  else operand.write(value);
}

/** A form without immediate, or with one that controls the operation. */
function floatInstruction(
  o: FloatOperation,
  more: Pick<InstructionSpec, 'feature' | 'access'> & {
    readonly encoding: string;
    readonly control?: number;
  },
): Instruction {
  const { name, sort } = o;
  const { encoding, control, ...rest } = more;
  const immediates = control === undefined ? [] : [Ib];
  return instruction({
    name,
    manual: `SDM vol 2, ${name}`,
    forms: [form(`${encoding} /r`, ...sort.operands, ...immediates, SSE)],
    exceptions: '#XM',
    ...rest,
    lift(l, _i, dst, src, immediate) {
      const c = immediate ? l.let(immediate.read().i32().and(control!)) : l.i32(0);
      const b = readSource(l, sort, src!);
      const a = o.isUnary ? b : readTarget(l, sort, dst!);
      writeTarget(l, dst!, compute(l, o, a, b, c));
    },
  });
}

// --- Comparison to RFLAGS ---

export interface FlagComparison {
  readonly name: string;
  readonly opcode: string;
  readonly sort: Sort;
  readonly slow: FunctionRef;
}
function flagComparison(name: string, opcode: string, signals: 0 | 1, sort: Sort): FlagComparison {
  const full = `${name}${sort.suffix}`;
  const slow = scalarFunction(`sse${full}`, (l, a, b) =>
    l.call(SOFT[sort.width].relate, a, b, signals).u64(),
  );
  return { name: full, opcode, sort, slow };
}
export const FLAG_COMPARISONS: readonly FlagComparison[] = [SS, SD].flatMap((sort) => [
  flagComparison('UCOMI', '0F 2E', 0, sort),
  flagComparison('COMI', '0F 2F', 1, sort),
]);

/** UCOMISx and COMISx: ZF, PF, CF; the others are cleared. COMIS objects to any NaN. */
export function compareFlags(
  l: Lift,
  { sort, slow }: FlagComparison,
  first: LiftOperand,
  second: LiftOperand,
): void {
  const b = readSource(l, sort, second);
  const a = readTarget(l, sort, first);
  const isBelow = l.var('i32', a.lt(b));
  const isDifferent = l.var('i32', a.ne(b));
  const isOrdered = l.var('i32', 1);
  ifDisordered(l, sort.shape, [a, b], () => {
    const relation = l.call(slow, a.bits().u64(), b.bits().u64(), 0).i32();
    isOrdered.set(relation.and(RELATION.unordered).eqz());
    isBelow.set(relation.and(RELATION.unordered | RELATION.less).nez());
    isDifferent.set(relation.and(RELATION.unordered | RELATION.equal).eqz());
  });
  l.set(S.flagC, isBelow.get());
  l.set(S.flagZ, isDifferent.get().u64());
  // An odd byte has PF clear, an even one has it set; SF is clear.
  l.set(S.flagSP, isOrdered.get().u64());
  l.set(S.flagO, 0n);
  l.set(S.flagA, 0);
}

// --- SSE4.1: dot products ---

export const DOT_PRODUCTS: readonly {
  readonly name: string;
  readonly opcode: string;
  readonly slow: FunctionRef;
}[] = [
  { name: 'DPPS', opcode: '40', slow: dotProduct('sseDPPS', 32) },
  { name: 'DPPD', opcode: '41', slow: dotProduct('sseDPPD', 64) },
];
const dots = DOT_PRODUCTS.map(({ name, opcode, slow }) =>
  instruction({
    name,
    manual: `SDM vol 2A, ${name}`,
    feature: 'SSE4.1',
    forms: [form(`66 0F 3A ${opcode} /r`, Vx, Wx, Ib, SSE)],
    exceptions: '#XM',
    lift(l, _i, dst, src, immediate) {
      const control = l.let(immediate!.read().i32());
      const b = source(l, src!);
      dst!.write(l.call(slow, l.let(dst!.read()), b, control));
    },
  }),
);

/** Packed singles have the prefix F2 where doubles have 66. */
export const neighbourPrefix = (sort: Sort) => (sort === PS ? 'F2' : '66');

export const INSTRUCTIONS_SSE_FLOAT: readonly Instruction[] = [
  ...ARITHMETIC_OPERATIONS.map(([opcode, o]) =>
    floatInstruction(o, { feature: o.sort.feature, encoding: `${o.sort.prefix} ${opcode}` }),
  ),
  ...COMPARISONS.map((o) =>
    floatInstruction(o, {
      feature: o.sort.feature,
      encoding: `${o.sort.prefix} 0F C2`,
      control: 7,
    }),
  ),
  ...FLAG_COMPARISONS.map((row) =>
    instruction({
      name: row.name,
      manual: `SDM vol 2, ${row.name}`,
      feature: row.sort.feature,
      forms: [form(`${row.sort === SS ? 'NP' : '66'} ${row.opcode} /r`, ...row.sort.operands, SSE)],
      access: ['r', 'r'],
      flags: { writes: 'OSZAPC' },
      exceptions: '#XM',
      lift: (l, _i, first, second) => compareFlags(l, row, first!, second!),
    }),
  ),
  ...[PS, PD].flatMap((sort) => [
    ...NEIGHBOUR_OPERATIONS.filter(([, o]) => o.sort === sort).map(([opcode, o]) =>
      floatInstruction(o, { feature: 'SSE3', encoding: `${neighbourPrefix(sort)} ${opcode}` }),
    ),
    dots[sort === PS ? 0 : 1]!,
  ]),
  ...ROUNDINGS.map(([opcode, o]) =>
    floatInstruction(o, {
      feature: 'SSE4.1',
      encoding: `66 ${opcode}`,
      control: 0xff,
      access: ['w', 'r', 'r'],
    }),
  ),
];
