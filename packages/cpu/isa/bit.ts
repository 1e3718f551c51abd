// Bit tests, scans and counts, CRC32. SDM vol 1 §7.3.7. On processors without BMI1 and LZCNT the F3 prefix of TZCNT and
// LZCNT is ignored, so those run as BSF and BSR.

import { setCarry, setZero } from '../lift/flags.ts';
import type { AccessBytes, Lift } from '../lift/lift.ts';
import type { Value } from '../lift/value.ts';
import { addressMask, dataLinear } from '../microcode/address.ts';
import { crc32c } from '../microcode/crc32.ts';
import { S } from '../state/layout.ts';
import {
  Eb,
  ELSE_IGNORED,
  Ev,
  type Form,
  form,
  Gv,
  Gy,
  Ib,
  type Instruction,
  type InstructionContext,
  instruction,
  type LiftOperand,
  LOCKABLE,
  SIZED,
} from './instruction.ts';

type BitChange = (value: Value, mask: Value) => Value;

/** Puts the bit into CF and, unless it is only tested, changes it. */
function bitOperation(
  l: Lift,
  bits: number,
  value: Value,
  index: Value,
  change: BitChange | undefined,
  write: (value: Value) => void,
): void {
  const v = l.let(value);
  if (change) write(change(v, one(l, bits).shl(index)));
  setCarry(l, v.shru(index).and(1).i32());
}

function one(l: Lift, bits: number): Value {
  return bits === 64 ? l.i64(1) : l.i32(1);
}

/**
 * With a register index a memory operand is a bit string: the index is signed and reaches beyond the operand
 * (SDM vol 2A §3.1.1.9, "Bit(BitBase, BitOffset)"); the operand-sized unit that holds the bit is accessed.
 */
function inBitString(
  l: Lift,
  i: InstructionContext,
  dst: LiftOperand,
  index: Value,
  change: BitChange | undefined,
): void {
  const { bits } = dst;
  const bytes = (bits / 8) as AccessBytes;
  const shift = Math.log2(bits);
  const signed = bits === 64 ? index : index.sext(bits).s64();
  const unit = signed.shrs(shift).shl(Math.log2(bytes));
  const offset = l.let(dst.effective().add(unit).and(addressMask(l, i)));
  const within = l.let(index.and(bits - 1));
  if (!change) {
    const linear = dataLinear(l, i, offset, bytes, 'read');
    bitOperation(l, bits, l.load(bytes, linear), within, undefined, () => {});
    return;
  }
  const memory = l.update(bytes, dataLinear(l, i, offset, bytes, 'write'), i.locked);
  bitOperation(l, bits, memory.value, within, change, (v) => memory.write(v));
}

function bitTest(change: BitChange | undefined) {
  return (l: Lift, i: InstructionContext, dst: LiftOperand, src: LiftOperand): void => {
    const index = l.let(src.read());
    if (dst.isMemory && src.bits !== 8) {
      inBitString(l, i, dst, index, change);
      return;
    }
    const { bits } = dst;
    const within = l.let(index.and(bits - 1));
    bitOperation(l, bits, dst.read(), within, change, (v) => dst.write(v));
  };
}

const BIT_FLAGS = { writes: 'C', undefined: 'OSAP' } as const;

function bitForms(
  opcode: string,
  digit: number,
  ...options: { lock?: boolean }[]
): readonly Form[] {
  return [
    form(`0F ${opcode} /r`, Ev, Gv, ...options),
    form(`0F BA /${digit} ib`, Ev, Ib, ...options),
  ];
}

export const BT: Instruction = instruction({
  name: 'BT',
  manual: 'SDM vol 2A, BT',
  forms: bitForms('A3', 4),
  access: ['r', 'r'],
  flags: BIT_FLAGS,
  lift: bitTest(undefined),
});

export const BTS: Instruction = instruction({
  name: 'BTS',
  manual: 'SDM vol 2A, BTS',
  forms: bitForms('AB', 5, LOCKABLE),
  access: ['rw', 'r'],
  flags: BIT_FLAGS,
  lift: bitTest((v, mask) => v.or(mask)),
});

export const BTR: Instruction = instruction({
  name: 'BTR',
  manual: 'SDM vol 2A, BTR',
  forms: bitForms('B3', 6, LOCKABLE),
  access: ['rw', 'r'],
  flags: BIT_FLAGS,
  lift: bitTest((v, mask) => v.and(mask.not())),
});

