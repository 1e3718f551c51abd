// The byte-wise store of MASKMOVDQU and MASKMOVQ. Bytes that are not selected are neither read nor
// written, so that another processor's stores beside ours survive.

import { type FunctionRef, fn } from '../../lift/function.ts';
import { S } from '../../state/layout.ts';

/**
 * Stores byte n of `value` at linear + n for every bit n of `mask`. Both ends are probed before the
 * first store.
 */
export const maskedStore: FunctionRef = fn('maskedStore', {
  params: { linear: 'i64', value: 'v128', mask: 'i32' },
  faults: true,
  build(l, { linear, value, mask }) {
    l.if(mask.eqz(), () => l.return());
    l.update(1, linear.add(mask.ctz().u64()));
    l.update(1, linear.add(l.i32(31).sub(mask.clz()).u64()));
    l.set(S.scratch, value);
    const left = l.var('i32', mask);
    l.while(
      () => left.get().nez(),
      () => {
        const m = left.get();
        const n = l.let(m.ctz());
        l.store(1, linear.add(n.u64()), l.loadRaw('i32.load8_u', l.cpu.add(n), S.scratch.offset));
        left.set(m.and(m.sub(1)));
      },
    );
  },
});
