// The fids of a 9P session: names that the guest's file system gave to files (Plan 9 manual,
// section 5, intro).

import type { FolderEntry, OpenFile } from './host-folder.ts';
import { Fault, type MessageReader } from './p9-messages.ts';

/** Fids at once: what the guest's file system has cached or open. */
export const P9_FIDS_MAX = 16_384;
export const NO_FID = 0xffff_ffff;
/** The access of a fid that is not open. */
export const NOT_OPEN = -1;

export interface FidState {
  fid: number;
  /** Names from the shared root down. */
  path: string[];
  /** Access mode if open. */
  access: number;
}

export class FidTable {
  #fids = new Map<number, FidState>();
  /** What the host has open for a fid. Not state: it is opened anew when missing. */
  readonly #files = new Map<number, OpenFile>();
  readonly listings = new Map<number, FolderEntry[]>();
  /** Counts resets, so that a file opened for an earlier life is closed. */
  life = 0;

  /** The fid that a request names next. */
  get(reader: MessageReader): FidState {
    const entry = this.#fids.get(reader.number(4));
    if (!entry) throw new Fault('EBADF');
    return entry;
  }

  has(fid: number): boolean {
    return this.#fids.has(fid);
  }

  all(): Iterable<FidState> {
    return this.#fids.values();
  }

  remember(fid: number, path: string[]): void {
    if (fid === NO_FID) throw new Fault('EBADF');
    if (!this.#fids.has(fid) && this.#fids.size >= P9_FIDS_MAX) throw new Fault('ENFILE');
    this.forget(fid);
    this.#fids.set(fid, { fid, path, access: NOT_OPEN });
  }

  forget(fid: number): void {
    this.#files.get(fid)?.close();
    this.#files.delete(fid);
    this.listings.delete(fid);
    this.#fids.delete(fid);
  }

  file(fid: number): OpenFile | undefined {
    return this.#files.get(fid);
  }

  setFile(fid: number, file: OpenFile): void {
    this.#files.get(fid)?.close();
    this.#files.set(fid, file);
  }

  clear(): void {
    this.life += 1;
    for (const fid of [...this.#fids.keys()]) this.forget(fid);
  }

  save(): FidState[] {
    return structuredClone([...this.#fids.values()]);
  }

  restore(fids: FidState[]): void {
    this.clear();
    this.#fids = new Map(structuredClone(fids).map((entry) => [entry.fid, entry]));
  }
}
