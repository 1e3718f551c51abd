// Accesses of gathers and masked moves, which never raise #AC. SDM vol 2A §2.4 (exception type 6 and 12).

import { RFLAGS } from '../../lift/flags.ts';
import { type FunctionRef, fn } from '../../lift/function.ts';
import type { Lift } from '../../lift/lift.ts';
import type { Value } from '../../lift/value.ts';
import { S } from '../../state/layout.ts';

type Bytes = 4 | 8;
const typeOf = (bytes: Bytes) => (bytes === 4 ? 'i32' : 'i64');

/** Bytes one by one cannot be misaligned. */
function needsBytes(l: Lift, linear: Value, bytes: Bytes): Value {
  const isMisaligned = linear
    .i32()
    .and(bytes - 1)
    .nez();
  return isMisaligned.and(l.get(S.rflags).and(RFLAGS.ac).nez());
}

function load(bytes: Bytes): FunctionRef {
  return fn(`quietLoad${bytes * 8}`, {
    params: { linear: 'i64' },
    result: typeOf(bytes),
    faults: true,
    build(l, { linear }) {
      l.unlikely(needsBytes(l, linear, bytes), () => {
        let value = bytes === 4 ? l.i32(0) : l.i64(0);
        for (let n = 0; n < bytes; n++) {
          const byte = l.load(1, linear.add(BigInt(n)));
          value = l.let(value.or((bytes === 4 ? byte : byte.u64()).shl(8 * n)));
        }
        l.return(value);
      });
      l.return(l.load(bytes, linear));
    },
  });
}

/** The caller has made sure that all bytes can be written. */
function store(bytes: Bytes): FunctionRef {
  return fn(`quietStore${bytes * 8}`, {
    params: { linear: 'i64', value: typeOf(bytes) },
    faults: true,
    build(l, { linear, value }) {
      l.unlikely(needsBytes(l, linear, bytes), () => {
        for (let n = 0; n < bytes; n++)
          l.store(
            1,
            linear.add(BigInt(n)),
            value
              .shru(8 * n)
              .i32()
              .and(0xff),
          );
        l.return();
      });
      l.store(bytes, linear, value);
    },
  });
}

export const quietLoad: Readonly<Record<Bytes, FunctionRef>> = { 4: load(4), 8: load(8) };
export const quietStore: Readonly<Record<Bytes, FunctionRef>> = { 4: store(4), 8: store(8) };
