// What a program may ask about a selector without a fault: LAR, LSL, VERR, VERW. SDM vol 2A LAR (table 3-50), LSL
// (table 3-54); vol 2B VERR/VERW; vol 3A §5.10.

import { type FunctionRef, fn } from '../lift/function.ts';
import type { Lift } from '../lift/lift.ts';
import type { Value } from '../lift/value.ts';
import { S, SEGMENT } from '../state/layout.ts';
import {
  attributesOf,
  dplOf,
  isConforming,
  isLongMode,
  isNull,
  isReadable,
  isSystem,
  isWritableData,
  limitOf,
  loadDescriptor,
  systemTypeOf,
} from './descriptor.ts';

/** System types that LAR and LSL know, bit n for type n; long mode has fewer. */
const LAR_TYPES = { legacy: 0b0001_1010_0011_1110, long: 0b0001_1010_0000_0100 };
const LSL_TYPES = { legacy: 0b0000_1010_0000_1110, long: 0b0000_1010_0000_0100 };

/** Leaves the function with `invalid` when the selector is null or beyond its table. */
function readOrReturn(l: Lift, selector: Value, invalid: number, type: 'i32' | 'i64'): Value {
  const no = () => l.return(invalid, type);
  l.if(isNull(selector), no);
  const isLocal = selector.and(4);
  const local = l.select(
    l.get(S.segAttributes, SEGMENT.ldtr),
    l.get(S.segLimit, SEGMENT.ldtr).u64(),
    l.i64(-1n),
  );
  const limit = l.let(l.select(isLocal, local, l.get(S.gdtrLimit).u64()));
  l.if(selector.or(7).and(0xffff).u64().gts(limit), no);
  return l.call(loadDescriptor, selector, 13);
}

/** The descriptor may be seen: its type is in the set, and CPL and RPL allow it. */
function isVisible(
  l: Lift,
  selector: Value,
  attributes: Value,
  types: { legacy: number; long: number },
): Value {
  const known = l.let(l.select(isLongMode(l), l.i32(types.long), types.legacy));
  const isKnown = isSystem(attributes)
    .eqz()
    .or(known.shru(systemTypeOf(attributes)).and(1));
  return isKnown.and(isPrivileged(l, selector, attributes));
}

function isPrivileged(l: Lift, selector: Value, attributes: Value): Value {
  const dpl = l.let(dplOf(attributes));
  const within = l.get(S.cpl).leu(dpl).and(selector.and(3).leu(dpl));
  return isConforming(attributes).or(within);
}

/** LAR: attribute bits 23–8, or -1. */
export const loadAccessRights: FunctionRef = fn('loadAccessRights', {
  params: { selector: 'i32' },
  result: 'i64',
  faults: true,
  build(l, { selector }) {
    const descriptor = readOrReturn(l, selector, -1, 'i64');
    const attributes = l.let(attributesOf(descriptor));
    l.if(isVisible(l, selector, attributes, LAR_TYPES).eqz(), () => l.return(-1, 'i64'));
    // Bits 19–16 are part of the limit; processors give them as they are.
    l.return(descriptor.shru(32).and(0xff_ff00n));
  },
});

/** LSL: the limit in bytes, or -1. */
export const loadSegmentLimit: FunctionRef = fn('loadSegmentLimit', {
  params: { selector: 'i32' },
  result: 'i64',
  faults: true,
  build(l, { selector }) {
    const descriptor = readOrReturn(l, selector, -1, 'i64');
    const attributes = l.let(attributesOf(descriptor));
    l.if(isVisible(l, selector, attributes, LSL_TYPES).eqz(), () => l.return(-1, 'i64'));
    l.return(limitOf(l, descriptor).u64());
  },
});

/** VERR (`write` 0) and VERW (1): whether the segment could be read or written. */
export const verifySegment: FunctionRef = fn('verifySegment', {
  params: { selector: 'i32', write: 'i32' },
  result: 'i32',
  faults: true,
  build(l, { selector, write }) {
    const descriptor = readOrReturn(l, selector, 0, 'i32');
    const attributes = l.let(attributesOf(descriptor));
    const fits = l.select(write, isWritableData(attributes), isReadable(attributes));
    l.return(fits.and(isPrivileged(l, selector, attributes)));
  },
});
