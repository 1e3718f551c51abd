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

/** Two lower-case digits a byte. */
export function toHex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** The bytes of such digits; undefined for anything else. */
export function fromHex(text: string): Uint8Array | undefined {
  if (text.length % 2 !== 0 || !/^[\da-f]*$/i.test(text)) return undefined;
  return Uint8Array.from(text.match(/../g) ?? [], (digits) => Number.parseInt(digits, 16));
}
