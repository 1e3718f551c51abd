// How the workers of a machine keep out of each other's way: a lock around the store of decoded code, and stopping all
// other vCPUs between two blocks. Whoever holds the lock waits for nobody; whoever waits for a stop holds no lock.
// docs/design/smp.md says who stops the others and why.

import { EVENT, S } from '../state/layout.ts';
import { vcpuBase } from '../state/memory-map.ts';
import { SHARED, VCPU_WORD, vcpuWords } from './shared-words.ts';

/** Looks at a word that many times before sleeping on it: a few microseconds. */
const SPINS = 400;
/** A sleep is looked at again after this long, so that a wake-up lost to a bug shows as slowness. */
const SLEEP_MAX_MS = 100;

/** What one worker sees of all: `index` is its vCPU, or -1 for one that runs no guest code. */
export class World {
  readonly #words: Int32Array;
  readonly #index: number;
  readonly #vcpuCount: number;
  /** With one processor nothing here does anything. */
  readonly #alone: boolean;
  /** Stops within stops: an instruction that runs alone may be the first that is decoded from its page. */
  #stops = 0;

  constructor(options: { memory: WebAssembly.Memory; index: number; vcpuCount: number }) {
    this.#words = new Int32Array(options.memory.buffer);
    this.#index = options.index;
    this.#vcpuCount = options.vcpuCount;
    this.#alone = options.vcpuCount === 1;
  }

  // --- the lock, a mutex of three states: free, held, held and waited for ---

  lock(): void {
    if (this.#alone) return;
    const words = this.#words;
    const { storeLock } = SHARED;
    for (let spin = 0; spin < SPINS; spin++)
      if (Atomics.compareExchange(words, storeLock, 0, 1) === 0) return;
    while (Atomics.exchange(words, storeLock, 2) !== 0)
      Atomics.wait(words, storeLock, 2, SLEEP_MAX_MS);
  }

  unlock(): void {
    if (this.#alone) return;
    if (Atomics.exchange(this.#words, SHARED.storeLock, 0) === 2)
      Atomics.notify(this.#words, SHARED.storeLock, 1);
  }

  // --- stopping ---

  /** This worker is about to run guest code; waits while another has stopped it. */
  enter(): void {
    if (this.#alone) return;
    const inside = vcpuWords(this.#index) + VCPU_WORD.inside;
    for (;;) {
      Atomics.store(this.#words, inside, 1);
      const stopper = Atomics.load(this.#words, SHARED.stop);
      if (stopper === 0 || stopper === this.#index + 1) return;
      this.leave();
      this.#sleepWhile(SHARED.stop, stopper);
    }
  }

  /** Runs no guest code from here on. */
  leave(): void {
    if (this.#alone) return;
    const inside = vcpuWords(this.#index) + VCPU_WORD.inside;
    Atomics.store(this.#words, inside, 0);
    if (Atomics.load(this.#words, SHARED.stop) !== 0) Atomics.notify(this.#words, inside);
  }

  /** Between two blocks, after EVENT.park: lets whoever asked do its work. */
  park(): void {
    this.leave();
    this.enter();
  }

  /** Holds all other vCPUs between two blocks until as many calls of `resumeOthers`. Called between two blocks. */
  stopOthers(): void {
    if (this.#alone || this.#stops++ > 0) return;
    const words = this.#words;
    while (Atomics.compareExchange(words, SHARED.stop, 0, this.#index + 1) !== 0) this.park();
    for (let vcpu = 0; vcpu < this.#vcpuCount; vcpu++) {
      if (vcpu === this.#index) continue;
      const inside = vcpuWords(vcpu) + VCPU_WORD.inside;
      if (Atomics.load(words, inside) === 0) continue;
      Atomics.or(words, (vcpuBase(vcpu) + S.events.offset) >> 2, EVENT.park);
      this.#sleepWhile(inside, 1);
    }
  }

  resumeOthers(): void {
    if (this.#alone || --this.#stops > 0) return;
    Atomics.store(this.#words, SHARED.stop, 0);
    Atomics.notify(this.#words, SHARED.stop);
  }

  #sleepWhile(word: number, value: number): void {
    for (let spin = 0; spin < SPINS; spin++) if (Atomics.load(this.#words, word) !== value) return;
    while (Atomics.load(this.#words, word) === value)
      Atomics.wait(this.#words, word, value, SLEEP_MAX_MS);
  }
}
