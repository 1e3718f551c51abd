// Loads of the data segment registers and SS by instructions. SDM vol 2B, MOV ("loading a segment register");
// vol 3A §5.6 (privilege checks), §5.4.1 (null selectors in 64-bit mode).

import { type FunctionRef, fn } from '../lift/function.ts';
import type { Lift } from '../lift/lift.ts';
import type { Value } from '../lift/value.ts';
import { S, SEGMENT } from '../state/layout.ts';
import {
  attributesOf,
  dplOf,
  installLegacy,
  installNull,
  installSegment,
  isConforming,
  isNull,
  isPresent,
  isReadable,
  isWritableData,
  loadDescriptor,
  markAccessed,
} from './descriptor.ts';
import { externalBit, raiseSelectorIf, raiseWithCode, VECTOR } from './fault.ts';
import { updateSegments } from './mode.ts';

/** Raises unless a data or readable code segment may be loaded into ES, DS, FS or GS; `vector` is #GP or #TS. */
export function checkDataSegment(
  l: Lift,
  selector: Value,
  attributes: Value,
  vector: number,
): void {
  raiseSelectorIf(l, isReadable(attributes).eqz(), vector, selector);
  const dpl = l.let(dplOf(attributes));
  const rpl = selector.and(3);
  const isOutside = rpl.gtu(dpl).or(l.get(S.cpl).gtu(dpl));
  raiseSelectorIf(l, isConforming(attributes).eqz().and(isOutside), vector, selector);
  raiseSelectorIf(l, isPresent(attributes).eqz(), VECTOR.np, selector);
}

/**
 * The raw descriptor of a stack segment for privilege level `cpl`. Faults are `vector`(selector), for a segment that is
 * not present #SS(selector). The selector is not null.
 */
export const loadStackDescriptor: FunctionRef = fn('loadStackDescriptor', {
  params: { selector: 'i32', cpl: 'i32', vector: 'i32' },
  result: 'i64',
  faults: true,
  build(l, { selector, cpl, vector }) {
    l.unlikely(isNull(selector), () => raiseWithCode(l, vector, externalBit(l)));
    const descriptor = l.call(loadDescriptor, selector, vector);
    const attributes = l.let(attributesOf(descriptor));
    const isForeign = selector.and(3).ne(cpl).or(dplOf(attributes).ne(cpl));
    raiseSelectorIf(l, isForeign.or(isWritableData(attributes).eqz()), vector, selector);
    raiseSelectorIf(l, isPresent(attributes).eqz(), VECTOR.ss, selector);
    l.run(markAccessed, selector, descriptor);
    l.return(descriptor);
  },
});

const loadStackSegment: FunctionRef = fn('loadStackSegment', {
  params: { selector: 'i32' },
  faults: true,
  build(l, { selector }) {
    const cpl = l.get(S.cpl);
    l.if(isNull(selector), () => {
      const isAllowed = l.get(S.codeBits).eq(64).and(cpl.ne(3)).and(selector.and(3).eq(cpl));
      l.raiseIf(isAllowed.eqz(), VECTOR.gp, 0);
      l.run(installNull, SEGMENT.ss, selector);
      l.return();
    });
    const descriptor = l.call(loadStackDescriptor, selector, cpl, VECTOR.gp);
    l.run(installSegment, SEGMENT.ss, selector, descriptor);
  },
});

/** MOV, POP and LDS–LGS to ES, SS, DS, FS or GS, in every mode. Raises #GP, #NP, #SS, #PF; changes nothing then. */
export const loadSegment: FunctionRef = fn('loadSegment', {
  params: { segment: 'i32', selector: 'i32' },
  faults: true,
  build(l, { segment, selector }) {
    l.if(l.get(S.legacyMode), () => {
      l.run(installLegacy, segment, selector);
      l.run(updateSegments);
      l.return();
    });
    l.if(segment.eq(SEGMENT.ss), () => {
      l.run(loadStackSegment, selector);
      l.run(updateSegments);
      l.return();
    });
    l.if(isNull(selector), () => {
      l.run(installNull, segment, selector);
      l.run(updateSegments);
      l.return();
    });
    const descriptor = l.call(loadDescriptor, selector, VECTOR.gp);
    checkDataSegment(l, selector, l.let(attributesOf(descriptor)), VECTOR.gp);
    l.run(markAccessed, selector, descriptor);
    l.run(installSegment, segment, selector, descriptor);
    l.run(updateSegments);
  },
});
