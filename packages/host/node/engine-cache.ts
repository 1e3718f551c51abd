// The processor's engines as files, so that a process need not build one that an earlier process built from the same
// sources. A file says by its name what it was made from, and begins with a digest of the rest. What cannot be read or
// written is as good as not there.

import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import v8 from 'node:v8';
import type { EngineData, EngineKind } from '@mimic/machine';

const DIGEST_BYTES = 32;
/** Files that are kept: of several checkouts, or versions, each may have its own. */
const KEPT_MAX = 12;
/** What an engine is made by. */
const SOURCES = ['@mimic/cpu', '@mimic/base'];

export class EngineCache {
  readonly #folder: string;
  readonly #sources: readonly string[];

  /** `sources`: folders whose files decide whether an engine still counts. */
  constructor(folder: string, sources: readonly string[] = SOURCES.map(folderOf)) {
    this.#folder = folder;
    this.#sources = sources;
  }

  async read(kind: EngineKind): Promise<EngineData | undefined> {
    try {
      const file = await readFile(await this.#file(kind));
      const content = file.subarray(DIGEST_BYTES);
      if (!digest(content).equals(file.subarray(0, DIGEST_BYTES))) return undefined;
      return v8.deserialize(content) as EngineData;
    } catch {
      return undefined;
    }
  }

  /** Resolves when it has been written, or could not be. */
  async write(engine: EngineData): Promise<void> {
    try {
      await mkdir(this.#folder, { recursive: true });
      const file = await this.#file(engine.processors);
      const content = v8.serialize(engine);
      // Others may read or write the same file at this moment.
      const unfinished = `${file}.${process.pid}`;
      await writeFile(unfinished, Buffer.concat([digest(content), content]));
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

  #name: Promise<string> | undefined;
  async #file(kind: EngineKind): Promise<string> {
    this.#name ??= nameOf(this.#sources);
    return join(this.#folder, `${await this.#name}-${kind}.engine`);
  }
}

function digest(content: Uint8Array): Buffer {
  return createHash('sha256').update(content).digest();
}

function folderOf(packageName: string): string {
  return dirname(fileURLToPath(import.meta.resolve(packageName)));
}

/** A digest of all sources, and of the V8 whose serialization the file has. */
async function nameOf(folders: readonly string[]): Promise<string> {
  const hash = createHash('sha256').update(process.versions.v8);
  for (const folder of folders) {
    const entries = await readdir(folder, { recursive: true, withFileTypes: true });
    const files = entries
      .filter((entry) => entry.isFile() && isSource(entry.name))
      .map((entry) => join(entry.parentPath, entry.name));
    for (const file of files.toSorted()) hash.update(file).update(await readFile(file));
  }
  return hash.digest('hex').slice(0, 32);
}

function isSource(name: string): boolean {
  return /\.[jt]s$/.test(name) && !/\.test\.[jt]s$/.test(name);
}
