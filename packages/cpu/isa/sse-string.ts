// SSE4.2 string comparison. SDM vol 2B §4.1, PCMPESTRI, PCMPESTRM, PCMPISTRI, PCMPISTRM. Memory
// need not be aligned.

import { writeArithmeticFlags } from '../lift/flags.ts';
import type { Lift } from '../lift/lift.ts';
import { type Value, v128 } from '../lift/value.ts';
import { compareStrings, implicitLength } from '../microcode/sse/string-compare.ts';
import { GPR, S } from '../state/layout.ts';
import {
  form,
  Ib,
  type Instruction,
  instruction,
  type LiftOperand,
  SSE,
  Vx,
  Wx,
} from './instruction.ts';

/**
 * An explicit length: the magnitude of EAX or EDX (RAX, RDX with REX.W), at most the number of
 * elements.
 */
function explicitLength(l: Lift, register: number, isWide: boolean, count: Value): Value {
  const raw = l.get(S.gpr, register);
  const value = l.let(isWide ? raw : raw.sext(32));
  const magnitude = l.let(l.select(value.lts(0), value.neg(), value));
  return l.let(l.select(magnitude.gtu(count.u64()), count, magnitude.i32()));
}

type Finish = (l: Lift, result: Value, control: Value) => void;

/**
 * The index of the lowest or highest bit goes to ECX, the number of elements when there is none.
 */
const toIndex: Finish = (l, result, control) => {
  const count = l.select(control.and(1), l.i32(8), l.i32(16));
  const index = l.select(control.and(0x40), l.i32(31).sub(result.clz()), result.ctz());
  l.set(S.gpr, l.select(result, index, count).u64(), GPR.rcx);
};

/** The bits go to XMM0 as they are, or widened to bytes or words. */
const toMask: Finish = (l, result, control) => {
  const zero = l.op('i64x2.splat', 0n);
  const bits = l.lanes('i32x4.replace_lane', [0], zero, result);
  const places8 = [1, 2, 4, 8, 16, 32, 64, 128];
  const words = () => {
    const places = v128(places8.flatMap((bit) => [bit, 0]));
    return l.op('i16x8.eq', l.op('v128.and', l.op('i16x8.splat', result), places), places);
  };
  const bytes = () => {
    const halves = [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1];
    const copies = l.lanes('i8x16.shuffle', halves, bits, bits);
    const places = v128([...places8, ...places8]);
    return l.op('i8x16.eq', l.op('v128.and', copies, places), places);
  };
  const widened = () => l.choose(control.and(1), 'v128', words, bytes);
  l.set(
    S.xmm,
    l.choose(control.and(0x40), 'v128', widened, () => bits),
    0,
  );
};

function liftCompare(
  l: Lift,
  lengths: (count: Value, a: Value, b: Value, control: Value) => readonly [Value, Value],
  finish: Finish,
  values: { a: Value; b: Value; control: Value },
): void {
  const { a, b, control } = values;
  const count = l.let(l.select(control.and(1), l.i32(8), l.i32(16)));
  const [aLength, bLength] = lengths(count, a, b, control);
  const result = l.call(compareStrings, a, b, aLength, bLength, control);
  finish(l, result, control);
  const zf = bLength.ltu(count);
  const sf = aLength.ltu(count);
  const flags = result.nez().or(zf.shl(6)).or(sf.shl(7)).or(result.and(1).shl(11));
  writeArithmeticFlags(l, flags);
}

export interface StringComparison {
  readonly name: string;
  /** Last byte of 66 0F 3A xx. */
  readonly opcode: string;
  readonly explicit: boolean;
  readonly finish: Finish;
}
export const STRING_COMPARISONS: readonly StringComparison[] = [
  { name: 'PCMPESTRM', opcode: '60', explicit: true, finish: toMask },
  { name: 'PCMPESTRI', opcode: '61', explicit: true, finish: toIndex },
  { name: 'PCMPISTRM', opcode: '62', explicit: false, finish: toMask },
  { name: 'PCMPISTRI', opcode: '63', explicit: false, finish: toIndex },
];

/** `isWide`: explicit lengths have 64 bits. */
export function compareStringOperands(
  l: Lift,
  { explicit, finish }: StringComparison,
  operands: readonly LiftOperand[],
  isWide: boolean,
): void {
  const [first, second, immediate] = operands;
  const control = l.let(immediate!.read().i32());
  const b = l.let(second!.read());
  const a = l.let(first!.read());
  const lengths = explicit
    ? (count: Value) =>
        [
          explicitLength(l, GPR.rax, isWide, count),
          explicitLength(l, GPR.rdx, isWide, count),
        ] as const
    : (_count: Value, x: Value, y: Value, c: Value) =>
        [l.call(implicitLength, x, c.and(1)), l.call(implicitLength, y, c.and(1))] as const;
  liftCompare(l, lengths, finish, { a, b, control });
}

const compare = (c: StringComparison, prefix: string): Instruction =>
  instruction({
    name: c.name,
    manual: `SDM vol 2B, ${c.name}`,
    feature: 'SSE4.2',
    forms: [form(`${prefix} 0F 3A ${c.opcode} /r`, Vx, Wx, Ib, SSE)],
    access: ['r', 'r', 'r'],
    flags: { writes: 'OSZAPC' },
    lift: (l, _i, ...operands) => compareStringOperands(l, c, operands, prefix === '66 REX.W'),
  });

export const INSTRUCTIONS_SSE_STRING: readonly Instruction[] = STRING_COMPARISONS.flatMap((c) =>
  c.explicit ? [compare(c, '66 REX.W0'), compare(c, '66 REX.W')] : [compare(c, '66')],
);
