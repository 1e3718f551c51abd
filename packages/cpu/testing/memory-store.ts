// A store of translations in memory, for tests: what one processor leaves another one finds.

import type { KeptModule, MadeModule, TranslationStore } from '../translator/kept.ts';

/** Keeps modules as they are, and their descriptions as copies, as a file would. */
export class MemoryStore implements TranslationStore {
  readonly kept: readonly KeptModule[];
  readonly #modules: readonly WebAssembly.Module[];
  made: readonly MadeModule[] = [];
  used: ReadonlySet<number> = new Set();

  constructor(left: readonly MadeModule[] = []) {
    this.kept = left.map(({ regions }) => structuredClone({ regions }));
    this.#modules = left.map(({ bytes }) => new WebAssembly.Module(bytes));
  }
  load(n: number): WebAssembly.Module | undefined {
    return this.#modules[n];
  }
  save({ used, made }: Parameters<TranslationStore['save']>[0]): void {
    this.used = new Set(used);
    this.made = made;
  }
}
