// A raw disk image as the block device in the worker sees it: plain reads and writes at offsets, done at once.
// With `snapshot`, writes stay in memory and the image is left as it was.

import { fdatasyncSync, readSync, writeSync } from 'node:fs';
import { assert } from '@mimic/base';
import type { OpenImage } from './disk-image.ts';

/** A snapshot keeps at most this much in memory; the guest sees an I/O error for what does not fit. */
export const SNAPSHOT_SIZE_MAX_BYTES = 1 << 30;
const BLOCK_BYTES = 1 << 16;

/** Fails by returning false: an I/O error of the guest's disk. Offsets and lengths were checked by the caller. */
export class FileStore {
  readonly sizeBytes: number;
  readonly readOnly: boolean;
  readonly #image: OpenImage;
  readonly #written: Map<number, Uint8Array> | undefined;

  constructor(image: OpenImage) {
    this.#image = image;
    this.sizeBytes = image.sizeBytes;
    this.readOnly = image.readOnly;
    this.#written = image.snapshot ? new Map() : undefined;
  }

  read(offset: number, into: Uint8Array): boolean {
    assert(offset >= 0 && offset + into.length <= this.sizeBytes, 'the device checked the range');
    if (this.#written === undefined) return this.#readFile(offset, into);
    for (const piece of blocks(offset, into)) {
      const block = this.#written.get(piece.index);
      if (block === undefined) {
        if (!this.#readFile(piece.index * BLOCK_BYTES + piece.start, piece.bytes)) return false;
      } else {
        piece.bytes.set(block.subarray(piece.start, piece.start + piece.bytes.length));
      }
    }
    return true;
  }

  write(offset: number, from: Uint8Array): boolean {
    assert(offset >= 0 && offset + from.length <= this.sizeBytes, 'the device checked the range');
    if (this.readOnly) return false;
    if (this.#written === undefined) return this.#writeFile(offset, from);
    for (const piece of blocks(offset, from)) {
      const block = this.#written.get(piece.index) ?? this.#copyBlock(piece.index);
      if (block === undefined) return false;
      block.set(piece.bytes, piece.start);
    }
    return true;
  }

  /** Makes what was written survive a crash of the host. */
  flush(): boolean {
    if (this.readOnly || this.#written !== undefined) return true;
    return succeeds(() => fdatasyncSync(this.#image.fd));
  }

  #copyBlock(index: number): Uint8Array | undefined {
    const written = this.#written;
    assert(written !== undefined, 'only a snapshot copies blocks');
    if (written.size >= SNAPSHOT_SIZE_MAX_BYTES / BLOCK_BYTES) return undefined;
    const start = index * BLOCK_BYTES;
    const block = new Uint8Array(Math.min(BLOCK_BYTES, this.sizeBytes - start));
    if (!this.#readFile(start, block)) return undefined;
    written.set(index, block);
    return block;
  }

  #readFile(offset: number, into: Uint8Array): boolean {
    return succeeds(() => {
      for (let done = 0; done < into.length; ) {
        const count = readSync(this.#image.fd, into, done, into.length - done, offset + done);
        if (count === 0) throw new Error('the image became shorter');
        done += count;
      }
    });
  }

  #writeFile(offset: number, from: Uint8Array): boolean {
    return succeeds(() => {
      for (let done = 0; done < from.length; ) {
        done += writeSync(this.#image.fd, from, done, from.length - done, offset + done);
      }
    });
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

/** False where the host's file system refuses (no space, a device that went away): never an exception. */
function succeeds(work: () => void): boolean {
  try {
    work();
    return true;
  } catch {
    return false;
  }
}
