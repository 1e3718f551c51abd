// Insertion and extraction of one element, sign masks, and the tests of AVX and AVX2. SDM vol 1 §14.2, §14.6.

import type { Lift } from '../lift/lift.ts';
import { type Value, v128 } from '../lift/value.ts';
import { YMM_HIGH } from '../state/layout.ts';
import { immediateOf, readVector, vex, writeVector } from './avx-operands.ts';
import {
  Ed,
  Eq,
  Ew,
  Gd,
  Hx,
  Ib,
  type Instruction,
  type LiftOperand,
  Mb,
  Md,
  Mw,
  ONLY64,
  type OperandSpec,
  Rd,
  Uqq,
  Ux,
  Vqq,
  Vx,
  Wqq,
  Wx,
} from './instruction.ts';
import { extractElement, insert, insertSingle, testBits, type Unit } from './sse-element.ts';
import { ZERO } from './sse-operands.ts';
import { compareStringOperands, STRING_COMPARISONS } from './sse-string.ts';

const BYTE: Unit = ['i8x16', 1];
const WORD: Unit = ['i16x8', 2];
const DWORD: Unit = ['i32x4', 4];
const QWORD: Unit = ['i64x2', 8];

interface ElementRow {
  readonly name: string;
  readonly encoding: string;
  readonly w?: 'W0' | 'W1';
  readonly unit: Unit;
}

/** The first source with one element replaced. */
const insertion = (row: ElementRow, from: OperandSpec, only64?: boolean): Instruction =>
  vex({
    ...row,
    feature: 'AVX',
    length: 128,
    operands: [Vx, Hx, from, Ib],
    ...(only64 && { options: ONLY64 }),
    lift(l, _i, dst, first, src, immediate) {
      const n = immediateOf(l, immediate!);
      const value = l.let(src!.read());
      const old = l.let(first!.read());
      writeVector(l, dst!, [insert(l, row.unit, old, value, n, 16 / row.unit[1])]);
    },
  });

/** One element to a general register or memory. */
const extraction = (
  row: ElementRow,
  operands: readonly [OperandSpec, OperandSpec],
  only64?: boolean,
): Instruction =>
  vex({
    ...row,
    feature: 'AVX',
    length: 128,
    operands: [...operands, Ib],
    ...(only64 && { options: ONLY64 }),
    lift(l, _i, dst, src, immediate) {
      const [shape, bytes] = row.unit;
      const n = immediateOf(l, immediate!);
      const operation = `${shape}.extract_lane${bytes < 4 ? '_u' : ''}`;
      const v = l.let(src!.read());
      dst!.write(extractElement(l, operation, bytes, v, n, 16 / bytes));
    },
  });

const insertSingleFrom = (from: OperandSpec): Instruction =>
  vex({
    name: 'INSERTPS',
    feature: 'AVX',
    length: 128,
    encoding: '66 0F 3A 21',
    operands: [Vx, Hx, from, Ib],
    lift(l, _i, dst, first, src, immediate) {
      const n = immediateOf(l, immediate!);
      writeVector(l, dst!, [insertSingle(l, () => l.let(first!.read()), src!, n)]);
    },
  });

/** Signs of all elements as bits of a general register. */
function signMasks(name: string, encoding: string, shape: string, wide: string): Instruction[] {
  const lanes = Number(shape.split('x')[1]);
  const one = (length: 128 | 256, feature: string, src: OperandSpec) =>
    vex({
      name,
      feature,
      length,
      encoding,
      operands: [Gd, src],
      lift(l, _i, dst, from) {
        const [low, high] = readVector(l, from!).map((v) => l.op(`${shape}.bitmask`, v));
        dst!.write(high ? low!.or(high.shl(lanes)) : low!);
      },
    });
  return [one(128, 'AVX', Ux), one(256, wide, Uqq)];
}

