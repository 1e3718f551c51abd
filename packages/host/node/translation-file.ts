// The file of kept translations: pieces (WebAssembly, V8's code of it) and behind them an index that says where each
// lies. A file is never changed: another takes its place as a whole, and who has the old one open still reads that.
//
//   header   digest of the rest of it and of the index; where the index is, its size
//   pieces
//   index    v8.serialize of an Index
//
// Pieces have digests of their own: WebAssembly by its entry's `id`, code by its beginning (compiled-code.ts).

import {
  closeSync,
  fstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import v8 from 'node:v8';
import { threadId } from 'node:worker_threads';
import { CODE_FILE_MODE, isOurs } from './cache-folder.ts';
import { DIGEST_BYTES, digest } from './compiled-code.ts';

/** Of one file. */
export const TRANSLATION_FILE_BYTES_MAX: number = 64 << 20;
/** Files in the folder, of several versions and kinds of machines: the newest. */
export const TRANSLATION_FILES_MAX = 8;
const HEADER_BYTES = DIGEST_BYTES + 16;
/** What the index has of an entry besides its description, at most. */
const ENTRY_BYTES = 512;

type Bytes = Uint8Array<ArrayBuffer>;

export interface Extent {
  readonly at: number;
  readonly size: number;
}

/** What is known of a kept module. */
export interface Facts {
  /** Digest of its WebAssembly and its description, in hexadecimal. */
  readonly id: string;
  /** What the translator knows of it, serialized. */
  readonly description: Bytes;
  /** Functions that the kept code has, of how many. */
  readonly optimised: number;
  readonly functions: number;
  /** The last run that used it. */
  readonly lastUsed: number;
}

export interface Entry extends Facts {
  readonly bytes: Extent;
  readonly code: Extent | undefined;
}

interface Index {
  /** Runs so far that wrote the file. */
  readonly runs: number;
  /** Used last come first. */
  readonly entries: readonly Entry[];
}

/** A module to be written: its pieces are asked for one after the other, and those of one module written before others. */
export interface Draft extends Facts {
  bytes(): Bytes | undefined;
  code(): Bytes | undefined;
}

export class TranslationFile {
  readonly #file: number;
  readonly #memory = { bytes: new Uint8Array(0), code: new Uint8Array(0) };
  readonly runs: number;
  readonly entries: readonly Entry[];

  private constructor(file: number, { runs, entries }: Index) {
    this.#file = file;
    this.runs = runs;
    this.entries = entries;
  }

  /** Undefined when there is none, it is damaged, or may be another user's. */
  static open(path: string): TranslationFile | undefined {
    let file: number | undefined;
    try {
      file = openSync(path, 'r');
      const index = isOurs(fstatSync(file)) ? readIndex(file) : undefined;
      if (index) return new TranslationFile(file, index);
    } catch {
      // As if not there.
    }
    if (file !== undefined) closeSync(file);
    return undefined;
  }

  /** Undefined when it cannot be read. Whether it is what was written is for the reader to find out. */
  read(extent: Extent): Bytes | undefined {
    return readExtent(this.#file, extent);
  }
  /**
   * The same for one moment: in memory that the next of its kind is read into. Whoever copies a file would else have all
   * of it as garbage that waits for its collection.
   */
  readForNow(kind: 'bytes' | 'code', extent: Extent): Bytes | undefined {
    let memory = this.#memory[kind];
    if (memory.length < extent.size && extent.size <= TRANSLATION_FILE_BYTES_MAX)
      memory = this.#memory[kind] = new Uint8Array(extent.size);
    return readExtent(this.#file, extent, memory);
  }

  close(): void {
    closeSync(this.#file);
  }
}

function readIndex(file: number): Index | undefined {
  const header = readExtent(file, { at: 0, size: HEADER_BYTES });
  if (!header) return undefined;
  const view = new DataView(header.buffer);
  const at = view.getFloat64(DIGEST_BYTES);
  const size = view.getUint32(DIGEST_BYTES + 8);
  const content = readExtent(file, { at, size });
  if (!content) return undefined;
  const expected = headerOf({ at, size }, content);
  return expected.equals(header) ? (v8.deserialize(content) as Index) : undefined;
}

function headerOf({ at, size }: Extent, index: Bytes): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeDoubleBE(at, DIGEST_BYTES);
  header.writeUInt32BE(size, DIGEST_BYTES + 8);
  const rest = header.subarray(DIGEST_BYTES);
  digest(Buffer.concat([rest, index])).copy(header);
  return header;
}

/** `memory` is used where it is large enough. */
function readExtent(file: number, { at, size }: Extent, memory?: Bytes): Bytes | undefined {
  try {
    // A damaged header may say anything.
    if (!(at >= 0 && at + size <= fstatSync(file).size)) return undefined;
    const isRoom = memory !== undefined && memory.length >= size;
    const bytes = isRoom ? memory.subarray(0, size) : new Uint8Array(size);
    return readSync(file, bytes, 0, size, at) === size ? bytes : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Puts a file in the place of what is there. Modules that come last may find no room; those whose pieces cannot be read
 * are left out. Throws what the system says, with nothing changed.
 */
export function writeTranslations(
  path: string,
  runs: number,
  drafts: readonly Draft[],
  bytesMax: number = TRANSLATION_FILE_BYTES_MAX,
): void {
  const folder = dirname(path);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const unfinished = `${path}.${process.pid}-${threadId}`;
  try {
    const file = openSync(unfinished, 'w', CODE_FILE_MODE);
    try {
      writeAll(file, runs, { drafts, bytesMax });
    } finally {
      closeSync(file);
    }
    renameSync(unfinished, path);
  } catch (error) {
    rmSync(unfinished, { force: true });
    throw error;
  }
  forgetOldest(folder);
}

function writeAll(
  file: number,
  runs: number,
  { drafts, bytesMax }: { drafts: readonly Draft[]; bytesMax: number },
): void {
  const entries: Entry[] = [];
  let at = HEADER_BYTES;
  let indexBytes = ENTRY_BYTES;
  const write = (bytes: Uint8Array): Extent => {
    const extent = { at, size: bytes.length };
    writeWhole(file, bytes, at);
    at += bytes.length;
    return extent;
  };
  for (const draft of drafts) {
    const { id, description, functions, lastUsed } = draft;
    const [bytes, code] = [draft.bytes(), draft.code()];
    const size = (bytes?.length ?? 0) + (code?.length ?? 0);
    const known = ENTRY_BYTES + description.length;
    if (!bytes || at + size + indexBytes + known > bytesMax) continue;
    indexBytes += known;
    const optimised = code ? draft.optimised : 0;
    const facts = { id, description, optimised, functions, lastUsed };
    entries.push({ ...facts, bytes: write(bytes), code: code && write(code) });
  }
  const index = new Uint8Array(v8.serialize({ runs, entries } satisfies Index));
  writeWhole(file, headerOf(write(index), index), 0);
}

/** A disk that is nearly full takes a part. */
function writeWhole(file: number, bytes: Uint8Array, at: number): void {
  for (let done = 0; done < bytes.length; )
    done += writeSync(file, bytes, done, bytes.length - done, at + done);
}

/** Unfinished ones of processes that are gone go too, in their time. */
function forgetOldest(folder: string): void {
  const files = readdirSync(folder).map((name) => join(folder, name));
  const times = files.map((path) => statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0);
  const order = [...files.keys()].toSorted((a, b) => times[b]! - times[a]!);
  for (const n of order.slice(TRANSLATION_FILES_MAX)) rmSync(files[n]!, { force: true });
}
