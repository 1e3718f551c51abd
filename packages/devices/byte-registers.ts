// Wider accesses to 8-bit parts. A bus of the PC splits them into bytes at consecutive addresses,
// low byte first.

import type { AccessSize } from './device.ts';

/** The byte at `offset`; 0xff where there is no register. */
export type ReadByte = (offset: number) => number;
export type WriteByte = (offset: number, value: number) => void;

export function readAsBytes(offset: number, size: AccessSize, readByte: ReadByte): number {
  if (size === 1) return readByte(offset);
  let value = 0;
  for (let index = 0; index < size; index += 1) value |= readByte(offset + index) << (8 * index);
  return value >>> 0;
}

export function writeAsBytes(
  offset: number,
  size: AccessSize,
  value: number,
  writeByte: WriteByte,
): void {
  for (let index = 0; index < size; index += 1) {
    writeByte(offset + index, (value >>> (8 * index)) & 0xff);
  }
}
