// Bytes from the guest on their way to the host's thread: gathered into large messages, counted until the host
// has disposed of them. When too many are under way the loop holds the guest, so that none is ever dropped.

import type { ByteSink } from '@mimic/base';
import type { Mailbox } from './mailbox.ts';
import type { Report } from './protocol.ts';

/** A message is sent when this much has gathered, or when a slice of guest code is over. */
const MESSAGE_SIZE_BYTES = 1 << 14;
/** The guest is held while more than this is under way to the host. */
export const UNDER_WAY_MAX_BYTES = 1 << 18;

export class Output {
  readonly serial: ByteSink;
  /** The ports of the virtio console. */
  readonly consoles: readonly ByteSink[];
  readonly trace: (line: string) => void;
  /** Whole lines, from another worker. */
  readonly traceText: (lines: Uint8Array) => void;
  readonly #mailbox: Mailbox;
  readonly #send: (report: Report) => void;
  readonly #flushes: (() => void)[] = [];
  #sent = 0;

  constructor(wires: {
    mailbox: Mailbox;
    send: (report: Report) => void;
    consoleCount: number;
  }) {
    this.#mailbox = wires.mailbox;
    this.#send = wires.send;
    this.serial = this.#channel((bytes) => ({ kind: 'serial', bytes }));
    this.consoles = Array.from({ length: wires.consoleCount }, (_, index) =>
      this.#channel((bytes) => ({ kind: 'console', index, bytes })),
    );
    const encoder = new TextEncoder();
    const trace = this.#channel((bytes) => ({ kind: 'trace', bytes }));
    this.trace = (line) => trace.write(encoder.encode(`${line}\n`));
    this.traceText = (lines) => trace.write(lines);
  }

  /** True while the host has too much to dispose of for the guest to go on. */
  get full(): boolean {
    return (this.#sent - this.#mailbox.acknowledged) >>> 0 > UNDER_WAY_MAX_BYTES;
  }

  flush(): void {
    for (const flush of this.#flushes) flush();
  }

  #channel(report: (bytes: Uint8Array<ArrayBuffer>) => Report): ByteSink {
    const gathered = new Gatherer();
    const flush = () => {
      const bytes = gathered.take();
      if (bytes.length === 0) return;
      this.#sent = (this.#sent + bytes.length) >>> 0;
      this.#send(report(bytes));
    };
    this.#flushes.push(flush);
    return {
      write: (bytes) => {
        if (gathered.add(bytes) >= MESSAGE_SIZE_BYTES) flush();
      },
    };
  }
}

/** Collects bytes; grows, but its owner empties it at `MESSAGE_SIZE_BYTES`. */
class Gatherer {
  #bytes = new Uint8Array(2 * MESSAGE_SIZE_BYTES);
  #length = 0;

  /** Returns how many bytes have been gathered. */
  add(bytes: Uint8Array): number {
    if (this.#length + bytes.length > this.#bytes.length) {
      const larger = new Uint8Array(2 * (this.#length + bytes.length));
      larger.set(this.#bytes.subarray(0, this.#length));
      this.#bytes = larger;
    }
    this.#bytes.set(bytes, this.#length);
    this.#length += bytes.length;
    return this.#length;
  }

  take(): Uint8Array<ArrayBuffer> {
    const taken = this.#bytes.slice(0, this.#length);
    this.#length = 0;
    return taken;
  }
}
