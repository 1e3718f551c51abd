// S.mode: what the bytes of code mean, and what blocks of decoded instructions are told apart by besides their address.

/** Values of the low two bits of `S.mode`. */
export const DECODING_MODE = {
  code16: 0,
  code32: 1,
  code64: 2,
  /**
   * 32-bit code whose CS, SS, DS and ES begin at 0 and reach to 4 GiB, SS with 32-bit pointers, and the last three writable:
   * accesses through SS, DS and ES need neither a base nor a check, and no target is beyond CS's limit.
   */
  flat32: 3,
} as const;

/** Bit of `S.mode`: blocks of one instruction (single step, interrupt shadow, instruction breakpoints). */
export const MODE_SINGLE_STEP = 4;

const CODE_BITS = [16, 32, 64, 32] as const;

/** Size of code in bits, by decoding mode. */
export function codeBitsOf(mode: number): 16 | 32 | 64 {
  return CODE_BITS[mode & 3]!;
}
/** Whether the segments are those of `DECODING_MODE.flat32`. */
export function isFlatMode(mode: number): boolean {
  return (mode & 3) === DECODING_MODE.flat32;
}
