// Many elements of REP MOVS and REP STOS at once, where both ends are plain RAM that the TLB knows. Everything that
// is not simple (downward, wrapping, segment limits in the way, MMIO, code pages) gives 0 and goes element by element.

import { RFLAGS } from '../lift/flags.ts';
import { type FunctionRef, fn } from '../lift/function.ts';
import type { Lift } from '../lift/lift.ts';
import type { Value } from '../lift/value.ts';
import { GPR, S, SEGMENT } from '../state/layout.ts';
import { writeMasked } from './address.ts';
import { hostAddressForRead, hostAddressForWrite } from './memory.ts';
import { ATTRIBUTES } from './segment-access.ts';

const { rsi, rdi } = GPR;
const PAGE_SIZE = 4096n;

const minimum = (l: Lift, a: Value, b: Value): Value => l.let(l.select(a.ltu(b), a, b));

/** Linear address of a segment's offset without any check. */
const plainLinear: FunctionRef = fn('plainLinear', {
  params: { segment: 'i32', offset: 'i64' },
  result: 'i64',
  build(l, { segment, offset }) {
    const base = l.getAt(S.segBase, segment.shl(3));
    l.if(l.get(S.codeBits).eq(64), () => {
      l.return(l.select(segment.geu(SEGMENT.fs), base.add(offset), offset));
    });
    l.return(base.add(offset).and(0xffff_ffffn));
  },
});

/** Bytes from an offset that stay in its page, in the address size and within the segment; 0 when it is not simple. */
const bytesAhead: FunctionRef = fn('bytesAhead', {
  params: { segment: 'i32', offset: 'i64', mask: 'i64', write: 'i32' },
  result: 'i64',
  build(l, { segment, offset, mask, write }) {
    const linear = l.call(plainLinear, segment, offset);
    const inPage = l.let(l.i64(PAGE_SIZE).sub(linear.and(PAGE_SIZE - 1n)));
    const beforeWrap = mask.sub(offset);
    const ahead = l.let(l.select(beforeWrap.ltu(inPage), beforeWrap.add(1n), inPage));
    l.if(l.get(S.codeBits).eq(64), () => l.return(ahead));
    const attributes = l.getAt(S.segAttributes, segment.shl(2));
    const needed = ATTRIBUTES.present | ATTRIBUTES.s;
    const required = l.select(write, needed | ATTRIBUTES.writable, l.i32(needed));
    const excluded = ATTRIBUTES.expandDown | ATTRIBUTES.code;
    const isPlain = attributes.and(required.or(excluded)).eq(required);
    const limit = l.let(l.getAt(S.segLimit, segment.shl(2)).u64());
    l.if(isPlain.and(offset.leu(limit)).eqz(), () => l.return(0n, 'i64'));
    l.return(minimum(l, ahead, limit.sub(offset).add(1n)));
  },
});

/** Elements that fit in `ahead` bytes, at most `count`, and only when there are some. */
function elementsWithin(l: Lift, ahead: Value, count: Value, bytes: Value): Value {
  const elements = minimum(l, ahead.divu(bytes.u64()), count);
  l.if(l.get(S.rflags).and(RFLAGS.df).nez().or(elements.ltu(2n)), () => l.return(0n, 'i64'));
  return elements;
}

/** Copies up to `count` elements from segment:rSI to ES:rDI, moves both registers and gives the number copied. */
export const copyBulk: FunctionRef = fn('copyBulk', {
  params: { segment: 'i32', mask: 'i64', count: 'i64', bytes: 'i32' },
  result: 'i64',
  build(l, { segment, mask, count, bytes }) {
    const from = l.let(l.get(S.gpr, rsi).and(mask));
    const to = l.let(l.get(S.gpr, rdi).and(mask));
    const sourceAhead = l.call(bytesAhead, segment, from, mask, 0);
    const ahead = minimum(l, sourceAhead, l.call(bytesAhead, SEGMENT.es, to, mask, 1));
    const elements = l.var('i64', elementsWithin(l, ahead, count, bytes));
    const length = l.let(elements.get().i32().mul(bytes));
    const source = l.call(hostAddressForRead, l.call(plainLinear, segment, from), length);
    const target = l.call(hostAddressForWrite, l.call(plainLinear, SEGMENT.es, to), length);
    l.if(source.eqz().or(target.eqz()), () => l.return(0n, 'i64'));
    // An upward copy onto bytes that it will read later repeats a pattern: not more than the distance at once.
    const distance = l.let(target.sub(source));
    l.if(distance.ltu(length), () => elements.set(distance.divu(bytes).u64()));
    const copied = l.let(elements.get().i32().mul(bytes));
    l.effect('memory.copy', target, source, copied);
    writeMasked(l, rsi, mask, from.add(copied.u64()));
    writeMasked(l, rdi, mask, to.add(copied.u64()));
    l.return(elements.get());
  },
});

/** Stores up to `count` elements of an eight-byte pattern at ES:rDI, moves rDI and gives the number stored. */
export const fillBulk: FunctionRef = fn('fillBulk', {
  params: { pattern: 'i64', mask: 'i64', count: 'i64', bytes: 'i32' },
  result: 'i64',
  build(l, { pattern, mask, count, bytes }) {
    const to = l.let(l.get(S.gpr, rdi).and(mask));
    const ahead = l.call(bytesAhead, SEGMENT.es, to, mask, 1);
    const elements = elementsWithin(l, ahead, count, bytes);
    const length = l.let(elements.i32().mul(bytes));
    const target = l.call(hostAddressForWrite, l.call(plainLinear, SEGMENT.es, to), length);
    l.if(target.eqz(), () => l.return(0n, 'i64'));
    const isOneByte = pattern.eq(pattern.and(0xffn).mul(0x0101_0101_0101_0101n));
    l.if(
      isOneByte,
      () => l.effect('memory.fill', target, pattern.i32().and(0xff), length),
      () => fillPattern(l, target, length, pattern),
    );
    writeMasked(l, rdi, mask, to.add(length.u64()));
    l.return(elements);
  },
});

/** Eight bytes at a time, then the rest of whole elements, whose pattern starts anew at each multiple of eight. */
function fillPattern(l: Lift, target: Value, length: Value, pattern: Value): void {
  const at = l.var('i32', target);
  const end = l.let(target.add(length));
  l.while(
    () => end.sub(at.get()).geu(8),
    () => {
      l.storeRaw('i64.store', at.get(), 0, pattern);
      at.set(at.get().add(8));
    },
  );
  const rest = l.var('i64', pattern);
  l.while(
    () => at.get().ltu(end),
    () => {
      l.storeRaw('i64.store8', at.get(), 0, rest.get());
      rest.set(rest.get().shru(8));
      at.set(at.get().add(1));
    },
  );
}
