// Makes WebAssembly modules from hot blocks: many regions a module, from the same meanings that the interpreter has.
// It reads the machine's memory and needs nothing else of the machine, so it may live in a thread of its own;
// loader.ts puts what it makes in force.

import { enteredAt, type TranslatedBlocks } from '../decode/block-store.ts';
import type { HandlerNumbers } from '../interpreter/handlers.ts';
import { ENTRY_POINT, HANDLER_TYPE, RECORD_BYTES } from '../interpreter/record.ts';
import type { FunctionRef } from '../lift/function.ts';
import { codeBitsOf, isFlatMode } from '../state/decoding-mode.ts';
import { PAGE, PAGE_BYTES, PAGE_FLAGS_BASE, PAGE_VERSIONS_BASE } from '../state/memory-map.ts';
import { type FunctionBody, ModuleBuilder } from '../wasm/module.ts';
import { Adoption } from './adoption.ts';
import {
  CODE_BYTES_MAX,
  CodeCache,
  cachedJump,
  type Eviction,
  isInForce,
  type RegionPlace,
  slotsInUse,
} from './code-cache.ts';
import { compileRegion } from './compile.ts';
import { publishCounters } from './counters.ts';
import { InstructionSource, type RegionInstruction } from './instructions.ts';
import { holdsFor, type KeptRegion, keptRegion, type TranslationStore } from './kept.ts';
import { buildRegion, type Linkable, REGION_LENGTH_MAX, type Region } from './region.ts';
import { memoryName, planOf, RegionMemories } from './region-memory.ts';

/** A region with fewer instructions that need no handler gains nothing: even a lone RET is worth it, between two regions. */
const SIMPLE_MIN = 1;
/** Handler numbers have 16 bits; regions take those that instructions leave. */
const HANDLER_MAX = 0xffff;

/** Addresses that are remembered. */
const ASKED_MAX = 20_000;

/** A block that is entered often. */
export interface TranslationRequest {
  /** It is not hot yet, and wanted only if it is kept (TranslationStore). */
  readonly isEarly?: boolean;
  /** Guest-physical address of its first instruction, and its decoding mode. */
  readonly gpa: number;
  readonly mode: number;
  /** Number of the linear page that it was in then, and the vCPU that found it. */
  readonly linearPage?: number;
  readonly vcpu?: number;
  /** Version of its page when it was found to be hot: what was made from a page that has changed since is not used. */
  readonly version: number;
}

/** A region of a translated module. */
export interface TranslatedRegion extends TranslatedBlocks, Pick<KeptRegion, 'links' | 'moved'> {
  /** Address of its memory, which its blocks are in, too. */
  readonly memory: number;
  /** Name under which the module exports it. */
  readonly name: string;
  readonly version: number;
  /** Guest-physical addresses of blocks that it reaches by itself, and where it cannot be entered. */
  readonly inner: readonly number[];
  readonly instructions: number;
  /** Bytes of its WebAssembly function. */
  readonly bytes: number;
}

export interface Translation {
  readonly module: WebAssembly.Module;
  readonly regions: readonly TranslatedRegion[];
  /** Addresses of the memories of all regions of the module, in its order; 0 for those that are not taken over. */
  readonly memories: readonly number[];
}

/** What the translator has for every vCPU. */
export type TranslatorMessage = Translation | Eviction;

export interface TranslatorOptions {
  readonly memory: WebAssembly.Memory;
  readonly wasmPagesMax: number;
  readonly handlers: HandlerNumbers;
  /** Instructions that the processor's model does not have. */
  readonly lacking?: ReadonlySet<string> | undefined;
  /** Number of the first handler that is a function: the table's entry 0. */
  readonly firstFunction: number;
  /** First entry of the table that is free for regions. */
  readonly firstSlot: number;
  /** Instructions are counted exactly, and the budget ends loops; else only events do. */
  readonly counts: boolean;
  /** Several processors use the memory. */
  readonly isShared?: boolean;
  /** Instructions of a region, at most and at least (those that need no handler); tests translate each alone. */
  readonly lengthMax?: number;
  readonly lengthMin?: number;
  /** Bytes of WebAssembly in force, at most; tests have less. */
  readonly codeBytesMax?: number;
  /** Default 1. */
  readonly vcpuCount?: number;
  /** What earlier machines left; undefined: nothing, and nothing is kept of this one. */
  readonly store?: TranslationStore | undefined;
}

