// Translations that earlier machines left in the user's cache (decision 0025): what the translator knows of them is read
// at the start, their code when it is wanted. What cannot be read or written is as good as not there.

import { createHash } from 'node:crypto';
import { join } from 'node:path';
import v8 from 'node:v8';
import type { KeptModule, MadeModule, TranslationStore } from '@mimic/machine/translator';
import {
  compiledCode,
  digest,
  moduleFunctions,
  moduleOf,
  optimisedCount,
} from './compiled-code.ts';
import { type Draft, type Entry, TranslationFile, writeTranslations } from './translation-file.ts';

type Bytes = Uint8Array<ArrayBuffer>;

/** `sources`: what the translator is made by (engine-cache.ts); `key`: what else its code depends on. */
export function translationPath(
  folder: string,
  { sources, key }: { sources: string; key: string },
) {
  const name = createHash('sha256').update(sources).update(key).digest('hex').slice(0, 32);
  return join(folder, `${name}.translations`);
}

/** A kept module that this machine has taken. */
interface Loaded {
  readonly module: WeakRef<WebAssembly.Module>;
  /** False: V8 had no use for its code, which is to be replaced. */
  readonly hasCode: boolean;
}

export class KeptTranslations implements TranslationStore {
  readonly #path: string;
  readonly #memory: WebAssembly.Memory;
  readonly #bytesMax: number | undefined;
  readonly #file: TranslationFile | undefined;
  readonly #run: number;
  readonly #loaded = new Map<number, Loaded>();
  /** Whose WebAssembly is not what was written. */
  readonly #damaged = new Set<string>();
  /** By the WebAssembly of what this machine made. */
  readonly #ids = new WeakMap<Bytes, string>();
  readonly kept: readonly KeptModule[];

  /** `memory`: one that modules can be given; `bytesMax`: of the file, tests have less. */
  constructor(
    path: string,
    { memory, bytesMax }: { memory: WebAssembly.Memory; bytesMax?: number },
  ) {
    this.#path = path;
    this.#memory = memory;
    this.#bytesMax = bytesMax;
    this.#file = TranslationFile.open(path);
    this.#run = (this.#file?.runs ?? 0) + 1;
    this.kept = descriptionsIn(this.#file);
  }

  load(n: number): WebAssembly.Module | undefined {
    const entry = this.#file?.entries[n];
    if (!entry) return undefined;
    // A program that runs twice is wanted twice.
    const before = this.#loaded.get(n)?.module.deref();
    if (before) return before;
    const bytes = this.#file?.read(entry.bytes);
    const isWhole = bytes && idOf(bytes, entry.description) === entry.id;
    const code = entry.code && this.#file?.read(entry.code);
    const taken = isWhole ? moduleOf(bytes, code) : undefined;
    if (!taken) {
      this.#damaged.add(entry.id);
      return undefined;
    }
    const { module, hasCode } = taken;
    this.#loaded.set(n, { module: new WeakRef(module), hasCode });
    return module;
  }

  save({ used, made }: { used: ReadonlySet<number>; made: readonly MadeModule[] }): void {
    try {
      // Another process may have written it meanwhile.
      const current = TranslationFile.open(this.#path);
      try {
        this.#save(current, { used, made });
      } finally {
        current?.close();
      }
    } catch {
      // The next machine translates it again.
    }
  }

  #save(
    current: TranslationFile | undefined,
    { used, made }: { used: ReadonlySet<number>; made: readonly MadeModule[] },
  ): void {
    const drafts = new Map<string, Draft>();
    for (const entry of current?.entries ?? [])
      if (!this.#damaged.has(entry.id)) drafts.set(entry.id, draftOf(entry, current!));
    let isNew = false;
    const put = (draft: Draft | undefined) => {
      if (!draft) return;
      isNew = true;
      drafts.set(draft.id, draft);
    };
    for (const n of used) put(this.#used(n, drafts));
    for (const module of made) put(this.#made(module, drafts));
    if (!isNew) return;
    const runs = Math.max(this.#run, current?.runs ?? 0);
    const order = [...drafts.values()].toSorted((a, b) => b.lastUsed - a.lastUsed);
    writeTranslations(this.#path, runs, order, this.#bytesMax);
  }

  /** What is new about a kept module. */
  #used(n: number, drafts: ReadonlyMap<string, Draft>): Draft | undefined {
    const entry = this.#file?.entries[n];
    const loaded = this.#loaded.get(n);
    if (!entry || !loaded) return undefined;
    // Another process may have had no room for it.
    const before = drafts.get(entry.id) ?? draftOf(entry, this.#file!);
    const module = loaded.module.deref();
    const better =
      module && this.#better(loaded.hasCode ? before : { ...before, optimised: 0 }, module);
    if (better) this.#loaded.set(n, { ...loaded, hasCode: true });
    if (!better && before.lastUsed === this.#run && drafts.has(entry.id)) return undefined;
    return { ...(better ?? before), lastUsed: this.#run };
  }

  #made(made: MadeModule, drafts: ReadonlyMap<string, Draft>): Draft | undefined {
    const { module, bytes, ...known } = made;
    let id = this.#ids.get(bytes);
    const before = id === undefined ? undefined : drafts.get(id);
    // It may have found no room the last time.
    if (before) return this.#better(before, module);
    const description = new Uint8Array(v8.serialize(known));
    id ??= idOf(bytes, description);
    this.#ids.set(bytes, id);
    const draft = {
      ...{ id, description, optimised: 0, functions: Number.POSITIVE_INFINITY },
      ...{ lastUsed: this.#run, bytes: () => bytes, code: () => undefined },
    };
    return this.#better(draft, module) ?? draft;
  }

  /** With the code of more functions than before; undefined when there are none. */
  #better(draft: Draft, module: WebAssembly.Module): Draft | undefined {
    if (draft.optimised >= draft.functions) return undefined;
    const functions = moduleFunctions(module, this.#memory);
    const optimised = optimisedCount(functions);
    if (optimised <= draft.optimised) return undefined;
    const code = () => {
      const bytes = draft.bytes();
      return bytes && compiledCode(module, digest(bytes), functions);
    };
    return { ...draft, optimised, functions: functions.length, code };
  }
}

function descriptionsIn(file: TranslationFile | undefined): KeptModule[] {
  try {
    // Copies: arrays that come of it are views of what it is read from, and whoever sends one to another thread sends all
    // that it is a view of, here the index. Cast: the index is whole, and of a translator with these sources.
    return (file?.entries ?? []).map(
      ({ description }) => v8.deserialize(Uint8Array.from(description)) as KeptModule,
    );
  } catch {
    return [];
  }
}

/** The same WebAssembly may serve other guest code by another description. */
function idOf(bytes: Bytes, description: Bytes): string {
  return createHash('sha256').update(digest(bytes)).update(description).digest('hex');
}

function draftOf(entry: Entry, file: TranslationFile): Draft {
  const { bytes, code, ...facts } = entry;
  return {
    ...facts,
    bytes: () => file.readForNow('bytes', bytes),
    code: () => code && file.readForNow('code', code),
  };
}
