// One hash over all that the guest can see of its machine: two runs agree exactly when their hashes do. RAM, processor
// and devices in a fixed order, written down in one way only.

import { type GuestMemory, toHex } from '@mimic/base';

/** SHA-256, from the host's library. */
export interface Hasher {
  update(bytes: Uint8Array): void;
  /** Lower-case hexadecimal digits. */
  hex(): string;
}

const PIECE_BYTES = 1 << 16;

/** All of RAM; pieces that are not RAM count as empty. */
export function hashMemory(hasher: Hasher, memory: GuestMemory): void {
  for (let gpa = 0; gpa < memory.sizeBytes; gpa += PIECE_BYTES) {
    const piece = memory.view(gpa, Math.min(PIECE_BYTES, memory.sizeBytes - gpa));
    if (piece !== undefined) hasher.update(piece);
  }
}

/** Plain data, such as a saved state. */
export function hashValue(hasher: Hasher, value: unknown): void {
  hasher.update(new TextEncoder().encode(canonical(value)));
}

/** The same text for the same data: keys sorted, bytes and large numbers as text. */
export function canonical(value: unknown): string {
  if (typeof value === 'bigint') return `${value}n`;
  if (ArrayBuffer.isView(value)) {
    const bytes = new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
    return `<${toHex(bytes)}>`;
  }
  if (value instanceof Map || value instanceof Set) return canonical([...value]);
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (typeof value === 'object' && value !== null) {
    const entries = Object.entries(value).filter(([, part]) => part !== undefined);
    const parts = entries.toSorted(([a], [b]) => (a < b ? -1 : 1));
    return `{${parts.map(([key, part]) => `${JSON.stringify(key)}:${canonical(part)}`).join(',')}}`;
  }
  return JSON.stringify(value) ?? 'undefined';
}
