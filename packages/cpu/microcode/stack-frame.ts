// Pushing onto a stack that is not SS:rSP yet: interrupt delivery and call gates to inner privilege levels, task
// switches with an error code; and the stack pointers that a TSS holds. SDM vol 3A §5.8.5, §6.12.1, §7.2.1.

import { type FunctionRef, fn } from '../lift/function.ts';
import type { Lift, Variable } from '../lift/lift.ts';
import type { Value } from '../lift/value.ts';
import { S, SEGMENT } from '../state/layout.ts';
import { attributesOf, baseOf, isLongMode, limitOf, systemTypeOf } from './descriptor.ts';
import { externalBit, raiseSelectorIf, raiseWithCode, VECTOR } from './fault.ts';
import { ATTRIBUTES } from './segment-access.ts';

/** A stack in the making. */
export interface Frame {
  readonly base: Value;
  readonly limit: Value;
  readonly attributes: Value;
  /** Error code of the #SS for a frame beyond the limit. */
  readonly error: Value;
  /** 1: the accesses are supervisor accesses whatever the CPL is now. */
  readonly system: Value;
  /** Offset in the stack, not wrapped to its size. */
  readonly pointer: Variable;
}

/** Ones where a stack pointer of this stack has bits. */
export function frameMask(l: Lift, attributes: Value): Value {
  return l.let(l.select(attributes.and(ATTRIBUTES.big), l.i64(0xffff_ffffn), l.i64(0xffffn)));
}

/** The stack that SS:rSP is now, outside 64-bit mode. */
export function currentFrame(l: Lift): Frame {
  return {
    base: l.get(S.segBase, SEGMENT.ss),
    limit: l.get(S.segLimit, SEGMENT.ss),
    attributes: l.get(S.segAttributes, SEGMENT.ss),
    error: l.let(externalBit(l)),
    system: l.i32(0),
    pointer: l.var('i64', l.get(S.gpr, 4)),
  };
}

/** A stack by its raw descriptor. */
export function newFrame(l: Lift, stack: { descriptor: Value; rsp: Value; error: Value }): Frame {
  const { descriptor } = stack;
  return {
    base: l.let(baseOf(descriptor)),
    limit: l.let(limitOf(l, descriptor)),
    attributes: l.let(attributesOf(descriptor)),
    error: l.let(stack.error),
    system: l.i32(1),
    pointer: l.var('i64', stack.rsp),
  };
}

/** Linear address of `bytes` at an offset in a stack segment. Raises #SS(error). */
export const frameLinear: FunctionRef = fn('frameLinear', {
  params: {
    base: 'i64',
    limit: 'i32',
    attributes: 'i32',
    offset: 'i64',
    bytes: 'i32',
    error: 'i32',
  },
  result: 'i64',
  faults: true,
  build(l, { base, limit, attributes, offset, bytes, error }) {
    const mask = frameMask(l, attributes);
    const first = l.let(offset.and(mask));
    const last = l.let(first.add(bytes.u64()).sub(1n));
    const within = l.select(
      attributes.and(ATTRIBUTES.expandDown),
      first.gtu(limit.u64()).and(last.leu(mask)),
      last.leu(limit.u64()),
    );
    // A null SS, and one that a failed task switch left behind, cannot be pushed on.
    const isUsable = attributes.and(ATTRIBUTES.writable).nez();
    l.unlikely(within.and(isUsable).eqz(), () => raiseWithCode(l, VECTOR.ss, error));
    l.return(base.add(first).and(0xffff_ffffn));
  },
});

/** A store of 2, 4 or 8 bytes to a stack, as a supervisor access or at the current privilege. */
export const frameStore: FunctionRef = fn('frameStore', {
  params: { linear: 'i64', bytes: 'i32', value: 'i64', system: 'i32' },
  faults: true,
  build(l, { linear, bytes, value, system }) {
    const store = (options: { system?: boolean }) =>
      l.if(
        bytes.eq(8),
        () => l.store(8, linear, value, options),
        () =>
          l.if(
            bytes.eq(4),
            () => l.store(4, linear, value.i32(), options),
            () => l.store(2, linear, value.i32(), options),
          ),
      );
    l.if(
      system,
      () => store({ system: true }),
      () => store({}),
    );
  },
});

/** Pushes `bytes` (2 or 4, i32) of a value (i64). */
export function pushOn(l: Lift, frame: Frame, bytes: Value, value: Value): void {
  const { base, limit, attributes, error, system } = frame;
  const top = l.let(frame.pointer.get().sub(bytes.u64()));
  const linear = l.call(frameLinear, base, limit, attributes, top, bytes, error);
  l.run(frameStore, linear, bytes, value, system);
  frame.pointer.set(top);
}

/** Is the current TSS one of 32 bits (or 64)? */
export function isTss32(l: Lift): Value {
  return systemTypeOf(l.get(S.segAttributes, SEGMENT.tr)).and(8).nez();
}

/** Raises #TS(TR) unless `bytes` at an offset lie in the TSS; gives their linear address. */
function tssLinear(l: Lift, offset: Value, bytes: Value): Value {
  const tr = l.get(S.segSelector, SEGMENT.tr);
  const last = offset.add(bytes).sub(1);
  raiseSelectorIf(l, last.gtu(l.get(S.segLimit, SEGMENT.tr)), VECTOR.ts, tr);
  const linear = l.let(l.get(S.segBase, SEGMENT.tr).add(offset.u64()));
  return l.let(l.select(isLongMode(l), linear, linear.and(0xffff_ffffn)));
}

/** Reads the stack for an inner level from a 16- or 32-bit TSS into `S.innerSs` and `S.innerRsp`. */
export const loadInnerStack: FunctionRef = fn('loadInnerStack', {
  params: { cpl: 'i32' },
  faults: true,
  build(l, { cpl }) {
    l.if(
      isTss32(l),
      () => {
        const linear = tssLinear(l, l.let(cpl.shl(3).add(4)), l.i32(6));
        const esp = l.let(l.load(4, linear, { system: true }));
        l.set(S.innerSs, l.let(l.load(2, linear.add(4n), { system: true })));
        l.set(S.innerRsp, esp.u64());
      },
      () => {
        const linear = tssLinear(l, l.let(cpl.shl(2).add(2)), l.i32(4));
        const both = l.let(l.load(4, linear, { system: true }));
        l.set(S.innerSs, both.shru(16));
        l.set(S.innerRsp, both.and(0xffff).u64());
      },
    );
  },
});

/** A stack pointer of the 64-bit TSS: RSP0–2 for `slot` 0–2, IST1–7 for 4–10 (SDM vol 3A figure 7-11). */
export const loadTss64Stack: FunctionRef = fn('loadTss64Stack', {
  params: { slot: 'i32' },
  result: 'i64',
  faults: true,
  build(l, { slot }) {
    const linear = tssLinear(l, l.let(slot.shl(3).add(4)), l.i32(8));
    l.return(l.load(8, linear, { system: true }));
  },
});
