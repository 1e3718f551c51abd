// Packed integer arithmetic, logic and comparison of AVX and AVX2, from the rows that also make the SSE instructions;
// shifts by an immediate and by a count for each element. SDM vol 1 §14.2, §14.6, §14.7.

import type { Lift } from '../lift/lift.ts';
import type { Value } from '../lift/value.ts';
import { eachHalf, immediateOf, is256, readVector, vex, writeVector } from './avx-operands.ts';
import {
  Hqq,
  Hx,
  Ib,
  type Instruction,
  type LiftOperand,
  type OperandSpec,
  Uqq,
  Ux,
  Vqq,
  Vx,
  Wqq,
  Wx,
} from './instruction.ts';
import { INTEGER_ROWS, LOGIC, LOW_UNPACKS, shiftBy, WRITES_ONLY } from './sse-integer.ts';
import { type Packed, ZERO } from './sse-operands.ts';
import { BYTE_SHIFTS, SHIFTS } from './sse-shuffle.ts';

/** The count of a shift has 128 bits in all forms. */
const IS_SHIFT = /^PS(LL|RL|RA)[WDQ]$/;
/** Has no 256-bit form. */
const IS_NARROW = /^PHMINPOSUW$/;

function liftPacked(l: Lift, meaning: Packed, operands: readonly LiftOperand[]): void {
  const dst = operands[0]!;
  const second = readVector(l, operands.at(-1)!);
  const first = operands.length > 2 ? readVector(l, operands[1]!) : second;
  const none = { mmx: false, immediate: l.i32(0) };
  const result = eachHalf(l, is256(dst) ? 2 : 1, [first, second], (_half, a, b) =>
    meaning(l, a!, b!, none),
  );
  writeVector(l, dst, result);
}

/** A row's 128-bit and 256-bit forms, with one source or two. */
function packed(name: string, encoding: string, meaning: Packed, wide: string): Instruction[] {
  const one = (length: 128 | 256, feature: string, ...operands: OperandSpec[]) =>
    vex({
      name,
      feature,
      length,
      encoding,
      operands: WRITES_ONLY.has(name) ? operands.toSpliced(1, 1) : operands,
      lift: (l, _i, ...list) => liftPacked(l, meaning, list),
    });
  const narrow = one(128, 'AVX', Vx, Hx, Wx);
  if (IS_NARROW.test(name)) return [narrow];
  return [narrow, one(256, wide, Vqq, Hqq, IS_SHIFT.test(name) ? Wx : Wqq)];
}

type ShiftMeaning = (l: Lift, value: Value, count: Value) => Value;

/** Shifts by an immediate: the destination is in VEX.vvvv. */
function immediateShift(name: string, opcode: string, meaning: ShiftMeaning): Instruction[] {
  const one = (length: 128 | 256, feature: string, ...operands: OperandSpec[]) =>
    vex({
      name,
      feature,
      length,
      encoding: `66 ${opcode} ib`,
      operands,
      lift(l, _i, dst, src, immediate) {
        const count = immediateOf(l, immediate!);
        const value = readVector(l, src!);
        const result = eachHalf(l, value.length, [value], (_half, v) => meaning(l, v!, count));
        writeVector(l, dst!, result);
      },
    });
  return [one(128, 'AVX', Hx, Ux, Ib), one(256, 'AVX2', Hqq, Uqq, Ib)];
}

type Direction = 'shl' | 'shr_s' | 'shr_u';

/** Each element by the element of the second source; too large a count shifts everything out. */
const shiftEach =
  (bits: 32 | 64, direction: Direction): Packed =>
  (l, a, b) => {
    const shape = bits === 32 ? 'i32x4' : 'i64x2';
    const lane = (v: Value, n: number) => l.let(l.lanes(`${shape}.extract_lane`, [n], v));
    let result = ZERO;
    for (let n = 0; n < 128 / bits; n++) {
      const count = lane(b, n);
      const tooLarge = count.gtu(bits - 1);
      const shifted = (by: Value) => l.op(`i${bits}.${direction}`, lane(a, n), by);
      const zero = bits === 32 ? l.i32(0) : l.i64(0);
      const most = bits === 32 ? l.i32(bits - 1) : l.i64(bits - 1);
      const value =
        direction === 'shr_s'
          ? shifted(l.select(tooLarge, most, count))
          : l.select(tooLarge, zero, shifted(count));
      result = l.let(l.lanes(`${shape}.replace_lane`, [n], result, value));
    }
    return result;
  };

const variableShift = (
  name: string,
  opcode: string,
  w: 'W0' | 'W1',
  direction: Direction,
): Instruction[] =>
  [
    { length: 128, operands: [Vx, Hx, Wx] } as const,
    { length: 256, operands: [Vqq, Hqq, Wqq] } as const,
  ].map(({ length, operands }) =>
    vex({
      name,
      feature: 'AVX2',
      length,
      encoding: `66 0F 38 ${opcode}`,
      w,
      operands,
      lift: (l, _i, ...list) => liftPacked(l, shiftEach(w === 'W0' ? 32 : 64, direction), list),
    }),
  );

export const INSTRUCTIONS_AVX_INTEGER: readonly Instruction[] = [
  ...[...INTEGER_ROWS, ...LOW_UNPACKS].flatMap(([opcode, name, meaning, , xmm]) =>
    xmm ? packed(name, `66 ${opcode}`, meaning, 'AVX2') : [],
  ),
  ...LOGIC.flatMap(([encoding, name, , meaning]) => packed(name, encoding, meaning, 'AVX')),
  ...SHIFTS.flatMap(([name, opcode, shape, bits, direction]) =>
    immediateShift(name, opcode, (l, v, count) => shiftBy(l, shape, bits, direction, v, count)),
  ),
  ...BYTE_SHIFTS.flatMap(([name, opcode, meaning]) => immediateShift(name, opcode, meaning)),
  ...variableShift('PSRLVD', '45', 'W0', 'shr_u'),
  ...variableShift('PSRLVQ', '45', 'W1', 'shr_u'),
  ...variableShift('PSRAVD', '46', 'W0', 'shr_s'),
  ...variableShift('PSLLVD', '47', 'W0', 'shl'),
  ...variableShift('PSLLVQ', '47', 'W1', 'shl'),
];
