// What translated code takes of bounded things: slots of the table, memory for records, bytes of WebAssembly. When one of
// them runs short, modules are given up, the oldest first that no vCPU has gone to lately; what they had is used again
// when every vCPU has let go of them (decision 0019).

import { ENTRY_POINT, RECORD_BYTES } from '../interpreter/record.ts';
import { GENERATION_SHIFT, jumpCacheIndex } from '../microcode/jump-cache.ts';
import { JUMP_CACHE_BYTES, JUMP_CACHE_ENTRY, JUMP_CACHE_OFFSET, S } from '../state/layout.ts';
import {
  TRANSLATED_RECORDS_BASE,
  TRANSLATED_RECORDS_BYTES,
  vcpuBase,
} from '../state/memory-map.ts';
import type { MadeModule } from './kept.ts';
import type { TranslatedRegion } from './translator.ts';

/** Bytes of WebAssembly in force at most. V8 keeps them, and makes of what runs two to eight times as much machine code. */
export const CODE_BYTES_MAX: number = 16 << 20;
/** More than this part of anything in use: modules are given up until it is down to the other part. */
const FULL = 7 / 8;
const ENOUGH = 3 / 4;

/** Where a region lies. */
export interface RegionPlace {
  readonly slot: number;
  readonly records: number;
  readonly recordBytes: number;
}

/** Regions that every vCPU is to let go of. */
export interface Eviction {
  /** From 1, one more each time. */
  readonly id: number;
  readonly evicted: readonly TranslatedRegion[];
}

interface Module {
  readonly regions: readonly TranslatedRegion[];
  readonly places: readonly RegionPlace[];
  readonly bytes: number;
  /** What is to be kept of it. */
  readonly made?: MadeModule | undefined;
}

export class CodeCache {
  readonly #limits: { readonly slots: number; readonly bytes: number };
  readonly #freeSlots: number[] = [];
  readonly #freeRecords = new Spans(TRANSLATED_RECORDS_BASE, TRANSLATED_RECORDS_BYTES);
  readonly #used = { slots: 0, recordBytes: 0, bytes: 0 };
  #nextSlot: number;
  readonly #slotEnd: number;
  readonly #bySlot = new Map<number, TranslatedRegion>();
  /** Oldest first. */
  #modules: Module[] = [];
  #leaving: { readonly id: number; readonly modules: readonly Module[] } | undefined;
  #lastId = 0;

  constructor(options: { firstSlot: number; slotEnd: number; bytesMax: number }) {
    const { firstSlot, slotEnd, bytesMax } = options;
    this.#nextSlot = firstSlot;
    this.#slotEnd = slotEnd;
    this.#limits = { slots: slotEnd - firstSlot, bytes: bytesMax };
  }

  get bytes(): number {
    return this.#used.bytes;
  }
  get slots(): number {
    return this.#used.slots;
  }

  /** A place for a region; undefined when there is none before others have gone. */
  allocate(recordBytes: number): RegionPlace | undefined {
    const records = this.#freeRecords.take(recordBytes);
    if (records === undefined) return undefined;
    const slot =
      this.#freeSlots.pop() ?? (this.#nextSlot < this.#slotEnd ? this.#nextSlot++ : undefined);
    if (slot === undefined) {
      this.#freeRecords.give(records, recordBytes);
      return undefined;
    }
    this.#used.slots++;
    this.#used.recordBytes += recordBytes;
    return { slot, records, recordBytes };
  }

  /** Gives back places of which nobody has heard, or of which nobody knows any more. */
  free(places: readonly RegionPlace[]): void {
    for (const { slot, records, recordBytes } of places) {
      this.#freeSlots.push(slot);
      this.#freeRecords.give(records, recordBytes);
      this.#used.slots--;
      this.#used.recordBytes -= recordBytes;
    }
  }

  /** The region of an ENTRY_POINT, if it has been handed out and is not on its way out. */
  regionAt(entryPoint: number): TranslatedRegion | undefined {
    return this.#bySlot.get(entryPoint & ENTRY_POINT.slot);
  }

  /** A module is handed out. */
  add(module: Module): void {
    for (const region of module.regions) this.#bySlot.set(region.slot, region);
    this.#modules.push(module);
    this.#used.bytes += module.bytes;
  }

