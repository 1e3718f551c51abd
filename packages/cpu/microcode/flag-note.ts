// What translated code says of the arithmetic flags where it jumps on: not the flags, but the operation that gave them, in
// S.flagsKind, and two values of it. Most are overwritten by the code that follows. The flags are computed before anything
// but translated code looks at them: when a region comes back to the loop, and before it calls a handler.

import { type FunctionRef, fn } from '../lift/function.ts';
import type { FlagOrigin } from '../lift/ir.ts';
import type { Value } from '../lift/value.ts';
import { S } from '../state/layout.ts';

/** Kinds of notes, less the one that says that there is none. `parts`: the result, and CF, AF and OF in their places
 *  (NOTED_PART); `result`: the result, and those are clear. INC and DEC: the result and CF. */
const OPERATIONS = ['add', 'sub', 'inc', 'dec', 'parts', 'result'] as const;
export type NoteOperation = (typeof OPERATIONS)[number];

/** S.flagsKind when the vCPU's state has the flags themselves. */
export const NOTHING_NOTED = 0;
/** Bits of the second value of a note of parts. */
export const NOTED_PART = { carry: 1n, adjust: 0x10n, overflow: -(1n << 63n) } as const;

const OPERATION_SHIFT = 6;

/** S.flagsKind of an operation of that width: which, and how far to the left operands go so that their top bits are bit 63. */
export function noteKind(operation: NoteOperation, bits: number): number {
  return ((OPERATIONS.indexOf(operation) + 1) << OPERATION_SHIFT) | (64 - bits);
}
/** Whether operations of this kind have a note of their own. */
export function isNoted(kind: FlagOrigin['kind']): kind is FlagOrigin['kind'] & NoteOperation {
  return OPERATIONS.includes(kind as NoteOperation);
}

/** Computes the flags that are noted. */
export const settleFlags: FunctionRef = fn('settleFlags', {
  params: {},
  build(l) {
    const kind = l.get(S.flagsKind);
    const left = l.get(S.flagsLeft);
    const right = l.get(S.flagsRight);
    const shift = l.let(kind.and((1 << OPERATION_SHIFT) - 1).u64());
    const set = (flags: { result: Value; carry: Value; overflow: Value; adjust: Value }) => {
      const result = l.let(flags.result);
      l.set(S.flagZ, result);
      l.set(S.flagSP, result);
      l.set(S.flagC, flags.carry);
      l.set(S.flagO, flags.overflow);
      l.set(S.flagA, flags.adjust.i32());
    };
    const [a, b] = [l.let(left.shl(shift)), l.let(right.shl(shift))];
    const add = () => {
      const sum = l.let(a.add(b));
      set({
        result: sum.shrs(shift),
        carry: sum.ltu(a),
        overflow: a.xor(sum).and(b.xor(sum)),
        adjust: left.xor(right).xor(left.add(right)),
      });
    };
    const subtract = () => {
      const difference = l.let(a.sub(b));
      set({
        result: difference.shrs(shift),
        carry: a.ltu(b),
        overflow: a.xor(b).and(a.xor(difference)),
        adjust: left.xor(right).xor(left.sub(right)),
      });
    };
    // `wrapped`: the result, or one more, is where the sign changes and where the low nibble wraps.
    const step = (wrapped: Value) => {
      const isLowest = wrapped.shl(shift).eq(-(1n << 63n));
      set({
        result: left,
        carry: right.i32(),
        overflow: isLowest.u64().shl(63),
        adjust: wrapped.and(0xfn).eqz().shl(4),
      });
    };
    const parts = (all: Value) =>
      set({
        result: left,
        carry: all.and(NOTED_PART.carry).i32(),
        overflow: all,
        adjust: all,
      });
    const operations: Readonly<Record<NoteOperation, () => void>> = {
      add,
      sub: subtract,
      inc: () => step(left),
      dec: () => step(l.let(left.add(1n))),
      parts: () => parts(right),
      result: () => parts(l.i64(0)),
    };
    l.switch(
      kind.shru(OPERATION_SHIFT).sub(1),
      OPERATIONS.map((operation) => operations[operation]),
    );
    l.set(S.flagsKind, NOTHING_NOTED);
  },
});

/** Computes the flags of a note, if it says any. */
export const settleNote: FunctionRef = fn('settleNote', {
  params: { kind: 'i32', left: 'i64', right: 'i64' },
  build(l, { kind, left, right }) {
    l.set(S.flagsKind, kind);
    l.set(S.flagsLeft, left);
    l.set(S.flagsRight, right);
    l.if(kind, () => l.run(settleFlags));
  },
});
