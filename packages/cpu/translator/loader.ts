// Puts translated modules in force on one vCPU: an instance whose functions go into the vCPU's table, and blocks that
// lead to them.

import type { BlockStore } from '../decode/block-store.ts';
import { MODE_SINGLE } from '../interpreter/block-cache.ts';
import type { Translation, TranslationRequest } from './translator.ts';

/** Times that a block is entered before it is translated. */
export const HOT_THRESHOLD = 2000;

/** Where hot blocks are reported and translations come from: a translator in this thread, or the way to another thread. */
export interface TranslationSource {
  /** False: no room now; to be asked again later. */
  request(request: TranslationRequest): boolean;
  /** Translations that have become ready since the last call. */
  take(): readonly Translation[];
}

interface TableWithGrow extends WebAssembly.Table {
  grow(count: number): number;
  set(index: number, value: unknown): void;
}

export class TranslationLoader {
  readonly #source: TranslationSource;
  readonly #memory: WebAssembly.Memory;
  readonly #blocks: BlockStore;
  /** Exports of the interpreter's instance: its functions by name, and its table. */
  readonly #exports: Readonly<Record<string, unknown>>;
  readonly #table: TableWithGrow;
  /** Regions put in force, and those that came too late: their page had changed. */
  readonly counters = { modules: 0, regions: 0, outdated: 0 };

  constructor(options: {
    source: TranslationSource;
    memory: WebAssembly.Memory;
    blocks: BlockStore;
    exports: Readonly<Record<string, unknown>>;
  }) {
    this.#source = options.source;
    this.#memory = options.memory;
    this.#blocks = options.blocks;
    this.#exports = options.exports;
    this.#table = options.exports.table as TableWithGrow;
  }

  /** The block at an address is entered often. */
  request(gpa: number, mode: number): void {
    // Single steps stay what they are.
    if (mode & MODE_SINGLE) return;
    const version = this.#blocks.pageVersion(gpa);
    if (!this.#source.request({ gpa, mode, version })) this.#blocks.recount(gpa, mode);
  }

  /** Takes over what has been translated. Between two runs of guest code, or while a block is looked up. */
  load(): void {
    for (const translation of this.#source.take()) this.#install(translation);
  }

  #install({ module, regions }: Translation): void {
    const { exports } = new WebAssembly.Instance(module, {
      env: { memory: this.#memory, table: this.#table },
      code: this.#exports as never,
    });
    this.counters.modules++;
    for (const region of regions) {
      if (this.#table.length <= region.slot)
        this.#table.grow(Math.max(region.slot + 1 - this.#table.length, this.#table.length));
      this.#table.set(region.slot, exports[region.name]);
      if (this.#blocks.install(region)) this.counters.regions++;
      else {
        this.counters.outdated++;
        this.#blocks.recount(region.gpa, region.mode);
      }
    }
  }
}
