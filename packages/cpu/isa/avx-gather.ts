// Gathers: elements from memory at indices in a vector register, where the mask has its sign set. SDM vol 2C,
// VGATHERDPS/VGATHERQPS, VPGATHERDD/VPGATHERQD and their like. Faults are met in order of the elements: those before
// have arrived, with their masks cleared, and the rest is gathered when the instruction is run again. Deviation: the
// masks of that rest stay as they were, as on AMD's processors; the manual extends their signs before it begins.

import type { Lift } from '../lift/lift.ts';
import type { Value } from '../lift/value.ts';
import { quietLoad } from '../microcode/avx/quiet-access.ts';
import { vex } from './avx-operands.ts';
import {
  Hqq,
  Hx,
  type Instruction,
  type LiftOperand,
  type OperandSpec,
  VMqq,
  VMx,
  Vqq,
  Vx,
} from './instruction.ts';
import { ZERO } from './sse-operands.ts';

type Bytes = 4 | 8;

function liftGather(
  l: Lift,
  sizes: { readonly index: Bytes; readonly element: Bytes; readonly count: number },
  operands: readonly [dst: LiftOperand, memory: LiftOperand, mask: LiftOperand],
): void {
  const [dst, memory, mask] = operands;
  const { index, element, count } = sizes;
  const [to, from, masks] = [dst, memory, mask].map((o) => l.let(l.cpu.add(o.stateOffset())));
  const load = element === 4 ? 'i32.load' : 'i64.load';
  const store = element === 4 ? 'i32.store' : 'i64.store';
  const n = l.var('i32', 0);
  l.while(
    () => n.get().ltu(count),
    () => {
      const at = l.let(n.get().mul(element));
      const place = (base: Value) => l.let(base.add(at));
      l.if(l.loadRaw(load, place(masks!)).lts(0), () => {
        const indexAt = l.let(from!.add(n.get().mul(index)));
        const value = l.loadRaw(index === 4 ? 'i64.load32_s' : 'i64.load', indexAt);
        const linear = memory.element(value, element);
        l.storeRaw(store, place(to!), 0, l.call(quietLoad[element], linear));
      });
      l.storeRaw(store, place(masks!), 0, element === 4 ? l.i32(0) : l.i64(0));
      n.set(n.get().add(1));
    },
  );
  const used = count * element;
  mask.writeHalf(0, ZERO);
  mask.writeHalf(1, ZERO);
  if (used < 16) l.storeRaw('i64.store', to!, 8, l.i64(0));
  if (used < 32) dst.writeHalf(1, ZERO);
}

/** Both lengths of a gather; the wider of index and element fills the vector. */
function gather(name: string, opcode: string, index: Bytes, element: Bytes): Instruction[] {
  const widest = Math.max(index, element);
  const make = (length: 128 | 256) => {
    const count = length / 8 / widest;
    const vector = (bytes: Bytes) => count * bytes > 16;
    const pick = (isWide: boolean, wide: OperandSpec, narrow: OperandSpec) =>
      isWide ? wide : narrow;
    return vex({
      name,
      feature: 'AVX2',
      length,
      encoding: `66 0F 38 ${opcode}`,
      w: element === 8 ? 'W1' : 'W0',
      operands: [
        pick(vector(element), Vqq, Vx),
        pick(vector(index), VMqq, VMx),
        pick(vector(element), Hqq, Hx),
      ],
      access: ['rw', 'r', 'rw'],
      lift: (l, _i, dst, memory, mask) =>
        liftGather(l, { index, element, count }, [dst!, memory!, mask!]),
    });
  };
  return [make(128), make(256)];
}

export const INSTRUCTIONS_AVX_GATHER: readonly Instruction[] = [
  ...gather('PGATHERDD', '90', 4, 4),
  ...gather('PGATHERDQ', '90', 4, 8),
  ...gather('PGATHERQD', '91', 8, 4),
  ...gather('PGATHERQQ', '91', 8, 8),
  ...gather('GATHERDPS', '92', 4, 4),
  ...gather('GATHERDPD', '92', 4, 8),
  ...gather('GATHERQPS', '93', 8, 4),
  ...gather('GATHERQPD', '93', 8, 8),
];
