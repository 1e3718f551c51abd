// One virtual processor: the engine's instance on shared memory, wired to clock, bus, interrupt lines and its local APIC.

import type { Clock, IrqLine } from '@mimic/base';
import type { InterruptBus } from './apic/interrupt-bus.ts';
import { LocalApic } from './apic/local-apic.ts';
import { PostedInterrupts } from './apic/posted-interrupts.ts';
import type { LocalApicState } from './apic/state.ts';
import { BLOCK_LENGTH_MAX, type BlockStore } from './decode/block-store.ts';
import { type DisassembledInstruction, disassemble } from './decode/disassembler.ts';
import { type Engine, engine } from './interpreter/engine.ts';
import { type EngineInstance, type HostFunctions, instantiate } from './interpreter/instance.ts';
import { EXIT_REASON } from './interpreter/service.ts';
import { FAULT_HAS_CODE, FAULT_PENDING } from './lift/lift.ts';
import { cpuidTable } from './microcode/cpuid.ts';
import { PHYSICAL_BITS } from './microcode/physical-memory.ts';
import type { World } from './smp/world.ts';
import {
  at,
  EVENT,
  type Field,
  ON_FAULT,
  S,
  SEGMENT,
  type SegmentName,
  X87_SIGN_EXPONENT,
  YMM_HIGH,
} from './state/layout.ts';
import { type MemoryLayout, PAGE_BYTES, RAM_BASE, vcpuBase } from './state/memory-map.ts';
import { type PowerOnState, powerOnState } from './state/power-on.ts';
import { placeOffset, registerPlace } from './state/register-names.ts';
import { TRANSIENT, VISIBLE_FIELDS } from './state/visible.ts';
import {
  HOT_NEVER,
  HOT_THRESHOLD,
  type TranslationEvent,
  TranslationLoader,
  type TranslationSource,
  WARM_THRESHOLD,
} from './translator/loader.ts';

/** The way out of the processor. Values are unsigned; an 8-byte access is made of two of 4, low half first. */
export interface Bus {
  portRead(port: number, size: 1 | 2 | 4): number;
  portWrite(port: number, size: 1 | 2 | 4, value: number): void;
  memoryRead(gpa: number, size: 1 | 2 | 4): number;
  memoryWrite(gpa: number, size: 1 | 2 | 4, value: number): void;
  /** The PIC's INTA cycle: the vector to deliver. */
  acknowledgeInterrupt(): number;
  /** End of a level-triggered interrupt, for the I/O APICs. */
  endOfInterrupt(vector: number): void;
}

/** 'budget': enough for now; 'halted': nothing to do until something happens; 'event': the host asked, or INIT or SIPI
 *  came; 'shutdown': triple fault; 'fault': a fault, where the host wants faults for itself. */
export type ExitReason = 'budget' | 'halted' | 'event' | 'shutdown' | 'fault';

const REASONS: readonly ExitReason[] = (
  ['budget', 'halted', 'event', 'shutdown', 'fault'] as const
).toSorted((a, b) => EXIT_REASON[a] - EXIT_REASON[b]);

/** A processor at rest, between two instructions. */
export interface VcpuState {
  /** Bytes of each field of the layout that belongs to the processor, by name. */
  readonly fields: Readonly<Record<string, Uint8Array>>;
  /** Sign and exponent words of the x87 registers lie in the gaps of `x87Significand`, which is saved with its gaps. */
  readonly apic: LocalApicState;
  readonly nmiPending: boolean;
}

/** All that the guest can see of a processor between two instructions, however it was run. */
export interface VisibleState {
  readonly fields: Readonly<Record<string, Uint8Array>>;
  readonly rflags: number;
  readonly apic: LocalApicState;
  readonly nmiPending: boolean;
}

/** A segment register and its hidden part; attributes are descriptor bits 40–55 (type, S, DPL, P at 0–7; AVL, L, D/B, G at 12–15). */
export interface SegmentStart {
  readonly selector: number;
  readonly base: number;
  readonly limit: number;
  readonly attributes: number;
}

