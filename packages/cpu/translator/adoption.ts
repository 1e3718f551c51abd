// Puts kept regions in the place of a request's translation, with all others that were on its page: what a program used
// to run there it will most likely run again.

import { enteredAt } from '../decode/block-store.ts';
import { RECORD_BYTES } from '../interpreter/record.ts';
import { PAGE_BYTES } from '../state/memory-map.ts';
import type { CodeCache, RegionPlace } from './code-cache.ts';
import type { InstructionSource } from './instructions.ts';
import { type Found, KeptCode, type KeptRegion, type TranslationStore } from './kept.ts';
import { planOfKept, type RegionMemories } from './region-memory.ts';
import type { TranslatedRegion, Translation, TranslationRequest } from './translator.ts';

/** What it has of the translator. */
export interface AdoptionParts {
  readonly source: InstructionSource;
  readonly cache: CodeCache;
  readonly memories: RegionMemories;
  readonly store: TranslationStore;
}

export class Adoption {
  readonly #u32: Uint32Array;
  readonly #parts: AdoptionParts;
  readonly #kept: KeptCode;
  readonly #used = new Set<number>();

  constructor(memory: WebAssembly.Memory, parts: AdoptionParts) {
    this.#u32 = new Uint32Array(memory.buffer);
    this.#parts = parts;
    this.#kept = new KeptCode(parts.store.kept);
  }

  /** Kept modules of which regions were taken over. */
  get used(): ReadonlySet<number> {
    return this.#used;
  }

  /** A translation for each module that has something for the request's page; none if nothing is kept for its address. */
  adopt(request: TranslationRequest): readonly Translation[] {
    const { gpa, mode } = request;
    const { source, memories } = this.#parts;
    const page = gpa - (gpa % PAGE_BYTES);
    if (!source.isRam(page)) return [];
    const found = this.#kept.find(memories.page(page), gpa - page, mode);
    if (found.length === 0) return [];
    const { translated } = enteredAt(this.#u32, page, mode);
    const isNew = ({ region }: Found) => !translated.has(page + region.entries[0]!);
    const byModule = Map.groupBy(found.filter(isNew), ({ n }) => n);
    return [...byModule].flatMap(([n, of]) => this.#adoptModule(n, of, request) ?? []);
  }

  #adoptModule(
    n: number,
    found: readonly Found[],
    request: TranslationRequest,
  ): Translation | undefined {
    const { cache, memories: memory, store } = this.#parts;
    const module = store.load(n);
    if (!module) return undefined;
    const regions: TranslatedRegion[] = [];
    const places: RegionPlace[] = [];
    const memories = store.kept[n]!.regions.map(() => 0);
    let bytes = 0;
    for (const { region } of found) {
      const place = cache.allocate(planOfKept(region).bytes);
      if (!place) break;
      if (!this.#fill(region, request, place)) {
        cache.free([place]);
        continue;
      }
      places.push(place);
      memories[region.number] = place.records;
      regions.push(memory.placed(region, request, place));
      bytes += region.bytes;
    }
    if (regions.length === 0) return undefined;
    cache.add({ regions, places, bytes });
    this.#used.add(n);
    return { module, regions, memories };
  }

  /** Fills a region's memory; false if one of its instructions is none, which its code should have shown. */
  #fill(region: KeptRegion, { gpa, mode }: TranslationRequest, place: RegionPlace): boolean {
    const { source, memories } = this.#parts;
    const page = gpa - (gpa % PAGE_BYTES);
    memories.begin(memories.page(page), region, place);
    const { records } = planOfKept(region);
    return region.handled.every((offset, n) => {
      const record = source.record(page, offset, mode);
      if (record) memories.write(record, place, records + n * RECORD_BYTES);
      return record !== undefined;
    });
  }
}
