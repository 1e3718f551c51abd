// Messages of 9P2000.L: numbers, fields and qids. Protocol: the Plan 9 manual, section 5, and the
// description of the Linux extension in diod's protocol.md. All integers are little-endian; a
// string is a u16 length and UTF-8.

import { loadLittleEndian, storeLittleEndian } from '@mimic/base';
import type { FileKind, FolderErrorCode } from './host-folder.ts';

/** Requests; the reply's number is one higher. */
export const P9 = {
  lerror: 6,
  statfs: 8,
  lopen: 12,
  lcreate: 14,
  symlink: 16,
  rename: 20,
  readlink: 22,
  getattr: 24,
  setattr: 26,
  readdir: 40,
  fsync: 50,
  lock: 52,
  getlock: 54,
  mkdir: 72,
  renameat: 74,
  unlinkat: 76,
  version: 100,
  attach: 104,
  flush: 108,
  walk: 110,
  read: 116,
  write: 118,
  clunk: 120,
  remove: 122,
} as const;

/** size u32, type u8, tag u16. */
export const P9_HEADER_BYTES = 7;
/** Bytes of a message; Linux's virtio transport uses up to 500 KiB. */
export const P9_MSIZE_MAX = 512 * 1024;
export const P9_MSIZE_MIN = 4096;
export const P9_NAME_BYTES_MAX = 255;
const STRING_BYTES_MAX = 4096;

/** Ends a request with an error; never leaves the session. */
export class Fault extends Error {
  readonly code: FolderErrorCode;

  constructor(code: FolderErrorCode) {
    super(code);
    this.code = code;
  }
}

export class MessageReader {
  readonly #bytes: Uint8Array;
  #offset: number;

  constructor(bytes: Uint8Array, offset: number) {
    this.#bytes = bytes;
    this.#offset = offset;
  }

  number(size: 1 | 2 | 4): number {
    return loadLittleEndian(this.#bytes, this.#take(size), size);
  }

  /** A u64; beyond 2^53 it is some number beyond 2^53. */
  u64(): number {
    const low = this.number(4);
    return this.number(4) * 2 ** 32 + low;
  }

  /** A copy. */
  bytes(length: number): Uint8Array {
    const start = this.#take(length);
    return this.#bytes.slice(start, start + length);
  }

  /** Deviation: names that are not UTF-8 are refused. */
  string(): string {
    const length = this.number(2);
    if (length > STRING_BYTES_MAX) throw new Fault('ENAMETOOLONG');
    try {
      return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(this.bytes(length));
    } catch {
      throw new Fault('EINVAL');
    }
  }

  /**
   * One name of a path: what cannot be a name in a directory is refused here, once for all
   * requests.
   */
  name(): string {
    const name = this.string();
    if (name === '' || name === '.' || name === '..' || /[/\0]/.test(name)) {
      throw new Fault('EINVAL');
    }
    if (new TextEncoder().encode(name).length > P9_NAME_BYTES_MAX) throw new Fault('ENAMETOOLONG');
    return name;
  }

  #take(length: number): number {
    const start = this.#offset;
    if (start + length > this.#bytes.length) throw new Fault('EINVAL');
    this.#offset += length;
    return start;
  }
}

export class MessageWriter {
  readonly #fields: Uint8Array[] = [];
  #length = 0;

  get length(): number {
    return this.#length;
  }

  number(size: 1 | 2 | 4, value: number): this {
    const field = new Uint8Array(size);
    storeLittleEndian(field, 0, size, value);
    return this.bytes(field);
  }

  u64(value: number): this {
    return this.number(4, value % 2 ** 32).number(4, Math.floor(value / 2 ** 32));
  }

  bytes(bytes: Uint8Array): this {
    this.#fields.push(bytes);
    this.#length += bytes.length;
    return this;
  }

  string(text: string): this {
    const bytes = new TextEncoder().encode(text);
    return this.number(2, bytes.length).bytes(bytes);
  }

  /** Seconds and nanoseconds. */
  time(milliseconds: number): this {
    const seconds = Math.floor(milliseconds / 1000);
    const nanoseconds = Math.floor((milliseconds - seconds * 1000) * 1e6);
    return this.u64(Math.max(0, seconds)).u64(nanoseconds);
  }

  /** type u8, version u32, path u64. */
  qid(file: { kind: FileKind; inode: number; version?: number }): this {
    return this.number(1, QID_TYPE[file.kind])
      .number(4, file.version ?? 0)
      .u64(file.inode);
  }

  message(type: number, tag: number): Uint8Array {
    const bytes = new Uint8Array(P9_HEADER_BYTES + this.#length);
    storeLittleEndian(bytes, 0, 4, bytes.length);
    bytes[4] = type;
    storeLittleEndian(bytes, 5, 2, tag);
    let offset = P9_HEADER_BYTES;
    for (const field of this.#fields) {
      bytes.set(field, offset);
      offset += field.length;
    }
    return bytes;
  }
}

const QID_TYPE: Record<FileKind, number> = { directory: 0x80, symlink: 0x02, file: 0, other: 0 };
