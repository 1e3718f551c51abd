// What returns to an outer or the same level share: IRET, RETF. SDM vol 2A IRET, vol 2B RET.

import { ARITHMETIC_FLAGS, RFLAGS, writeArithmeticFlags } from '../lift/flags.ts';
import { type FunctionRef, fn } from '../lift/function.ts';
import type { AccessBytes, Lift } from '../lift/lift.ts';
import type { Value } from '../lift/value.ts';
import { GPR, S, SEGMENT } from '../state/layout.ts';
import {
  attributesOf,
  dplOf,
  installNull,
  installSegment,
  isCode,
  isConforming,
  isLongMode,
  isNull,
  isPresent,
  limitOf,
  loadDescriptor,
  markAccessed,
} from './descriptor.ts';
import { raiseSelectorIf, VECTOR } from './fault.ts';
import { BREAKPOINTS, updateCode } from './mode.ts';
import { ATTRIBUTES } from './segment-access.ts';
import { loadStackDescriptor } from './segment-load.ts';
import { isNonCanonical, setStackPointer, stackLinearInAnyMode, stackPointer } from './stack.ts';

/** Slot `index` from the top of the current stack, zero-extended to i64. */
export function peek(l: Lift, bits: 16 | 32 | 64, index: number): Value {
  const bytes = (bits / 8) as AccessBytes;
  const offset = stackPointer(l).add(index * bytes);
  const linear = l.call(stackLinearInAnyMode, offset, bytes, 0);
  return l.let(l.load(bytes, linear).u64());
}

/** Replaces the bits of RFLAGS that `mask` has, arithmetic flags always; `updateCode` is the caller's. */
export const loadFlags: FunctionRef = fn('loadFlags', {
  params: { image: 'i32', mask: 'i32' },
  build(l, { image, mask }) {
    // RF would outlive its instruction where nobody looks at it: keep it for instruction breakpoints only.
    const isArmed = l.get(S.breakpoints).and(BREAKPOINTS.instruction);
    const taken = l.select(isArmed, mask, mask.and(~RFLAGS.rf));
    const changed = l.let(taken.and(~ARITHMETIC_FLAGS));
    const kept = l.get(S.rflags).and(mask.not());
    l.set(S.rflags, kept.or(image.and(changed)).or(RFLAGS.fixed1));
    writeArithmeticFlags(l, image);
  },
});

/** Raises #GP(0) unless `rip` may be run in a code segment with this raw descriptor. */
export const checkTarget: FunctionRef = fn('checkTarget', {
  params: { descriptor: 'i64', rip: 'i64' },
  faults: true,
  build(l, { descriptor, rip }) {
    const isLong = isLongMode(l).and(attributesOf(descriptor).and(ATTRIBUTES.long).nez());
    const isBad = l.select(isLong, isNonCanonical(rip), rip.gtu(limitOf(l, descriptor).u64()));
    l.raiseIf(isBad, VECTOR.gp, 0);
  },
});

/** The raw descriptor of the code segment that a return goes to. Raises #GP, #NP. */
export const loadReturnSegment: FunctionRef = fn('loadReturnSegment', {
  params: { selector: 'i32' },
  result: 'i64',
  faults: true,
  build(l, { selector }) {
    l.raiseIf(isNull(selector), VECTOR.gp, 0);
    const descriptor = l.call(loadDescriptor, selector, VECTOR.gp);
    const attributes = l.let(attributesOf(descriptor));
    const rpl = l.let(selector.and(3));
    const dpl = l.let(dplOf(attributes));
    const isForbidden = l.select(isConforming(attributes), dpl.gtu(rpl), dpl.ne(rpl));
    const isInward = rpl.ltu(l.get(S.cpl));
    const isBad = isCode(attributes).eqz().or(isInward).or(isForbidden);
    raiseSelectorIf(l, isBad.or(hasBadSize(l, attributes)), VECTOR.gp, selector);
    raiseSelectorIf(l, isPresent(attributes).eqz(), VECTOR.np, selector);
    l.return(descriptor);
  },
});

/** In long mode a code segment cannot have both L and D. */
export function hasBadSize(l: Lift, attributes: Value): Value {
  const both = ATTRIBUTES.long | ATTRIBUTES.big;
  return isLongMode(l).and(attributes.and(both).eq(both));
}

/**
 * Ends a return: loads CS, SS and rSP and makes unusable the data segments that the new level may not have.
 * `ss` is -1 when the return stays on the stack; `rsp` is the new stack pointer. Raises what SS is wrong with.
 */
export const finishReturn: FunctionRef = fn('finishReturn', {
  params: {
    cs: 'i32',
    descriptor: 'i64',
    rip: 'i64',
    ss: 'i32',
    rsp: 'i64',
    image: 'i32',
    mask: 'i32',
  },
  faults: true,
  build(l, { cs, descriptor, rip, ss, rsp, image, mask }) {
    const cpl = l.let(cs.and(3));
    const isOuter = l.let(cpl.gtu(l.get(S.cpl)));
    const stack = l.var('i64', 0n);
    const loadsNull = l.let(isNull(ss).and(ss.ges(0)));
    const isLong = isLongMode(l).and(attributesOf(descriptor).and(ATTRIBUTES.long).nez());
    l.if(loadsNull, () => l.raiseIf(isLong.and(cpl.ne(3)).eqz(), VECTOR.gp, 0));
    const loadsSegment = l.let(ss.ges(0).and(loadsNull.eqz()));
    l.if(loadsSegment, () => stack.set(l.call(loadStackDescriptor, ss, cpl, VECTOR.gp)));
    l.run(markAccessed, cs, descriptor);
    // Nothing can fault any more.
    l.if(mask, () => l.run(loadFlags, image, mask));
    l.run(installSegment, SEGMENT.cs, cs, descriptor);
    l.if(loadsNull, () => l.run(installNull, SEGMENT.ss, ss));
    l.if(loadsSegment, () => l.run(installSegment, SEGMENT.ss, ss, stack.get()));
    l.set(S.cpl, cpl);
    l.set(S.rip, rip);
    l.if(isOuter, () => l.run(dropInnerSegments));
    l.run(updateCode);
    setStackPointer(l, undefined, rsp);
  },
});

/** Makes data and non-conforming code segments unusable whose DPL is below the CPL. */
const dropInnerSegments: FunctionRef = fn('dropInnerSegments', {
  params: {},
  build(l) {
    const cpl = l.get(S.cpl);
    for (const segment of [SEGMENT.es, SEGMENT.fs, SEGMENT.gs, SEGMENT.ds]) {
      const attributes = l.get(S.segAttributes, segment);
      const isInner = dplOf(attributes).ltu(cpl).and(isConforming(attributes).eqz());
      l.if(attributes.nez().and(isInner), () => {
        l.set(S.segSelector, 0, segment);
        l.set(S.segAttributes, 0, segment);
      });
    }
  },
});

/** rSP behind `count` slots of `bits`. */
export function behind(l: Lift, bits: number, count: number): Value {
  return l.let(l.get(S.gpr, GPR.rsp).add((bits / 8) * count));
}
