// The translator in a thread of its own: what it is started with, its life, and a vCPU's side of it.

import type { Engine } from '../interpreter/engine.ts';
import { WASM_PAGES_MAX } from '../interpreter/engine.ts';
import { type PackedNumbers, unpackNumbers } from '../interpreter/handlers.ts';
import { EVENT, S } from '../state/layout.ts';
import { vcpuBase } from '../state/memory-map.ts';
import type { TranslationSource } from './loader.ts';
import { PendingRequests } from './pending.ts';
import { awaitRequests, RequestRing, requestCount } from './requests.ts';
import {
  type TranslationRequest,
  Translator,
  type TranslatorMessage,
  type TranslatorOptions,
} from './translator.ts';

/** Regions of one module at most: a module costs time whatever its size, but the hottest should not wait for others. */
const BATCH_MAX = 8;

/**
 * Regions between two collections of garbage, as soon as nothing waits and at the latest: the thread never comes to its
 * event loop, and V8 collects old objects when there are several times as many as survived the last time.
 */
const COLLECT_SOON = 40;
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
}

export function translatorStart(
  engine: Engine,
  options: Pick<TranslatorStart, 'memory' | 'vcpuCount' | 'lacking' | 'counts'>,
): TranslatorStart {
  const { handlers, firstFunction } = engine;
  const firstSlot = handlers.functionCount;
  return { ...options, numbers: engine.image.handlers, firstFunction, firstSlot };
}

/** What the thread has of its host. */
export interface TranslatorHost {
  /** Gives a translation, or what to let go of, to all vCPUs. */
  send(message: TranslatorMessage): void;
  /** Frees the memory of what is no longer used. */
  collectGarbage(): void;
}

/** Translates until the thread is ended from outside. */
export function runTranslator(start: TranslatorStart, host: TranslatorHost): never {
  const { memory, vcpuCount } = start;
  const words = new Int32Array(memory.buffer);
  const translator = new Translator(translatorOptions(start));
  const pending = new PendingRequests(memory, vcpuCount);
  let regions = 0;
  for (;;) {
    const seen = requestCount(memory);
    const { letGoOf } = pending;
    if (translator.cache.leaving === letGoOf) {
      translator.release(letGoOf);
      regions = COLLECT_LATEST;
    }
    const requests = translator.cache.isFull ? [] : pending.takeHottest(BATCH_MAX);
    if (regions >= (requests.length === 0 ? COLLECT_SOON : COLLECT_LATEST)) {
      host.collectGarbage();
      regions = 0;
    }
    if (requests.length === 0) {
      awaitRequests(memory, seen);
      continue;
    }
    for (const translation of translator.translate(requests)) {
      host.send(translation);
      pending.answered(translation.regions);
      regions += translation.regions.length;
    }
    const eviction = translator.evict();
    if (eviction) {
      pending.forget(eviction.evicted);
      host.send(eviction);
    }
    if (start.counts) continue;
    // A vCPU in the middle of a slice takes it over at once.
    for (let index = 0; index < vcpuCount; index++)
      Atomics.or(words, (vcpuBase(index) + S.events.offset) >> 2, EVENT.exit);
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
