// The translator in a thread of its own: what it is started with, its life, and a vCPU's side of it.

import type { Engine } from '../interpreter/engine.ts';
import { WASM_PAGES_MAX } from '../interpreter/engine.ts';
import { type PackedNumbers, unpackNumbers } from '../interpreter/handlers.ts';
import { EVENT, S } from '../state/layout.ts';
import { vcpuBase } from '../state/memory-map.ts';
import type { TranslationSource } from './loader.ts';
import { awaitRequests, RequestRing, requestCount } from './requests.ts';
import {
  type Translation,
  type TranslationRequest,
  Translator,
  type TranslatorOptions,
} from './translator.ts';

/** Regions of one module at most: a module costs time whatever its size, and each waits for all others. */
const BATCH_MAX = 24;
/** Requests that were answered are remembered, up to this many. */
const ANSWERED_MAX = 20_000;

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
  const firstSlot = handlers.functions.length;
  return { ...options, numbers: handlers.packed, firstFunction, firstSlot };
}

/** Translates until the thread is ended from outside. `send` gives a translation to all vCPUs. */
export function runTranslator(
  start: TranslatorStart,
  send: (translation: Translation) => void,
): never {
  const { memory, vcpuCount } = start;
  const rings = Array.from({ length: vcpuCount }, (_, index) => new RequestRing(memory, index));
  const words = new Int32Array(memory.buffer);
  const translator = new Translator(translatorOptions(start));
  const answered = new Set<string>();
  for (;;) {
    const seen = requestCount(memory);
    const requests = takeBatch(rings, answered);
    if (requests.length === 0) {
      awaitRequests(memory, seen);
      continue;
    }
    const translation = translator.translate(requests);
    if (!translation) continue;
    send(translation);
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
  };
}

/** Several vCPUs may find the same block hot. */
function takeBatch(rings: readonly RequestRing[], answered: Set<string>): TranslationRequest[] {
  const batch: TranslationRequest[] = [];
  for (const ring of rings) {
    for (
      let request = batch.length < BATCH_MAX ? ring.take() : undefined;
      request;
      request = batch.length < BATCH_MAX ? ring.take() : undefined
    ) {
      const key = `${request.gpa} ${request.mode} ${request.version}`;
      if (answered.has(key)) continue;
      if (answered.size >= ANSWERED_MAX) answered.clear();
      answered.add(key);
      batch.push(request);
    }
  }
  return batch;
}

/** A vCPU's side: requests go through its ring, `receive` gives what the thread has sent. */
export class ThreadedTranslations implements TranslationSource {
  readonly #ring: RequestRing;
  readonly #receive: () => Translation | undefined;

  constructor(options: {
    memory: WebAssembly.Memory;
    index: number;
    receive: () => Translation | undefined;
  }) {
    this.#ring = new RequestRing(options.memory, options.index);
    this.#receive = options.receive;
  }
  request(request: TranslationRequest): void {
    this.#ring.push(request);
  }
  take(): readonly Translation[] {
    const taken: Translation[] = [];
    for (let next = this.#receive(); next; next = this.#receive()) taken.push(next);
    return taken;
  }
}
