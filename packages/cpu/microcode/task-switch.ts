// Hardware task switches. SDM vol 3A ch. 7.

import { type FunctionRef, fn } from '../lift/function.ts';

export const switchToGateTask: FunctionRef = fn('switchToGateTask', {
  params: { selector: 'i32', hasCode: 'i32', code: 'i32', rip: 'i64' },
  faults: true,
  build: (l) => l.raise(13, 0),
});
export const returnFromTask: FunctionRef = fn('returnFromTask', {
  params: {},
  faults: true,
  build: (l) => l.raise(13, 0),
});
