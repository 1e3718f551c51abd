// CRC-32C by a table: all bytes of the data at once. SDM vol 2A, CRC32.

import type { Lift } from '../lift/lift.ts';
import type { Value } from '../lift/value.ts';
import { TABLES } from './tables.ts';

/** Continues a CRC with the low `bits` (8, 16, 32 or 64) of `data` (i64), whose upper bits are 0. */
export function crc32c(l: Lift, crc: Value, data: Value, bits: number): Value {
  const count = bits / 8;
  const value = l.let(data.xor(crc.u64()));
  const looked = Array.from({ length: count }, (_, n) => {
    const index = (n ? value.shru(8 * n - 2) : value.shl(2)).i32().and(0x3fc);
    return l.loadRaw('i32.load', index, TABLES.crc32c + 1024 * (count - 1 - n));
  }).reduce((sum, word) => sum.xor(word));
  return bits >= 32 ? looked : looked.xor(crc.shru(bits));
}
