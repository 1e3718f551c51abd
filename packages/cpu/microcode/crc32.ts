// CRC-32C, bit by bit. SDM vol 2A, CRC32.

import { type FunctionRef, fn } from '../lift/function.ts';

/** The polynomial 0x1EDC6F41 with its bits reversed, as the reflected CRC shifts right. */
const POLYNOMIAL = 0x82f6_3b78;

/** Continues a CRC with the low `bits` (8, 16, 32 or 64) of `data`, whose upper bits are 0. */
export const CRC32C: FunctionRef = fn('crc32c', {
  params: { crc: 'i32', data: 'i64', bits: 'i32' },
  result: 'i32',
  build(l, { crc, data, bits }) {
    const value = l.var('i64', data.xor(crc.u64()));
    const remaining = l.var('i32', bits);
    l.while(
      () => remaining.get(),
      () => {
        for (let step = 0; step < 8; step++) {
          const v = value.get();
          const feedback = v.and(1n).neg().and(BigInt(POLYNOMIAL));
          value.set(v.shru(1).xor(feedback));
        }
        remaining.set(remaining.get().sub(8));
      },
    );
    l.return(value.get().i32());
  },
});
