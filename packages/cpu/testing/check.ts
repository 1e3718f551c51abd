// Runs machine code on the interpreter for tests: bytes in, registers and memory out. Flat memory, paging off in
// legacy modes, identity-mapped in 64-bit mode; a fault ends the run instead of being delivered.

import { BlockStore } from '../decode/block-store.ts';
import { engine, type Processors } from '../interpreter/engine.ts';
import { instantiate } from '../interpreter/instance.ts';
import { EXIT_REASON } from '../interpreter/service.ts';
import type { CpuModel } from '../model/cpu-model.ts';
import { DECODING_MODE, MODE_SINGLE_STEP } from '../state/decoding-mode.ts';
import {
  at,
  EVENT,
  GPR,
  S,
  SEGMENT,
  TLB_BYTES,
  TLB_MODE,
  TLB_OFFSET,
  X87_SIGN_EXPONENT,
  YMM_HIGH,
} from '../state/layout.ts';
import { planMemory, RAM_BASE, vcpuBase } from '../state/memory-map.ts';
import { InThreadTranslator, translatorOptions } from '../translator/in-thread.ts';
import type { TranslationStore } from '../translator/kept.ts';
import { HOT_NEVER, TranslationLoader } from '../translator/loader.ts';

export const CODE_ADDRESS = 0x10_0000;
export const DATA_ADDRESS = 0x20_0000;
export const STACK_ADDRESS = 0x30_0000;
const RAM_BYTES = 16 << 20;
const PAGE_TABLES = 0x1000;
/** A program that runs on is a failure, not a hang. */
const SLICES_MAX = 1000;
/** What S.mode is behind a reset, by code size. */
const FLAT_MODES = {
  16: DECODING_MODE.code16,
  32: DECODING_MODE.flat32,
  64: DECODING_MODE.code64,
} as const;

/**
 * Engine that tests use: the interpreter; with `MIMIC_TEST_ENGINE=translator`, each instruction that `step` runs is a
 * region of its own; with `regions`, all that runs freely is translated when it is decoded.
 */
const ENGINE = process.env.MIMIC_TEST_ENGINE;
const EACH_TRANSLATED = ENGINE === 'translator';
const ALL_TRANSLATED = ENGINE === 'regions';

export type RegisterName = keyof typeof GPR;

/** Initial or expected state; what is left out is 0 before and not compared after. */
export interface CpuState {
  readonly registers?: Partial<Record<RegisterName, bigint>>;
  readonly rflags?: number;
  readonly xmm?: readonly bigint[];
  readonly mxcsr?: number;
}

export interface RunResult {
  readonly registers: Readonly<Record<RegisterName, bigint>>;
  readonly rip: bigint;
  readonly rflags: number;
  readonly xmm: readonly bigint[];
  readonly mxcsr: number;
  /** The fault that ended the run, or undefined. */
  readonly fault:
    | { readonly vector: number; readonly code: number; readonly address: bigint }
    | undefined;
}

/** A processor without a board: ports and MMIO read as ones. */
export class TestCpu {
  readonly memory: WebAssembly.Memory;
  readonly view: DataView;
  readonly bytes: Uint8Array;
  readonly blocks: BlockStore;
  readonly #instance: ReturnType<typeof instantiate>;
  readonly #base = vcpuBase(0);