export class Translator {
  readonly #options: TranslatorOptions;
  readonly #source: InstructionSource;
  readonly #u32: Uint32Array;
  readonly #u8: Uint8Array;
  /** Regions by the address that they were asked for at, in whatever address space: hints for links. */
  readonly #asked = new Map<bigint, { readonly region: TranslatedRegion; readonly gpa: number }>();
  readonly cache: CodeCache;
  /** What `TranslatorCounters` says, published behind each translation and adoption. */
  readonly counters = {
    requests: 0,
    regions: 0,
    refused: 0,
    failed: 0,
    modules: 0,
    instructions: 0,
    bytes: 0,
    milliseconds: 0,
    evicted: 0,
    adopted: 0,
  };
  readonly #memories: RegionMemories;
  readonly #adoption: Adoption | undefined;
  /** #keepable when this was last saved. */
  #saved = 0;
  /** What the last failure said: a defect to report. */
  lastFailure: string | undefined;

  constructor(options: TranslatorOptions) {
    this.#options = options;
    this.#source = new InstructionSource(options.memory, options.handlers, options.lacking);
    this.#u32 = new Uint32Array(options.memory.buffer);
    this.#u8 = new Uint8Array(options.memory.buffer);
    this.#memories = new RegionMemories(options);
    this.cache = new CodeCache({
      firstSlot: options.firstSlot,
      slotEnd: HANDLER_MAX + 1 - options.firstFunction,
      bytesMax: options.codeBytesMax ?? CODE_BYTES_MAX,
    });
    const { store } = options;
    const parts = { source: this.#source, cache: this.cache, memories: this.#memories };
    this.#adoption = store && new Adoption(options.memory, { ...parts, store });
  }

  /**
   * One module for all requests that can be translated; more when something fails, none when nothing can. `made` is told
   * of each region before the next request is asked for.
   */
  translate(
    requests: Iterable<TranslationRequest>,
    made?: (region: TranslatedRegion) => void,
  ): readonly Translation[] {
    const started = performance.now();
    const translations = this.#tryAll(requests, made);
    this.counters.milliseconds += performance.now() - started;
    this.#publish();
    return translations;
  }

  #publish(): void {
    const { counters, lastFailure } = this;
    publishCounters(this.#options.memory, { ...counters, lastFailure });
  }

  /** What all vCPUs are to let go of now; `release` says that they have. */
  evict(): Eviction | undefined {
    const { memory, vcpuCount } = this.#options;
    let slots: Set<number> | undefined;
    const eviction = this.cache.evict((region) => {
      slots ??= slotsInUse(memory, vcpuCount ?? 1);
      return slots.has(region.slot) && isInForce(memory, region);
    });
    this.counters.evicted += eviction?.evicted.length ?? 0;
    return eviction;
  }
  release(id: number): void {
    this.cache.release(id);
  }

  /** Where translation fails, which is a defect of ours, each is tried alone, and the guest goes on in the interpreter. */
  #tryAll(
    requests: Iterable<TranslationRequest>,
    made?: (region: TranslatedRegion) => void,
  ): Translation[] {
    const rest = new Rest(requests);
    const translations: (Translation | undefined)[] = [];
    while (!rest.isDone) {
      const before = { ...this.counters };
      try {
        translations.push(this.#translate(rest, made));
      } catch (error) {
        Object.assign(this.counters, before);
        const taken = rest.forgetTaken();
        if (taken.length > 1)
          for (const request of taken) translations.push(...this.#tryAll([request], made));
        else {
          this.counters.requests++;
          this.counters.failed++;
          this.lastFailure = error instanceof Error ? (error.stack ?? error.message) : `${error}`;
        }
      }
    }
    return translations.filter((t) => t !== undefined);
  }

  #translate(
    requests: Iterable<TranslationRequest>,
    made?: (region: TranslatedRegion) => void,
  ): Translation | undefined {
    const module = new RegionModule(this.#options);
    const regions: TranslatedRegion[] = [];
    const places: RegionPlace[] = [];
    const kept: KeptRegion[] = [];
    try {
      for (const request of requests) {
        if (regions.some((region) => covers(region, request))) continue;
        this.counters.requests++;
        const before = this.#pageAt(request.gpa).slice();
        const region = this.#region(request, regions);
        const place = region && this.cache.allocate(planOf(region).bytes);
        if (!place) {
          this.counters.refused++;
          continue;
        }
        places.push(place);
        const compiled = this.#compile(module, region, { request, place, before });
        regions.push(compiled.region);
        this.#remember(request, compiled.region);
        if (compiled.kept) kept.push(compiled.kept);
        made?.(compiled.region);
      }
      if (regions.length === 0) return undefined;
      const bytes = module.encode();
      const memories = places.map((place) => place.records);
      const translation = { module: new WebAssembly.Module(bytes), regions, memories };
      // Of a module all regions are kept or none.
      const isWhole = kept.length === regions.length;
      const own = isWhole ? { regions: kept, module: translation.module, bytes } : undefined;
      this.cache.add({ regions, places, bytes: bytes.length, made: own });
      this.counters.bytes += bytes.length;
      this.counters.modules++;
      return translation;
    } catch (error) {
      this.cache.free(places);
      throw error;
    }
  }

  /** `others` are about to be in force. */
  #region(request: TranslationRequest, others: readonly TranslatedRegion[]): Region | undefined {
    const { gpa, mode } = request;
    const { lengthMax, lengthMin, store } = this.#options;
    const entered = enteredAt(this.#u32, gpa - (gpa % PAGE_BYTES), mode);
    const options = {
      source: this.#source,
      gpa,
      mode,
      lengthMax: lengthMax ?? REGION_LENGTH_MAX,
      isShared: this.#options.isShared ?? false,
      moves: store !== undefined,
      hasRun: (at: number) => entered.all.has(at),
      isEntered: (at: number) =>
        entered.translated.has(at) || others.some((other) => covers(other, { gpa: at, mode })),
    };
    const linkTo = (distance: number) => this.#linkable(request, distance);
    const linked = buildRegion({ ...options, linkTo });
    // Code that changes while it is read is not what the link will be checked against.
    const isWhole = linked?.links.every((link) => link.isStill()) ?? true;
    const region = isWhole ? linked : buildRegion(options);
    if (!region || region.simple < (lengthMin ?? SIMPLE_MIN)) return undefined;
    return region;
  }

  #pageAt(gpa: number): Uint8Array {
    return this.#memories.page(gpa - (gpa % PAGE_BYTES));
  }

  /** The region that a vCPU goes to for an address, as far as is known, if it is of the same mode. */
  #linkable(
    { linearPage, vcpu, mode }: TranslationRequest,
    distance: number,
  ): Linkable | undefined {
    // Elsewhere a jump out of the page looks at CS's limit and wraps around as its size wants.
    const isFlat = codeBitsOf(mode) === 64 || isFlatMode(mode);
    if (linearPage === undefined || !isFlat) return undefined;
    const rip = ripOf(linearPage, distance);
    const asked = this.#asked.get(rip);
    const entryPoint = cachedJump(this.#options.memory, vcpu ?? 0, rip);
    const cached = entryPoint === undefined ? undefined : this.cache.regionAt(entryPoint);
    const region = cached ?? asked?.region;
    const gpa = cached ? cached.entries[entryPoint! >>> ENTRY_POINT.numberShift] : asked?.gpa;
    if (!region || gpa === undefined || region.mode !== mode) return undefined;
    if (gpa % PAGE_BYTES !== (distance & (PAGE_BYTES - 1))) return undefined;
    const start = gpa - (gpa % PAGE_BYTES);
    const version = this.#versionOf(gpa);
    // Writes to a page with code are counted.
    const hasCode = () => (this.#u8[PAGE_FLAGS_BASE + start / PAGE_BYTES]! & PAGE.hasCode) !== 0;
    const page = this.#pageAt(gpa).slice();
    const isStill = () => hasCode() && this.#versionOf(gpa) === version;
    const { all } = enteredAt(this.#u32, start, mode);
    const hasRun = (at: number) => all.has(at);
    return { gpa, start: region.start - start, end: region.end - start, hasRun, page, isStill };
  }
  /** Remembers where a region was asked for. */
  #remember({ gpa, mode, linearPage }: TranslationRequest, region: TranslatedRegion): void {
    if (linearPage === undefined || !covers(region, { gpa, mode })) return;
    if (this.#asked.size >= ASKED_MAX) this.#asked.clear();
    this.#asked.set(ripOf(linearPage, gpa % PAGE_BYTES), { region, gpa });
  }
  #versionOf(gpa: number): number {
    return this.#u32[PAGE_VERSIONS_BASE / 4 + (gpa >>> 12)]!;
  }

  #compile(
    module: RegionModule,
    region: Region,
    {
      request,
      place,
      before,
    }: { request: TranslationRequest; place: RegionPlace; before: Uint8Array },
  ): { region: TranslatedRegion; kept: KeptRegion | undefined } {
    const { handlers, counts, store } = this.#options;
    const memory = planOf(region);
    const handled: number[] = [];
    const recordOffsets = new Map<RegionInstruction, number>();
    const recordOf = (instruction: RegionInstruction) => {
      const known = recordOffsets.get(instruction);
      if (known !== undefined) return known;
      const offset = memory.records + RECORD_BYTES * (handled.push(instruction.offset) - 1);
      this.#memories.write(instruction.record!, place, offset);
      recordOffsets.set(instruction, offset);
      return offset;
    };
    const number = module.count;
    const name = `guest_${request.gpa.toString(16)}_${number}`;
    const body = compileRegion(region, {
      functionIndex: (callee) => module.functionIndex(callee),
      handlerType: module.handlerType,
      tableIndex: (n) => handlers.tableIndex(n),
      recordOf,
      baseGlobal: number,
      validAt: memory.blocks + RECORD_BYTES,
      counts,
    });
    module.add(name, body);
    this.counters.regions++;
    this.counters.instructions += region.length;
    const page = this.#memories.page(region.page);
    this.#memories.begin(page, region, place);
    const bytes = body.code.length;
    const kept = keptRegion(region, { name, number, handled, bytes, page: before });
    // A vCPU may have changed the code meanwhile, and back: nobody knows what the region was made from. A guest must not be
    // able to leave others something else than their code.
    const isStill = this.#versionOf(region.page) === request.version;
    const isKept = store !== undefined && isStill && holdsFor(kept, page);
    return { region: this.#memories.placed(kept, request, place), kept: isKept ? kept : undefined };
  }

  // --- what is kept ---

  /** Takes over what earlier machines left for a request, and what else was on its page; none when there is nothing. */
  adopt(request: TranslationRequest): readonly Translation[] {
    const adopted = this.#adoption?.adopt(request) ?? [];
    for (const { regions } of adopted) {
      this.counters.adopted += regions.length;
      for (const region of regions) this.#remember(request, region);
    }
    if (adopted.length) this.#publish();
    return adopted;
  }
  /** Hands the store what it has not seen yet; V8 may have compiled more of the rest by now. */
  save(): void {
    this.#saved = this.#keepable;
    const used = this.#adoption?.used ?? new Set();
    this.#options.store?.save({ used, made: [...this.cache.made()] });
  }
  /** There is something to save. */
  get isUnsaved(): boolean {
    return this.#options.store !== undefined && this.#keepable !== this.#saved;
  }
  /** Grows with what a store would like to know. */
  get #keepable(): number {
    return this.counters.modules + this.counters.adopted;
  }
}

/** The address so far from the beginning of a page. */
function ripOf(linearPage: number, distance: number): bigint {
  return BigInt.asUintN(64, BigInt(linearPage) * BigInt(PAGE_BYTES) + BigInt(distance));
}

/** Values that are iterated over, and over the rest of them when that was given up. */
class Rest<T> implements Iterable<T> {
  readonly #values: Iterator<T>;
  #taken: T[] = [];
  isDone = false;

