// What Mimic's workers in Node have in common: one clock, what they are started with, and the way from the translator.
// No more than that: the smallest of them, the ticker, imports it.

import { type MessagePort, receiveMessageOnPort } from 'node:worker_threads';
import type {
  ProcessorStart,
  TranslatorLink,
  TranslatorMessage,
  TranslatorStart,
} from '@mimic/machine';

/** Nanoseconds of a clock that all threads share; `performance.now()` begins anew in each. */
export function hostNow(): number {
  return Number(process.hrtime.bigint());
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
}

export function receiveTranslation(link: TranslatorLink): TranslatorMessage | undefined {
  // Casts: links are ports that `startTranslator` made, and nothing but such messages is sent through them.
  return receiveMessageOnPort(link as MessagePort)?.message as TranslatorMessage | undefined;
}

/**
 * Megabytes of young objects for each kind of worker. V8 would let them grow to 100 and more, and none of these threads
 * comes back to its event loop, where V8 would shrink them again (decision 0018).
 */
export const YOUNG_GENERATION_MB = {
  engine: 48,
  machine: 12,
  processor: 6,
  translator: 12,
  ticker: 3,
} as const;

/** A full collection, where the host's thread has asked V8 for the means (node-host.ts). */
export function collectGarbage(): void {
  globalThis.gc?.();
}
