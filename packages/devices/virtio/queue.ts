// Split virtqueue, device side. Virtio 1.2 §2.7, with indirect descriptors (§2.7.5.3) and used
// buffer notification suppression by event index (§2.7.7, §2.7.10). Left out: packed rings,
// in-order use. All of it lies in guest memory and may be hostile: whatever does not hold makes the
// device need a reset.

import type { GuestMemory } from '@mimic/base';
import { CHAIN_BYTES_MAX, CHAIN_LENGTH_MAX, Chain, type Segment } from './chain.ts';

/** §2.7: a queue size is a power of two up to this. */
export const QUEUE_SIZE_MAX = 32_768;

/** Reserved feature bits. §6. */
export const VIRTIO_F_INDIRECT_DESC = 28;
export const VIRTIO_F_EVENT_IDX = 29;

/** Descriptor table entry: addr u64, len u32, flags u16, next u16. §2.7.5. */
const DESCRIPTOR_BYTES = 16;
const DESC_F_NEXT = 1;
const DESC_F_WRITE = 2;
const DESC_F_INDIRECT = 4;

/** Both rings start with flags u16 and idx u16. §2.7.6, §2.7.8. */
const RING_INDEX = 2;
const RING_ENTRIES = 4;
const AVAIL_ENTRY_BYTES = 2;
const USED_ENTRY_BYTES = 8;
const AVAIL_F_NO_INTERRUPT = 1;

/** The three areas, in the order of their address registers. §2.7. */
export const AREA = { descriptors: 0, driver: 1, device: 2 } as const;
export type Area = (typeof AREA)[keyof typeof AREA];
const AREA_ALIGNMENT = [16, 2, 4];

export interface QueueState {
  size: number;
  ready: boolean;
  /** Low and high half of each area's address, as the driver wrote them. */
  addresses: Uint32Array;
  /** Position in the available ring of the next chain to take; free running, 16 bits. */
  nextAvail: number;
  /** Position in the used ring of the next chain to give back; free running, 16 bits. */
  nextUsed: number;
  /** `nextUsed` when the driver was last considered for an interrupt. */
  signalledUsed: number;
}

/** What a queue needs of its transport. */
export interface QueueWires {
  readonly memory: GuestMemory;
  /** The driver is ready and the device does not need a reset. */
  running(): boolean;
  negotiated(feature: number): boolean;
  /** Sends a used buffer notification. */
  interrupt(): void;
  /** The driver broke the rules: the device stops until it is reset. §2.1.2. */
  needsReset(reason: string): void;
}

export class Virtqueue {
  readonly sizeMax: number;
  readonly #wires: QueueWires;
  readonly #memory: GuestMemory;
  #state: QueueState;
  /**
   * Counts the lives of the queue, so that a chain taken before a reset is not given back after it.
   */
  #life = 0;
  /** Addresses of the areas as numbers: derived from the state. */
  #descriptors = 0;
  #driver = 0;
  #device = 0;

  constructor(sizeMax: number, wires: QueueWires) {
    this.sizeMax = sizeMax;
    this.#wires = wires;
    this.#memory = wires.memory;
    this.#state = resetState(sizeMax);
  }

  get size(): number {
    return this.#state.size;
  }

