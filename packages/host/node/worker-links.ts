// What Mimic's workers in Node have in common: one clock, what they are started with, and the way from the translator.
// No more than that: the smallest of them, the ticker, imports it.

import { type MessagePort, type ResourceLimits, receiveMessageOnPort } from 'node:worker_threads';
import type {
  ProcessorStart,
  TranslatorLink,
  TranslatorMessage,
  TranslatorStart,
} from '@mimic/machine';

/** Looked up once: the guest reads its time-stamp counter through it. */
const { hrtime } = process;
/** Nanoseconds of a clock that all threads share; `performance.now()` begins anew in each. */
export function hostNow(): number {
  return Number(hrtime.bigint());
}

/** What the workers of processors and of the translator are started with. */
export interface ProcessorData {
  readonly start: ProcessorStart;
  readonly link: TranslatorLink | undefined;
}
export interface TranslatorData {
  readonly start: TranslatorStart;
  /** One for each processor. */
  readonly ports: readonly MessagePort[];
  /** Whether the thread stands back behind those of processors (priorities.ts). */
  readonly priorities: boolean;
  /** Names the sources of translations that are kept; undefined: none are. */
  readonly sources: string | undefined;
}

export function receiveTranslation(link: TranslatorLink): TranslatorMessage | undefined {
  // Casts: links are ports that `startTranslator` made, and nothing but such messages is sent through them.
  return receiveMessageOnPort(link as MessagePort)?.message as TranslatorMessage | undefined;
}

/**
 * Megabytes of young objects for each kind of worker. V8 would let them grow to 100 and more, and none of these threads
 * comes back to its event loop, where V8 would shrink them again (decision 0018).
 */
const YOUNG_GENERATION_MB = {
  machine: 3,
  processor: 3,
  translator: 6,
  ticker: 3,
} as const;
/**
 * Megabytes of old objects, several times what any of them has. V8 takes from it how far a heap may grow between two
 * collections: 30 % at 256, fourfold at its own default (decision 0021). The machine's devices hold what guests ask for.
 */
const OLD_GENERATION_MB = {
  machine: 1024,
  processor: 256,
  translator: 256,
  ticker: 256,
} as const;

/** Bounds of a worker's heap. */
export function heapLimits(worker: keyof typeof YOUNG_GENERATION_MB): ResourceLimits {
  return {
    maxYoungGenerationSizeMb: YOUNG_GENERATION_MB[worker],
    maxOldGenerationSizeMb: OLD_GENERATION_MB[worker],
  };
}

/**
 * A full collection, where the host's thread has asked V8 for the means (node-host.ts). As if memory were short, which
 * collects at least twice: else V8 keeps the pages that it has emptied, and half empty ones as they are.
 */
export function collectGarbage(): void {
  globalThis.gc?.({ type: 'major', execution: 'sync', flavor: 'last-resort' });
}