/** Where a boot protocol starts the processor; what is not named keeps its value of power-on. */
export interface StartState {
  readonly rip: number;
  readonly rsp: number;
  readonly rbx: number;
  readonly rsi: number;
  readonly rflags: number;
  readonly cr0: number;
  readonly cr3: number;
  readonly cr4: number;
  readonly efer: number;
  readonly cs: SegmentStart;
  readonly ds: SegmentStart;
  readonly es: SegmentStart;
  readonly fs: SegmentStart;
  readonly gs: SegmentStart;
  readonly ss: SegmentStart;
  readonly tr: SegmentStart;
  readonly ldtr: SegmentStart;
  readonly gdtr: { readonly base: number; readonly limit: number };
  readonly idtr: { readonly base: number; readonly limit: number };
}

export interface VcpuOptions {
  readonly memory: WebAssembly.Memory;
  readonly layout: MemoryLayout;
  /** Number of the processor, from 0; also its APIC id. Processor 0 starts, the others wait for SIPI. */
  readonly index: number;
  readonly bus: Bus;
  readonly clock: Clock;
  readonly blocks: BlockStore;
  readonly interrupts: InterruptBus;
  /** FERR#: high while an unmasked x87 exception waits and CR0.NE is clear. The board makes it IRQ13. */
  readonly ferr?: IrqLine;
  /** INIT arrived at the boot processor. */
  readonly initRequested?: () => void;
  /** Makes WebAssembly of hot code; without it all code is interpreted. */
  readonly translation?: TranslationSource;
  /**
   * `run` retires exactly what it is asked to, and what `instructionCount` counts is the same on every host and with
   * every engine (microcode/exact.ts). Instructions that meet devices or the clock take longer.
   */
  readonly exact?: boolean;
  /** 64 random bits for RDRAND and RDSEED. */
  readonly random: () => bigint;
  /** Where the machine has several processors, each in a worker of its own: how they keep out of each other's way. */
  readonly world?: World;
  /** Default: the engine of this worker for that many processors. */
  readonly engine?: Engine;
}

/** What a tracer is told. All of it happens between two instructions, while `run` is under way. */
export interface VcpuTrace {
  /** An exception of an instruction, about to be delivered; `address` is that of a page fault. */
  fault?(fault: {
    readonly vector: number;
    readonly code: number | undefined;
    readonly address: bigint;
  }): void;
  /** A maskable interrupt, about to be delivered. */
  interrupt?(vector: number): void;
  /** Code was translated, or what was known of code was dropped. */
  translation?(event: TranslationEvent): void;
}

/** How a processor's code was run so far. */
export interface RunCounters {
  /** Times that it found a block hot; those of them that the translator had no room for. */
  readonly requests: number;
  readonly putOff: number;
  /** Modules instantiated, regions put in force, regions that came when their page had changed. */
  readonly modules: number;
  readonly regions: number;
  readonly outdated: number;
  /** Blocks decoded; dropped by this processor's writes (`droppedTranslated`: regions); times that the store was emptied. */
  readonly decoded: number;
  readonly dropped: number;
  readonly droppedTranslated: number;
  readonly emptied: number;
  /** Since power-on: jumps that went through the loop and filled the jump cache; flushes of it; faults in regions. */
  readonly jumpFills: number;
  readonly jumpFlushes: number;
  readonly translatedFaults: number;
  /** Slices of guest code by why they ended. */
  readonly exits: Readonly<Record<ExitReason, number>>;
}
const NO_TRANSLATIONS = { requests: 0, putOff: 0, modules: 0, regions: 0, outdated: 0 };

/** `S.activity`: INIT was taken, SIPI is awaited. */
const WAIT_FOR_SIPI = 2;
/** IA32_MTRR_DEF_TYPE as firmware leaves it: MTRRs and fixed ranges on, memory write-back. SDM vol 3A §12.11.2.1. */
const MTRR_ENABLED_WRITE_BACK = 0xc06n;
/** What INIT leaves as it is. */
const INIT_KEEPS = /^(msr|x87|xmm|mxcsr|tsc|xcr0|instructionCount)/;
/** How long a processor that spins lets others run. */
const YIELD_MS = 0.05;
const TIMER_HZ = 1_000_000_000;
const APIC_PAGE_BYTES = 4096;
const MSR = { apicBase: 0x1b, tscDeadline: 0x6e0, x2apicFirst: 0x800, x2apicLast: 0x8ff } as const;
const GENERAL_PROTECTION = 13;
/** Error summary of the x87 status word, and the bit of CR0 that keeps it inside the processor. */
const X87_ES = 0x80;
const CR0_NE = 0x20n;
const EFER_LMA = 0x400n;

