// What all ACPI tables share: header, checksum, generic addresses. ACPI 6.5 §5.2.3.2 and §5.2.6.

import { join, littleEndian } from './aml.ts';

/** Size of the header that begins every table. */
export const HEADER_SIZE = 36;
const CHECKSUM_OFFSET = 9;

const OEM_ID = 'MIMIC ';
const OEM_TABLE_ID = 'MIMICPC ';
const OEM_REVISION = 1;
const CREATOR_ID = 'MIMC';
const CREATOR_REVISION = 1;

export function ascii(text: string): number[] {
  return [...text].map((character) => character.charCodeAt(0));
}

/** The byte that makes all of them add up to zero. */
export function checksum(bytes: Uint8Array): number {
  let sum = 0;
  for (const byte of bytes) sum = (sum + byte) & 0xff;
  return -sum & 0xff;
}

/** A table: header, body, checksum. */
export function table(signature: string, revision: number, body: Uint8Array): Uint8Array {
  const bytes = join(
    ascii(signature),
    littleEndian(HEADER_SIZE + body.length, 4),
    [revision, 0],
    ascii(OEM_ID),
    ascii(OEM_TABLE_ID),
    littleEndian(OEM_REVISION, 4),
    ascii(CREATOR_ID),
    littleEndian(CREATOR_REVISION, 4),
    body,
  );
  bytes[CHECKSUM_OFFSET] = checksum(bytes);
  return bytes;
}

/** Generic Address Structure of an I/O port. §5.2.3.2, tables 5.1 and 5.2. */
export function ioAddress(
  port: number,
  widthBytes: 1 | 2 | 4,
  registerBits = widthBytes * 8,
): number[] {
  const accessSize = { 1: 1, 2: 2, 4: 3 }[widthBytes];
  const systemIo = 1;
  return [systemIo, registerBits, 0, accessSize, ...littleEndian(port, 8)];
}

/** Generic Address Structure of memory, 64 bits wide, any access size. */
export function memoryAddress(gpa: number): number[] {
  const systemMemory = 0;
  return [systemMemory, 64, 0, 0, ...littleEndian(gpa, 8)];
}

/** An absent register. */
export const NO_ADDRESS: readonly number[] = new Array(12).fill(0);
export { OEM_ID };
