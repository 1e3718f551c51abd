// MUL, IMUL, DIV and IDIV. SDM vol 1 §7.3.2. #DE is vector 0: a zero divisor or a quotient that does not fit.

import { setCarry, setOverflow } from '../lift/flags.ts';
import type { Lift } from '../lift/lift.ts';
import type { Value } from '../lift/value.ts';
import {
  divide128,
  divide128Signed,
  multiplyHigh,
  multiplyHighSigned,
} from '../microcode/divide.ts';
import { readRegister, writeRegister } from '../microcode/registers.ts';
import { GPR, S } from '../state/layout.ts';
import {
  Eb,
  Ev,
  form,
  Gv,
  HOT,
  Ibs,
  type Instruction,
  type InstructionContext,
  Iz,
  instruction,
  type LiftOperand,
} from './instruction.ts';

const { rax, rdx } = GPR;

/** Writes a double-width result: AX for bytes, else rDX:rAX. */
function writePair(l: Lift, bits: number, high: Value, low: Value): void {
  if (bits === 8) {
    writeRegister(l, rax, 16, high.shl(8).or(low.zext(8)));
    return;
  }
  writeRegister(l, rax, bits, low);
  writeRegister(l, rdx, bits, high);
}

function setMultiplyFlags(l: Lift, overflows: Value): void {
  const o = l.let(overflows);
  setCarry(l, o);
  setOverflow(l, o);
}

const MULTIPLY_FLAGS = { writes: 'OC', undefined: 'SZAP' } as const;

/** CF and OF tell whether the upper half is significant. */
function multiply(isSigned: boolean) {
  return (l: Lift, _: InstructionContext, src: LiftOperand): void => {
    const { bits } = src;
    const a = readRegister(l, rax, bits);
    const b = l.let(src.read());
    if (bits === 64) {
      const low = l.let(a.mul(b));
      const high = l.call(isSigned ? multiplyHighSigned : multiplyHigh, a, b);
      writePair(l, 64, high, low);
      setMultiplyFlags(l, isSigned ? high.ne(low.shrs(63)) : high.nez());
      return;
    }
    const widen = (v: Value) => (isSigned ? v.sext(bits).s64() : v.u64());
    const product = l.let(widen(a).mul(widen(b)));
    writePair(l, bits, product.shru(bits).i32(), product.i32());
    const fits = isSigned ? product.sext(bits).eq(product) : product.shru(bits).eqz();
    setMultiplyFlags(l, fits.eqz());
  };
}

export const MUL: Instruction = instruction({
  name: 'MUL',
  manual: 'SDM vol 2B, MUL',
  forms: [form('F6 /4', Eb), form('F7 /4', Ev)],
  access: ['r'],
  flags: MULTIPLY_FLAGS,
  lift: multiply(false),
});

/** Product cut to the operand size, for the forms with a destination. */
function multiplyInto(l: Lift, dst: LiftOperand, left: Value, right: Value): void {
  const { bits } = dst;
  const a = l.let(left);
  const b = l.let(right);
  if (bits < 64) {
    const product = l.let(a.sext(bits).s64().mul(b.sext(bits).s64()));
    dst.write(product.i32());
    setMultiplyFlags(l, product.sext(bits).ne(product));
    return;
  }
  const product = l.let(a.mul(b));
  dst.write(product);
  const areSmall = a.sext(32).eq(a).and(b.sext(32).eq(b));
  const overflows = l.choose(
    areSmall,
    'i32',
    () => l.i32(0),
    () => l.call(multiplyHighSigned, a, b).ne(product.shrs(63)),
  );
  setMultiplyFlags(l, overflows);
}

export const IMUL: Instruction = instruction({
  name: 'IMUL',
  manual: 'SDM vol 2A, IMUL',
  forms: [form('F6 /5', Eb), form('F7 /5', Ev)],
  access: ['r'],
  flags: MULTIPLY_FLAGS,
  lift: multiply(true),
});

export const IMUL_TWO: Instruction = instruction({
  name: 'IMUL',
  manual: 'SDM vol 2A, IMUL',
  forms: [form('0F AF /r', Gv, Ev, HOT)],
  flags: MULTIPLY_FLAGS,
  lift(l, _, dst, src) {
    const b = l.let(src.read());
    multiplyInto(l, dst, dst.read(), b);
  },
});

export const IMUL_THREE: Instruction = instruction({
  name: 'IMUL',
  manual: 'SDM vol 2A, IMUL',
  forms: [form('6B /r ib', Gv, Ev, Ibs), form('69 /r', Gv, Ev, Iz)],
  access: ['w', 'r', 'r'],
  flags: MULTIPLY_FLAGS,
  lift(l, _, dst, src, factor) {
    multiplyInto(l, dst, src.read(), factor.read());
  },
});

/** The dividend of up to 64 bits as an i64, without sign: AX, DX:AX or EDX:EAX. */
function dividend(l: Lift, bits: number): Value {
  if (bits === 8) return readRegister(l, rax, 16).u64();
  const high = readRegister(l, rdx, bits).u64();
  return l.let(high.shl(bits).or(readRegister(l, rax, bits).u64()));
}

export const DIV: Instruction = instruction({
  name: 'DIV',
  manual: 'SDM vol 2A, DIV',
  forms: [form('F6 /6', Eb), form('F7 /6', Ev)],
  access: ['r'],
  flags: { undefined: 'OSZAPC' },
  exceptions: '#DE',
  lift(l, _, src) {
    const { bits } = src;
    const divisor = l.let(src.read().u64());
    if (bits === 64) {
      const high = l.get(S.gpr, rdx);
      l.raiseIf(high.geu(divisor), 0);
      const quotient = l.call(divide128, high, l.get(S.gpr, rax), divisor);
      writePair(l, 64, l.get(S.result), quotient);
      return;
    }
    l.raiseIf(divisor.eqz(), 0);
    const number = dividend(l, bits);
    const quotient = l.let(number.divu(divisor));
    l.raiseIf(quotient.shru(bits).nez(), 0);
    writePair(l, bits, number.remu(divisor).i32(), quotient.i32());
  },
});

export const IDIV: Instruction = instruction({
  name: 'IDIV',
  manual: 'SDM vol 2A, IDIV',
  forms: [form('F6 /7', Eb), form('F7 /7', Ev)],
  access: ['r'],
  flags: { undefined: 'OSZAPC' },
  exceptions: '#DE',
  lift(l, _, src) {
    const { bits } = src;
    const divisor = l.let(bits === 64 ? src.read() : src.read().sext(bits).s64());
    if (bits === 64) {
      const high = l.get(S.gpr, rdx);
      const quotient = l.call(divide128Signed, high, l.get(S.gpr, rax), divisor);
      writePair(l, 64, l.get(S.result), quotient);
      return;
    }
    l.raiseIf(divisor.eqz(), 0);
    const wide = dividend(l, bits);
    const number = bits === 32 ? wide : l.let(wide.sext(2 * bits));
    // The one quotient that overflows an i64 (and would trap).
    if (bits === 32) l.raiseIf(number.eq(-1n << 63n).and(divisor.eq(-1n)), 0);
    const quotient = l.let(number.divs(divisor));
    l.raiseIf(quotient.sext(bits).ne(quotient), 0);
    writePair(l, bits, number.rems(divisor).i32(), quotient.i32());
  },
});

export const INSTRUCTIONS_MULTIPLY: readonly Instruction[] = [
  MUL, IMUL, IMUL_TWO, IMUL_THREE, DIV, IDIV,
]; // biome-ignore format: a list
