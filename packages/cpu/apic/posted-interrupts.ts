// Interrupts for a processor whose local APIC lives in another worker: request bits that anyone may set in shared
// memory, and the worker moves into its APIC between two blocks; and the face of that APIC, by which others find out
// what is for it. Several messages with one vector become one, as in the APIC's own request register.

import type { InterruptMessage } from '@mimic/base';
import { VCPU_WORD, vcpuWords } from '../smp/shared-words.ts';
import { EVENT, S } from '../state/layout.ts';
import { vcpuBase } from '../state/memory-map.ts';
import { type Addressed, isDestination } from './destination.ts';
import { DELIVERY } from './registers.ts';

/** What is posted besides vectors. */
const POSTED = { init: 1, startUp: 2, extInt: 4, nmi: 8, smi: 16, lint0: 32 } as const;
const FACE = { mode: 0, id: 1, logical: 2, format: 3, takesVectors: 4, priority: 5 } as const;
const MODES = ['disabled', 'xapic', 'x2apic'] as const;
const REQUEST_WORDS = 8;

/** The part of an APIC's state that decides what is for it. */
export interface ApicFace extends Addressed {
  readonly takesVectors: boolean;
  readonly priority: number;
}

/** What a worker finds posted: the APIC's methods that take it. */
export interface PostedSink {
  accept(message: InterruptMessage): void;
  setLint0(high: boolean): void;
}

const message = (deliveryMode: InterruptMessage['deliveryMode'], vector = 0, level = false) => ({
  destination: 0,
  logical: false,
  deliveryMode,
  vector,
  level,
});

/** One vCPU's area, seen from any worker. */
export class PostedInterrupts {
  readonly #words: Int32Array;
  readonly #base: number;
  readonly #events: number;

  constructor(memory: WebAssembly.Memory, index: number) {
    this.#words = new Int32Array(memory.buffer);
    this.#base = vcpuWords(index);
    this.#events = (vcpuBase(index) + S.events.offset) >> 2;
  }

  // --- the face ---

