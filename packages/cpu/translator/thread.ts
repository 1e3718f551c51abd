// The translator in a thread of its own: what it is started with, its life, and a vCPU's side of it.

import type { Engine } from '../interpreter/engine.ts';
import { WASM_PAGES_MAX } from '../interpreter/engine.ts';
import { type PackedNumbers, unpackNumbers } from '../interpreter/handlers.ts';
import { SHARED } from '../smp/shared-words.ts';
import { EVENT, S } from '../state/layout.ts';
import { vcpuBase } from '../state/memory-map.ts';
import type { TranslationStore } from './kept.ts';
import type { TranslationSource } from './loader.ts';
import { PendingRequests } from './pending.ts';
import { awaitRequests, RequestRing, requestCount } from './requests.ts';
import {
  type TranslatedRegion,
  type Translation,
  type TranslationRequest,
  Translator,
  type TranslatorMessage,
  type TranslatorOptions,
} from './translator.ts';

/**
 * Regions of one module at most, and milliseconds after which no more is put into it: a module costs time whatever its
 * size, but the hottest should not wait for others. Nor for what is so many times colder.
 */
const BATCH_MAX = 8;
const BATCH_MS = 4;
const COLDER = 8;

/**
 * Regions between two collections of garbage, as soon as nothing waits and at the latest: the thread never comes to its
 * event loop, and V8 collects old objects when there are several times as many as survived the last time.
 */
const COLLECT_SOON = 50;
const COLLECT_LATEST = 150;

/** All that the thread needs; can be cloned. */
export interface TranslatorStart {
  readonly memory: WebAssembly.Memory;
  readonly vcpuCount: number;
  readonly numbers: PackedNumbers;
  readonly firstFunction: number;
  readonly firstSlot: number;
  readonly lacking: readonly string[];
  readonly counts: boolean;
  /** A name for all of this that decides what translated code is like: what is kept under another does not fit. */
  readonly kind: string;
}

export function translatorStart(
  engine: Engine,
  options: Pick<TranslatorStart, 'memory' | 'vcpuCount' | 'lacking' | 'counts'>,
): TranslatorStart {
  const { handlers, firstFunction } = engine;
  const firstSlot = handlers.functionCount;
  const { vcpuCount, lacking, counts } = options;
  const shared = vcpuCount > 1 ? 'shared' : 'alone';
  const kind = [shared, counts ? 'counts' : 'free', ...lacking.toSorted()].join(' ');
  return { ...options, kind, numbers: engine.image.handlers, firstFunction, firstSlot };
}

/** What the thread has of its host. */
export interface TranslatorHost {
  /** Gives a translation, or what to let go of, to all vCPUs. */
  send(message: TranslatorMessage): void;
  /** Frees the memory of what is no longer used. */
  collectGarbage(): void;
  /** What earlier machines left, and where this one's translations are kept. */
  readonly store?: TranslationStore | undefined;
}

/** Translates until it is told to end (`endTranslator`), or the thread is ended from outside. */
export function runTranslator(start: TranslatorStart, host: TranslatorHost): void {
  const { memory, vcpuCount } = start;
  const words = new Int32Array(memory.buffer);
  const translator = new Translator({ ...translatorOptions(start), store: host.store });
  const deliver = (translations: readonly Translation[]) => {
    for (const translation of translations) host.send(translation);
    if (start.counts || !translations.length) return;
    // A vCPU in the middle of a slice takes it over at once.
    for (let index = 0; index < vcpuCount; index++)
      Atomics.or(words, (vcpuBase(index) + S.events.offset) >> 2, EVENT.exit);
  };
  const pending = new PendingRequests(memory, vcpuCount, (request) => {
    const translations = translator.adopt(request);
    pending.answered(translations.flatMap(({ regions }) => regions));
    deliver(translations);
    return translations.length > 0;
  });
  const saving = new Saving(translator);
  let regions = 0;
  Atomics.store(words, SHARED.translatorLife, LIFE.runs);
  while (Atomics.load(words, SHARED.translatorLife) === LIFE.runs) {
    const seen = requestCount(memory);
    const { letGoOf } = pending;
    if (translator.cache.leaving === letGoOf) {
      translator.release(letGoOf);
      regions = COLLECT_LATEST;
    }
    const first = translator.cache.isFull ? undefined : pending.take();
    if (regions >= (first ? COLLECT_LATEST : COLLECT_SOON)) {
      host.collectGarbage();
      regions = 0;
    }
    if (!first) {
      // Serialized code waits to be collected.
      if (saving.whileIdle()) host.collectGarbage();
      awaitRequests(memory, seen);
      continue;
    }
    const made = (region: TranslatedRegion) => {
      pending.answered([region]);
      regions++;
    };
    deliver(translator.translate(batch(first, pending), made));
    const eviction = translator.evict();
    if (eviction) {
      pending.forget(eviction.evicted);
      host.send(eviction);
    }
  }
  translator.save();
  Atomics.store(words, SHARED.translatorLife, LIFE.ended);
  Atomics.notify(words, SHARED.translatorLife);
}