  constructor(
    host: Readonly<Record<string, (...args: never[]) => number | bigint | undefined>> = {},
    options: {
      readonly hotThreshold?: number;
      /** Bytes of WebAssembly in force, at most. */
      readonly codeBytesMax?: number;
      readonly model?: CpuModel;
      /** Regions count what they retire and end with the budget; false: as a machine runs them, only events end loops. */
      readonly counts?: boolean;
      /** What other processors left, and where this one's translations are kept. */
      readonly store?: TranslationStore;
      /** Guest memory as several processors share it. */
      readonly processors?: Processors;
    } = {},
  ) {
    const layout = planMemory({ ramBytes: RAM_BYTES, vcpuCount: 1 });
    this.memory = new WebAssembly.Memory({
      initial: layout.wasmPages,
      maximum: 65536,
      shared: true,
    });
    this.view = new DataView(this.memory.buffer);
    this.bytes = new Uint8Array(this.memory.buffer);
    this.blocks = new BlockStore({
      memory: this.memory,
      handlers: engine(options.processors).handlers,
      ramBytes: RAM_BYTES,
      vcpuCount: 1,
      ...(options.model && { model: options.model }),
    });
    this.#instance = instantiate({
      memory: this.memory,
      index: 0,
      host: { ...this.#host(), ...host },
      engine: engine(options.processors),
    });
    this.set('ramBytes', BigInt(RAM_BYTES));
    this.#hotThreshold = options.hotThreshold ?? 0;
    this.#translatesAll = ALL_TRANSLATED && options.hotThreshold === undefined;
    const { memory, blocks } = this;
    this.translator = new InThreadTranslator({
      ...translatorOptions(memory, options.processors),
      counts: options.counts ?? true,
      ...(options.store && { store: options.store }),
      ...(options.codeBytesMax && { codeBytesMax: options.codeBytesMax }),
      ...(EACH_TRANSLATED ? { lengthMax: 1, lengthMin: 1 } : {}),
      ...(this.#translatesAll ? { lengthMin: 1 } : {}),
    });
    const { exports } = this.#instance;
    this.loader = new TranslationLoader({
      source: this.translator,
      memory,
      blocks,
      exports,
      index: 0,
    });
  }
  /** Entries after which a block is translated; 0: never. */
  readonly #hotThreshold: number;
  readonly #translatesAll: boolean;
  readonly translator: InThreadTranslator;
  readonly loader: TranslationLoader;
  #host(): Readonly<Record<string, (...args: never[]) => number | bigint | undefined>> {
    return {
      busRead: () => -1n,
      busWrite: () => undefined,
      beginCodeWrite: (gpa: number, bytes: number) =>
        this.blocks.beginWrite(gpa >>> 0, bytes) as undefined,
      endCodeWrite: (gpa: number, bytes: number) =>
        this.blocks.endWrite(gpa >>> 0, bytes) as undefined,
      decodeBlock: (gpa: number, mode: number) => this.#decode(gpa >>> 0, mode),
      blockIsHot: (gpa: number, mode: number, isEarly: number) => {
        const linearPage = Number(BigInt.asUintN(64, this.get('codePageLinear') as bigint) >> 12n);
        this.loader.request(gpa >>> 0, mode, { isEarly: isEarly === 1, linearPage });
        this.loader.loadEarly();
        return undefined;
      },
      resolveLink: (memory: number, link: number, entryPoint: number) => {
        this.loader.resolveLink(memory, link, entryPoint);
        return undefined;
      },
      takeInterrupt: () => -1,
      tscChanged: () => undefined,
      synchronise: () => this.#runAlone() as undefined,
      yieldHost: () => undefined,
      randomI64: () => 0x1234_5678_9abc_def0n,
    };
  }

  #find(gpa: number, mode: number, pageLinear = this.get('codePageLinear') as bigint): number {
    return this.blocks.find(gpa, mode, () => {
      const bits = this.get('codeBits') === 64 ? 64 : 32;
      const behind = pageLinear + 4096n;
      const next = bits === 64 ? BigInt.asIntN(64, behind) : BigInt.asUintN(32, behind);
      const page = this.#instance.call('translateFetch', next) as bigint;
      return this.get('fault') ? undefined : Number(page);
    });
  }
  #decode(gpa: number, mode: number): number {
    const found = this.#find(gpa, mode);
    if (!this.#translatesAll || found === 0) return found;
    return this.#translate(gpa, mode) ? this.#find(gpa, mode) : found;
  }

  /** Between two blocks of a machine for several processors, of which there is one: begins or ends running alone. */
  #runAlone(): void {
    const hasRun = this.get('stopsOthers') === 1;
    this.set('stopsOthers', hasRun ? 0 : 1);
    this.set('runOne', hasRun ? 0 : 1);
    if (hasRun) this.set('events', (this.get('events') as number) & ~EVENT.alone);
  }

  /** A state field, as its own type. */
  get(name: keyof typeof S, index = 0): number | bigint {
    const field = S[name];
    const address = this.#base + at(field, index);
    return field.type === 'i64'
      ? this.view.getBigUint64(address, true)
      : this.view.getUint32(address, true);
  }
  set(name: keyof typeof S, value: number | bigint, index = 0): void {
    const field = S[name];
    const address = this.#base + at(field, index);
    if (field.type === 'i64')
      this.view.setBigUint64(address, BigInt.asUintN(64, BigInt(value)), true);
    else this.view.setUint32(address, Number(value), true);
  }

  /** Enters a flat mode at ring 0 or 3 with everything else as after reset. */
  reset(bits: 16 | 32 | 64 = 64, cpl = 0): void {
    this.bytes.fill(0, this.#base, this.#base + TLB_OFFSET);
    this.set('ramBytes', BigInt(RAM_BYTES));
    this.set('hotThreshold', this.#hotThreshold || HOT_NEVER);
    this.set('stopOnFault', 1);
    for (const name of ['generation', 'userGeneration', 'supervisorGeneration'] as const)
      this.set(name, 1);
    this.set('context', 16 | (cpl === 3 ? 8 : 0) | FLAT_MODES[bits]);
    this.set('tlbsUsed', 15);
    this.set('codeBits', bits);
    this.set('mode', FLAT_MODES[bits]);
    this.set('stackMask', bits === 64 ? -1n : bits === 32 ? 0xffff_ffffn : 0xffffn);
    this.set('cpl', cpl);
    this.set('rflags', 2);
    this.set('flagZ', 1n);
    this.set('mxcsr', 0x1f80);
    this.set('x87Control', 0x37f);
    this.set('xstate', (1n << 63n) | 7n);
    this.set('cr4', 0x600n);
    this.set('cr0', 0x31n);
    // Flat and writable, 32 bits wide except in 16-bit mode; CS is readable code, with L in 64-bit mode.
    const data = (bits === 16 ? 0x8093 : 0xc093) | (cpl << 5);
    const code = (bits === 64 ? 0xa09b : bits === 32 ? 0xc09b : 0x809b) | (cpl << 5);
    for (let n = 0; n < 6; n++) {
      this.set('segAttributes', (n === SEGMENT.cs ? code : data) << 8, n);
      this.set('segLimit', 0xffff_ffff, n);
    }
    const tlb = (mode: number) => this.#base + TLB_OFFSET + mode * TLB_BYTES;
    const plain = tlb(cpl === 3 ? TLB_MODE.user : TLB_MODE.supervisor);
    this.set('tlb', plain);
    this.set('tlbFetch', plain);
    this.set('tlbSystem', tlb(TLB_MODE.supervisor));
    if (bits === 64) this.#identityMap();
    this.#instance.call('flushTlb');
  }
  /** 2 MiB pages over all of RAM, user-accessible. */
  #identityMap(): void {
    const entry = (table: number, index: number, value: number) =>
      this.view.setBigUint64(RAM_BASE + table + index * 8, BigInt(value), true);
    entry(PAGE_TABLES, 0, (PAGE_TABLES + 0x1000) | 7);
    entry(PAGE_TABLES + 0x1000, 0, (PAGE_TABLES + 0x2000) | 7);
    for (let n = 0; n < RAM_BYTES >> 21; n++) entry(PAGE_TABLES + 0x2000, n, (n << 21) | 0xe7);
    this.set('cr3', BigInt(PAGE_TABLES));
    this.set('cr0', 0x8000_0031n);
    this.set('cr4', 0x620n);
    this.set('efer', 0xd01n);
  }

  write(address: number, bytes: ArrayLike<number>): void {
    this.bytes.set(bytes, RAM_BASE + address);
    this.blocks.invalidate(address, bytes.length);
  }
  read(address: number, length: number): Uint8Array {
    return this.bytes.slice(RAM_BASE + address, RAM_BASE + address + length);
  }

  /** Sets registers, places the code and runs `count` instructions of it (or up to a fault). */
  run(
    code: ArrayLike<number>,
    state: CpuState,
    options: { count?: number; address?: number } = {},
  ): RunResult {
    const address = options.address ?? CODE_ADDRESS;
    this.write(address, code);
    this.set('fault', 0);
    this.set('rip', BigInt(address));
    for (const [name, number] of Object.entries(GPR))
      this.set('gpr', state.registers?.[name as RegisterName] ?? 0n, number);
    this.#instance.call('writeRflags', state.rflags ?? 2);
    for (const [n, value] of (state.xmm ?? []).entries()) this.setXmm(n, value);
    if (state.mxcsr !== undefined) this.set('mxcsr', state.mxcsr);
    const reason = this.step(options.count ?? 1);
    const fault = reason === EXIT_REASON.fault ? (this.get('fault') as number) : 0;
    return {
      registers: Object.fromEntries(
        Object.entries(GPR).map(([name, n]) => [name, this.get('gpr', n)]),
      ) as Record<RegisterName, bigint>,
      rip: this.get('rip') as bigint,
      rflags: this.#instance.call('readRflags') as number,
      xmm: Array.from({ length: 16 }, (_, n) => this.xmm(n)),
      mxcsr: this.get('mxcsr') as number,
      fault: fault
        ? {
            vector: fault & 0xff,
            code: this.get('faultCode') as number,
            address: this.get('faultAddress') as bigint,
          }
        : undefined,
    };
  }
  /** Runs exactly `count` instructions, one block each, unless a fault comes first. Gives an EXIT_REASON. */
  step(count: number): number {
    let mode = this.get('mode') as number;
    let reason: number = EXIT_REASON.budget;
    for (let n = 0; n < count && reason === EXIT_REASON.budget; n++) {
      const isTranslated = EACH_TRANSLATED && this.#translateHere(mode);
      const alone = isTranslated ? mode : mode | MODE_SINGLE_STEP;
      this.set('mode', alone);
      reason = this.#instance.run(1);
      const now = this.get('mode') as number;
      if (now !== alone) mode = now;
    }
    this.set('mode', mode);
    return reason;
  }
  /** Translates the one instruction at rip, if it can be fetched and translated. */
  #translateHere(mode: number): boolean {
    const rip = this.get('rip') as bigint;
    const linear =
      mode === DECODING_MODE.code64
        ? rip
        : BigInt.asUintN(32, rip + (this.get('segBase', SEGMENT.cs) as bigint));
    const gpa = Number(this.#instance.call('translateFetch', BigInt.asIntN(64, linear)) as bigint);
    if (this.get('fault')) {
      this.set('fault', 0);
      return false;
    }
    // A page without code is not watched, and nothing translated from it is used.
    if (this.#find(gpa, mode, linear & ~0xfffn) === 0) this.set('fault', 0);
    this.loader.load();
    return this.#translate(gpa, mode);
  }
  /** Whether the block has become translated code. */
  #translate(gpa: number, mode: number): boolean {
    const { regions } = this.loader.counters;
    this.loader.request(gpa, mode);
    this.loader.loadEarly();
    return this.loader.counters.regions > regions;
  }
  /** Runs freely until the budget is used, a fault or a halt. */
  runFreely(budget: number): number {
    this.loader.load();
    return this.#instance.run(budget);
  }
  /** Runs freely, slice after slice as a machine does, until a fault or a halt. Gives an EXIT_REASON. */
  runToEnd(slice: number): number {
    let reason: number = EXIT_REASON.budget;
    for (let n = 0; n < SLICES_MAX && reason === EXIT_REASON.budget; n++)
      reason = this.runFreely(slice);
    return reason;
  }
  call(name: string, ...args: (number | bigint)[]): number | bigint | undefined {
    return this.#instance.call(name, ...args);
  }
  xmm(n: number): bigint {
    return this.#vector(this.#base + at(S.xmm, n));
  }
  setXmm(n: number, value: bigint): void {
    this.#setVector(this.#base + at(S.xmm, n), value);
  }
  /** Bits 255:128 of YMM n. */
  ymmHigh(n: number): bigint {
    return this.#vector(this.#base + at(YMM_HIGH, n));
  }
  setYmmHigh(n: number, value: bigint): void {
    this.#setVector(this.#base + at(YMM_HIGH, n), value);
  }
  #vector(address: number): bigint {
    return (
      this.view.getBigUint64(address, true) | (this.view.getBigUint64(address + 8, true) << 64n)
    );
  }
  #setVector(address: number, value: bigint): void {
    this.view.setBigUint64(address, BigInt.asUintN(64, value), true);
    this.view.setBigUint64(address + 8, BigInt.asUintN(64, value >> 64n), true);
  }
  /** Physical x87 register as 80 bits. */
  x87(n: number): bigint {
    const sign = this.view.getUint16(this.#base + at(X87_SIGN_EXPONENT, n), true);
    return (BigInt(sign) << 64n) | (this.get('x87Significand', n) as bigint);
  }
  setX87(n: number, value: bigint): void {
    this.set('x87Significand', value & 0xffff_ffff_ffff_ffffn, n);
    this.view.setUint32(this.#base + at(X87_SIGN_EXPONENT, n), Number(value >> 64n), true);
  }
}
