// Bits gathered from, and scattered to, the places of a mask: a round for each bit of the mask. SDM vol 2B, PDEP, PEXT.

import { type FunctionRef, fn } from '../lift/function.ts';

/** PEXT: the bits of the value at the mask's ones, side by side. */
export const extractBits: FunctionRef = fn('extractBits', {
  params: { value: 'i64', mask: 'i64' },
  result: 'i64',
  build(l, { value, mask }) {
    const rest = l.var('i64', mask);
    const result = l.var('i64', 0n);
    const place = l.var('i64', 0n);
    l.while(
      () => rest.get().nez(),
      () => {
        const m = rest.get();
        const n = place.get();
        result.set(result.get().or(value.shru(m.ctz()).and(1n).shl(n)));
        rest.set(m.and(m.sub(1n)));
        place.set(n.add(1n));
      },
    );
    l.return(result.get());
  },
});

/** PDEP: the value's low bits, put at the mask's ones. */
export const depositBits: FunctionRef = fn('depositBits', {
  params: { value: 'i64', mask: 'i64' },
  result: 'i64',
  build(l, { value, mask }) {
    const rest = l.var('i64', mask);
    const result = l.var('i64', 0n);
    const source = l.var('i64', value);
    l.while(
      () => rest.get().nez(),
      () => {
        const m = rest.get();
        const s = source.get();
        result.set(result.get().or(s.and(1n).shl(m.ctz())));
        rest.set(m.and(m.sub(1n)));
        source.set(s.shru(1));
      },
    );
    l.return(result.get());
  },
});