  publish(face: ApicFace): void {
    const at = this.#base + VCPU_WORD.apic;
    Atomics.store(this.#words, at + FACE.id, face.id | 0);
    Atomics.store(this.#words, at + FACE.logical, face.logicalDestination | 0);
    Atomics.store(this.#words, at + FACE.format, face.destinationFormat | 0);
    Atomics.store(this.#words, at + FACE.takesVectors, Number(face.takesVectors));
    Atomics.store(this.#words, at + FACE.priority, face.priority);
    Atomics.store(this.#words, at + FACE.mode, MODES.indexOf(face.mode));
  }
  #face(word: number): number {
    return Atomics.load(this.#words, this.#base + VCPU_WORD.apic + word) >>> 0;
  }
  matches(toWhom: InterruptMessage): boolean {
    const face = {
      mode: MODES[this.#face(FACE.mode)]!,
      id: this.#face(FACE.id),
      logicalDestination: this.#face(FACE.logical),
      destinationFormat: this.#face(FACE.format),
    };
    return isDestination(face, toWhom);
  }
  get takesVectors(): boolean {
    return this.#face(FACE.takesVectors) === 1;
  }
  get priority(): number {
    return this.#face(FACE.priority);
  }

  // --- posting ---

  accept({ deliveryMode, vector, level }: InterruptMessage): void {
    switch (deliveryMode) {
      case DELIVERY.fixed:
      case DELIVERY.lowestPriority:
        this.#request(vector, level);
        break;
      case DELIVERY.startUp:
        Atomics.store(this.#words, this.#base + VCPU_WORD.startUpVector, vector);
        this.#signal(POSTED.startUp);
        break;
      case DELIVERY.init:
        // A start-up that was not taken before INIT is lost.
        Atomics.and(this.#words, this.#base + VCPU_WORD.signals, ~POSTED.startUp);
        this.#signal(POSTED.init);
        break;
      case DELIVERY.nmi:
        this.#signal(POSTED.nmi);
        break;
      case DELIVERY.smi:
        this.#signal(POSTED.smi);
        break;
      case DELIVERY.extInt:
        this.#signal(POSTED.extInt);
    }
    this.wake();
  }
  setLint0(high: boolean): void {
    Atomics.store(this.#words, this.#base + VCPU_WORD.lint0, Number(high));
    this.#signal(POSTED.lint0);
    this.wake();
  }
  #request(vector: number, level: boolean): void {
    const word = vector >> 5;
    const bit = 1 << (vector & 31);
    const levels = this.#base + VCPU_WORD.levels + word;
    if (level) Atomics.or(this.#words, levels, bit);
    else Atomics.and(this.#words, levels, ~bit);
    Atomics.or(this.#words, this.#base + VCPU_WORD.request + word, bit);
  }
  #signal(bit: number): void {
    Atomics.or(this.#words, this.#base + VCPU_WORD.signals, bit);
  }
  /** Makes the processor's worker come out of guest code, or wakes it. */
  wakeForCommand(): void {
    this.wake(EVENT.exit);
  }
  /** Makes the processor look between its next two blocks, or wakes it. */
  wake(event: number = EVENT.posted): void {
    const wake = this.#base + VCPU_WORD.wake;
    Atomics.or(this.#words, this.#events, event);
    Atomics.add(this.#words, wake, 1);
    Atomics.notify(this.#words, wake);
  }

  // --- the processor's own worker ---

  /** To pass to `sleep`, read before looking for something to do. */
  get wakeCount(): number {
    return Atomics.load(this.#words, this.#base + VCPU_WORD.wake);
  }
  /** Sleeps until something was posted since `wakeCount` was read, or the time is over. */
  sleep(wakeCount: number, timeoutMs: number): void {
    Atomics.wait(this.#words, this.#base + VCPU_WORD.wake, wakeCount, timeoutMs);
  }
  /** Hands over all that is posted. */
  drain(apic: PostedSink): void {
    const signals = Atomics.exchange(this.#words, this.#base + VCPU_WORD.signals, 0);
    if (signals & POSTED.lint0) this.drainLint0(apic);
    if (signals & POSTED.init) apic.accept(message(DELIVERY.init));
    if (signals & POSTED.startUp) {
      const vector = Atomics.load(this.#words, this.#base + VCPU_WORD.startUpVector);
      apic.accept(message(DELIVERY.startUp, vector));
    }
    if (signals & POSTED.nmi) apic.accept(message(DELIVERY.nmi));
    if (signals & POSTED.smi) apic.accept(message(DELIVERY.smi));
    if (signals & POSTED.extInt) apic.accept(message(DELIVERY.extInt));
    for (let word = 0; word < REQUEST_WORDS; word++) {
      const at = this.#base + VCPU_WORD.request + word;
      if (Atomics.load(this.#words, at) === 0) continue;
      let requests = Atomics.exchange(this.#words, at, 0);
      const levels = Atomics.load(this.#words, this.#base + VCPU_WORD.levels + word);
      for (; requests !== 0; requests &= requests - 1) {
        const bit = 31 - Math.clz32(requests & -requests);
        const isLevel = ((levels >>> bit) & 1) === 1;
        apic.accept(message(DELIVERY.fixed, word * 32 + bit, isLevel));
      }
    }
  }
  /** The PIC's INTR as it is now, also when its change is still posted. */
  drainLint0(apic: PostedSink): void {
    apic.setLint0(Atomics.load(this.#words, this.#base + VCPU_WORD.lint0) !== 0);
  }
  /** Forgets what is posted: the machine was reset. */
  clear(): void {
    const at = this.#base + VCPU_WORD.request;
    this.#words.fill(0, at, at + 2 * REQUEST_WORDS);
    this.#words.fill(0, this.#base + VCPU_WORD.signals, this.#base + VCPU_WORD.lint0 + 1);
  }
}
