// PAUSE: a processor that spins for long lets other threads of the host run, of which the one that it waits for may
// be one. With a host core for each processor that hardly ever happens.

import { type FunctionRef, fn, imported } from '../lift/function.ts';
import { S } from '../state/layout.ts';

/** Lets other threads of the host run for a moment. */
export const yieldHost: FunctionRef = imported('yieldHost', {});
/** Rounds of a spin loop between two such moments: a power of two. */
export const SPINS = 256;

export const pause: FunctionRef = fn('pause', {
  params: {},
  build(l) {
    const count = l.let(l.get(S.pauses).add(1));
    l.set(S.pauses, count);
    l.if(count.and(SPINS - 1).eqz(), () => l.run(yieldHost));
  },
});
