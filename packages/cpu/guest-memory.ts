// Guest RAM as devices reach it. Writes mark pages dirty and drop code decoded from them, as the processor's own do.

import type { GuestMemory } from '@mimic/base';
import type { BlockStore } from './decode/block-store.ts';
import {
  type MemoryLayout,
  PAGE,
  PAGE_BYTES,
  PAGE_FLAGS_BASE,
  RAM_BASE,
} from './state/memory-map.ts';

export class SharedGuestMemory implements GuestMemory {
  readonly sizeBytes: number;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #blocks: Pick<BlockStore, 'invalidate'>;

  constructor(options: {
    memory: WebAssembly.Memory;
    layout: MemoryLayout;
    blocks: Pick<BlockStore, 'invalidate'>;
  }) {
    this.sizeBytes = options.layout.ramBytes;
    this.#bytes = new Uint8Array(options.memory.buffer);
    this.#view = new DataView(options.memory.buffer);
    this.#blocks = options.blocks;
  }

  /** Takes whole pages out of RAM: accesses to them go to the bus. Before the machine runs. */
  exclude(gpa: number, lengthBytes: number): void {
    for (let at = gpa; at < Math.min(gpa + lengthBytes, this.sizeBytes); at += PAGE_BYTES) {
      this.#bytes[PAGE_FLAGS_BASE + at / PAGE_BYTES]! |= PAGE.notRam;
    }
  }

  /** Host offset of a range that is RAM throughout, or -1. */
  #locate(gpa: number, lengthBytes: number): number {
    if (!(gpa >= 0 && lengthBytes >= 0 && gpa + lengthBytes <= this.sizeBytes)) return -1;
    for (let page = Math.floor(gpa / PAGE_BYTES); page * PAGE_BYTES < gpa + lengthBytes; page++) {
      if (this.#bytes[PAGE_FLAGS_BASE + page]! & PAGE.notRam) return -1;
    }
    return RAM_BASE + gpa;
  }
  view(gpa: number, lengthBytes: number): Uint8Array | undefined {
    const offset = this.#locate(gpa, lengthBytes);
    return offset < 0 ? undefined : this.#bytes.subarray(offset, offset + lengthBytes);
  }
  written(gpa: number, lengthBytes: number): void {
    if (lengthBytes <= 0 || this.#locate(gpa, lengthBytes) < 0) return;
    let hasCode = false;
    for (let page = Math.floor(gpa / PAGE_BYTES); page * PAGE_BYTES < gpa + lengthBytes; page++) {
      // Atomic also because the bytes must be there before the flag is looked at: BlockStore sets it, then reads them.
      const flags = Atomics.or(this.#bytes, PAGE_FLAGS_BASE + page, PAGE.dirty);
      if (flags & PAGE.hasCode) hasCode = true;
    }
    if (hasCode) this.#blocks.invalidate(gpa, lengthBytes);
  }
  read(gpa: number, into: Uint8Array): boolean {
    const offset = this.#locate(gpa, into.length);
    if (offset < 0) return false;
    into.set(this.#bytes.subarray(offset, offset + into.length));
    return true;
  }
  write(gpa: number, from: Uint8Array): boolean {
    const offset = this.#locate(gpa, from.length);
    if (offset < 0) return false;
    this.#bytes.set(from, offset);
    this.written(gpa, from.length);
    return true;
  }
  readU16(gpa: number): number | undefined {
    const offset = this.#locate(gpa, 2);
    return offset < 0 ? undefined : this.#view.getUint16(offset, true);
  }
  readU32(gpa: number): number | undefined {
    const offset = this.#locate(gpa, 4);
    return offset < 0 ? undefined : this.#view.getUint32(offset, true);
  }
  readU64(gpa: number): bigint | undefined {
    const offset = this.#locate(gpa, 8);
    return offset < 0 ? undefined : this.#view.getBigUint64(offset, true);
  }
  writeU16(gpa: number, value: number): boolean {
    return this.#store(gpa, 2, (offset) => this.#view.setUint16(offset, value, true));
  }
  writeU32(gpa: number, value: number): boolean {
    return this.#store(gpa, 4, (offset) => this.#view.setUint32(offset, value, true));
  }
  writeU64(gpa: number, value: bigint): boolean {
    return this.#store(gpa, 8, (offset) => this.#view.setBigUint64(offset, value, true));
  }
  #store(gpa: number, lengthBytes: number, store: (offset: number) => void): boolean {
    const offset = this.#locate(gpa, lengthBytes);
    if (offset < 0) return false;
    store(offset);
    this.written(gpa, lengthBytes);
    return true;
  }
}
