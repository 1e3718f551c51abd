// Requests of vCPUs to the translator's thread: a ring in shared memory for each vCPU. A full ring refuses; the block is
// then asked for no more until it is decoded anew.

import { REQUEST_RINGS_BASE, SHARED } from '../smp/shared-words.ts';
import type { TranslationRequest } from './translator.ts';

const ENTRIES = 1024;
const ENTRY_WORDS = 6;
const HEAD = 0;
const TAIL = 1;
/** Beside the tail: the last eviction that the vCPU has let go of. */
const LET_GO = 1;
/** Head and tail on a cache line each, then the entries. */
const LINE_WORDS = 16;
const RING_WORDS = 2 * LINE_WORDS + ENTRIES * ENTRY_WORDS;
const SLEEP_MAX_MS = 1000;

export class RequestRing {
  readonly #words: Int32Array;
  readonly #base: number;
  readonly #index: number;

  constructor(memory: WebAssembly.Memory, index: number) {
    this.#index = index;
    this.#words = new Int32Array(memory.buffer);
    this.#base = REQUEST_RINGS_BASE / 4 + index * RING_WORDS;
  }

  /** The vCPU's side. */
  push({ gpa, mode, version, isEarly, linearPage = 0 }: TranslationRequest): boolean {
    const words = this.#words;
    const tail = Atomics.load(words, this.#at(TAIL));
    if (((tail - Atomics.load(words, this.#at(HEAD))) | 0) >= ENTRIES) return false;
    const entry = this.#entry(tail);
    words[entry] = gpa | 0;
    words[entry + 1] = mode;
    words[entry + 2] = version | 0;
    words[entry + 3] = isEarly ? 1 : 0;
    words[entry + 4] = (linearPage % 2 ** 32) | 0;
    words[entry + 5] = linearPage / 2 ** 32;
    Atomics.store(words, this.#at(TAIL), (tail + 1) | 0);
    Atomics.add(words, SHARED.requests, 1);
    Atomics.notify(words, SHARED.requests);
    return true;
  }

  letGo(id: number): void {
    Atomics.store(this.#words, this.#at(TAIL) + LET_GO, id);
    Atomics.add(this.#words, SHARED.requests, 1);
    Atomics.notify(this.#words, SHARED.requests);
  }
  /** The translator's side. */
  get letGoOf(): number {
    return Atomics.load(this.#words, this.#at(TAIL) + LET_GO);
  }
  take(): TranslationRequest | undefined {
    const words = this.#words;
    const head = Atomics.load(words, this.#at(HEAD));
    if (head === Atomics.load(words, this.#at(TAIL))) return undefined;
    const entry = this.#entry(head);
    const request = {
      gpa: words[entry]! >>> 0,
      mode: words[entry + 1]!,
      version: words[entry + 2]! >>> 0,
      isEarly: words[entry + 3] === 1,
      linearPage: (words[entry + 4]! >>> 0) + words[entry + 5]! * 2 ** 32,
      vcpu: this.#index,
    };
    Atomics.store(words, this.#at(HEAD), (head + 1) | 0);
    return request;
  }

  #at(which: typeof HEAD | typeof TAIL): number {
    return this.#base + which * LINE_WORDS;
  }
  #entry(n: number): number {
    return this.#base + 2 * LINE_WORDS + (n & (ENTRIES - 1)) * ENTRY_WORDS;
  }
}

/** Sleeps until a request has come since `seen`, the count when the rings were looked at. */
export function awaitRequests(memory: WebAssembly.Memory, seen: number): void {
  Atomics.wait(new Int32Array(memory.buffer), SHARED.requests, seen, SLEEP_MAX_MS);
}
export function requestCount(memory: WebAssembly.Memory): number {
  return Atomics.load(new Int32Array(memory.buffer), SHARED.requests);
}
