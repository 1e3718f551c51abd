// Guest RAM for tests: one buffer with the hole for VGA memory below 1 MiB. Imported by tests only.

import type { GuestMemory } from '@mimic/base';

const HOLE_START = 0xa_0000;
const HOLE_END = 0xc_0000;

export class FlatMemory implements GuestMemory {
  readonly sizeBytes: number;
  readonly bytes: Uint8Array;
  readonly #data: DataView;

  constructor(sizeBytes: number) {
    this.sizeBytes = sizeBytes;
    this.bytes = new Uint8Array(sizeBytes);
    this.#data = new DataView(this.bytes.buffer);
  }

  read(gpa: number, into: Uint8Array): boolean {
    if (!this.#isRam(gpa, into.length)) return false;
    into.set(this.bytes.subarray(gpa, gpa + into.length));
    return true;
  }

  write(gpa: number, from: Uint8Array): boolean {
    if (!this.#isRam(gpa, from.length)) return false;
    this.bytes.set(from, gpa);
    return true;
  }

  readU16(gpa: number): number | undefined {
    return this.#isRam(gpa, 2) ? this.#data.getUint16(gpa, true) : undefined;
  }

  readU32(gpa: number): number | undefined {
    return this.#isRam(gpa, 4) ? this.#data.getUint32(gpa, true) : undefined;
  }

  readU64(gpa: number): bigint | undefined {
    return this.#isRam(gpa, 8) ? this.#data.getBigUint64(gpa, true) : undefined;
  }

  writeU16(gpa: number, value: number): boolean {
    if (!this.#isRam(gpa, 2)) return false;
    this.#data.setUint16(gpa, value, true);
    return true;
  }

  writeU32(gpa: number, value: number): boolean {
    if (!this.#isRam(gpa, 4)) return false;
    this.#data.setUint32(gpa, value, true);
    return true;
  }

  writeU64(gpa: number, value: bigint): boolean {
    if (!this.#isRam(gpa, 8)) return false;
    this.#data.setBigUint64(gpa, value, true);
    return true;
  }

  view(gpa: number, lengthBytes: number): Uint8Array | undefined {
    if (!this.#isRam(gpa, lengthBytes)) return undefined;
    return this.bytes.subarray(gpa, gpa + lengthBytes);
  }

  written(): void {}

  #isRam(gpa: number, lengthBytes: number): boolean {
    const inside = gpa >= 0 && gpa + lengthBytes <= this.sizeBytes;
    return inside && (gpa + lengthBytes <= HOLE_START || gpa >= HOLE_END);
  }
}
