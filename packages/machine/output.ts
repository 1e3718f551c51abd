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
  readonly trace: (line: string) => void;
  readonly #mailbox: Mailbox;
  readonly #send: (report: Report) => void;
  readonly #gathered = { serial: new Gatherer(), trace: new Gatherer() };
  #sent = 0;

  constructor(wires: { mailbox: Mailbox; send: (report: Report) => void }) {
    this.#mailbox = wires.mailbox;
    this.#send = wires.send;
    this.serial = { write: (bytes) => this.#add('serial', bytes) };
    const encoder = new TextEncoder();
    this.trace = (line) => this.#add('trace', encoder.encode(`${line}\n`));
  }

  /** True while the host has too much to dispose of for the guest to go on. */
  get full(): boolean {
    return (this.#sent - this.#mailbox.acknowledged) >>> 0 > UNDER_WAY_MAX_BYTES;
  }

  flush(): void {
    this.#flush('serial');
    this.#flush('trace');
  }

  #add(kind: 'serial' | 'trace', bytes: Uint8Array): void {
    if (this.#gathered[kind].add(bytes) >= MESSAGE_SIZE_BYTES) this.#flush(kind);
  }

  #flush(kind: 'serial' | 'trace'): void {
    const bytes = this.#gathered[kind].take();
    if (bytes.length === 0) return;
    this.#sent = (this.#sent + bytes.length) >>> 0;
    this.#send({ kind, bytes });
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
