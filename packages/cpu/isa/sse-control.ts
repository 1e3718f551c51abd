// MXCSR, memory fences and prefetches. SDM vol 1 §10.4.6, §11.4.4. Prefetching is a hint that we do
// not take; the fences order what shared memory does not order by itself.

import type { Lift } from '../lift/lift.ts';
import { MXCSR } from '../microcode/sse/check.ts';
import { S } from '../state/layout.ts';
import { Eb, form, type Instruction, instruction, Md, SSE } from './instruction.ts';

const GP = 13;

const fence = (name: string, encoding: string, feature: string, orders: boolean): Instruction =>
  instruction({
    name,
    manual: `SDM vol 2, ${name}`,
    feature,
    forms: [form(encoding)],
    // The atomic accesses of shared memory are sequentially consistent, and so is an atomic
    // no-change.
    lift(l: Lift) {
      if (orders) l.atomic('i32.atomic.rmw.add', l.cpu, S.sseFlags.offset, l.i32(0));
    },
  });

const hint = (name: string, encoding: string, feature: string): Instruction =>
  instruction({
    name,
    manual: `SDM vol 2B, ${name}`,
    feature,
    // With a register operand it is a NOP.
    forms: [form(encoding, Eb)],
    access: ['none'],
    lift: () => {},
  });

export const INSTRUCTIONS_SSE_CONTROL: readonly Instruction[] = [
  instruction({
    name: 'LDMXCSR',
    manual: 'SDM vol 2A, LDMXCSR',
    feature: 'SSE',
    forms: [form('NP 0F AE /2', Md, SSE)],
    access: ['r'],
    exceptions: '#GP(0)',
    lift(l, _i, src) {
      const value = l.let(src!.read());
      l.raiseIf(value.and(~MXCSR.valid), GP, 0);
      l.set(S.mxcsr, value);
    },
  }),
  instruction({
    name: 'STMXCSR',
    manual: 'SDM vol 2B, STMXCSR',
    feature: 'SSE',
    forms: [form('NP 0F AE /3', Md, SSE)],
    access: ['w'],
    lift: (l, _i, dst) => dst!.write(l.get(S.mxcsr)),
  }),
  fence('LFENCE', 'NP 0F AE E8+i', 'SSE2', false),
  fence('MFENCE', 'NP 0F AE F0+i', 'SSE2', true),
  fence('SFENCE', 'NP 0F AE F8+i', 'SSE', false),
  hint('PREFETCHNTA', '0F 18 /0', 'SSE'),
  hint('PREFETCHT0', '0F 18 /1', 'SSE'),
  hint('PREFETCHT1', '0F 18 /2', 'SSE'),
  hint('PREFETCHT2', '0F 18 /3', 'SSE'),
  hint('PREFETCHW', '0F 0D /1', 'PREFETCHW'),
];
