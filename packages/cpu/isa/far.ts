// Transfers to another code segment: JMP, CALL and RET far. SDM vol 1 §7.3.8.1; near ones are in control.ts.

import type { Lift } from '../lift/lift.ts';
import type { Value } from '../lift/value.ts';
import { callFar, jumpFar, RETURN_FAR } from '../microcode/far-transfer.ts';
import { S } from '../state/layout.ts';
import {
  Ap,
  ENDS,
  form,
  type Instruction,
  type InstructionContext,
  Iw,
  instruction,
  M,
  NO64,
  SIZED,
} from './instruction.ts';
import { readFarPointer } from './segment.ts';

function transfer(
  l: Lift,
  i: InstructionContext,
  isCall: boolean,
  selector: Value,
  offset: Value,
): void {
  l.set(S.instructionRip, i.rip());
  l.run(isCall ? callFar : jumpFar, selector, offset, i.bits / 8, i.nextRip());
  l.exit('jump');
}

const direct = (name: 'JMP' | 'CALL', encoding: string): Instruction =>
  instruction({
    name,
    manual: `SDM vol 2A, ${name}`,
    forms: [form(encoding, Ap, NO64, ENDS)],
    access: ['r'],
    exceptions: '#GP, #NP, #SS, #TS',
    lift(l, i, pointer) {
      const value = pointer.read();
      transfer(l, i, name === 'CALL', value.shru(32).i32().and(0xffff), value.and(0xffff_ffffn));
    },
  });

/** With REX.W the pointer is m16:64, as on Intel processors. */
const indirect = (name: 'JMP' | 'CALL', encoding: string): Instruction =>
  instruction({
    name,
    manual: `SDM vol 2A, ${name}`,
    forms: [form(encoding, M, SIZED, ENDS)],
    access: ['none'],
    exceptions: '#UD, #GP, #NP, #SS, #TS',
    lift(l, i, pointer) {
      const { offset, selector } = readFarPointer(l, i, pointer);
      transfer(l, i, name === 'CALL', selector, offset.u64());
    },
  });

export const RET_FAR: Instruction = instruction({
  name: 'RETF',
  manual: 'SDM vol 2B, RET',
  forms: [form('CB', SIZED, ENDS), form('CA', Iw, SIZED, ENDS)],
  access: ['r'],
  exceptions: '#GP, #NP, #SS',
  lift(l, i, release) {
    l.run(RETURN_FAR[i.bits as 16 | 32 | 64], release ? release.read().and(0xffff) : 0);
    l.exit('jump');
  },
});

export const INSTRUCTIONS_FAR: readonly Instruction[] = [
  direct('JMP', 'EA'), direct('CALL', '9A'), indirect('JMP', 'FF /5'), indirect('CALL', 'FF /3'), RET_FAR,
]; // biome-ignore format: a list
