// Segment-relative addresses to linear ones, with the checks of limit and type. SDM vol 3A §5.3, §5.5; in 64-bit mode
// only FS and GS have a base and nothing has a limit (§3.4.4).

import { type FunctionRef, fn } from '../lift/function.ts';
import type { Value } from '../lift/value.ts';
import { S, SEGMENT } from '../state/layout.ts';

/** Descriptor bits in `S.segAttributes`, in place as in the descriptor's high word. SDM vol 3A figure 3-8. */
export const ATTRIBUTES = {
  accessed: 1 << 8,
  /** Data: writable. Code: readable. */
  writable: 1 << 9,
  /** Data: expand down. Code: conforming. */
  expandDown: 1 << 10,
  code: 1 << 11,
  /** Not a system segment. */
  s: 1 << 12,
  dpl: 3 << 13,
  present: 1 << 15,
  long: 1 << 21,
  big: 1 << 22,
  granularity: 1 << 23,
} as const;

/** Writable data that reaches to 4 GiB: nothing to check but what wraps around (`offset` has 32 bits, and so has the sum). */
export function isFlatData(attributes: Value, limit: Value): Value {
  const { writable, expandDown, code } = ATTRIBUTES;
  return attributes
    .and(writable | expandDown | code)
    .eq(writable)
    .and(limit.eq(-1));
}

/** Whether accesses through a segment need neither its base nor a check in the decoding mode `flat32`. */
export function isFlatSegment(segment: number): boolean {
  return segment === SEGMENT.ss || segment === SEGMENT.ds || segment === SEGMENT.es;
}

/**
 * Linear address of `bytes` bytes at a segment's offset. `write` is 1 for writes. Raises #SS(0) for SS, else #GP(0).
 * `segment` is a number of SEGMENT, `offset` is already wrapped to the address size.
 */
export const segmentLinear: FunctionRef = fn('segmentLinear', {
  params: { segment: 'i32', offset: 'i64', bytes: 'i32', write: 'i32' },
  result: 'i64',
  faults: true,
  build(l, { segment, offset, bytes, write }) {
    const base = l.getAt(S.segBase, segment.shl(3));
    l.if(l.get(S.codeBits).eq(64), () => {
      l.if(segment.geu(SEGMENT.fs), () => l.return(base.add(offset)));
      l.return(offset);
    });
    const attributes = l.getAt(S.segAttributes, segment.shl(2));
    const limit32 = l.getAt(S.segLimit, segment.shl(2));
    l.if(isFlatData(attributes, limit32), () => l.return(base.add(offset).and(0xffff_ffffn)));
    const limit = l.let(limit32.u64());
    const last = l.let(offset.add(bytes.u64()).sub(1n));
    const is = (bit: number) => attributes.and(bit).nez();
    const isCode = l.let(is(ATTRIBUTES.code));
    const usable = attributes.nez();
    const readable = isCode.eqz().or(is(ATTRIBUTES.writable));
    const writable = isCode.eqz().and(is(ATTRIBUTES.writable));
    const typeAllows = l.select(write, writable, readable);
    const expandsDown = l.let(isCode.eqz().and(is(ATTRIBUTES.expandDown)));
    const top = l.select(is(ATTRIBUTES.big), l.i64(0xffff_ffffn), l.i64(0xffffn));
    const within = l.let(
      l.select(expandsDown, offset.gtu(limit).and(last.leu(top)), last.leu(limit)),
    );
    l.unlikely(usable.and(typeAllows).and(within).eqz(), () => {
      l.if(segment.eq(SEGMENT.ss), () => l.raise(12, 0));
      l.raise(13, 0);
    });
    l.return(base.add(offset).and(0xffff_ffffn));
  },
});
