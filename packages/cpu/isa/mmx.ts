// MMX instructions that have no XMM twin of the same shape; the packed operations are in
// sse-integer.ts and sse-shuffle.ts beside theirs. SDM vol 1 §9.4, §10.4.4; vol 3A §12.

import { S } from '../state/layout.ts';
import { Ey, form, Gd, type Instruction, instruction, MMX, Mq, Nq, Pq, Qq } from './instruction.ts';
import { liftMaskedStore } from './sse-move.ts';
import { enterMmx, widen, writeMmx } from './sse-operands.ts';

export const INSTRUCTIONS_MMX: readonly Instruction[] = [
  instruction({
    name: 'EMMS',
    manual: 'SDM vol 2A, EMMS',
    feature: 'MMX',
    forms: [form('NP 0F 77', MMX)],
    lift(l) {
      l.set(S.x87Top, 0);
      l.set(S.x87Tags, 0);
    },
  }),
  instruction({
    name: 'MOVD',
    manual: 'SDM vol 2B, MOVD/MOVQ',
    feature: 'MMX',
    forms: [form('NP 0F 6E /r', Pq, Ey, MMX)],
    access: ['w', 'r'],
    lift(l, _i, dst, src) {
      const value = l.let(src!.read());
      enterMmx(l);
      writeMmx(l, dst!, value.u64());
    },
  }),
  instruction({
    name: 'MOVD',
    manual: 'SDM vol 2B, MOVD/MOVQ',
    feature: 'MMX',
    forms: [form('NP 0F 7E /r', Ey, Pq, MMX)],
    access: ['w', 'r'],
    lift(l, _i, dst, src) {
      const value = l.let(src!.read());
      dst!.write(dst!.bits === 64 ? value : value.i32());
      enterMmx(l);
    },
  }),
  instruction({
    name: 'MOVQ',
    manual: 'SDM vol 2B, MOVQ',
    feature: 'MMX',
    forms: [form('NP 0F 6F /r', Pq, Qq, MMX), form('NP 0F 7F /r', Qq, Pq, MMX)],
    access: ['w', 'r'],
    lift(l, _i, dst, src) {
      writeMmx(l, dst!, l.let(src!.read()));
      enterMmx(l);
    },
  }),
  instruction({
    name: 'MOVNTQ',
    manual: 'SDM vol 2B, MOVNTQ',
    feature: 'SSE',
    forms: [form('NP 0F E7 /r', Mq, Pq, MMX)],
    access: ['w', 'r'],
    lift(l, _i, dst, src) {
      dst!.write(l.let(src!.read()));
      enterMmx(l);
    },
  }),
  instruction({
    name: 'PMOVMSKB',
    manual: 'SDM vol 2B, PMOVMSKB',
    feature: 'SSE',
    forms: [form('NP 0F D7 /r', Gd, Nq, MMX)],
    access: ['w', 'r'],
    lift(l, _i, dst, src) {
      enterMmx(l);
      dst!.write(l.op('i8x16.bitmask', widen(l, src!.read())).and(0xff));
    },
  }),
  instruction({
    name: 'MASKMOVQ',
    manual: 'SDM vol 2B, MASKMOVQ',
    feature: 'SSE',
    forms: [form('NP 0F F7 /r', Pq, Nq, MMX)],
    access: ['r', 'r'],
    lift(l, i, value, selector) {
      liftMaskedStore(l, i, l.let(value!.read()), l.let(selector!.read()));
      enterMmx(l);
    },
  }),
];