/** What SHARED.translatorLife says. */
const LIFE = { runs: 1, ends: 2, ended: 3 } as const;
/** Time that a translator has to finish what it is doing and to save. */
const END_MS = 2000;

/** Has a machine's translator keep what it has made, if there is one; its thread ends by itself. */
export function endTranslator(memory: WebAssembly.Memory): void {
  const words = new Int32Array(memory.buffer);
  const { runs, ends } = LIFE;
  if (Atomics.compareExchange(words, SHARED.translatorLife, runs, ends) !== runs) return;
  Atomics.add(words, SHARED.requests, 1);
  Atomics.notify(words, SHARED.requests);
  Atomics.wait(words, SHARED.translatorLife, ends, END_MS);
}

/**
 * A machine may end at any moment: what is new is saved after this time, when there is nothing else to do, then after twice
 * the time, and so on. A save writes all that is kept.
 */
const SAVE_MS = 10_000;

class Saving {
  readonly #translator: Translator;
  #last = performance.now();
  #interval = SAVE_MS;

  constructor(translator: Translator) {
    this.#translator = translator;
  }
  /** Whether it has saved. */
  whileIdle(): boolean {
    const now = performance.now();
    if (!this.#translator.isUnsaved || now - this.#last < this.#interval) return false;
    this.#translator.save();
    this.#last = now;
    this.#interval *= 2;
    return true;
  }
}

/** A request, and others that are worth waiting for. */
function* batch(
  first: { readonly request: TranslationRequest; readonly heat: number },
  pending: PendingRequests,
): Iterable<TranslationRequest> {
  const end = performance.now() + BATCH_MS;
  yield first.request;
  for (let count = 1; count < BATCH_MAX && performance.now() < end; count++) {
    const next = pending.take(first.heat / COLDER);
    if (!next) return;
    yield next.request;
  }
}

function translatorOptions(start: TranslatorStart): TranslatorOptions {
  const { memory, vcpuCount, numbers, firstFunction, firstSlot, lacking, counts } = start;
  return {
    memory,
    wasmPagesMax: WASM_PAGES_MAX,
    handlers: unpackNumbers(numbers),
    firstFunction,
    firstSlot,
    lacking: new Set(lacking),
    counts,
    isShared: vcpuCount > 1,
    vcpuCount,
  };
}

/** A vCPU's side: requests go through its ring, `receive` gives what the thread has sent. */
export class ThreadedTranslations implements TranslationSource {
  readonly #ring: RequestRing;
  readonly #receive: () => TranslatorMessage | undefined;
  readonly #collectGarbage: () => void;
  /** The thread knows: what is not kept it does not answer. */
  readonly isKept = true;

  constructor(options: {
    memory: WebAssembly.Memory;
    index: number;
    receive: () => TranslatorMessage | undefined;
    collectGarbage: () => void;
  }) {
    this.#ring = new RequestRing(options.memory, options.index);
    this.#receive = options.receive;
    this.#collectGarbage = options.collectGarbage;
  }
  request(request: TranslationRequest): boolean {
    return this.#ring.push(request);
  }
  /** The code's memory comes back when the thread's garbage is collected, to which it would not come for a long time. */
  letGo(id: number): void {
    this.#ring.letGo(id);
    this.#collectGarbage();
  }
  take(): readonly TranslatorMessage[] {
    const taken: TranslatorMessage[] = [];
    for (let next = this.#receive(); next; next = this.#receive()) taken.push(next);
    return taken;
  }
}
