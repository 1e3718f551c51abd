// Puts translated modules in force on one vCPU: an instance whose functions go into the vCPU's table, and blocks that
// lead to them.

import type { BlockStore, DroppedCode } from '../decode/block-store.ts';
import { MODE_SINGLE } from '../interpreter/block-cache.ts';
import { readCounters } from './counters.ts';
import type { TranslatedRegion, Translation, TranslationRequest } from './translator.ts';

/** Times that a block is entered before it is translated. */
export const HOT_THRESHOLD = 2000;

/** Where hot blocks are reported and translations come from: a translator in this thread, or the way to another thread. */
export interface TranslationSource {
  /** False: no room now; to be asked again later. */
  request(request: TranslationRequest): boolean;
  /** Translations that have become ready since the last call. */
  take(): readonly Translation[];
}

/** What a tracer is told of translation. */
export type TranslationEvent =
  | {
      /** 'outdated': the page had changed since. */
      readonly kind: 'taken' | 'outdated';
      readonly region: TranslatedRegion;
    }
  | ({ readonly kind: 'dropped' } & DroppedCode)
  | {
      /** The translator failed, `count` times so far: a defect of ours. */
      readonly kind: 'failed';
      readonly count: number;
      readonly text: string;
    };

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
  /** Requests, and those that found no room; modules and regions put in force; regions whose page had changed. */
  readonly counters = { requests: 0, putOff: 0, modules: 0, regions: 0, outdated: 0 };
  #trace: ((event: TranslationEvent) => void) | undefined;
  #failuresTold = 0;

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
    this.counters.requests++;
    if (this.#source.request({ gpa, mode, version })) return;
    this.counters.putOff++;
    this.#blocks.recount(gpa, mode);
  }

  /** Takes over what has been translated. Between two runs of guest code, or while a block is looked up. */
  load(): void {
    for (const translation of this.#source.take()) this.#install(translation);
    if (this.#trace) this.#traceFailures(this.#trace);
  }

  /** Tells `trace` from now on; undefined ends it. */
  setTrace(trace: ((event: TranslationEvent) => void) | undefined): void {
    this.#trace = trace;
    this.#blocks.onDrop = trace && ((dropped) => trace({ kind: 'dropped', ...dropped }));
  }

  #traceFailures(trace: (event: TranslationEvent) => void): void {
    const { failed, lastFailure = '' } = readCounters(this.#memory);
    if (failed > this.#failuresTold) trace({ kind: 'failed', count: failed, text: lastFailure });
    this.#failuresTold = failed;
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
      const isInForce = this.#blocks.install(region);
      if (isInForce) this.counters.regions++;
      else {
        this.counters.outdated++;
        this.#blocks.recount(region.gpa, region.mode);
      }
      this.#trace?.({ kind: isInForce ? 'taken' : 'outdated', region });
    }
  }
}
