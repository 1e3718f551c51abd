// Read-modify-write instructions made for synchronisation: XADD, CMPXCHG, CMPXCHG8B/16B. SDM vol 1 §7.3.1.2.
// Memory is written before any register or flag: a locked write may ask for a retry.

import { setArithmeticFlags, setZero } from '../lift/flags.ts';
import type { Value } from '../lift/value.ts';
import { readRegister, writeRegister } from '../microcode/registers.ts';
import { GPR, S } from '../state/layout.ts';
import {
  Eb,
  Ev,
  form,
  Gb,
  Gv,
  type Instruction,
  instruction,
  LOCKABLE,
  Mq,
  Mx,
} from './instruction.ts';

const { rax, rcx, rdx, rbx } = GPR;

export const XADD: Instruction = instruction({
  name: 'XADD',
  manual: 'SDM vol 2D, XADD',
  forms: [form('0F C0 /r', Eb, Gb, LOCKABLE), form('0F C1 /r', Ev, Gv, LOCKABLE)],
  access: ['rw', 'rw'],
  flags: { writes: 'OSZAPC' },
  lift(l, _, dst, src) {
    const b = l.let(src.read());
    const a = l.let(dst.read());
    const sum = l.let(a.add(b));
    // When both are the same register the sum wins.
    if (dst.isMemory) dst.write(sum);
    src.write(a);
    if (!dst.isMemory) dst.write(sum);
    setArithmeticFlags(l, 'add', dst.bits, a, b, sum);
  },
});

/** Memory gets a write cycle either way; registers are written only where something changes (not even extended). */
export const CMPXCHG: Instruction = instruction({
  name: 'CMPXCHG',
  manual: 'SDM vol 2A, CMPXCHG',
  forms: [form('0F B0 /r', Eb, Gb, LOCKABLE), form('0F B1 /r', Ev, Gv, LOCKABLE)],
  access: ['rw', 'r'],
  flags: { writes: 'OSZAPC' },
  lift(l, _, dst, src) {
    const { bits } = dst;
    const replacement = l.let(src.read());
    const accumulator = readRegister(l, rax, bits);
    const old = l.let(dst.read());
    const isEqual = l.let(accumulator.eq(old));
    if (dst.isMemory) dst.write(l.select(isEqual, replacement, old));
    setArithmeticFlags(l, 'sub', bits, accumulator, old, accumulator.sub(old));
    l.if(
      isEqual,
      () => {
        if (!dst.isMemory) dst.write(replacement);
      },
      () => writeRegister(l, rax, bits, old),
    );
  },
});

export const CMPXCHG8B: Instruction = instruction({
  name: 'CMPXCHG8B',
  manual: 'SDM vol 2A, CMPXCHG8B/CMPXCHG16B',
  forms: [form('REX.W0 0F C7 /1', Mq, LOCKABLE)],
  access: ['rw'],
  flags: { writes: 'Z' },
  feature: 'CX8',
  lift(l, _, dst) {
    const pair = (high: number, low: number): Value =>
      l.let(l.get(S.gpr, high).shl(32).or(l.get(S.gpr, low).zext(32)));
    const expected = pair(rdx, rax);
    const replacement = pair(rcx, rbx);
    const old = l.let(dst.read());
    const isEqual = l.let(old.eq(expected));
    dst.write(l.select(isEqual, replacement, old));
    setZero(l, isEqual);
    l.if(isEqual.eqz(), () => {
      l.set(S.gpr, old.zext(32), rax);
      l.set(S.gpr, old.shru(32), rdx);
    });
  },
});

/** Unlike its smaller sisters it insists on alignment. */
export const CMPXCHG16B: Instruction = instruction({
  name: 'CMPXCHG16B',
  manual: 'SDM vol 2A, CMPXCHG8B/CMPXCHG16B',
  forms: [form('REX.W 0F C7 /1', Mx, LOCKABLE)],
  access: ['rw'],
  flags: { writes: 'Z' },
  feature: 'CX16',
  exceptions: '#GP(0)',
  lift(l, i, dst) {
    const linear = l.let(dst.linear(16, 'write'));
    l.raiseIf(linear.and(15).nez(), 13, 0);
    const memory = l.update(16, linear, i.locked);
    const old = l.let(memory.value);
    const low = l.let(l.lanes('i64x2.extract_lane', [0], old));
    const high = l.let(l.lanes('i64x2.extract_lane', [1], old));
    const expectedLow = l.get(S.gpr, rax);
    const isEqual = l.let(low.eq(expectedLow).and(high.eq(l.get(S.gpr, rdx))));
    const splat = l.op('i64x2.splat', l.get(S.gpr, rbx));
    const replacement = l.lanes('i64x2.replace_lane', [1], splat, l.get(S.gpr, rcx));
    memory.write(l.select(isEqual, replacement, old));
    setZero(l, isEqual);
    l.if(isEqual.eqz(), () => {
      l.set(S.gpr, low, rax);
      l.set(S.gpr, high, rdx);
    });
  },
});

export const INSTRUCTIONS_ATOMIC: readonly Instruction[] = [
  XADD, CMPXCHG, CMPXCHG8B, CMPXCHG16B,
]; // biome-ignore format: a list
