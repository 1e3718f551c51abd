// Translations that are kept beyond their machine: what the translator tells and asks of a store for them.

import type { TranslatorStart } from './thread.ts';

/** A region of a kept module; opaque to the store. */
export type KeptRegion = object;

/** What is known of a kept module. Opaque to the store; can be cloned. */
export interface KeptModule {
  readonly regions: readonly KeptRegion[];
}

/** A module made by this machine. */
export interface MadeModule extends KeptModule {
  readonly module: WebAssembly.Module;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** Translations that earlier machines left behind. Synchronous: the translator's thread has no event loop. */
export interface TranslationStore {
  readonly kept: readonly KeptModule[];
  /** Code of kept[n]; undefined when it cannot be read any more. */
  load(n: number): WebAssembly.Module | undefined;
  /**
   * `used`: which of `kept` this machine has loaded; `made`: all modules that it made and still has. Called every few
   * seconds when there is something new, and at the end.
   */
  save(state: { readonly used: ReadonlySet<number>; readonly made: readonly MadeModule[] }): void;
}

/** What translations depend on besides the sources and the guest's code: machines with the same have theirs in common. */
export function keptKey(start: TranslatorStart): string {
  const { vcpuCount, firstFunction, firstSlot, lacking, counts } = start;
  return JSON.stringify([vcpuCount > 1, firstFunction, firstSlot, lacking.toSorted(), counts]);
}
