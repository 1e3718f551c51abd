// Functions that the host calls to look at a stopped processor.

import { ARITHMETIC_FLAGS, RFLAGS, readFlags, writeArithmeticFlags } from '../lift/flags.ts';
import { type FunctionRef, fn } from '../lift/function.ts';
import { S } from '../state/layout.ts';

/** RFLAGS as a whole. */
export const readFlagsFunction: FunctionRef = fn('readRflags', {
  params: {},
  result: 'i32',
  build: (l) => l.return(readFlags(l)),
});

/** Takes over all of RFLAGS; modes that depend on it are updated by whoever calls. */
export const writeFlagsFunction: FunctionRef = fn('writeRflags', {
  params: { flags: 'i32' },
  build(l, { flags }) {
    writeArithmeticFlags(l, flags);
    l.set(S.rflags, flags.and(~ARITHMETIC_FLAGS).or(RFLAGS.fixed1));
  },
});