/** VPTEST looks at all bits, VTESTPS and VTESTPD at signs. */
function tests(name: string, encoding: string, w: 'W0' | 'WIG', signs?: Value): Instruction[] {
  const lift = (l: Lift, first: LiftOperand, second: LiftOperand) => {
    const read = (o: LiftOperand) =>
      readVector(l, o).map((v) => (signs ? l.let(l.op('v128.and', v, signs)) : v));
    const b = read(second);
    testBits(
      l,
      read(first).map((a, n) => [a, b[n]!] as const),
    );
  };
  const one = (length: 128 | 256, operands: readonly OperandSpec[]) =>
    vex({
      name,
      feature: 'AVX',
      length,
      encoding,
      w,
      operands,
      access: ['r', 'r'],
      flags: { writes: 'OSZAPC' },
      lift: (l, _i, first, second) => lift(l, first!, second!),
    });
  return [one(128, [Vx, Wx]), one(256, [Vqq, Wqq])];
}
const signsOf = (bytes: 4 | 8) =>
  v128(Array.from({ length: 16 }, (_, n) => (n % bytes === bytes - 1 ? 0x80 : 0)));

const EXTRACT_DWORD: ElementRow = {
  name: 'PEXTRD',
  encoding: '66 0F 3A 16',
  w: 'W0',
  unit: DWORD,
};
const INSERT_DWORD: ElementRow = { ...EXTRACT_DWORD, name: 'PINSRD', encoding: '66 0F 3A 22' };
const EXTRACT_BYTE: ElementRow = { name: 'PEXTRB', encoding: '66 0F 3A 14', unit: BYTE };
const EXTRACT_WORD: ElementRow = { name: 'PEXTRW', encoding: '66 0F 3A 15', unit: WORD };
const INSERT_BYTE: ElementRow = { name: 'PINSRB', encoding: '66 0F 3A 20', unit: BYTE };

/** String comparisons; those that make a mask clear the rest of YMM0. Lengths have 64 bits with W. */
const strings = STRING_COMPARISONS.flatMap((c) =>
  (c.explicit ? (['W0', 'W1'] as const) : (['WIG'] as const)).map((w) =>
    vex({
      name: c.name,
      feature: 'AVX',
      length: 128,
      encoding: `66 0F 3A ${c.opcode}`,
      w,
      operands: [Vx, Wx, Ib],
      access: ['r', 'r', 'r'],
      flags: { writes: 'OSZAPC' },
      lift(l, i, ...operands) {
        compareStringOperands(l, c, operands, w === 'W1' && i.mode64);
        if (c.name.endsWith('M')) l.set(YMM_HIGH, ZERO, 0);
      },
    }),
  ),
);

export const INSTRUCTIONS_AVX_ELEMENT: readonly Instruction[] = [
  insertion(INSERT_BYTE, Rd),
  insertion(INSERT_BYTE, Mb),
  insertion({ name: 'PINSRW', encoding: '66 0F C4', unit: WORD }, Ew),
  insertion(INSERT_DWORD, Ed),
  insertion({ ...INSERT_DWORD, name: 'PINSRQ', w: 'W1', unit: QWORD }, Eq, true),
  insertSingleFrom(Ux),
  insertSingleFrom(Md),
  extraction(EXTRACT_BYTE, [Rd, Vx]),
  extraction(EXTRACT_BYTE, [Mb, Vx]),
  extraction(EXTRACT_WORD, [Rd, Vx]),
  extraction(EXTRACT_WORD, [Mw, Vx]),
  extraction({ name: 'PEXTRW', encoding: '66 0F C5', unit: WORD }, [Gd, Ux]),
  extraction(EXTRACT_DWORD, [Ed, Vx]),
  extraction({ ...EXTRACT_DWORD, name: 'PEXTRQ', w: 'W1', unit: QWORD }, [Eq, Vx], true),
  extraction({ name: 'EXTRACTPS', encoding: '66 0F 3A 17', unit: DWORD }, [Ed, Vx]),
  ...signMasks('MOVMSKPS', 'NP 0F 50', 'i32x4', 'AVX'),
  ...signMasks('MOVMSKPD', '66 0F 50', 'i64x2', 'AVX'),
  ...signMasks('PMOVMSKB', '66 0F D7', 'i8x16', 'AVX2'),
  ...strings,
  ...tests('PTEST', '66 0F 38 17', 'WIG'),
  ...tests('TESTPS', '66 0F 38 0E', 'W0', signsOf(4)),
  ...tests('TESTPD', '66 0F 38 0F', 'W0', signsOf(8)),
];