export class Vcpu {
  readonly index: number;
  readonly apic: LocalApic;
  /** INTR from the PIC: LINT0. */
  readonly intr: IrqLine;
  readonly #options: VcpuOptions;
  readonly #instance: EngineInstance;
  readonly #view: DataView;
  readonly #words: Int32Array;
  readonly #base: number;

  constructor(options: VcpuOptions) {
    this.#options = options;
    this.index = options.index;
    this.#base = vcpuBase(options.index);
    this.#view = new DataView(options.memory.buffer);
    this.#words = new Int32Array(options.memory.buffer);
    const { interrupts, clock, bus, world } = options;
    if (world) this.#posted = new PostedInterrupts(options.memory, options.index);
    this.apic = new LocalApic(
      {
        clock,
        tsc: { toNs: (tsc) => Number(tsc - this.#i64(S.tscOffset)) },
        ipis: interrupts.sinkFor(options.index),
        pendingChanged: (isPending) => this.#setEvent(EVENT.interrupt, isPending),
        endOfInterrupt: (vector) => bus.endOfInterrupt(vector),
        nmi: () => this.nmi(),
        smi: () => undefined,
        init: () => this.#setEvent(EVENT.init, true),
        ...(world ? { faceChanged: (face) => this.#posted?.publish(face) } : {}),
        startUp: (vector) => {
          this.#startUpVector = vector;
          this.#setEvent(EVENT.sipi, true);
        },
        acknowledgeExternal: () => this.#acknowledgeExternal(),
      },
      {
        id: options.index,
        isBootstrap: options.index === 0,
        timerHz: TIMER_HZ,
        physicalAddressBits: PHYSICAL_BITS,
      },
    );
    interrupts.attach(this.apic, options.index);
    this.intr = { set: (high) => this.apic.setLint0(high) };
    this.#instance = instantiate({
      memory: options.memory,
      index: options.index,
      host: this.#hostFunctions(),
      engine: options.engine ?? engine(world ? 'several' : 'one'),
    });
    if (options.translation) {
      this.translations = new TranslationLoader({
        source: options.translation,
        memory: options.memory,
        blocks: options.blocks,
        exports: this.#instance.exports,
        index: options.index,
      });
    }
    this.reset();
  }
  /** Undefined when all code is interpreted. */
  readonly translations: TranslationLoader | undefined;
  readonly #exits: Record<ExitReason, number> = {
    budget: 0,
    halted: 0,
    event: 0,
    shutdown: 0,
    fault: 0,
  };
  #startUpVector = 0;
  readonly #posted: PostedInterrupts | undefined;
  #wasX87Error = false;

  // --- running ---

  /** Runs about that many instructions; comes back earlier when there is nothing to run or somebody asks. */
  run(instructionsMax: number): ExitReason {
    this.translations?.load();
    const { world } = this.#options;
    world?.enter();
    const code = this.#options.exact
      ? this.#runExactly(instructionsMax)
      : this.#instance.run(instructionsMax);
    if (world) {
      this.#endAlone();
      world.leave();
    }
    const reason = REASONS[code - 1]!;
    this.#exits[reason]++;
    if (reason === 'event') {
      this.#tellX87Error();
      this.takePosted();
      this.#takeStartSignals();
    }
    return reason;
  }
  #tellX87Error(): void {
    const isError = this.#x87Error();
    if (isError !== this.#wasX87Error) this.#options.ferr?.set(isError);
    this.#wasX87Error = isError;
  }
  /** Moves what other workers posted into the local APIC. Also done whenever `run` comes back with 'event'. */
  takePosted(): void {
    this.#posted?.drain(this.apic);
  }
  /** The PIC may have lowered its line for it: without that it would look as if it asked again. */
  #acknowledgeExternal(): number {
    const vector = this.#options.bus.acknowledgeInterrupt();
    this.#posted?.drainLint0(this.apic);
    return vector;
  }
  /** Between two blocks, when another processor asks to wait, or an instruction has to run alone or has done so. */
  #synchronise(): void {
    const { world } = this.#options;
    if (!world) return;
    const word = (this.#base + S.events.offset) >> 2;
    const events = Atomics.and(this.#words, word, ~EVENT.park);
    const hasRun = this.#endAlone();
    world.park();
    if (hasRun || !(events & EVENT.alone)) return;
    world.stopOthers();
    this.#set(S.stopsOthers, 1);
    this.#set(S.runOne, 1);
  }
  #endAlone(): boolean {
    if (!this.#view.getUint32(this.#base + S.stopsOthers.offset, true)) return false;
    this.#set(S.stopsOthers, 0);
    this.#setEvent(EVENT.alone, false);
    this.#options.world?.resumeOthers();
    return true;
  }
  /** Whole blocks while the longest one fits, single instructions behind them. */
  #runExactly(instructionsMax: number): number {
    const end = this.instructionCount + BigInt(instructionsMax);
    for (;;) {
      const left = Number(end - this.instructionCount);
      if (left <= 0) return EXIT_REASON.budget;
      if (left < BLOCK_LENGTH_MAX) this.#set(S.runOne, 1);
      const code = this.#instance.run(Math.max(left - BLOCK_LENGTH_MAX + 1, 1));
      if (code !== EXIT_REASON.budget) return code;
    }
  }
  /** INIT and SIPI. SDM vol 3A §8.4. INIT to the boot processor is a reset of the machine: it has no firmware to go on with. */
  #takeStartSignals(): void {
    const word = (this.#base + S.events.offset) >> 2;
    const events = Atomics.and(this.#words, word, ~(EVENT.init | EVENT.sipi));
    if (events & EVENT.init) {
      if (this.index === 0) this.#options.initRequested?.();
      else this.#init();
    }
    const waits = this.#view.getUint32(this.#base + S.activity.offset, true) === WAIT_FOR_SIPI;
    if (events & EVENT.sipi && waits) this.#startUp();
  }
  /** SDM vol 3A table 9-1, column INIT: floating point, XMM registers and most MSRs stay. */
  #init(): void {
    this.#powerOn((name) => INIT_KEEPS.test(name));
    this.apic.init();
    this.#instance.call('flushTlb');
    this.#instance.call('updateMode');
  }
  #startUp(): void {
    this.#set(S.segSelector, this.#startUpVector << 8, SEGMENT.cs);
    this.#setI64(S.segBase, BigInt(this.#startUpVector) << 12n, SEGMENT.cs);
    this.#setI64(S.rip, 0n);
    this.#set(S.activity, 0);
    this.#instance.call('updateMode');
  }
  #x87Error(): boolean {
    const isPending = this.#view.getUint32(this.#base + S.x87Status.offset, true) & X87_ES;
    return isPending !== 0 && !(this.#i64(S.cr0) & CR0_NE);
  }
  /** Makes `run` come back soon with 'event'; may be called from any thread that shares the memory. */
  requestExit(): void {
    this.#setEvent(EVENT.exit, true);
  }
  /** Runs one instruction, and delivers what is due before it. */
  step(): ExitReason {
    this.#set(S.runOne, 1);
    return this.run(1);
  }
  /** Tells `trace` what happens from now on; undefined ends it. */
  setTrace(trace: VcpuTrace | undefined): void {
    this.#trace = trace;
    this.translations?.setTrace(trace?.translation?.bind(trace));
    this.#set(S.stopOnFault, trace?.fault ? ON_FAULT.report : ON_FAULT.deliver);
  }
  #trace: VcpuTrace | undefined;
  /** NMI. */
  nmi(): void {
    this.#setEvent(EVENT.nmi, true);
  }
  /** Power-on state; processor 0 is ready to run from the reset vector. */
  reset(): void {
    this.#powerOn(() => false);
    this.#wasX87Error = false;
    this.apic.reset();
    this.#instance.call('flushTlb');
    this.#instance.call('updateMode');
  }
  /** As firmware leaves a processor that it does not boot from: it waits for SIPI. */
  startSecondary(): void {
    this.reset();
    this.#setI64(S.msrMtrrDefType, MTRR_ENABLED_WRITE_BACK);
  }
  #powerOn(keeps: (name: string) => boolean): void {
    this.#apply(powerOnState(this.#options.blocks.model), keeps);
    this.#setI64(S.ramBytes, BigInt(this.#options.layout.ramBytes));
    this.#set(S.activity, this.index === 0 ? 0 : 2);
    // Other workers may be setting these two at this moment.
    Atomics.and(this.#words, (this.#base + S.events.offset) >> 2, EVENT.posted | EVENT.park);
    this.#set(S.hotThreshold, this.#options.translation ? HOT_THRESHOLD : HOT_NEVER);
    const asksEarly = this.#options.translation?.isKept === true;
    this.#set(S.warmThreshold, asksEarly ? WARM_THRESHOLD : HOT_NEVER);
    this.#set(S.exact, this.#options.exact ? 1 : 0);
    this.#setI64(S.aloneAt, -1n);
  }
  /** Puts the processor where a boot protocol wants it, from power-on state. Firmware has left the APIC in virtual-wire mode. */
  start(state: StartState): void {
    this.reset();
    this.apic.setVirtualWireMode();
    this.#setI64(S.msrMtrrDefType, MTRR_ENABLED_WRITE_BACK);
    for (const name of Object.keys(SEGMENT) as SegmentName[])
      this.#setSegment(SEGMENT[name], state[name]);
    for (const name of ['rsp', 'rbx', 'rsi', 'rip'] as const)
      this.writeRegister(name, BigInt(state[name]));
    for (const name of ['cr0', 'cr3', 'cr4', 'efer'] as const)
      this.writeRegister(name, BigInt(state[name]));
    for (const name of ['gdtr', 'idtr'] as const) {
      this.writeRegister(`${name}.base`, BigInt(state[name].base));
      this.writeRegister(`${name}.limit`, BigInt(state[name].limit));
    }
    this.writeRegister('rflags', BigInt(state.rflags));
    this.#instance.call('flushTlb');
    this.#instance.call('updateMode');
  }
  #setSegment(index: number, s: SegmentStart): void {
    this.#set(S.segSelector, s.selector, index);
    this.#setI64(S.segBase, BigInt(s.base), index);
    this.#set(S.segLimit, s.limit, index);
    this.#set(S.segAttributes, (s.attributes & 0xf0ff) << 8, index);
  }
  #apply(state: PowerOnState, keeps: (name: string) => boolean): void {
    for (const [name, field] of Object.entries(S)) {
      if (name === 'stopOnFault' || (name === 'instructionCount' && this.#options.exact)) continue;
      if (name === 'events' || keeps(name)) continue;
      for (let n = 0; n < field.count; n++) this.#write(field, n, 0n);
    }
    if (!keeps('x87Significand')) for (let n = 0; n < 8; n++) this.#write(X87_SIGN_EXPONENT, n, 0n);
    if (!keeps('xmm')) for (let n = 0; n < 16; n++) this.#write(YMM_HIGH, n, 0n);
    for (const { field, index, value } of state)
      if (!keeps(field.name)) this.#write(field, index, value);
  }

  // --- looking in from outside, while `run` is not under way ---

  /** Instructions retired since power-on. With `exact`, also rounds and faults, and a reset leaves it alone: it is a clock. */
  get instructionCount(): bigint {
    return this.#i64(S.instructionCount);
  }
  /** How its code was run so far. */
  get runCounters(): RunCounters {
    const { requests, putOff, modules, regions, outdated } =
      this.translations?.counters ?? NO_TRANSLATIONS;
    return {
      requests,
      putOff,
      modules,
      regions,
      outdated,
      ...this.#options.blocks.counters,
      jumpFills: Number(this.#i64(S.jumpFills)),
      jumpFlushes: this.#view.getUint32(this.#base + S.generation.offset, true),
      translatedFaults: Number(this.#i64(S.translatedFaults)),
      exits: { ...this.#exits },
    };
  }
  get codeBits(): 16 | 32 | 64 {
    const bits = this.#view.getUint32(this.#base + S.codeBits.offset, true);
    return bits === 64 ? 64 : bits === 32 ? 32 : 16;
  }
  /** A register by its name in lower case ('rax', 'cs', 'cs.base', 'cr3', 'xmm0', 'ymm0', 'st0'), unsigned; undefined if there is none. */
  readRegister(name: string): bigint | undefined {
    const place = registerPlace(name);
    if (!place) return undefined;
    if (name === 'rflags') return BigInt(this.#instance.call('readRflags') as number);
    if (place.high) {
      const n = this.#x87Physical(place.index);
      return (
        (BigInt(this.#view.getUint16(this.#base + at(place.high, n), true)) << 64n) |
        this.#i64(place.field, n)
      );
    }
    const address = this.#base + placeOffset(place);
    if (place.bits >= 128) {
      let value = 0n;
      for (let at = place.bits / 8 - 8; at >= 0; at -= 8)
        value = (value << 64n) | this.#view.getBigUint64(address + at, true);
      return value;
    }
    const value =
      place.bits === 64
        ? this.#view.getBigUint64(address, true)
        : BigInt(this.#view.getUint32(address, true));
    return BigInt.asUintN(place.bits, value);
  }
  /** False if there is no such register. What follows from the new value (modes, TLBs) is in force at once. */
  writeRegister(name: string, value: bigint): boolean {
    const place = registerPlace(name);
    if (!place) return false;
    if (name === 'rflags') this.#instance.call('writeRflags', Number(BigInt.asIntN(32, value)));
    else if (place.high) {
      const n = this.#x87Physical(place.index);
      this.#setI64(place.field, value, n);
      this.#write(place.high, n, value >> 64n);
    } else {
      this.#write(place.field, place.index, BigInt.asUintN(Math.min(place.bits, 128), value));
      if (place.bits === 256)
        this.#write(YMM_HIGH, place.index, BigInt.asUintN(128, value >> 128n));
    }
    this.#instance.call('flushTlb');
    this.#instance.call('updateMode');
    return true;
  }
  #x87Physical(st: number): number {
    return (st + this.#view.getUint32(this.#base + S.x87Top.offset, true)) & 7;
  }
  /** Guest-physical address of a linear one by the page tables now in force; undefined where nothing is mapped. Changes nothing. */
  translate(linear: bigint): { readonly gpa: number } | undefined {
    const address = BigInt.asIntN(64, linear);
    const isLong = (this.#i64(S.efer) & EFER_LMA) !== 0n;
    if (isLong && BigInt.asIntN(48, address) !== address) return undefined;
    const saved = [S.fault, S.faultCode].map((f) =>
      this.#view.getUint32(this.#base + f.offset, true),
    );
    const savedAddress = this.#i64(S.faultAddress);
    this.#set(S.fault, 0);
    this.#set(S.walkSilently, 1);
    const gpa = this.#instance.call('walk', address, 0, 0) as bigint;
    this.#set(S.walkSilently, 0);
    const isFault = this.#view.getUint32(this.#base + S.fault.offset, true) !== 0;
    this.#set(S.fault, saved[0]!);
    this.#set(S.faultCode, saved[1]!);
    this.#setI64(S.faultAddress, savedAddress);
    return isFault ? undefined : { gpa: Number(gpa) };
  }
  /** Up to `count` instructions from a linear address; fewer where memory ends. */
  disassemble(linear: bigint, count: number): DisassembledInstruction[] {
    const bytes: number[] = [];
    for (let at = linear; bytes.length < count * 15; ) {
      const gpa = this.translate(at)?.gpa;
      if (gpa === undefined || gpa >= this.#options.layout.ramBytes) break;
      const length = Math.min(PAGE_BYTES - (gpa % PAGE_BYTES), count * 15 - bytes.length);
      for (let n = 0; n < length; n++) bytes.push(this.#view.getUint8(RAM_BASE + gpa + n));
      at += BigInt(length);
    }
    return disassemble(Uint8Array.from(bytes), linear, this.codeBits, count);
  }

  // --- snapshot ---

  save(): VcpuState {
    const names = Object.keys(S).filter((name) => !TRANSIENT.has(name));
    const fields = this.#fields(names as (keyof typeof S)[]);
    return { fields, apic: this.apic.save(), nmiPending: this.#isNmiPending() };
  }
  /** For comparing runs; nothing can be restored from it. */
  visibleState(): VisibleState {
    return {
      fields: this.#fields(VISIBLE_FIELDS),
      rflags: this.#instance.call('readRflags') as number,
      apic: this.apic.save(),
      nmiPending: this.#isNmiPending(),
    };
  }
  #fields(names: readonly (keyof typeof S)[]): Record<string, Uint8Array> {
    const bytes = new Uint8Array(this.#view.buffer);
    return Object.fromEntries(
      names.map((name) => {
        const start = this.#base + S[name].offset;
        return [name, bytes.slice(start, start + S[name].stride * S[name].count)];
      }),
    );
  }
  #isNmiPending(): boolean {
    return (this.#words[(this.#base + S.events.offset) >> 2]! & EVENT.nmi) !== 0;
  }
  /** Takes over a saved state. Fields that the state does not have keep their power-on value. */
  restore(state: VcpuState): void {
    this.reset();
    const bytes = new Uint8Array(this.#view.buffer);
    for (const [name, saved] of Object.entries(state.fields)) {
      const field: Field | undefined = (S as Readonly<Record<string, Field>>)[name];
      if (!field || TRANSIENT.has(name)) continue;
      bytes.set(saved.subarray(0, field.stride * field.count), this.#base + field.offset);
    }
    this.apic.restore(state.apic);
    this.#setEvent(EVENT.nmi, state.nmiPending);
    this.#instance.call('flushTlb');
    this.#instance.call('updateMode');
  }

  // --- what microcode asks of its host ---

  #hostFunctions(): HostFunctions {
    const { bus, blocks, clock } = this.#options;
    const cpuid = cpuidTable({
      model: blocks.model,
      vcpuIndex: this.index,
      vcpuCount: this.#options.layout.vcpuCount,
    });
    return {
      portRead: (port: number, bytes: number) => bus.portRead(port, bytes as 1 | 2 | 4) | 0,
      portWrite: (port: number, bytes: number, value: number) =>
        bus.portWrite(port, bytes as 1 | 2 | 4, value >>> 0) as undefined,
      busRead: (gpa: bigint, bytes: number) =>
        this.#busRead(Number(BigInt.asUintN(64, gpa)), bytes),
      busWrite: (gpa: bigint, bytes: number, value: bigint) =>
        this.#busWrite(Number(BigInt.asUintN(64, gpa)), bytes, value) as undefined,
      synchronise: () => this.#synchronise() as undefined,
      yieldHost: () => {
        const { wakeCount } = this.#posted ?? {};
        if (wakeCount !== undefined) this.#posted?.sleep(wakeCount, YIELD_MS);
        return undefined;
      },
      beginCodeWrite: (gpa: number, bytes: number) =>
        blocks.beginWrite(gpa >>> 0, bytes) as undefined,
      endCodeWrite: (gpa: number, bytes: number) => blocks.endWrite(gpa >>> 0, bytes) as undefined,
      decodeBlock: (gpa: number, mode: number) =>
        blocks.find(gpa >>> 0, mode, () => this.#nextCodePage()),
      blockIsHot: (gpa: number, mode: number, isEarly: number) => {
        const linearPage = Number(BigInt.asUintN(64, this.#i64(S.codePageLinear)) >> 12n);
        this.translations?.request(gpa >>> 0, mode, { isEarly: isEarly === 1, linearPage });
        this.translations?.loadEarly();
        return undefined;
      },
      resolveLink: (memory: number, link: number, entryPoint: number) => {
        this.translations?.resolveLink(memory, link, entryPoint);
        return undefined;
      },
      takeInterrupt: () => {
        const vector = this.apic.acknowledge();
        if (vector >= 0) this.#trace?.interrupt?.(vector);
        return vector;
      },
      reportFault: () => {
        const fault = this.#view.getUint32(this.#base + S.fault.offset, true);
        const code =
          fault & FAULT_HAS_CODE
            ? this.#view.getUint32(this.#base + S.faultCode.offset, true)
            : undefined;
        this.#trace?.fault?.({ vector: fault & 0xff, code, address: this.#i64(S.faultAddress) });
        return undefined;
      },
      readTsc: () => clock.now(),
      tscChanged: () => this.apic.tscChanged() as undefined,
      randomI64: () => BigInt.asIntN(64, this.#options.random()),
      cpuid: (leaf: number, subleaf: number) => {
        for (const [n, value] of cpuid(leaf >>> 0, subleaf >>> 0).entries()) {
          this.#setI64(S.result, BigInt(value), n);
        }
        return undefined;
      },
      apicReadMsr: (msr: number) => this.#apicReadMsr(msr),
      apicWriteMsr: (msr: number, value: bigint) =>
        this.#apicWriteMsr(msr, BigInt.asUintN(64, value)),
      apicReadTpr: () => this.apic.cr8,
      apicWriteTpr: (priority: number) => {
        this.apic.cr8 = priority;
        return undefined;
      },
    };
  }
  /** The page behind the one that code runs from, for an instruction that crosses. */
  #nextCodePage(): number | undefined {
    const page = this.#i64(S.codePageLinear) + BigInt(PAGE_BYTES);
    const gpa = this.#instance.call(
      'translateFetch',
      this.codeBits === 64 ? BigInt.asIntN(64, page) : page & 0xffff_ffffn,
    ) as bigint;
    return this.#view.getUint32(this.#base + S.fault.offset, true) ? undefined : Number(gpa);
  }
  #isApicPage(gpa: number): boolean {
    const base = this.apic.mappedAt;
    return base !== undefined && gpa >= base && gpa < base + APIC_PAGE_BYTES;
  }
  #busRead(gpa: number, bytes: number): bigint {
    if (bytes === 8) return this.#busRead(gpa, 4) | (this.#busRead(gpa + 4, 4) << 32n);
    const size = bytes as 1 | 2 | 4;
    if (this.#isApicPage(gpa))
      return BigInt(this.apic.read(gpa & (APIC_PAGE_BYTES - 1), size) >>> 0);
    return BigInt(this.#options.bus.memoryRead(gpa, size) >>> 0);
  }
  #busWrite(gpa: number, bytes: number, value: bigint): void {
    if (bytes === 8) {
      this.#busWrite(gpa, 4, value & 0xffff_ffffn);
      this.#busWrite(gpa + 4, 4, BigInt.asUintN(64, value) >> 32n);
      return;
    }
    const size = bytes as 1 | 2 | 4;
    const cut = Number(BigInt.asUintN(bytes * 8, value));
    if (this.#isApicPage(gpa)) this.apic.write(gpa & (APIC_PAGE_BYTES - 1), size, cut);
    else this.#options.bus.memoryWrite(gpa, size, cut);
  }
  #generalProtection(): void {
    this.#set(S.fault, FAULT_PENDING | FAULT_HAS_CODE | GENERAL_PROTECTION);
    this.#set(S.faultCode, 0);
  }
  #apicReadMsr(msr: number): bigint {
    if (msr === MSR.apicBase) return this.apic.readBase();
    if (msr === MSR.tscDeadline) return BigInt.asIntN(64, this.apic.tscDeadline);
    const value = this.apic.readMsr(msr);
    if (value === undefined) this.#generalProtection();
    return BigInt.asIntN(64, value ?? 0n);
  }
  #apicWriteMsr(msr: number, value: bigint): undefined {
    if (msr === MSR.tscDeadline) this.apic.tscDeadline = value;
    else if (!(msr === MSR.apicBase ? this.apic.writeBase(value) : this.apic.writeMsr(msr, value)))
      this.#generalProtection();
    return undefined;
  }

  // --- state in shared memory ---

  #setEvent(event: number, on: boolean): void {
    const word = (this.#base + S.events.offset) >> 2;
    if (on) Atomics.or(this.#words, word, event);
    else Atomics.and(this.#words, word, ~event);
  }
  #i64(field: Field, index = 0): bigint {
    return this.#view.getBigUint64(this.#base + at(field, index), true);
  }
  #setI64(field: Field, value: bigint, index = 0): void {
    this.#view.setBigUint64(this.#base + at(field, index), BigInt.asUintN(64, value), true);
  }
  #set(field: Field, value: number, index = 0): void {
    this.#view.setUint32(this.#base + at(field, index), value, true);
  }
  #write(field: Field, index: number, value: bigint): void {
    const address = this.#base + at(field, index);
    if (field.width === 4) this.#view.setUint32(address, Number(BigInt.asUintN(32, value)), true);
    else this.#view.setBigUint64(address, BigInt.asUintN(64, value), true);
    if (field.width === 16)
      this.#view.setBigUint64(address + 8, BigInt.asUintN(64, value >> 64n), true);
  }
}