  /** Takes over the driver's choice of a size; one that is not allowed is ignored. */
  set size(size: number) {
    if (this.#state.ready || size === 0 || size > this.sizeMax || (size & (size - 1)) !== 0) return;
    this.#state.size = size;
  }

  get ready(): boolean {
    return this.#state.ready;
  }

  /** One half, 0 low and 1 high, of an area's address. */
  addressHalf(area: Area, half: 0 | 1): number {
    return this.#state.addresses[area * 2 + half]!;
  }

  setAddressHalf(area: Area, half: 0 | 1, value: number): void {
    if (!this.#state.ready) this.#state.addresses[area * 2 + half] = value;
  }

  /** Puts the queue into operation. An address that cannot be one makes the device need a reset. */
  enable(): void {
    if (this.#state.ready) return;
    this.#state.ready = true;
    if (!this.#deriveAddresses()) this.#wires.needsReset('virtqueue area misplaced');
  }

  /** Takes the next chain that the driver made available; undefined if there is none. */
  next(): Chain | undefined {
    const state = this.#state;
    if (!this.#usable()) return undefined;
    let available = this.#availableIndex();
    if (available === state.nextAvail && this.#wires.negotiated(VIRTIO_F_EVENT_IDX)) {
      // Ask for a notification of the next one, then look again: it may have come in between.
      const availEvent = this.#device + RING_ENTRIES + USED_ENTRY_BYTES * state.size;
      if (!this.#memory.writeU16(availEvent, state.nextAvail))
        return this.#fail('used ring outside RAM');
      available = this.#availableIndex();
    }
    if (available === undefined) return this.#fail('available ring outside RAM');
    const count = (available - state.nextAvail) & 0xffff;
    if (count === 0) return undefined;
    if (count > state.size) return this.#fail('available index ahead of the ring');
    const slot = state.nextAvail & (state.size - 1);
    const head = this.#memory.readU16(this.#driver + RING_ENTRIES + AVAIL_ENTRY_BYTES * slot);
    if (head === undefined) return this.#fail('available ring outside RAM');
    if (head >= state.size) return this.#fail('available ring entry beyond the table');
    const chain = this.#walk(head);
    if (chain) state.nextAvail = (state.nextAvail + 1) & 0xffff;
    return chain;
  }

  /** Puts the last `count` chains taken back, as if `next` had not been called. */
  untake(count: number): void {
    this.#state.nextAvail = (this.#state.nextAvail - count) & 0xffff;
  }

  /**
   * Gives a chain back, telling the driver how many bytes its writable part starts with are new. A
   * chain taken before the queue was reset is dropped. The driver hears of it with the next
   * `signal`.
   */
  push(chain: Chain, writtenBytes: number): void {
    if (chain.life !== this.#life || !this.#usable()) return;
    const state = this.#state;
    const slot = state.nextUsed & (state.size - 1);
    const entry = this.#device + RING_ENTRIES + USED_ENTRY_BYTES * slot;
    const nextUsed = (state.nextUsed + 1) & 0xffff;
    const stored =
      this.#memory.writeU32(entry, chain.head) &&
      this.#memory.writeU32(entry + 4, writtenBytes) &&
      this.#memory.writeU16(this.#device + RING_INDEX, nextUsed);
    if (!stored) this.#fail('used ring outside RAM');
    else state.nextUsed = nextUsed;
  }

  /**
   * Interrupts the driver if chains were given back since the last time and it wants to hear of
   * them.
   */
  signal(): void {
    const state = this.#state;
    const { nextUsed, signalledUsed } = state;
    if (!this.#usable() || nextUsed === signalledUsed) return;
    const wanted = this.#interruptWanted();
    if (wanted === undefined) {
      this.#fail('available ring outside RAM');
      return;
    }
    state.signalledUsed = nextUsed;
    if (wanted) this.#wires.interrupt();
  }

  /** The device found a chain that breaks its rules and cannot be answered in any other way. */
  fail(reason: string): void {
    this.#fail(reason);
  }

  reset(): void {
    this.#life += 1;
    this.#state = resetState(this.sizeMax);
  }

  save(): QueueState {
    return structuredClone(this.#state);
  }

  restore(state: QueueState): void {
    this.#life += 1;
    this.#state = structuredClone(state);
    this.#deriveAddresses();
  }

  #usable(): boolean {
    return this.#state.ready && this.#wires.running();
  }

  #fail(reason: string): undefined {
    this.#wires.needsReset(reason);
    return undefined;
  }

  /** False if an address is misaligned or beyond what a guest-physical address can be. */
  #deriveAddresses(): boolean {
    const { addresses } = this.#state;
    const [descriptors, driver, device] = AREA_ALIGNMENT.map((alignment, area) => {
      const low = addresses[area * 2]!;
      const high = addresses[area * 2 + 1]!;
      return high >= 2 ** 20 || low % alignment !== 0 ? undefined : high * 2 ** 32 + low;
    });
    if (descriptors === undefined || driver === undefined || device === undefined) return false;
    this.#descriptors = descriptors;
    this.#driver = driver;
    this.#device = device;
    return true;
  }

  #availableIndex(): number | undefined {
    return this.#memory.readU16(this.#driver + RING_INDEX);
  }

  /** §2.7.7.2 and §2.7.10; undefined if the answer lies outside RAM. */
  #interruptWanted(): boolean | undefined {
    const { size, nextUsed, signalledUsed } = this.#state;
    if (!this.#wires.negotiated(VIRTIO_F_EVENT_IDX)) {
      const flags = this.#memory.readU16(this.#driver);
      return flags === undefined ? undefined : (flags & AVAIL_F_NO_INTERRUPT) === 0;
    }
    const usedEvent = this.#memory.readU16(this.#driver + RING_ENTRIES + AVAIL_ENTRY_BYTES * size);
    if (usedEvent === undefined) return undefined;
    return ((nextUsed - usedEvent - 1) & 0xffff) < ((nextUsed - signalledUsed) & 0xffff);
  }

  /** Follows a chain from its head, reading each descriptor once. */
  #walk(head: number): Chain | undefined {
    const memory = this.#memory;
    const readable: Segment[] = [];
    const writable: Segment[] = [];
    let table = this.#descriptors;
    let tableLength = this.#state.size;
    let indirect = false;
    let index = head;
    let totalBytes = 0;
    for (let length = 0; length < CHAIN_LENGTH_MAX; length++) {
      const at = table + DESCRIPTOR_BYTES * index;
      const low = memory.readU32(at);
      const high = memory.readU32(at + 4);
      const lengthBytes = memory.readU32(at + 8);
      const flagsAndNext = memory.readU32(at + 12);
      if (low === undefined || high === undefined) return this.#fail('descriptor outside RAM');
      if (lengthBytes === undefined || flagsAndNext === undefined) {
        return this.#fail('descriptor outside RAM');
      }
      if (high >= 2 ** 20) return this.#fail('buffer outside RAM');
      const gpa = high * 2 ** 32 + low;
      if (flagsAndNext & DESC_F_INDIRECT) {
        const fault = this.#indirectFault({ indirect, flags: flagsAndNext, lengthBytes });
        if (fault) return this.#fail(fault);
        [table, tableLength, indirect, index] = [gpa, lengthBytes / DESCRIPTOR_BYTES, true, 0];
        continue;
      }
      const write = (flagsAndNext & DESC_F_WRITE) !== 0;
      if (!write && writable.length > 0) return this.#fail('readable buffer after a writable one');
      totalBytes += lengthBytes;
      if (totalBytes > CHAIN_BYTES_MAX) return this.#fail('chain of more than 4 GiB');
      if (lengthBytes > 0 && memory.view(gpa, lengthBytes) === undefined) {
        return this.#fail('buffer outside RAM');
      }
      (write ? writable : readable).push({ gpa, lengthBytes });
      if ((flagsAndNext & DESC_F_NEXT) === 0) {
        return new Chain({ memory, head, life: this.#life, readable, writable });
      }
      index = flagsAndNext >>> 16;
      if (index >= tableLength) return this.#fail('next descriptor beyond the table');
    }
    return this.#fail('descriptor chain too long');
  }

  /** §2.7.5.3.1: what an indirect descriptor must not be. */
  #indirectFault(entry: {
    indirect: boolean;
    flags: number;
    lengthBytes: number;
  }): string | undefined {
    if (!this.#wires.negotiated(VIRTIO_F_INDIRECT_DESC))
      return 'indirect descriptor not negotiated';
    if (entry.indirect) return 'indirect descriptor in an indirect table';
    if (entry.flags & DESC_F_NEXT) return 'indirect descriptor with a next one';
    if (entry.lengthBytes === 0 || entry.lengthBytes % DESCRIPTOR_BYTES !== 0) {
      return 'indirect table of odd size';
    }
    return undefined;
  }
}

function resetState(size: number): QueueState {
  return {
    size,
    ready: false,
    addresses: new Uint32Array(6),
    nextAvail: 0,
    nextUsed: 0,
    signalledUsed: 0,
  };
}
