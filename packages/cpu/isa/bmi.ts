// Bit manipulation: BMI1 (but TZCNT, which is in bit.ts), BMI2, and the two carry chains of ADX. SDM vol 1 §5.1.16, §7.3.

import { carry, overflow, setCarry, setOverflow, setResultFlags } from '../lift/flags.ts';
import type { Lift } from '../lift/lift.ts';
import type { Value } from '../lift/value.ts';
import { depositBits, extractBits } from '../microcode/bit-field.ts';
import { multiplyHigh } from '../microcode/divide.ts';
import { S } from '../state/layout.ts';
import { asWide } from './arithmetic.ts';
import {
  By,
  Ey,
  form,
  Gy,
  Ib,
  type Instruction,
  type InstructionSpec,
  instruction,
  VEX,
} from './instruction.ts';

/** SF and ZF by the result, CF as given, OF clear. */
function setFlags(l: Lift, bits: number, result: Value, carryOut: Value | number): void {
  setResultFlags(l, bits, result);
  setCarry(l, carryOut);
  l.set(S.flagO, 0n);
}

const FLAGS = { writes: 'OSZC', undefined: 'AP' } as const;
const BMI1 = 'BMI1';
const BMI2 = 'BMI2';

export const ANDN: Instruction = instruction({
  name: 'ANDN',
  manual: 'SDM vol 2A, ANDN',
  forms: [form('VEX.LZ.0F38 F2 /r', Gy, By, Ey, VEX)],
  access: ['w', 'r', 'r'],
  flags: FLAGS,
  feature: BMI1,
  lift(l, _, dst, inverted, src) {
    const b = l.let(src.read());
    const result = l.let(inverted.read().not().and(b));
    dst.write(result);
    setFlags(l, dst.bits, result, 0);
  },
});

/** BLSI, BLSMSK, BLSR: of the lowest bit that is set. */
function lowestBit(
  name: string,
  digit: number,
  compute: (v: Value) => Value,
  carryOut: (v: Value) => Value,
): Instruction {
  return instruction({
    name,
    manual: `SDM vol 2A, ${name}`,
    forms: [form(`VEX.LZ.0F38 F3 /${digit}`, By, Ey, VEX)],
    access: ['w', 'r'],
    flags: FLAGS,
    feature: BMI1,
    lift(l, _, dst, src) {
      const value = l.let(src.read());
      const result = l.let(compute(value));
      dst.write(result);
      setFlags(l, dst.bits, result, carryOut(value));
    },
  });
}
export const BLSR: Instruction = lowestBit(
  'BLSR',
  1,
  (v) => v.sub(1).and(v),
  (v) => v.eqz(),
);
export const BLSMSK: Instruction = lowestBit(
  'BLSMSK',
  2,
  (v) => v.sub(1).xor(v),
  (v) => v.eqz(),
);
export const BLSI: Instruction = lowestBit(
  'BLSI',
  3,
  (v) => v.neg().and(v),
  (v) => v.nez(),
);

/** The value's lowest `count` bits; all of them from `bits` on. */
function lowest(l: Lift, value: Value, bits: number, count: Value): Value {
  const none = asWide(l.i32(0), bits);
  const mask = asWide(l.i32(1), bits).shl(count).sub(1);
  return value.and(l.select(count.ltu(bits), mask, none.not()));
}

/** A start beyond the operand gives 0. */
export const BEXTR: Instruction = instruction({
  name: 'BEXTR',
  manual: 'SDM vol 2A, BEXTR',
  forms: [form('VEX.LZ.0F38 F7 /r', Gy, Ey, By, VEX)],
  access: ['w', 'r', 'r'],
  flags: { writes: 'OZC', undefined: 'ASP' },
  feature: BMI1,
  lift(l, _, dst, src, control) {
    const { bits } = dst;
    const value = l.let(src.read());
    const place = l.let(control.read().i32());
    const start = l.let(place.and(0xff));
    const count = l.let(place.shru(8).and(0xff));
    const shifted = l.select(start.ltu(bits), value.shru(start), asWide(l.i32(0), bits));
    const result = l.let(lowest(l, l.let(shifted), bits, count));
    dst.write(result);
    setFlags(l, bits, result, 0);
  },
});

export const BZHI: Instruction = instruction({
  name: 'BZHI',
  manual: 'SDM vol 2A, BZHI',
  forms: [form('VEX.LZ.0F38 F5 /r', Gy, Ey, By, VEX)],
  access: ['w', 'r', 'r'],
  flags: FLAGS,
  feature: BMI2,
  lift(l, _, dst, src, index) {
    const { bits } = dst;
    const value = l.let(src.read());
    const count = l.let(index.read().i32().and(0xff));
    const result = l.let(lowest(l, value, bits, count));
    dst.write(result);
    setFlags(l, bits, result, count.gtu(bits - 1));
  },
});

