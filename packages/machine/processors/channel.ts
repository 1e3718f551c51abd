// Between the worker of one vCPU and that of the board, in shared memory: the vCPU's accesses to the board, one at a
// time, and the board's commands to the vCPU with their replies.
//
// An access spins for the answer, then sleeps. A posted one (a write to device memory, as PCI posts them; the end of
// an interrupt) does not wait: the next access waits for it, so that a processor's accesses arrive in their order.

import { assert } from '@mimic/base';
import { decodeFrame, encodeFrame } from '../frame.ts';
import { ByteRing } from '../ring.ts';

/** What a vCPU asks of the board's worker. */
export const ACCESS = {
  portRead: 1,
  portWrite: 2,
  memoryRead: 3,
  memoryWrite: 4,
  acknowledgeInterrupt: 5,
  endOfInterrupt: 6,
  /** FERR# has the given level. */
  ferr: 7,
  /** The boot processor got an INIT. */
  initRequested: 8,
  /** Lines of trace lie in the text ring. */
  trace: 9,
} as const;
export type AccessKind = (typeof ACCESS)[keyof typeof ACCESS];

export interface Access {
  readonly kind: AccessKind;
  readonly address: number;
  readonly size: number;
  readonly value: number;
}

/** Does what an access asks for; gives the value read, or anything. */
export type AccessHandler = (access: Access) => number;

const WORD = {
  state: 0,
  kind: 1,
  addressLow: 2,
  addressHigh: 3,
  size: 4,
  value: 5,
  /** Whether the vCPU has ended: 0, or one of ENDED. */
  ended: 16,
  /** 1 once the vCPU's worker lives. */
  begun: 17,
} as const;
const STATE = { free: 0, asked: 1, posted: 2, answered: 3, asleep: 4 } as const;
export const ENDED = { shutdown: 1, crashed: 2 } as const;
const WORDS_BYTES = 128;
const RING_BYTES = 1 << 17;
const RINGS = { commands: 0, replies: 1, text: 2 } as const;
const RING_COUNT = 3;
/** Looks for the answer that often before sleeping: about 20 microseconds. */
const SPINS = 2000;
/** A sleep is looked at again after this long: a lost wake-up costs this, not a hang. */
const SLEEP_MAX_MS = 1000;

export class ProcessorChannel {
  readonly buffer: SharedArrayBuffer;
  /** Trace from the vCPU's worker. */
  readonly text: ByteRing;
  readonly #words: Int32Array<SharedArrayBuffer>;
  readonly #commands: ByteRing;
  readonly #replies: ByteRing;

  /** A new channel, or the other worker's. */
  constructor(buffer?: SharedArrayBuffer) {
    const ringBytes = ByteRing.sizeFor(RING_BYTES);
    this.buffer = buffer ?? new SharedArrayBuffer(WORDS_BYTES + RING_COUNT * ringBytes);
    this.#words = new Int32Array(this.buffer, 0, WORDS_BYTES / 4);
    const ring = (index: number) =>
      new ByteRing(this.buffer, WORDS_BYTES + index * ringBytes, RING_BYTES);
    this.#commands = ring(RINGS.commands);
    this.#replies = ring(RINGS.replies);
    this.text = ring(RINGS.text);
  }

  // --- the vCPU's side ---

  /** Asks the board and waits for its answer; `ring` wakes the board's worker. */
  ask(access: Access, ring: () => void): number {
    this.#submit(access, STATE.asked);
    ring();
    const words = this.#words;
    for (let spin = 0; spin < SPINS; spin++) {
      if (Atomics.load(words, WORD.state) === STATE.answered) return this.#takeAnswer();
    }
    Atomics.compareExchange(words, WORD.state, STATE.asked, STATE.asleep);
    while (Atomics.load(words, WORD.state) !== STATE.answered) {
      Atomics.wait(words, WORD.state, STATE.asleep, SLEEP_MAX_MS);
    }
    return this.#takeAnswer();
  }
  /** Tells the board and goes on. */
  post(access: Access, ring: () => void): void {
    this.#submit(access, STATE.posted);
    ring();
  }
  #submit({ kind, address, size, value }: Access, state: number): void {
    const words = this.#words;
    for (let spin = 0; Atomics.load(words, WORD.state) !== STATE.free; spin++) {
      if (spin > SPINS) Atomics.wait(words, WORD.state, STATE.posted, SLEEP_MAX_MS);
    }
    words[WORD.kind] = kind;
    words[WORD.addressLow] = address | 0;
    words[WORD.addressHigh] = Math.floor(address / 2 ** 32);
    words[WORD.size] = size;
    words[WORD.value] = value | 0;
    Atomics.store(words, WORD.state, state);
  }
  #takeAnswer(): number {
    const value = this.#words[WORD.value]! >>> 0;
    Atomics.store(this.#words, WORD.state, STATE.free);
    return value;
  }

  /** The worker takes commands from now on. */
  begin(): void {
    Atomics.store(this.#words, WORD.begun, 1);
  }
  /** The next command, or undefined. */
  takeCommand(): unknown {
    return takeFrame(this.#commands);
  }
  reply(value: unknown): void {
    putFrame(this.#replies, value);
  }
  /** The vCPU will not run on by itself. */
  end(how: number): void {
    Atomics.store(this.#words, WORD.ended, how);
  }

  // --- the board's side ---

  /** Serves the access that waits, if one does. */
  serve(handle: AccessHandler): boolean {
    const words = this.#words;
    const state = Atomics.load(words, WORD.state);
    if (state === STATE.free || state === STATE.answered) return false;
    const result = handle({
      kind: words[WORD.kind] as AccessKind,
      address: words[WORD.addressHigh]! * 2 ** 32 + (words[WORD.addressLow]! >>> 0),
      size: words[WORD.size]!,
      value: words[WORD.value]! >>> 0,
    });
    words[WORD.value] = result | 0;
    const isPosted = state === STATE.posted;
    const before = Atomics.exchange(words, WORD.state, isPosted ? STATE.free : STATE.answered);
    if (isPosted || before === STATE.asleep) Atomics.notify(words, WORD.state);
    return true;
  }
  command(frame: unknown): void {
    putFrame(this.#commands, frame);
  }
  takeReply(): unknown {
    return takeFrame(this.#replies);
  }
  /** Whether the vCPU's worker lives: it takes its time to start. */
  get hasBegun(): boolean {
    return Atomics.load(this.#words, WORD.begun) === 1;
  }
  /** 0 while the vCPU is well, else one of ENDED. */
  get ended(): number {
    return Atomics.load(this.#words, WORD.ended);
  }
}

function putFrame(ring: ByteRing, value: unknown): void {
  const frame = encodeFrame(value);
  assert(frame.length <= ring.room, 'one command at a time fits its ring');
  ring.write(frame);
}

/** Frames are written as a whole, so a length is never there without its body. */
function takeFrame(ring: ByteRing): unknown {
  if (ring.length < 4) return undefined;
  const size = new DataView(ring.read(4).buffer).getUint32(0, true);
  return decodeFrame(ring.read(size));
}
