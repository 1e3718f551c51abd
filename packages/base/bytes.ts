// Little-endian numbers in byte arrays, for register files and wire formats that are kept as bytes.

/** The unsigned number of 1, 2 or 4 bytes at `offset`; bytes beyond the end read as 0. */
export function loadLittleEndian(bytes: Uint8Array, offset: number, size: 1 | 2 | 4): number {
  let value = 0;
  for (let index = size - 1; index >= 0; index--) {
    value = value * 256 + (bytes[offset + index] ?? 0);
  }
  return value;
}

/** Stores the low `size` bytes of `value` at `offset`; bytes beyond the end are dropped. */
export function storeLittleEndian(
  bytes: Uint8Array,
  offset: number,
  size: 1 | 2 | 4,
  value: number,
): void {
  for (let index = 0; index < size; index++) {
    if (offset + index < bytes.length) bytes[offset + index] = value >>> (8 * index);
  }
}