  /** What is to be kept of the modules that are there. */
  *made(): Iterable<MadeModule> {
    for (const { made } of this.#modules) if (made) yield made;
  }

  /** What to let go of, when something runs short and nothing is on its way out. `isUsed` says where vCPUs went lately. */
  evict(isUsed: (region: TranslatedRegion) => boolean): Eviction | undefined {
    if (this.#leaving || !this.#exceeds(FULL)) return undefined;
    const used = new Set(this.#modules.filter(({ regions }) => regions.some(isUsed)));
    const order = [...this.#modules.filter((module) => !used.has(module)), ...used];
    const modules: Module[] = [];
    const left = { ...this.#used };
    for (const module of order) {
      if (!this.#exceeds(ENOUGH, left)) break;
      modules.push(module);
      left.bytes -= module.bytes;
      left.slots -= module.places.length;
      for (const { recordBytes } of module.places) left.recordBytes -= recordBytes;
    }
    for (const { regions } of modules) for (const { slot } of regions) this.#bySlot.delete(slot);
    const gone = new Set(modules);
    // What is in use counts as new from here on.
    this.#modules = order.filter((module) => !gone.has(module));
    this.#leaving = { id: ++this.#lastId, modules };
    return { id: this.#lastId, evicted: modules.flatMap(({ regions }) => regions) };
  }

  /** All vCPUs have let go of an eviction's regions. */
  release(id: number): void {
    if (this.#leaving?.id !== id) return;
    for (const { places, bytes } of this.#leaving.modules) {
      this.free(places);
      this.#used.bytes -= bytes;
    }
    this.#leaving = undefined;
  }

  /** No more is to be translated before what is on its way out has gone. */
  get isFull(): boolean {
    return this.#leaving !== undefined && this.#exceeds(1);
  }
  /** Number of the eviction that is under way. */
  get leaving(): number | undefined {
    return this.#leaving?.id;
  }

  #exceeds(part: number, used = this.#used): boolean {
    return (
      used.bytes > this.#limits.bytes * part ||
      used.slots > this.#limits.slots * part ||
      used.recordBytes > TRANSLATED_RECORDS_BYTES * part
    );
  }
}

/** Free memory as spans in order. */
class Spans {
  readonly #spans: { start: number; end: number }[];

  constructor(start: number, bytes: number) {
    this.#spans = [{ start, end: start + bytes }];
  }
  take(bytes: number): number | undefined {
    const index = this.#spans.findIndex(({ start, end }) => end - start >= bytes);
    const span = this.#spans[index];
    if (!span) return undefined;
    const { start } = span;
    span.start += bytes;
    if (span.start === span.end) this.#spans.splice(index, 1);
    return start;
  }
  give(start: number, bytes: number): void {
    const spans = this.#spans;
    const found = spans.findIndex((span) => span.start > start);
    const index = found < 0 ? spans.length : found;
    const [before, behind] = [spans[index - 1], spans[index]];
    const end = start + bytes;
    if (before?.end === start) {
      before.end = behind?.start === end ? behind.end : end;
      if (behind?.start === end) spans.splice(index, 1);
    } else if (behind?.start === end) behind.start = start;
    else spans.splice(index, 0, { start, end });
  }
}

/** Slots that vCPUs went to since they last emptied their jump caches. Reads them while they run: a hint. */
export function slotsInUse(memory: WebAssembly.Memory, vcpuCount: number): Set<number> {
  const u32 = new Uint32Array(memory.buffer);
  const slots = new Set<number>();
  for (let index = 0; index < vcpuCount; index++) {
    const base = vcpuBase(index);
    const generations = [S.userGeneration, S.supervisorGeneration].map(
      ({ offset }) => u32[(base + offset) / 4]!,
    );
    const first = base + JUMP_CACHE_OFFSET;
    for (let entry = first; entry < first + JUMP_CACHE_BYTES; entry += JUMP_CACHE_ENTRY.size) {
      if (generations.includes(u32[(entry + JUMP_CACHE_ENTRY.context) / 4]! >>> GENERATION_SHIFT))
        slots.add(u32[(entry + JUMP_CACHE_ENTRY.entryPoint) / 4]! & ENTRY_POINT.slot);
    }
  }
  return slots;
}

/** ENTRY_POINT that a vCPU went to lately for an address, maybe in another address space. Reads while it runs: a hint. */
export function cachedJump(
  memory: WebAssembly.Memory,
  vcpu: number,
  rip: bigint,
): number | undefined {
  const view = new DataView(memory.buffer);
  const entry = vcpuBase(vcpu) + JUMP_CACHE_OFFSET + jumpCacheIndex(rip) * JUMP_CACHE_ENTRY.size;
  const isIt = view.getBigUint64(entry + JUMP_CACHE_ENTRY.rip, true) === rip;
  return isIt ? view.getUint32(entry + JUMP_CACHE_ENTRY.entryPoint, true) : undefined;
}

/** Whether a region's block is still there: a write to its code drops it. */
export function isInForce(memory: WebAssembly.Memory, region: TranslatedRegion): boolean {
  const u16 = new Uint16Array(memory.buffer);
  return u16[(region.records + RECORD_BYTES) / 2] === region.handler;
}
