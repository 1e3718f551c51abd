// Packed integer arithmetic, logic and comparison of AVX and AVX2, from the rows that also make the SSE instructions.
// SDM vol 1 §14.2, §14.6.

import type { Lift } from '../lift/lift.ts';
import { eachHalf, is256, readVector, writeVector } from './avx-operands.ts';
import {
  AVX,
  type Form,
  form,
  Hqq,
  Hx,
  type Instruction,
  instruction,
  type LiftOperand,
  type OperandSpec,
  Vqq,
  Vx,
  Wqq,
  Wx,
} from './instruction.ts';
import { type Columns, INTEGER_ROWS, LOGIC, LOW_UNPACKS, WRITES_ONLY } from './sse-integer.ts';
import type { Packed } from './sse-operands.ts';

/** '0F 38 29' to the map's name in a VEX encoding and the opcode. */
export function vexOpcode(opcode: string): { map: string; opcode: string } {
  const words = opcode.split(' ');
  const last = words.pop()!;
  return { map: words.join(''), opcode: last };
}

/** The encodings of an operation with two sources (or one), 128 and 256 bits wide. */
function vectorForms(
  name: string,
  prefix: string,
  opcode: string,
  options: { narrow: boolean; wide: boolean; isUnary: boolean },
): Form[] {
  const { map, opcode: byte } = vexOpcode(opcode);
  const encoding = (length: number) =>
    `VEX.${length}.${prefix === 'NP' ? '' : `${prefix}.`}${map}.WIG ${byte} /r`;
  // The count of a shift has 128 bits in all forms.
  const wideSource: OperandSpec = IS_SHIFT.test(name) ? Wx : Wqq;
  const operands = (...list: OperandSpec[]) => (options.isUnary ? list.toSpliced(1, 1) : list);
  const forms: Form[] = [];
  if (options.narrow) forms.push(form(encoding(128), ...operands(Vx, Hx, Wx), AVX));
  if (options.wide) forms.push(form(encoding(256), ...operands(Vqq, Hqq, wideSource), AVX));
  return forms;
}
const IS_SHIFT = /^PS(LL|RL|RA)[WDQ]$/;

function lift(l: Lift, meaning: Packed, operands: readonly LiftOperand[]): void {
  const dst = operands[0]!;
  const second = readVector(l, operands.at(-1)!);
  const first = operands.length > 2 ? readVector(l, operands[1]!) : second;
  const none = { mmx: false, immediate: l.i32(0) };
  const result = eachHalf(l, is256(dst) ? 2 : 1, [first, second], (_half, a, b) =>
    meaning(l, a!, b!, none),
  );
  writeVector(l, dst, result);
}

function integer([opcode, name, meaning, , xmm]: Columns): Instruction[] {
  if (!xmm) return [];
  const isUnary = WRITES_ONLY.has(name);
  const options = { narrow: true, wide: name !== 'PHMINPOSUW', isUnary };
  return vectorForms(name, '66', opcode, options).map((only) =>
    vector(name, 'AVX2', only, meaning),
  );
}

function vector(name: string, wideFeature: string, only: Form, meaning: Packed): Instruction {
  const isWide = only.encoding.startsWith('VEX.256');
  return instruction({
    name: `V${name}`,
    manual: `SDM vol 2, ${name}`,
    feature: isWide ? wideFeature : 'AVX',
    forms: [only],
    access: ['w', 'r', 'r'],
    lift: (l, _i, ...operands) => lift(l, meaning, operands),
  });
}

export const INSTRUCTIONS_AVX_INTEGER: readonly Instruction[] = [
  ...[...INTEGER_ROWS, ...LOW_UNPACKS].flatMap(integer),
  ...LOGIC.flatMap(([encoding, name, , meaning]) => {
    const [prefix, ...opcode] = encoding.split(' ');
    const options = { narrow: true, wide: true, isUnary: false };
    return vectorForms(name, prefix!, opcode.join(' '), options).map((only) =>
      vector(name, 'AVX', only, meaning),
    );
  }),
];