export const BTC: Instruction = instruction({
  name: 'BTC',
  manual: 'SDM vol 2A, BTC',
  forms: bitForms('BB', 7, LOCKABLE),
  access: ['rw', 'r'],
  flags: BIT_FLAGS,
  lift: bitTest((v, mask) => v.xor(mask)),
});

/** A source of 0 sets ZF and leaves the destination as it is, upper half too. */
function scan(found: (value: Value) => Value) {
  return (l: Lift, _: InstructionContext, dst: LiftOperand, src: LiftOperand): void => {
    const value = l.let(src.read());
    l.if(value.nez(), () => dst.write(found(value)));
    setZero(l, value.eqz());
  };
}

const SCAN_FLAGS = { writes: 'Z', undefined: 'OSAPC' } as const;

export const BSF: Instruction = instruction({
  name: 'BSF',
  manual: 'SDM vol 2A, BSF',
  forms: [form('0F BC /r', Gv, Ev)],
  access: ['rw', 'r'],
  flags: SCAN_FLAGS,
  lift: scan((v) => v.ctz()),
});

export const BSR: Instruction = instruction({
  name: 'BSR',
  manual: 'SDM vol 2A, BSR',
  forms: [form('0F BD /r', Gv, Ev)],
  access: ['rw', 'r'],
  flags: SCAN_FLAGS,
  lift: scan((v) => v.clz().xor(v.type === 'i64' ? 63 : 31)),
});

/** A source of 0 gives the operand size and sets CF; ZF is by the result. */
function countZeros(count: (value: Value, bits: number) => Value) {
  return (l: Lift, _: InstructionContext, dst: LiftOperand, src: LiftOperand): void => {
    const value = l.let(src.read());
    const result = l.let(count(value, src.bits));
    dst.write(result);
    setCarry(l, value.eqz());
    setZero(l, result.eqz());
  };
}
const COUNT_FLAGS = { writes: 'ZC', undefined: 'OSAP' } as const;

export const TZCNT: Instruction = instruction({
  name: 'TZCNT',
  manual: 'SDM vol 2B, TZCNT',
  forms: [form('F3 0F BC /r', Gv, Ev, ELSE_IGNORED)],
  access: ['w', 'r'],
  flags: COUNT_FLAGS,
  feature: 'BMI1',
  lift: countZeros((v, bits) => (bits === 16 ? v.or(0x1_0000) : v).ctz()),
});

export const LZCNT: Instruction = instruction({
  name: 'LZCNT',
  manual: 'SDM vol 2A, LZCNT',
  forms: [form('F3 0F BD /r', Gv, Ev, ELSE_IGNORED)],
  access: ['w', 'r'],
  flags: COUNT_FLAGS,
  feature: 'LZCNT',
  lift: countZeros((v, bits) => (bits === 16 ? v.clz().sub(16) : v.clz())),
});

/** ZF by the source; all other flags are cleared. */
export const POPCNT: Instruction = instruction({
  name: 'POPCNT',
  manual: 'SDM vol 2B, POPCNT',
  forms: [form('F3 0F B8 /r', Gv, Ev)],
  access: ['w', 'r'],
  flags: { writes: 'OSZAPC' },
  feature: 'POPCNT',
  lift(l, _, dst, src) {
    const value = l.let(src.read());
    dst.write(value.popcnt());
    clearFlags(l);
    l.set(S.flagZ, value.u64());
  },
});

/** All six arithmetic flags to 0: a value of 1 has SF and PF clear, and is not zero. */
export function clearFlags(l: Lift): void {
  l.set(S.flagZ, 1n);
  l.set(S.flagSP, 1n);
  l.set(S.flagO, 0n);
  l.set(S.flagC, 0);
  l.set(S.flagA, 0);
}

/** CRC-32C (polynomial 0x11EDC6F41) over 1 to 8 bytes; a 64-bit destination is zero-extended. */
export const CRC32: Instruction = instruction({
  name: 'CRC32',
  manual: 'SDM vol 2A, CRC32',
  forms: [form('F2 0F 38 F0 /r', Gy, Eb, SIZED), form('F2 0F 38 F1 /r', Gy, Ev, SIZED)],
  access: ['rw', 'r'],
  feature: 'SSE4.2',
  lift(l, _, dst, src) {
    const data = l.let(src.read().u64());
    const crc = l.let(crc32c(l, l.let(dst.read().i32()), data, src.bits));
    dst.write(dst.bits === 64 ? crc.u64() : crc);
  },
});

export const INSTRUCTIONS_BIT: readonly Instruction[] = [
  BT, BTS, BTR, BTC, BSF, BSR, TZCNT, LZCNT, POPCNT, CRC32,
]; // biome-ignore format: a list
