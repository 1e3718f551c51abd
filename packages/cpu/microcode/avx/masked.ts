// Loads and stores of some elements of a vector: VMASKMOV, VPMASKMOV. Elements that are not selected are not accessed
// and cannot fault. SDM vol 2C, VMASKMOV; vol 2C, VPMASKMOV.

import { type FunctionRef, fn } from '../../lift/function.ts';
import type { Lift } from '../../lift/lift.ts';
import type { Value } from '../../lift/value.ts';
import { S } from '../../state/layout.ts';
import { probeWrite } from '../memory.ts';
import { quietLoad, quietStore } from './quiet-access.ts';

type ElementBytes = 4 | 8;

/** Runs `each` for every element of the set, lowest first. */
function eachElement(l: Lift, elements: Value, each: (n: Value) => void): void {
  const left = l.var('i32', elements);
  l.while(
    () => left.get().nez(),
    () => {
      const now = left.get();
      each(l.let(now.ctz()));
      left.set(now.and(now.sub(1)));
    },
  );
}
const scratchAddress = (l: Lift, bytes: ElementBytes, n: Value) => l.cpu.add(n.mul(bytes));
const STORE = { 4: 'i32.store', 8: 'i64.store' } as const;
const LOAD = { 4: 'i32.load', 8: 'i64.load' } as const;

/** Loads the elements of a set from their places behind `linear` into S.scratch; the others are zero. */
function maskedLoad(bytes: ElementBytes): FunctionRef {
  return fn(`maskedLoad${bytes * 8}`, {
    params: { linear: 'i64', elements: 'i32' },
    faults: true,
    build(l, { linear, elements }) {
      for (let half = 0; half < 2; half++) l.set(S.scratch, l.op('i64x2.splat', 0n), half);
      eachElement(l, elements, (n) => {
        const value = l.call(quietLoad[bytes], linear.add(n.mul(bytes).u64()));
        l.storeRaw(STORE[bytes], scratchAddress(l, bytes, n), S.scratch.offset, value);
      });
    },
  });
}

/** Stores the elements of a set from S.scratch; none when one of them cannot be written. */
function maskedStoreOf(bytes: ElementBytes): FunctionRef {
  return fn(`maskedStore${bytes * 8}`, {
    params: { linear: 'i64', elements: 'i32' },
    faults: true,
    build(l, { linear, elements }) {
      l.if(elements.eqz(), () => l.return());
      const place = (n: Value) => linear.add(n.mul(bytes).u64());
      // They are on two pages at most.
      const tlb = l.get(S.tlb);
      l.call(probeWrite, place(elements.ctz()), bytes, tlb);
      l.call(probeWrite, place(l.i32(31).sub(elements.clz())), bytes, tlb);
      eachElement(l, elements, (n) => {
        const value = l.loadRaw(LOAD[bytes], scratchAddress(l, bytes, n), S.scratch.offset);
        l.run(quietStore[bytes], place(n), value);
      });
    },
  });
}

export const maskedElements: Readonly<
  Record<ElementBytes, { readonly load: FunctionRef; readonly store: FunctionRef }>
> = {
  4: { load: maskedLoad(4), store: maskedStoreOf(4) },
  8: { load: maskedLoad(8), store: maskedStoreOf(8) },
};
