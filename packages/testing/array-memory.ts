// Guest RAM in one array, for tests of devices that reach into memory by themselves.

import type { GuestMemory } from '@mimic/base';

/**
 * RAM from address 0, without holes. Notes which ranges were written, as code caches would be told.
 */
export class ArrayMemory implements GuestMemory {
  readonly bytes: Uint8Array;
  /** Ranges written through any of the methods, or told by `written`. */
  readonly writes: { gpa: number; lengthBytes: number }[] = [];
  readonly #view: DataView;

  /** Shared memory, as in a real machine, so that what cannot work on it fails here too. */
  constructor(sizeBytes: number) {
    this.bytes = new Uint8Array(new SharedArrayBuffer(sizeBytes));
    this.#view = new DataView(this.bytes.buffer);
  }

  get sizeBytes(): number {
    return this.bytes.length;
  }

  read(gpa: number, into: Uint8Array): boolean {
    if (!this.#contains(gpa, into.length)) return false;
    into.set(this.bytes.subarray(gpa, gpa + into.length));
    return true;
  }

  write(gpa: number, from: Uint8Array): boolean {
    if (!this.#contains(gpa, from.length)) return false;
    this.bytes.set(from, gpa);
    this.written(gpa, from.length);
    return true;
  }

  readU16(gpa: number): number | undefined {
    return this.#contains(gpa, 2) ? this.#view.getUint16(gpa, true) : undefined;
  }

  readU32(gpa: number): number | undefined {
    return this.#contains(gpa, 4) ? this.#view.getUint32(gpa, true) : undefined;
  }

  readU64(gpa: number): bigint | undefined {
    return this.#contains(gpa, 8) ? this.#view.getBigUint64(gpa, true) : undefined;
  }

  writeU16(gpa: number, value: number): boolean {
    if (!this.#contains(gpa, 2)) return false;
    this.#view.setUint16(gpa, value, true);
    this.written(gpa, 2);
    return true;
  }

  writeU32(gpa: number, value: number): boolean {
    if (!this.#contains(gpa, 4)) return false;
    this.#view.setUint32(gpa, value, true);
    this.written(gpa, 4);
    return true;
  }

  writeU64(gpa: number, value: bigint): boolean {
    if (!this.#contains(gpa, 8)) return false;
    this.#view.setBigUint64(gpa, value, true);
    this.written(gpa, 8);
    return true;
  }

  view(gpa: number, lengthBytes: number): Uint8Array | undefined {
    if (!this.#contains(gpa, lengthBytes)) return undefined;
    return this.bytes.subarray(gpa, gpa + lengthBytes);
  }

  written(gpa: number, lengthBytes: number): void {
    this.writes.push({ gpa, lengthBytes });
  }

  #contains(gpa: number, lengthBytes: number): boolean {
    return gpa >= 0 && gpa + lengthBytes <= this.bytes.length;
  }
}
