// IN, OUT, INS, OUTS. SDM vol 1 ch. 19.

import { RFLAGS } from '../lift/flags.ts';
import type { AccessBytes, Lift } from '../lift/lift.ts';
import type { Value } from '../lift/value.ts';
import { addressMask, dataLinear, readMasked, writeMasked } from '../microcode/address.ts';
import { probeWrite } from '../microcode/memory.ts';
import { checkPort, readPort, writePort } from '../microcode/port.ts';
import { segmentLinear } from '../microcode/segment-access.ts';
import { GPR, S, SEGMENT } from '../state/layout.ts';
import {
  AL,
  DX,
  ENDS,
  form,
  Ib,
  type Instruction,
  type InstructionContext,
  instruction,
  type LiftOperand,
  type OperandSpec,
  SIZED,
} from './instruction.ts';

/** AX or EAX: 64-bit operands do not exist here. */
const eAX: OperandSpec = { source: 'fixed', size: 'z', register: 0 };

export const IN: Instruction = instruction({
  name: 'IN',
  manual: 'SDM vol 2A, IN',
  forms: [
    form('E4', AL, Ib, ENDS),
    form('E5', eAX, Ib, ENDS),
    form('EC', AL, DX, ENDS),
    form('ED', eAX, DX, ENDS),
  ],
  access: ['w', 'r'],
  exceptions: '#GP(0)',
  lift(l, _, dst, source) {
    const port = l.let(source.read().and(0xffff));
    l.run(checkPort, port, dst.bits / 8);
    dst.write(l.call(readPort, port, dst.bits / 8));
  },
});

export const OUT: Instruction = instruction({
  name: 'OUT',
  manual: 'SDM vol 2B, OUT',
  forms: [
    form('E6', Ib, AL, ENDS),
    form('E7', Ib, eAX, ENDS),
    form('EE', DX, AL, ENDS),
    form('EF', DX, eAX, ENDS),
  ],
  access: ['r', 'r'],
  exceptions: '#GP(0)',
  lift(l, _, target, src: LiftOperand) {
    const port = l.let(target.read().and(0xffff));
    l.run(checkPort, port, src.bits / 8);
    l.run(writePort, port, src.bits / 8, src.read());
  },
});

/** Elements by opcode: bytes, or words and doublewords by operand size. */
const elementBytes = (opcode: string, i: InstructionContext): AccessBytes =>
  opcode === '6C' || opcode === '6E' ? 1 : i.bits === 16 ? 2 : 4;

/** One element, or with REP one of rCX, after which the same instruction runs again: interrupts come in between. */
function repeated(
  l: Lift,
  i: InstructionContext,
  pointer: number,
  step: number,
  element: (offset: Value) => void,
): void {
  const mask = addressMask(l, i);
  const isRepeated = l.let(i.prefix('rep').or(i.prefix('repne')));
  const count = readMasked(l, GPR.rcx, mask);
  l.if(isRepeated.eqz().or(count.nez()), () => {
    const offset = readMasked(l, pointer, mask);
    element(offset);
    const isDown = l.get(S.rflags).and(RFLAGS.df);
    writeMasked(l, pointer, mask, offset.add(l.select(isDown, l.i64(-step), l.i64(step))));
    l.if(isRepeated, () => {
      writeMasked(l, GPR.rcx, mask, count.sub(1n));
      l.if(count.ne(1n), () => i.again());
    });
  });
}

const ins = (opcode: string): Instruction =>
  instruction({
    name: opcode === '6C' ? 'INSB' : 'INS',
    manual: 'SDM vol 2A, INS/INSB/INSW/INSD',
    forms: [opcode === '6C' ? form(opcode, ENDS) : form(opcode, SIZED, ENDS)],
    exceptions: '#GP(0)',
    lift(l, i) {
      const bytes = elementBytes(opcode, i);
      const port = l.let(l.get(S.gpr, GPR.rdx).i32().and(0xffff));
      repeated(l, i, GPR.rdi, bytes, (offset) => {
        l.run(checkPort, port, bytes);
        const linear = l.call(segmentLinear, SEGMENT.es, offset, bytes, 1);
        // The port must not be read when the store would fault.
        l.call(probeWrite, linear, bytes, l.get(S.tlb));
        l.store(bytes, linear, l.call(readPort, port, bytes));
      });
    },
  });

const outs = (opcode: string): Instruction =>
  instruction({
    name: opcode === '6E' ? 'OUTSB' : 'OUTS',
    manual: 'SDM vol 2B, OUTS/OUTSB/OUTSW/OUTSD',
    forms: [opcode === '6E' ? form(opcode, ENDS) : form(opcode, SIZED, ENDS)],
    exceptions: '#GP(0)',
    lift(l, i) {
      const bytes = elementBytes(opcode, i);
      const port = l.let(l.get(S.gpr, GPR.rdx).i32().and(0xffff));
      repeated(l, i, GPR.rsi, bytes, (offset) => {
        l.run(checkPort, port, bytes);
        const value = l.let(l.load(bytes, dataLinear(l, i, offset, bytes, 'read')));
        l.run(writePort, port, bytes, value);
      });
    },
  });

export const INSTRUCTIONS_PORT: readonly Instruction[] = [
  IN, OUT, ins('6C'), ins('6D'), outs('6E'), outs('6F'),
]; // biome-ignore format: a list
