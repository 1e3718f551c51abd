// A raw disk image as the block device in the worker sees it: plain reads and writes at offsets, done at once.
// With `snapshot`, writes stay in memory and the image is left as it was.

import { fdatasyncSync, readSync, writeSync } from 'node:fs';
import { AssertionError, assert } from '@mimic/base';
import type { OpenImage } from './disk-image.ts';

/** A snapshot keeps at most this much in memory; the guest sees an I/O error for what does not fit. */
export const SNAPSHOT_SIZE_MAX_BYTES = 1 << 30;
const BLOCK_BYTES = 1 << 16;

/** Why a request failed; the guest sees an I/O error. */
interface Failure {
  readonly message: string;
}
type Done = (error?: Failure) => void;

/** A block device's store. Everything is done during the call. Offsets and lengths were checked by the device. */
export class FileStore {
  readonly sizeBytes: number;
  readonly readOnly: boolean;
  readonly serial: string;
  readonly #image: OpenImage;
  readonly #written: Map<number, Uint8Array> | undefined;

  constructor(image: OpenImage) {
    this.#image = image;
    this.sizeBytes = image.sizeBytes;
    this.readOnly = image.readOnly;
    this.serial = image.serial;
    this.#written = image.snapshot ? new Map() : undefined;
  }

  read(offset: number, into: readonly Uint8Array[], done: Done): void {
    this.#each(offset, into, done, (at, bytes) => this.#read(at, bytes));
  }

  write(offset: number, from: readonly Uint8Array[], done: Done): void {
    if (this.readOnly) done({ message: `${this.#image.path} is read-only` });
    else this.#each(offset, from, done, (at, bytes) => this.#write(at, bytes));
  }

  flush(done: Done): void {
    const inMemory = this.readOnly || this.#written !== undefined;
    done(inMemory ? undefined : failureOf(() => fdatasyncSync(this.#image.fd)));
  }

  #each(
    offset: number,
    buffers: readonly Uint8Array[],
    done: Done,
    work: (at: number, bytes: Uint8Array) => void,
  ): void {
    const failure = failureOf(() => {
      let at = offset;
      for (const bytes of buffers) {
        assert(at >= 0 && at + bytes.length <= this.sizeBytes, 'the device checked the range');
        work(at, bytes);
        at += bytes.length;
      }
    });
    done(failure);
  }

  #read(offset: number, into: Uint8Array): void {
    if (this.#written === undefined) {
      this.#readFile(offset, into);
      return;
    }
    for (const piece of blocks(offset, into)) {
      const block = this.#written.get(piece.index);
      if (block === undefined) this.#readFile(piece.index * BLOCK_BYTES + piece.start, piece.bytes);
      else piece.bytes.set(block.subarray(piece.start, piece.start + piece.bytes.length));
    }
  }

  #write(offset: number, from: Uint8Array): void {
    if (this.#written === undefined) {
      this.#writeFile(offset, from);
      return;
    }
    for (const piece of blocks(offset, from)) {
      const block = this.#written.get(piece.index) ?? this.#copyBlock(this.#written, piece.index);
      block.set(piece.bytes, piece.start);
    }
  }

  #copyBlock(written: Map<number, Uint8Array>, index: number): Uint8Array {
    if (written.size >= SNAPSHOT_SIZE_MAX_BYTES / BLOCK_BYTES) {
      throw new Error('the snapshot has no room for more');
    }
    const start = index * BLOCK_BYTES;
    const block = new Uint8Array(Math.min(BLOCK_BYTES, this.sizeBytes - start));
    this.#readFile(start, block);
    written.set(index, block);
    return block;
  }

  #readFile(offset: number, into: Uint8Array): void {
    for (let done = 0; done < into.length; ) {
      const count = readSync(this.#image.fd, into, done, into.length - done, offset + done);
      if (count === 0) throw new Error('the image became shorter');
      done += count;
    }
  }

  #writeFile(offset: number, from: Uint8Array): void {
    for (let done = 0; done < from.length; ) {
      done += writeSync(this.#image.fd, from, done, from.length - done, offset + done);
    }
  }
}

function* blocks(
  offset: number,
  bytes: Uint8Array,
): Generator<{ index: number; start: number; bytes: Uint8Array }> {
  for (let done = 0; done < bytes.length; ) {
    const start = (offset + done) % BLOCK_BYTES;
    const count = Math.min(bytes.length - done, BLOCK_BYTES - start);
    const index = Math.floor((offset + done) / BLOCK_BYTES);
    yield { index, start, bytes: bytes.subarray(done, done + count) };
    done += count;
  }
}

/** What the host's file system had against it (no space, a device that went away), as a value. */
function failureOf(work: () => void): Failure | undefined {
  try {
    work();
    return undefined;
  } catch (error) {
    if (error instanceof AssertionError) throw error;
    return { message: error instanceof Error ? error.message : String(error) };
  }
}
