// ENTER with its display of frame pointers. SDM vol 2A, ENTER.

import { type FunctionRef, fn } from '../lift/function.ts';
import type { AccessBytes } from '../lift/lift.ts';
import { GPR, S } from '../state/layout.ts';
import { probeWrite } from './memory.ts';
import { setStackPointer, stackLinear, stackPointer } from './stack.ts';

function enter(bits: 16 | 32 | 64): FunctionRef {
  const bytes = (bits / 8) as AccessBytes;
  return fn(`enter${bits}`, {
    params: { allocate: 'i32', level: 'i32' },
    faults: true,
    build(l, { allocate, level }) {
      const rbp = l.get(S.gpr, GPR.rbp);
      const top = l.var('i64', stackPointer(l).sub(bytes));
      const fit = bits === 64 ? rbp : rbp.i32();
      l.store(bytes, stackLinear(l, undefined, top.get(), bytes, 'write'), fit);
      // The frame pointer takes over what of ESP is above a 16-bit stack's SP.
      const above = l.get(S.gpr, GPR.rsp).and(l.get(S.stackMask).xor(-1n));
      const frame = l.let(top.get().and(l.get(S.stackMask)).or(above));
      const remaining = l.var('i32', level);
      const display = l.var('i64', rbp);
      l.while(
        () => remaining.get().gtu(1),
        () => {
          remaining.set(remaining.get().sub(1));
          display.set(display.get().sub(bytes));
          top.set(top.get().sub(bytes));
          const outer = l.load(bytes, stackLinear(l, undefined, display.get(), bytes, 'read'));
          l.store(bytes, stackLinear(l, undefined, top.get(), bytes, 'write'), l.let(outer));
        },
      );
      l.if(level.nez(), () => {
        top.set(top.get().sub(bytes));
        const value = bits === 64 ? frame : frame.i32();
        l.store(bytes, stackLinear(l, undefined, top.get(), bytes, 'write'), value);
      });
      const end = l.let(top.get().sub(allocate.u64()));
      // The place behind the new top must be writable, although nothing is written there.
      l.run(probeWrite, stackLinear(l, undefined, end, bytes, 'write'), bytes, l.get(S.tlb));
      const kept = bits === 16 ? rbp.and(~0xffffn) : l.i64(0);
      const value = bits === 64 ? frame : frame.zext(bits);
      l.set(S.gpr, value.or(kept), GPR.rbp);
      setStackPointer(l, undefined, end);
    },
  });
}

/** By operand size: ENTER with bytes to allocate and nesting level 0–31. */
export const ENTER_FRAME = { 16: enter(16), 32: enter(32), 64: enter(64) } as const;
