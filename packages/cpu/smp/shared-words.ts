// Words of shared memory through which the workers of a machine speak: first those of the machine, then a block for
// each vCPU, on cache lines of its own.

import { SHARED_BASE, SHARED_BYTES } from '../state/memory-map.ts';

/** Indices of 32-bit words of the whole memory. */
const BASE = SHARED_BASE / 4;
/** 64 bytes: a cache line, in words. */
const LINE = 16;

export const SHARED = {
  /** Held while decoded code is added or dropped: 0 free, 1 held, 2 held and waited for. */
  storeLock: BASE,
  /** Where the next decoded record goes (decode/block-store.ts). */
  recordsFree: BASE + 1,
  /** 0, or 1 + index of the vCPU that has stopped the others. */
  stop: BASE + LINE,
  /** Held by one CMPXCHG16B at a time (interpreter/locked.ts). */
  lock16: BASE + 2 * LINE,
  /** 1 while the ticker sleeps until somebody runs guest code (smp/ticker.ts). */
  tickerSleeps: BASE + 3 * LINE,
  /** Counts requests to the translator, which sleeps on this word. */
  requests: BASE + 3 * LINE + 1,
  /** Where the translator's thread is in its life (translator/thread.ts). */
  translatorLife: BASE + 3 * LINE + 2,
} as const;

/** Words of one vCPU, from `vcpuWords(index)`. */
export const VCPU_WORD = {
  /** 1 while its worker runs guest code and is not between two blocks: a stop waits for 0. */
  inside: 0,
  /** Counts what was posted to it; its worker sleeps on this word. */
  wake: LINE,
  /** Posted interrupts (apic/posted-interrupts.ts): requests and their trigger modes, 256 bits each. */
  request: 2 * LINE,
  levels: 2 * LINE + 8,
  /** Set of POSTED bits, the SIPI vector, the level of LINT0. */
  signals: 3 * LINE,
  startUpVector: 3 * LINE + 1,
  lint0: 3 * LINE + 2,
  /** What others must know of its APIC to address it: mode, id, LDR, DFR, whether it takes vectors, priority. */
  apic: 4 * LINE,
} as const;

const VCPU_WORDS = 8 * LINE;

export function vcpuWords(index: number): number {
  return BASE + 4 * LINE + index * VCPU_WORDS;
}

/** What the translator has done (translator/counters.ts): the upper half of the area. */
export const TRANSLATOR_COUNTERS_BASE: number = SHARED_BASE + SHARED_BYTES / 2;

/** Requests to the translator, a ring for each vCPU behind all these words (translator/requests.ts). */
export const REQUEST_RINGS_BASE: number = SHARED_BASE + SHARED_BYTES;
