// SYSCALL, SYSRET, SYSENTER, SYSEXIT. SDM vol 3A §5.8.7, §5.8.8. Intel's rules: SYSCALL and SYSRET in 64-bit mode only.

import { syscall, sysenter, sysexit, sysret } from '../microcode/syscall.ts';
import { ENDS, form, type Instruction, instruction, SIZED } from './instruction.ts';

export const SYSCALL: Instruction = instruction({
  name: 'SYSCALL',
  manual: 'SDM vol 2B, SYSCALL',
  forms: [form('0F 05', ENDS)],
  exceptions: '#UD',
  lift(l, i) {
    l.run(syscall, i.nextRip());
    l.exit('jump');
  },
});

export const SYSRET: Instruction = instruction({
  name: 'SYSRET',
  manual: 'SDM vol 2B, SYSRET',
  forms: [form('0F 07', SIZED, ENDS)],
  exceptions: '#UD, #GP(0)',
  lift(l, i) {
    l.run(sysret, i.bits === 64 ? 1 : 0);
    l.exit('jump');
  },
});

export const SYSENTER: Instruction = instruction({
  name: 'SYSENTER',
  manual: 'SDM vol 2B, SYSENTER',
  forms: [form('0F 34', ENDS)],
  exceptions: '#GP(0)',
  lift(l) {
    l.run(sysenter);
    l.exit('jump');
  },
});

export const SYSEXIT: Instruction = instruction({
  name: 'SYSEXIT',
  manual: 'SDM vol 2B, SYSEXIT',
  forms: [form('0F 35', SIZED, ENDS)],
  exceptions: '#GP(0)',
  lift(l, i) {
    l.run(sysexit, i.bits === 64 ? 1 : 0);
    l.exit('jump');
  },
});

export const INSTRUCTIONS_SYSCALL: readonly Instruction[] = [SYSCALL, SYSRET, SYSENTER, SYSEXIT];
