// The stack: pushing and popping by SS:rSP with the stack's own address size. SDM vol 1 §6.2, vol 3A §5.3.1.
// Used by every instruction and by exception delivery that touches the stack. Nothing here moves rSP before the
// memory access has succeeded.

import { type FunctionRef, fn } from '../lift/function.ts';
import type { AccessBytes, Lift } from '../lift/lift.ts';
import type { Value } from '../lift/value.ts';
import { GPR, S, SEGMENT } from '../state/layout.ts';
import { segmentLinear } from './segment-access.ts';

/** What these functions need to know of the instruction; leave it out in microcode that runs in every mode. */
export interface StackContext {
  readonly mode64: boolean;
  /** The decoding mode is known to be `flat32`. */
  readonly flat?: boolean;
}

const MASK32 = 0xffff_ffffn;

/** Linear address of `bytes` at an offset in SS, which is cut to the stack's address size. Raises #SS(0). */
export const stackLinearInAnyMode: FunctionRef = fn('stackLinear', {
  params: { offset: 'i64', bytes: 'i32', write: 'i32' },
  result: 'i64',
  faults: true,
  build(l, { offset, bytes, write }) {
    const inStack = l.let(offset.and(l.get(S.stackMask)));
    const linear = l.call(segmentLinear, SEGMENT.ss, inStack, bytes, write);
    l.raiseIf(isNonCanonical(linear), 12, 0);
    l.return(linear);
  },
});

/** 1 when bits 63–47 are not all the same. In legacy modes linear addresses have 32 bits, so never there. */
export function isNonCanonical(linear: Value): Value {
  return linear.shl(16).shrs(16).ne(linear);
}

/** As above, short where the mode is known. */
export function stackLinear(
  l: Lift,
  i: StackContext | undefined,
  offset: Value,
  bytes: number,
  access: 'read' | 'write',
): Value {
  if (i?.flat) return l.let(offset.and(MASK32));
  if (!i?.mode64) {
    return l.call(stackLinearInAnyMode, offset, bytes, access === 'write' ? 1 : 0);
  }
  const linear = l.let(offset);
  l.raiseIf(isNonCanonical(linear), 12, 0);
  return linear;
}

/** rSP as the stack sees it: 16, 32 or 64 bits, zero-extended. */
export function stackPointer(l: Lift, i?: StackContext): Value {
  const rsp = l.get(S.gpr, GPR.rsp);
  if (i?.mode64) return rsp;
  return l.let(rsp.and(i?.flat ? l.i64(MASK32) : l.get(S.stackMask)));
}

/** Moves rSP; on a 16-bit stack the upper bits of ESP stay. Like all 32-bit results, that of a 32-bit stack is zero-extended. */
export function setStackPointer(l: Lift, i: StackContext | undefined, value: Value): void {
  if (i?.mode64) {
    l.set(S.gpr, value, GPR.rsp);
    return;
  }
  if (i?.flat) {
    l.set(S.gpr, value.and(MASK32), GPR.rsp);
    return;
  }
  const mask = l.get(S.stackMask);
  const kept = l.select(mask.eq(0xffff), l.get(S.gpr, GPR.rsp).and(~0xffffn), l.i64(0n));
  l.set(S.gpr, value.and(mask).or(kept), GPR.rsp);
}

/** Pushes `bits` (16, 32 or 64) of a value, i64 for 64 and else i32. */
export function push(l: Lift, i: StackContext | undefined, bits: number, value: Value): void {
  const bytes = (bits / 8) as AccessBytes;
  const top = l.let(stackPointer(l, i).sub(bytes));
  if (i?.mode64) l.store(bytes, top, value, { stack: true });
  else l.store(bytes, stackLinear(l, i, top, bytes, 'write'), value);
  setStackPointer(l, i, top);
}

export interface Popped {
  /** i64 for 64 bits, else a zero-extended i32. */
  readonly value: Value;
  /** Moves rSP behind the value, and behind so many bytes more. */
  commit(extraBytes?: Value): void;
}

/** Reads the top of the stack; the caller commits once nothing can fault any more. */
export function pop(l: Lift, i: StackContext | undefined, bits: number): Popped {
  const bytes = (bits / 8) as AccessBytes;
  const top = stackPointer(l, i);
  const value = i?.mode64
    ? l.let(l.load(bytes, top, { stack: true }))
    : l.let(l.load(bytes, stackLinear(l, i, top, bytes, 'read')));
  return {
    value,
    commit(extraBytes) {
      const behind = top.add(bytes);
      setStackPointer(l, i, extraBytes ? behind.add(extraBytes) : behind);
    },
  };
}
