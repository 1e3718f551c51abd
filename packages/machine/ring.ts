// A byte queue in shared memory between two threads: one writes, one reads, neither locks.
// Positions run freely modulo 2^32, so a full ring and an empty one differ; the capacity is a power of two.

import { assert } from '@mimic/base';

/** Int32 words at the start of a ring: bytes read so far, bytes written so far. */
const READ = 0;
const WRITTEN = 1;
const HEADER_BYTES = 64;

export class ByteRing {
  readonly capacityBytes: number;
  readonly #positions: Int32Array<SharedArrayBuffer>;
  readonly #bytes: Uint8Array<SharedArrayBuffer>;

  /** Takes `ByteRing.sizeFor(capacityBytes)` bytes of `buffer` from `offset`, a multiple of 4. */
  constructor(buffer: SharedArrayBuffer, offset: number, capacityBytes: number) {
    assert((capacityBytes & (capacityBytes - 1)) === 0, 'a ring holds a power of two bytes');
    this.capacityBytes = capacityBytes;
    this.#positions = new Int32Array(buffer, offset, 2);
    this.#bytes = new Uint8Array(buffer, offset + HEADER_BYTES, capacityBytes);
  }

  static sizeFor(capacityBytes: number): number {
    return HEADER_BYTES + capacityBytes;
  }

  /** Bytes that wait to be read. */
  get length(): number {
    const written = Atomics.load(this.#positions, WRITTEN);
    return (written - Atomics.load(this.#positions, READ)) >>> 0;
  }

  get room(): number {
    return this.capacityBytes - this.length;
  }

  /** Appends as much of `bytes` as there is room for; returns how many bytes that was. */
  write(bytes: Uint8Array): number {
    const count = Math.min(bytes.length, this.room);
    const written = Atomics.load(this.#positions, WRITTEN);
    const start = (written >>> 0) & (this.capacityBytes - 1);
    const beforeWrap = Math.min(count, this.capacityBytes - start);
    this.#bytes.set(bytes.subarray(0, beforeWrap), start);
    this.#bytes.set(bytes.subarray(beforeWrap, count), 0);
    Atomics.store(this.#positions, WRITTEN, (written + count) | 0);
    return count;
  }

  /** The next bytes, up to `lengthMax`, which stay in the ring; a copy. */
  peek(lengthMax: number): Uint8Array<ArrayBuffer> {
    const count = Math.min(lengthMax, this.length);
    const read = Atomics.load(this.#positions, READ);
    const start = (read >>> 0) & (this.capacityBytes - 1);
    const beforeWrap = Math.min(count, this.capacityBytes - start);
    const into = new Uint8Array(count);
    into.set(this.#bytes.subarray(start, start + beforeWrap), 0);
    into.set(this.#bytes.subarray(0, count - beforeWrap), beforeWrap);
    return into;
  }

  /** Drops bytes that `peek` has shown. */
  skip(count: number): void {
    assert(count <= this.length, 'only what is there can be dropped');
    if (count === 0) return;
    Atomics.add(this.#positions, READ, count);
    Atomics.notify(this.#positions, READ);
  }

  /** Takes up to `lengthMax` bytes; the result is a copy and shares nothing with the ring. */
  read(lengthMax: number): Uint8Array<ArrayBuffer> {
    const bytes = this.peek(lengthMax);
    this.skip(bytes.length);
    return bytes;
  }

  /** The writer's side: resolves once the reader has taken something since `room` was last looked at. */
  async roomAfter(room: number): Promise<void> {
    const read = Atomics.load(this.#positions, READ);
    if (this.room !== room) return;
    const wait = Atomics.waitAsync(this.#positions, READ, read);
    if (wait.async) await wait.value;
  }
}
