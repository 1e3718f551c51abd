// Requests that wait for the translator, the hottest first: while they wait, the vCPU goes on counting how often it
// enters the block. What has cooled down meanwhile is forgotten: most of what a boot runs a few thousand times it never
// runs again.

import { BlockTable } from '../decode/block-table.ts';
import { entryKey } from './kept.ts';
import { RequestRing } from './requests.ts';
import type { TranslatedRegion, TranslationRequest } from './translator.ts';

/** Requests that were answered are remembered, up to this many. */
const ANSWERED_MAX = 20_000;

/** A request has cooled down if it waited this long and its block was not entered so often in that time. */
const COOL_MS = 200;
const COOL_ENTRIES = 100;

interface Pending {
  readonly request: TranslationRequest;
  readonly vcpu: number;
  /** Times that the block was entered, as far as known. */
  heat: number;
  /** When it was last looked at whether it cools down, and its heat then. */
  since: number;
  heatThen: number;
}

const keyOf = ({ gpa, mode, version }: TranslationRequest) => `${gpa} ${mode} ${version}`;

export class PendingRequests {
  readonly #words: Int32Array;
  readonly #rings: readonly RequestRing[];
  readonly #tables: readonly BlockTable[];
  readonly #answered = new Set<string>();
  /** What regions reach by themselves and nobody has asked for since. */
  readonly #inner = new Set<string>();
  readonly #isKept: (request: TranslationRequest) => boolean;
  /** By place: a guest with much code has thousands, so nobody goes through them for each request or region. */
  readonly #waiting = new Map<number, Pending>();

  /** `isKept`: answers a request at once with what earlier machines left, if there is something. */
  constructor(
    memory: WebAssembly.Memory,
    vcpuCount: number,
    isKept: (request: TranslationRequest) => boolean = () => false,
  ) {
    this.#isKept = isKept;
    this.#words = new Int32Array(memory.buffer);
    this.#rings = Array.from({ length: vcpuCount }, (_, index) => new RequestRing(memory, index));
    this.#tables = Array.from({ length: vcpuCount }, (_, index) => new BlockTable(memory, index));
  }

  /** Takes the hottest request, if it is as hot as that. */
  take(heatMin = 0): { readonly request: TranslationRequest; readonly heat: number } | undefined {
    const now = performance.now();
    for (const [vcpu, ring] of this.#rings.entries())
      for (let request = ring.take(); request; request = ring.take()) this.#add(request, vcpu, now);
    let hottest: Pending | undefined;
    for (const [place, pending] of this.#waiting) {
      pending.heat = this.#heat(pending);
      if (this.#hasCooledDown(pending, now)) this.#waiting.delete(place);
      else if (!hottest || pending.heat > hottest.heat) hottest = pending;
    }
    if (!hottest || hottest.heat < heatMin) return undefined;
    this.#waiting.delete(entryKey(hottest.request.gpa, hottest.request.mode));
    return hottest;
  }

  /** The vCPU begins to count anew. */
  #hasCooledDown(pending: Pending, now: number): boolean {
    if (now - pending.since < COOL_MS) return false;
    const isWarm = pending.heat - pending.heatThen >= COOL_ENTRIES;
    pending.since = now;
    pending.heatThen = pending.heat;
    if (isWarm) return false;
    this.#answered.delete(keyOf(pending.request));
    this.#recount(pending);
    return true;
  }

  /**
   * These have been translated: their entries are answered, asked for or not. What is inside of them was hot because it
   * was interpreted; it is wanted for itself only if it is found hot once more.
   */
  answered(regions: readonly TranslatedRegion[]): void {
    for (const { entries, inner, mode, version } of regions) {
      for (const gpa of inner) {
        this.#inner.add(keyOf({ gpa, mode, version }));
        const pending = this.#waitingFor({ gpa, mode, version });
        if (pending && this.#isInner(pending)) this.#waiting.delete(entryKey(gpa, mode));
      }
      for (const gpa of entries) {
        this.#answered.add(keyOf({ gpa, mode, version }));
        if (this.#waitingFor({ gpa, mode, version })) this.#waiting.delete(entryKey(gpa, mode));
      }
    }
    if (this.#inner.size > ANSWERED_MAX) this.#inner.clear();
  }
  /** Requests for these are new ones again. */
  forget(regions: readonly TranslatedRegion[]): void {
    for (const { entries, mode, version } of regions)
      for (const gpa of entries) this.#answered.delete(keyOf({ gpa, mode, version }));
  }
  /** The last eviction that all vCPUs have let go of. */
  get letGoOf(): number {
    return Math.min(...this.#rings.map((ring) => ring.letGoOf));
  }

  /** Several vCPUs may find the same block hot. */
  #add(request: TranslationRequest, vcpu: number, now: number): void {
    if (request.isEarly) {
      const key = keyOf(request);
      if (!this.#inner.has(key) && !this.#answered.has(key)) this.#isKept(request);
      return;
    }
    const pending = { request, vcpu, heat: 0, since: now, heatThen: 0 };
    pending.heatThen = this.#heat(pending);
    if (this.#isInner(pending) || this.#answered.has(keyOf(request))) return;
    if (this.#isKept(request)) return;
    if (this.#answered.size >= ANSWERED_MAX) this.#answered.clear();
    this.#answered.add(keyOf(request));
    // In the place of what the page was before, which nobody wants any more.
    this.#waiting.set(entryKey(request.gpa, request.mode), pending);
  }
  #waitingFor({ gpa, mode, version }: TranslationRequest): Pending | undefined {
    const pending = this.#waiting.get(entryKey(gpa, mode));
    return pending?.request.version === version ? pending : undefined;
  }

  /** Whether a region reaches it by itself; the vCPU begins to count anew, and the next time the answer is no. */
  #isInner(pending: Pending): boolean {
    const key = keyOf(pending.request);
    if (!this.#inner.delete(key)) return false;
    this.#answered.delete(key);
    this.#recount(pending);
    return true;
  }
  #recount(pending: Pending): void {
    const word = this.#countWord(pending);
    if (word !== undefined) this.#words[word] = 0;
  }

  #heat(pending: Pending): number {
    const word = this.#countWord(pending);
    return word === undefined ? pending.heat : Math.max(this.#words[word]!, pending.heat);
  }

  /** Where the vCPU's table counts how often it enters the block, if it is still there. */
  #countWord({ request, vcpu }: Pending): number | undefined {
    return this.#tables[vcpu]!.countWord(request.gpa >>> 0, request.mode);
  }
}
