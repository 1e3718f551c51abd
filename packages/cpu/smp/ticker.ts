// Ends slices of guest code by time. Translated code does not count instructions; it looks at S.events at its back edges
// instead, and a thread that does nothing else raises EVENT.exit when a vCPU's slice is over. A vCPU that runs no guest
// code asks for nothing, and with none that does the ticker sleeps.

import { EVENT, S } from '../state/layout.ts';
import { vcpuBase } from '../state/memory-map.ts';
import { SHARED } from './shared-words.ts';

/** An exit that was asked for is asked for again after this long. */
const AGAIN_NS = 200_000;
const WAIT_MIN_MS = 0.02;
const WAIT_MAX_MS = 1;
/** A wake-up lost to a bug shows as slowness. */
const SLEEP_MAX_MS = 100;

const word = (index: number) => (vcpuBase(index) + S.sliceEnd.offset) >> 3;

/** A vCPU's side: when it runs, and until when. */
export class Slices {
  readonly #ends: BigInt64Array;
  readonly #words: Int32Array;
  readonly #index: number;
  readonly #nowNs: () => number;

  /** `nowNs` is a clock that this worker and the ticker's share. */
  constructor(memory: WebAssembly.Memory, index: number, nowNs: () => number) {
    this.#ends = new BigInt64Array(memory.buffer);
    this.#words = new Int32Array(memory.buffer);
    this.#index = index;
    this.#nowNs = nowNs;
  }
  begin(durationNs: number): void {
    const end = BigInt(Math.floor(this.#nowNs() + Math.max(durationNs, 1)));
    Atomics.store(this.#ends, word(this.#index), end);
    if (Atomics.exchange(this.#words, SHARED.tickerSleeps, 0) === 1)
      Atomics.notify(this.#words, SHARED.tickerSleeps);
  }
  end(): void {
    Atomics.store(this.#ends, word(this.#index), 0n);
  }
}

/** The ticker's life. Never returns. */
export function runTicker(
  memory: WebAssembly.Memory,
  vcpuCount: number,
  nowNs: () => number,
): never {
  const ends = new BigInt64Array(memory.buffer);
  const words = new Int32Array(memory.buffer);
  for (;;) {
    const waitNs = tick(ends, words, vcpuCount, nowNs());
    if (waitNs !== undefined) {
      const waitMs = Math.min(Math.max(waitNs / 1e6, WAIT_MIN_MS), WAIT_MAX_MS);
      Atomics.wait(words, SHARED.tickerSleeps, 0, waitMs);
      continue;
    }
    Atomics.store(words, SHARED.tickerSleeps, 1);
    // A slice may have begun before the word said that nobody looks.
    if (tick(ends, words, vcpuCount, nowNs()) === undefined)
      Atomics.wait(words, SHARED.tickerSleeps, 1, SLEEP_MAX_MS);
    Atomics.store(words, SHARED.tickerSleeps, 0);
  }
}

/** Ends the slices that are over; gives how long the next one still has, or undefined when none is under way. */
function tick(
  ends: BigInt64Array,
  words: Int32Array,
  vcpuCount: number,
  now: number,
): number | undefined {
  let next: number | undefined;
  for (let index = 0; index < vcpuCount; index++) {
    const end = Number(Atomics.load(ends, word(index)));
    if (end === 0) continue;
    const left = end - now;
    if (left <= 0) Atomics.or(words, (vcpuBase(index) + S.events.offset) >> 2, EVENT.exit);
    next = Math.min(next ?? Infinity, left <= 0 ? AGAIN_NS : left);
  }
  return next;
}
