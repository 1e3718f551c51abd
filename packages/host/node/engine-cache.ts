// The processor's engines as files, so that a process need not build one that an earlier process built from the same
// sources. A file says by its name what it was made from, and begins with a digest of the rest. What cannot be read or
// written is as good as not there.

import { renameSync, rmSync, writeFileSync } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import v8 from 'node:v8';
import type { EngineData, EngineKind } from '@mimic/machine';
import { CODE_FILE_MODE, isOurs } from './cache-folder.ts';
import { DIGEST_BYTES, digest } from './compiled-code.ts';

/** Files that are kept: of several checkouts, or versions, each may have its own. */
const KEPT_MAX = 24;

/** What V8 made of an engine. */
export interface EngineCode {
  /** Of `compiledCode`. */
  readonly code: Uint8Array<ArrayBuffer>;
  /** How many functions it has. */
  readonly optimised: number;
}

export class EngineCache {
  readonly #folder: string;
  readonly #sources: string;

  /** `sources`: names what decides whether an engine still counts (sources.ts). */
  constructor(folder: string, sources: string) {
    this.#folder = folder;
    this.#sources = sources;
  }

  async read(kind: EngineKind): Promise<EngineData | undefined> {
    return (await this.#read(this.#file(kind, 'engine'))) as EngineData | undefined;
  }
  async readCode(kind: EngineKind): Promise<EngineCode | undefined> {
    return (await this.#read(this.#file(kind, 'code'))) as EngineCode | undefined;
  }

  /** Resolves when it has been written, or could not be. */
  async write(engine: EngineData): Promise<void> {
    await this.#write(this.#file(engine.processors, 'engine'), engine);
  }
  writeCode(kind: EngineKind, code: EngineCode): void {
    const file = this.#file(kind, 'code');
    const unfinished = unfinishedName(file);
    try {
      writeFileSync(unfinished, contentOf(code), { mode: CODE_FILE_MODE });
      renameSync(unfinished, file);
    } catch {
      rmSync(unfinished, { force: true });
    }
  }

  async #read(path: string): Promise<unknown> {
    try {
      if (!isOurs(await stat(path))) return undefined;
      const file = await readFile(path);
      const content = file.subarray(DIGEST_BYTES);
      if (!digest(content).equals(file.subarray(0, DIGEST_BYTES))) return undefined;
      return v8.deserialize(content);
    } catch {
      return undefined;
    }
  }

  async #write(file: string, value: object): Promise<void> {
    try {
      await mkdir(this.#folder, { recursive: true });
      const unfinished = unfinishedName(file);
      await writeFile(unfinished, contentOf(value), { mode: CODE_FILE_MODE });
      await rename(unfinished, file);
      await this.#forgetOldest();
    } catch {
      // The next process builds it again.
    }
  }

  async #forgetOldest(): Promise<void> {
    const files = (await readdir(this.#folder)).map((name) => join(this.#folder, name));
    const times = await Promise.all(files.map(async (file) => (await stat(file)).mtimeMs));
    const order = [...files.keys()].toSorted((a, b) => times[b]! - times[a]!);
    for (const n of order.slice(KEPT_MAX)) await rm(files[n]!, { force: true });
  }

  #file(kind: EngineKind, what: 'engine' | 'code'): string {
    return join(this.#folder, `${this.#sources}-${kind}.${what}`);
  }
}

/** Others may read or write the same file at this moment. */
function unfinishedName(file: string): string {
  return `${file}.${process.pid}`;
}

function contentOf(value: object): Buffer {
  const content = v8.serialize(value);
  return Buffer.concat([digest(content), content]);
}
