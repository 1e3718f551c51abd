// What the host's thread sends to the machine's worker: commands, serial and console input, in shared memory.
// The worker never returns to its event loop while the guest runs, so messages to it cannot use postMessage;
// it looks here between slices of guest code, and sleeps on the bell when the guest is idle.

import { assert } from '@mimic/base';
import { decodeFrame, encodeFrame } from './frame.ts';
import { ByteRing } from './ring.ts';

/** A command frame with its length word must fit into the ring. */
export const COMMAND_RING_BYTES = 1 << 18;
export const SERIAL_INPUT_RING_BYTES = 1 << 16;
export const CONSOLE_INPUT_RING_BYTES = 1 << 16;
export const COMMAND_SIZE_MAX = COMMAND_RING_BYTES - 4;

const BELL = 0;
const ACKNOWLEDGED = 1;
const COMMANDS_AT = 64;
const SERIAL_INPUT_AT = COMMANDS_AT + ByteRing.sizeFor(COMMAND_RING_BYTES);
const CONSOLE_INPUTS_AT = SERIAL_INPUT_AT + ByteRing.sizeFor(SERIAL_INPUT_RING_BYTES);
const CONSOLE_INPUT_BYTES = ByteRing.sizeFor(CONSOLE_INPUT_RING_BYTES);

export class Mailbox {
  readonly buffer: SharedArrayBuffer;
  /** Bytes typed to the guest's first serial port. */
  readonly serialInput: ByteRing;
  /** Bytes for each port of the virtio console. */
  readonly consoleInputs: readonly ByteRing[];
  readonly #commands: ByteRing;
  readonly #words: Int32Array<SharedArrayBuffer>;

  /** A new mailbox, or the other thread's: its size tells for how many consoles it was made. */
  constructor(from: SharedArrayBuffer | { readonly consoleCount: number } = { consoleCount: 0 }) {
    const buffer =
      from instanceof SharedArrayBuffer
        ? from
        : new SharedArrayBuffer(CONSOLE_INPUTS_AT + from.consoleCount * CONSOLE_INPUT_BYTES);
    const consoleCount = (buffer.byteLength - CONSOLE_INPUTS_AT) / CONSOLE_INPUT_BYTES;
    this.buffer = buffer;
    this.#words = new Int32Array(buffer, 0, 2);
    this.#commands = new ByteRing(buffer, COMMANDS_AT, COMMAND_RING_BYTES);
    this.serialInput = new ByteRing(buffer, SERIAL_INPUT_AT, SERIAL_INPUT_RING_BYTES);
    this.consoleInputs = Array.from({ length: consoleCount }, (_, index) => {
      const offset = CONSOLE_INPUTS_AT + index * CONSOLE_INPUT_BYTES;
      return new ByteRing(buffer, offset, CONSOLE_INPUT_RING_BYTES);
    });
  }

  /** Wakes the worker if it sleeps, and makes it look into the mailbox soon if it does not. */
  ring(): void {
    Atomics.add(this.#words, BELL, 1);
    Atomics.notify(this.#words, BELL);
  }

  /** The worker's side: the count to pass to `sleep`, read before looking into the mailbox. */
  get bell(): number {
    return Atomics.load(this.#words, BELL);
  }

  /** The worker's side: sleeps until the bell has rung since it read `bell`, or the time is over. */
  sleep(bell: number, timeoutMs: number): void {
    Atomics.wait(this.#words, BELL, bell, timeoutMs);
  }

  /** Queues one command; waits while the worker has not made room for it. */
  async post(command: unknown): Promise<void> {
    const frame = encodeFrame(command);
    assert(frame.length <= COMMAND_RING_BYTES, 'callers split commands that are too large');
    for (let room = this.#commands.room; room < frame.length; room = this.#commands.room) {
      await this.#commands.roomAfter(room);
    }
    this.#commands.write(frame);
    this.ring();
  }

  /** The worker's side: the next command, or undefined. */
  take(): unknown {
    if (this.#commands.length < 4) return undefined;
    const size = new DataView(this.#commands.read(4).buffer).getUint32(0, true);
    return decodeFrame(this.#commands.read(size));
  }

  /** The host's side: it has disposed of this many bytes of the worker's output. */
  acknowledge(byteCount: number): void {
    Atomics.add(this.#words, ACKNOWLEDGED, byteCount);
    this.ring();
  }

  /** All bytes acknowledged so far, modulo 2^32. */
  get acknowledged(): number {
    return Atomics.load(this.#words, ACKNOWLEDGED) >>> 0;
  }
}
