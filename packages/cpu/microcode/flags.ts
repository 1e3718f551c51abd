// What follows a change of RFLAGS besides the flags themselves.

import { RFLAGS } from '../lift/flags.ts';
import { type FunctionRef, fn } from '../lift/function.ts';
import { S } from '../state/layout.ts';
import { updateDataTlb, updateMode } from './mode.ts';

/** To be run after `S.rflags` was written, with its former value: TF and AC change the mode. */
export const flagsChanged: FunctionRef = fn('flagsChanged', {
  params: { old: 'i32' },
  build(l, { old }) {
    const changed = l.let(old.xor(l.get(S.rflags)));
    l.if(changed.and(RFLAGS.tf), () => l.run(updateMode));
    l.if(changed.and(RFLAGS.ac), () => l.run(updateDataTlb));
  },
});
