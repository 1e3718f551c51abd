// Puts translated modules in force on one vCPU: an instance whose functions go into the vCPU's table, and blocks that
// lead to them.

import type { BlockStore, DroppedCode } from '../decode/block-store.ts';
import { MODE_SINGLE_STEP } from '../state/decoding-mode.ts';
import { vcpuBase } from '../state/memory-map.ts';
import { ChangingPages } from './changing-pages.ts';
import type { Eviction } from './code-cache.ts';
import { readCounters } from './counters.ts';
import { LinkResolver } from './link-resolver.ts';
import { memoryName } from './region-memory.ts';
import type {
  TranslatedRegion,
  Translation,
  TranslationRequest,
  TranslatorMessage,
} from './translator.ts';

/** Times that a block is entered before it is translated; and what no block comes to. */
export const HOT_THRESHOLD = 5000;
export const HOT_NEVER = -1;
/** And before it is asked whether it was translated in an earlier machine, which costs little if it was not. */
export const WARM_THRESHOLD = 64;

/** Where hot blocks are reported and translations come from: a translator in this thread, or the way to another thread. */
export interface TranslationSource {
  /** False: no room now; to be asked again later. */
  request(request: TranslationRequest): boolean;
  /** Translations that have become ready since the last call, and what to let go of. */
  take(): readonly TranslatorMessage[];
  /** Whether early requests may be answered: there may be translations of earlier machines. */
  readonly isKept?: boolean;
  /** This vCPU has let go of the regions of an eviction. */
  letGo(id: number): void;
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
  readonly #links: LinkResolver;
  readonly #blocks: BlockStore;
  /** Exports of the interpreter's instance: its functions by name, and its table. */
  readonly #exports: Readonly<Record<string, unknown>>;
  readonly #table: TableWithGrow;
  readonly #forgetJumps: () => void;
  /** Requests, and those that found no room; modules and regions put in force; regions whose page had changed. */
  readonly counters = { requests: 0, putOff: 0, modules: 0, regions: 0, outdated: 0, evicted: 0 };
  #waiting: TranslatorMessage[] = [];
  readonly #changing = new ChangingPages();
  #trace: ((event: TranslationEvent) => void) | undefined;
  #failuresTold = 0;

  constructor(options: {
    source: TranslationSource;
    memory: WebAssembly.Memory;
    blocks: BlockStore;
    exports: Readonly<Record<string, unknown>>;
    /** Whose it is. */
    index: number;
  }) {
    this.#source = options.source;
    this.#memory = options.memory;
    this.#links = new LinkResolver(options.memory);
    this.#blocks = options.blocks;
    this.#exports = options.exports;
    this.#table = options.exports.table as TableWithGrow;
    const { forgetJumps } = options.exports as { forgetJumps: (cpu: number) => void };
    this.#forgetJumps = () => forgetJumps(vcpuBase(options.index));
  }

  get linksResolved(): number {
    return this.#links.resolved;
  }

  /** A region has gone to a link that is not resolved, or leads to another region by now. */
  resolveLink(memory: number, link: number, entryPoint: number): void {
    this.#links.resolve(memory, link, entryPoint);
  }

  /** The block at an address is entered often; or, early, not as often, and a translation is wanted if one is kept. */
  request(gpa: number, mode: number, { isEarly = false, linearPage = 0 } = {}): void {
    // Single steps stay what they are.
    if (mode & MODE_SINGLE_STEP) return;
    const version = this.#blocks.pageVersion(gpa);
    if (isEarly) {
      if (this.#changing.rests(gpa)) return;
      this.#source.request({ gpa, mode, version, isEarly, linearPage });
      return;
    }
    this.counters.requests++;
    const isStable = this.#changing.allows(gpa, version);
    if (isStable && this.#source.request({ gpa, mode, version, linearPage })) return;
    this.counters.putOff++;
    this.#blocks.recount(gpa, mode);
  }

  /** Takes over what has been translated, while a block is looked up; what has been evicted stays until `load`. */
  loadEarly(): void {
    this.#waiting.push(...this.#source.take());
    while (this.#waiting[0] && 'module' in this.#waiting[0])
      this.#install(this.#waiting.shift() as Translation);
    if (this.#trace) this.#traceFailures(this.#trace);
  }

  /** Takes over what has been translated and lets go of what has been evicted. Between two runs of guest code. */
  load(): void {
    this.loadEarly();
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const message of waiting) {
      if ('module' in message) this.#install(message);
      else this.#evict(message);
    }
  }

  /** Afterwards nothing on this vCPU leads to the regions' slots and records, which others will have. */
  #evict({ id, evicted }: Eviction): void {
    this.#links.forget(evicted);
    for (const region of evicted) {
      this.#blocks.uninstall(region);
      // A module that came too late was never put into the table.
      if (region.slot < this.#table.length) this.#table.set(region.slot, null);
    }
    this.#forgetJumps();
    this.counters.evicted += evicted.length;
    this.#source.letGo(id);
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

  #install({ module, regions, memories }: Translation): void {
    const addresses = Object.fromEntries(memories.map((memory, n) => [memoryName(n), memory]));
    const { exports } = new WebAssembly.Instance(module, {
      env: { memory: this.#memory, table: this.#table, ...addresses },
      code: this.#exports as never,
    });
    this.counters.modules++;
    for (const region of regions) {
      if (this.#table.length <= region.slot)
        this.#table.grow(Math.max(region.slot + 1 - this.#table.length, this.#table.length));
      this.#table.set(region.slot, exports[region.name]);
      this.#links.add(region);
      const isInForce = this.#blocks.install(region);
      if (isInForce) this.counters.regions++;
      else {
        this.counters.outdated++;
        for (const gpa of region.entries) this.#blocks.recount(gpa, region.mode);
      }
      this.#trace?.({ kind: isInForce ? 'taken' : 'outdated', region });
    }
  }
}
