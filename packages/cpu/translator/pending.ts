// Requests that wait for the translator, the hottest first: while they wait, the vCPU goes on counting how often it
// enters the block.

import { blockHash } from '../interpreter/block-cache.ts';
import { BLOCK_HASH_ENTRY_BYTES, BLOCK_HASH_OFFSET, vcpuBase } from '../state/memory-map.ts';
import { RequestRing } from './requests.ts';
import type { TranslatedRegion, TranslationRequest } from './translator.ts';

/** Requests that were answered are remembered, up to this many. */
const ANSWERED_MAX = 20_000;

interface Pending {
  readonly request: TranslationRequest;
  readonly vcpu: number;
  /** Times that the block was entered, as far as known. */
  heat: number;
}

const keyOf = ({ gpa, mode, version }: TranslationRequest) => `${gpa} ${mode} ${version}`;

const keysOf = ({ entries, mode, version }: TranslatedRegion) =>
  entries.map((gpa) => keyOf({ gpa, mode, version }));

export class PendingRequests {
  readonly #words: Int32Array;
  readonly #rings: readonly RequestRing[];
  readonly #answered = new Set<string>();
  #waiting: Pending[] = [];

  constructor(memory: WebAssembly.Memory, vcpuCount: number) {
    this.#words = new Int32Array(memory.buffer);
    this.#rings = Array.from({ length: vcpuCount }, (_, index) => new RequestRing(memory, index));
  }

  takeHottest(max: number): TranslationRequest[] {
    for (const [vcpu, ring] of this.#rings.entries())
      for (let request = ring.take(); request; request = ring.take()) this.#add(request, vcpu);
    if (this.#waiting.length > max) {
      for (const pending of this.#waiting) pending.heat = this.#heat(pending);
      this.#waiting.sort((a, b) => b.heat - a.heat);
    }
    const taken = this.#waiting.slice(0, max);
    this.#waiting = this.#waiting.slice(max);
    return taken.map(({ request }) => request);
  }

  /** Requests for these have been answered, whether they have been made or not. */
  answered(regions: readonly TranslatedRegion[]): void {
    const keys = new Set(regions.flatMap(keysOf));
    this.#waiting = this.#waiting.filter(({ request }) => !keys.has(keyOf(request)));
    for (const key of keys) this.#answered.add(key);
  }
  /** Requests for these are new ones again. */
  forget(regions: readonly TranslatedRegion[]): void {
    for (const key of regions.flatMap(keysOf)) this.#answered.delete(key);
  }
  /** The last eviction that all vCPUs have let go of. */
  get letGoOf(): number {
    return Math.min(...this.#rings.map((ring) => ring.letGoOf));
  }

  /** Several vCPUs may find the same block hot. */
  #add(request: TranslationRequest, vcpu: number): void {
    const key = keyOf(request);
    if (this.#answered.has(key)) return;
    if (this.#answered.size >= ANSWERED_MAX) this.#answered.clear();
    this.#answered.add(key);
    // What the page was before nobody wants any more.
    this.#waiting = this.#waiting.filter(
      ({ request: other }) => other.gpa !== request.gpa || other.mode !== request.mode,
    );
    this.#waiting.push({ request, vcpu, heat: 0 });
  }

  /** The counter in the vCPU's table, if the block is still there. */
  #heat({ request, vcpu, heat }: Pending): number {
    const { gpa, mode } = request;
    const entry = BLOCK_HASH_OFFSET + blockHash(gpa, mode) * BLOCK_HASH_ENTRY_BYTES;
    const first = (vcpuBase(vcpu) + entry) >> 2;
    for (const word of [first, first ^ (BLOCK_HASH_ENTRY_BYTES >> 2)]) {
      if (this.#words[word] === (gpa | 0) && this.#words[word + 1] === mode)
        return Math.max(this.#words[word + 3]!, heat);
    }
    return heat;
  }
}