/** PDEP and PEXT: the mask comes last. */
const bitField = (name: string, prefix: string, f: typeof extractBits): Instruction =>
  instruction({
    name,
    manual: `SDM vol 2B, ${name}`,
    forms: [form(`VEX.LZ.${prefix}.0F38 F5 /r`, Gy, By, Ey, VEX)],
    access: ['w', 'r', 'r'],
    feature: BMI2,
    lift(l, _, dst, src, mask) {
      const m = l.let(mask.read().u64());
      const result = l.call(f, src.read().u64(), m);
      dst.write(dst.bits === 64 ? result : result.i32());
    },
  });
export const PDEP: Instruction = bitField('PDEP', 'F2', depositBits);
export const PEXT: Instruction = bitField('PEXT', 'F3', extractBits);

/** rDX times the source, without flags; when both halves go to one register, the upper one stays. */
export const MULX: Instruction = instruction({
  name: 'MULX',
  manual: 'SDM vol 2B, MULX',
  forms: [form('VEX.LZ.F2.0F38 F6 /r', Gy, By, Ey, VEX)],
  access: ['w', 'w', 'r'],
  feature: BMI2,
  lift(l, _, high, low, src) {
    const b = l.let(src.read());
    const rdx = l.get(S.gpr, 2);
    if (high.bits === 64) {
      const upper = l.call(multiplyHigh, rdx, b);
      low.write(l.let(rdx.mul(b)));
      high.write(upper);
      return;
    }
    const product = l.let(rdx.zext(32).mul(b.u64()));
    low.write(product.i32());
    high.write(product.shru(32).i32());
  },
});

export const RORX: Instruction = instruction({
  name: 'RORX',
  manual: 'SDM vol 2B, RORX',
  forms: [form('VEX.LZ.F2.0F3A F0 /r ib', Gy, Ey, Ib, VEX)],
  access: ['w', 'r', 'r'],
  feature: BMI2,
  lift(_l, _, dst, src, count) {
    dst.write(src.read().rotr(count.read()));
  },
});

/** SARX, SHLX, SHRX: the count, modulo the width, leaves the flags alone. */
const shift = (
  name: string,
  prefix: string,
  compute: (value: Value, count: Value) => Value,
): Instruction =>
  instruction({
    name,
    manual: 'SDM vol 2B, SARX/SHLX/SHRX',
    forms: [form(`VEX.LZ.${prefix}.0F38 F7 /r`, Gy, Ey, By, VEX)],
    access: ['w', 'r', 'r'],
    feature: BMI2,
    lift(l, _, dst, src, count) {
      const value = l.let(src.read());
      dst.write(compute(value, count.read()));
    },
  });
export const SARX: Instruction = shift('SARX', 'F3', (value, count) => value.shrs(count));
export const SHLX: Instruction = shift('SHLX', '66', (value, count) => value.shl(count));
export const SHRX: Instruction = shift('SHRX', 'F2', (value, count) => value.shru(count));

/** ADCX and ADOX: an addition with one flag as carry in and out, and no other flag touched. */
function carryChain(
  name: string,
  prefix: string,
  flag: 'C' | 'O',
  chain: { get(l: Lift): Value; set(l: Lift, carryOut: Value): void },
): Instruction {
  const spec: InstructionSpec = {
    name,
    manual: `SDM vol 2A, ${name}`,
    forms: [form(`${prefix} 0F 38 F6 /r`, Gy, Ey)],
    flags: { reads: flag, writes: flag },
    feature: 'ADX',
    lift(l, _, dst, src) {
      const b = l.let(src.read());
      const a = l.let(dst.read());
      const sum = l.let(a.add(b));
      const result = l.let(sum.add(asWide(chain.get(l), dst.bits)));
      dst.write(result);
      chain.set(l, sum.ltu(a).or(result.ltu(sum)));
    },
  };
  return instruction(spec);
}
export const ADCX: Instruction = carryChain('ADCX', '66', 'C', { get: carry, set: setCarry });
export const ADOX: Instruction = carryChain('ADOX', 'F3', 'O', {
  get: overflow,
  set: setOverflow,
});

export const INSTRUCTIONS_BMI: readonly Instruction[] = [
  ANDN, BEXTR, BLSI, BLSMSK, BLSR, BZHI, MULX, PDEP, PEXT, RORX, SARX, SHLX, SHRX, ADCX, ADOX,
]; // biome-ignore format: a list
