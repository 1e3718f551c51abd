// The rounds of AES on values. A register's byte n is the state's row n mod 4, column n / 4. FIPS 197 §5; SDM vol 1
// §12.13. By tables, which beat the vector permutations that need none by a third (docs/design/cpu-models.md).
// Deviation: the time of a round depends on what of the tables is in the host's cache.

import { type FunctionRef, fn } from '../lift/function.ts';
import type { Lift } from '../lift/lift.ts';
import type { Value } from '../lift/value.ts';
import { TABLES } from './tables.ts';

/** The halves of a state, for its bytes. */
function halves(l: Lift, state: Value): (n: number) => Value {
  const half = [0, 1].map((n) => l.let(l.lanes('i64x2.extract_lane', [n], state)));
  return (n) => half[n >> 3]!;
}

/** Byte n of the state, times 4 when it indexes words. */
function byteIndex(half: (n: number) => Value, n: number, width: 1 | 4): Value {
  const value = half(n);
  const shift = 8 * (n & 7) - (width === 4 ? 2 : 0);
  return (shift < 0 ? value.shl(-shift) : value.shru(shift)).i32().and(0xff * width);
}

/** Column and row to the byte that ShiftRows (1) or InvShiftRows (-1) brings there. */
const sourceByte = (column: number, row: number, direction: 1 | -1) =>
  4 * ((column + direction * row) & 3) + row;

/** Four columns (i32) as a vector. */
function fromColumns(l: Lift, columns: readonly Value[]): Value {
  const pair = (n: number) => columns[n]!.u64().or(columns[n + 1]!.u64().shl(32));
  return l.lanes('i64x2.replace_lane', [1], l.op('i64x2.splat', pair(0)), pair(2));
}

function mixingRound(l: Lift, table: number, direction: 1 | -1, state: Value): Value {
  const half = halves(l, state);
  const columns = [0, 1, 2, 3].map((column) =>
    [0, 1, 2, 3]
      .map((row) => {
        const index = byteIndex(half, sourceByte(column, row, direction), 4);
        return l.loadRaw('i32.load', index, table + 1024 * row);
      })
      .reduce((sum, word) => sum.xor(word)),
  );
  return fromColumns(l, columns);
}

/** A word whose bytes are looked up at these bytes of the state. */
function boxed(l: Lift, half: (n: number) => Value, box: number, bytes: readonly number[]): Value {
  return bytes
    .map((n, place) => l.loadRaw('i32.load8_u', byteIndex(half, n, 1), box).shl(8 * place))
    .reduce((word, byte) => word.or(byte));
}

function lastRound(l: Lift, box: number, direction: 1 | -1, state: Value): Value {
  const half = halves(l, state);
  const columns = [0, 1, 2, 3].map((column) => {
    const bytes = [0, 1, 2, 3].map((row) => sourceByte(column, row, direction));
    return boxed(l, half, box, bytes);
  });
  return fromColumns(l, columns);
}

function round(name: string, compute: (l: Lift, state: Value) => Value): FunctionRef {
  return fn(name, {
    params: { state: 'v128', roundKey: 'v128' },
    result: 'v128',
    build: (l, { state, roundKey }) => l.return(l.op('v128.xor', compute(l, state), roundKey)),
  });
}

export const aesEncrypt: FunctionRef = round('aesEncrypt', (l, state) =>
  mixingRound(l, TABLES.aesEncrypt, 1, state),
);
export const aesDecrypt: FunctionRef = round('aesDecrypt', (l, state) =>
  mixingRound(l, TABLES.aesDecrypt, -1, state),
);
export const aesEncryptLast: FunctionRef = round('aesEncryptLast', (l, state) =>
  lastRound(l, TABLES.aesBox, 1, state),
);
export const aesDecryptLast: FunctionRef = round('aesDecryptLast', (l, state) =>
  lastRound(l, TABLES.aesInverseBox, -1, state),
);

/** InvMixColumns alone: the table for decryption undoes the box first. */
export const aesInverseMix: FunctionRef = fn('aesInverseMix', {
  params: { state: 'v128' },
  result: 'v128',
  build(l, { state }) {
    const half = halves(l, state);
    const columns = [0, 1, 2, 3].map((column) =>
      [0, 1, 2, 3]
        .map((row) => {
          const byte = l.loadRaw(
            'i32.load8_u',
            byteIndex(half, 4 * column + row, 1),
            TABLES.aesBox,
          );
          return l.loadRaw('i32.load', byte.shl(2), TABLES.aesDecrypt + 1024 * row);
        })
        .reduce((sum, word) => sum.xor(word)),
    );
    l.return(fromColumns(l, columns));
  },
});

/** SubWord of the second and the fourth word, and each of them rotated, with the round constant. SDM vol 2A, AESKEYGENASSIST. */
export const aesKeyAssist: FunctionRef = fn('aesKeyAssist', {
  params: { source: 'v128', roundConstant: 'i32' },
  result: 'v128',
  build(l, { source, roundConstant }) {
    const half = halves(l, source);
    const words = [4, 12].flatMap((first) => {
      const word = l.let(
        boxed(
          l,
          half,
          TABLES.aesBox,
          [0, 1, 2, 3].map((n) => first + n),
        ),
      );
      return [word, word.rotr(8).xor(roundConstant)];
    });
    l.return(fromColumns(l, words));
  },
});
