// A descriptor chain as devices see it: a readable and a writable part, each one stream of bytes
// however the driver cut it into buffers (virtio 1.2 §2.7.4.2, message framing). Bytes are copied,
// never lent: requests outlive the call that took them, and host back ends cannot all work on
// shared memory.

import { type GuestMemory, loadLittleEndian, storeLittleEndian } from '@mimic/base';

/**
 * Descriptors in one chain, indirect ones included. Drivers stay at the queue's size (§2.7.5.3.1).
 */
export const CHAIN_LENGTH_MAX = 1024;
/** Bytes in one chain. §2.7.5.2. */
export const CHAIN_BYTES_MAX = 2 ** 32;

export interface Segment {
  readonly gpa: number;
  readonly lengthBytes: number;
}

/** One part of a chain with a position that moves with each transfer. */
class SegmentStream {
  readonly #memory: GuestMemory;
  readonly #segments: readonly Segment[];
  #index = 0;
  #offset = 0;
  #position = 0;
  readonly sizeBytes: number;

  constructor(memory: GuestMemory, segments: readonly Segment[]) {
    this.#memory = memory;
    this.#segments = segments;
    this.sizeBytes = segments.reduce((sum, segment) => sum + segment.lengthBytes, 0);
  }

  /** Bytes from the start. */
  get position(): number {
    return this.#position;
  }

  get remaining(): number {
    return this.sizeBytes - this.#position;
  }

  /** Fills `into` as far as the stream goes; returns the bytes read. */
  read(into: Uint8Array): number {
    return this.#each(into.length, (gpa, start, end) =>
      this.#memory.read(gpa, into.subarray(start, end)),
    );
  }

  /** Stores `from` as far as the stream goes; returns the bytes written. */
  write(from: Uint8Array): number {
    return this.#each(from.length, (gpa, start, end) =>
      this.#memory.write(gpa, from.subarray(start, end)),
    );
  }

  skip(lengthBytes: number): number {
    return this.#each(lengthBytes, () => true);
  }

  /** A little-endian number, or undefined if the stream ends before it. */
  readNumber(size: 1 | 2 | 4): number | undefined {
    const bytes = new Uint8Array(size);
    return this.read(bytes) === size ? loadLittleEndian(bytes, 0, size) : undefined;
  }

  /** Stores a little-endian number; false if the stream ends before it. */
  writeNumber(size: 1 | 2 | 4, value: number): boolean {
    const bytes = new Uint8Array(size);
    storeLittleEndian(bytes, 0, size, value);
    return this.write(bytes) === size;
  }

  /**
   * Calls `transfer` for each contiguous run, until it fails. The queue has checked that all are in
   * RAM.
   */
  #each(
    lengthBytes: number,
    transfer: (gpa: number, start: number, end: number) => boolean,
  ): number {
    let done = 0;
    while (done < lengthBytes) {
      const segment = this.#segments[this.#index];
      if (!segment) break;
      const run = Math.min(segment.lengthBytes - this.#offset, lengthBytes - done);
      if (run > 0 && !transfer(segment.gpa + this.#offset, done, done + run)) break;
      done += run;
      this.#offset += run;
      if (this.#offset === segment.lengthBytes) {
        this.#index += 1;
        this.#offset = 0;
      }
    }
    this.#position += done;
    return done;
  }
}

type Positions = 'sizeBytes' | 'position' | 'remaining' | 'skip';
/** What the driver wrote for the device. */
export type ReadableStream = Pick<SegmentStream, Positions | 'read' | 'readNumber'>;
/** Where the device answers. */
export type WritableStream = Pick<SegmentStream, Positions | 'write' | 'writeNumber'>;

export class Chain {
  /** Index of the first descriptor: the chain's name in the used ring. */
  readonly head: number;
  /** The queue's life in which the chain was taken. */
  readonly life: number;
  readonly readable: ReadableStream;
  readonly writable: WritableStream;

  constructor(parts: {
    memory: GuestMemory;
    head: number;
    life: number;
    readable: readonly Segment[];
    writable: readonly Segment[];
  }) {
    this.head = parts.head;
    this.life = parts.life;
    this.readable = new SegmentStream(parts.memory, parts.readable);
    this.writable = new SegmentStream(parts.memory, parts.writable);
  }
}
