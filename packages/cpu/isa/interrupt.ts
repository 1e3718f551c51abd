// Software interrupts and returns from handlers. SDM vol 2A, INT n/INTO/INT3/INT1, IRET.

import { overflow, RFLAGS } from '../lift/flags.ts';
import type { Lift } from '../lift/lift.ts';
import { icebp, softwareInterrupt } from '../microcode/exception.ts';
import { VECTOR } from '../microcode/fault.ts';
import { IRET as IRET_FUNCTIONS } from '../microcode/iret.ts';
import { S } from '../state/layout.ts';
import { ENDS, form, Ib, type Instruction, instruction, NO64, SIZED } from './instruction.ts';

export const INT: Instruction = instruction({
  name: 'INT',
  manual: 'SDM vol 2A, INT n/INTO/INT3/INT1',
  forms: [form('CD', Ib, ENDS)],
  access: ['r'],
  exceptions: '#GP, #NP, #SS, #TS',
  lift(l, i, vector) {
    // Virtual-8086 mode with IOPL below 3: the monitor emulates it.
    const flags = l.get(S.rflags);
    const isTrapped = flags.and(RFLAGS.vm).nez().and(flags.and(RFLAGS.iopl).ne(RFLAGS.iopl));
    l.raiseIf(isTrapped, VECTOR.gp, 0);
    l.set(S.instructionRip, i.rip());
    l.run(softwareInterrupt, vector.read().and(0xff), i.nextRip());
    l.exit('jump');
  },
});

export const INT3: Instruction = instruction({
  name: 'INT3',
  manual: 'SDM vol 2A, INT n/INTO/INT3/INT1',
  forms: [form('CC', ENDS)],
  exceptions: '#GP, #NP, #SS, #TS',
  lift(l, i) {
    l.set(S.instructionRip, i.rip());
    l.run(softwareInterrupt, VECTOR.bp, i.nextRip());
    l.exit('jump');
  },
});

export const INTO: Instruction = instruction({
  name: 'INTO',
  manual: 'SDM vol 2A, INT n/INTO/INT3/INT1',
  forms: [form('CE', NO64, ENDS)],
  flags: { reads: 'O' },
  exceptions: '#GP, #NP, #SS, #TS',
  lift(l, i) {
    l.if(overflow(l), () => {
      l.set(S.instructionRip, i.rip());
      l.run(softwareInterrupt, VECTOR.of, i.nextRip());
      l.exit('jump');
    });
  },
});

export const INT1: Instruction = instruction({
  name: 'INT1',
  manual: 'SDM vol 2A, INT n/INTO/INT3/INT1',
  forms: [form('F1', ENDS)],
  exceptions: '#GP, #NP, #SS, #TS',
  lift(l, i) {
    l.set(S.instructionRip, i.rip());
    l.run(icebp, i.nextRip());
    l.exit('jump');
  },
});

export const IRET: Instruction = instruction({
  name: 'IRET',
  manual: 'SDM vol 2A, IRET/IRETD/IRETQ',
  forms: [form('CF', SIZED, ENDS)],
  flags: { writes: 'OSZAPCDI' },
  exceptions: '#GP, #NP, #SS, #TS',
  lift(l: Lift, i) {
    l.set(S.instructionRip, i.rip());
    l.run(IRET_FUNCTIONS[i.bits as 16 | 32 | 64], i.nextRip());
    l.exit('jump');
  },
});

export const INSTRUCTIONS_INTERRUPT: readonly Instruction[] = [INT, INT3, INTO, INT1, IRET];