  constructor(values: Iterable<T>) {
    this.#values = values[Symbol.iterator]();
  }
  // Without `return`: giving up does not end it.
  [Symbol.iterator](): Iterator<T> {
    return { next: () => this.#next() };
  }
  #next(): IteratorResult<T> {
    const result = this.#values.next();
    if (result.done) this.isDone = true;
    else this.#taken.push(result.value);
    return result;
  }
  /** What was taken since this was last called. */
  forgetTaken(): readonly T[] {
    const taken = this.#taken;
    this.#taken = [];
    return taken;
  }
}

/** The region is entered where the request wants it. */
function covers(
  region: TranslatedRegion,
  { gpa, mode }: Pick<TranslationRequest, 'gpa' | 'mode'>,
): boolean {
  return region.mode === mode && region.entries.includes(gpa);
}

/** A module under construction: imports are declared as bodies ask for them. */
class RegionModule {
  readonly #module: ModuleBuilder;
  readonly #imports = new Map<FunctionRef, number>();
  readonly #bodies: { name: string; body: FunctionBody }[] = [];
  readonly handlerType: number;

  constructor(options: { wasmPagesMax: number }) {
    this.#module = new ModuleBuilder({ memoryPagesMax: options.wasmPagesMax });
    this.#module.importTable();
    this.handlerType = this.#module.typeIndex(HANDLER_TYPE);
  }

  functionIndex(ref: FunctionRef): number {
    let index = this.#imports.get(ref);
    if (index === undefined) {
      const type = {
        params: ['i32' as const, ...ref.params],
        results: ref.result ? [ref.result] : [],
      };
      index = this.#module.importFunction('code', ref.name, type);
      this.#imports.set(ref, index);
    }
    return index;
  }
  /** Regions so far. */
  get count(): number {
    return this.#bodies.length;
  }
  add(name: string, body: FunctionBody): void {
    this.#module.importConstant(memoryName(this.count));
    this.#bodies.push({ name, body });
  }
  encode(): Uint8Array<ArrayBuffer> {
    for (const { name, body } of this.#bodies) {
      const index = this.#module.declareFunction(name, HANDLER_TYPE);
      this.#module.defineFunction(index, body);
      this.#module.exportFunction(name, index);
    }
    return this.#module.encode();
  }
}
