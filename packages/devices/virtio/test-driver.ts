// Plays the guest's virtio driver in tests: finds the structures through PCI capabilities,
// negotiates, sets up rings in guest memory, and submits chains. It knows the specification only,
// nothing of the device's code.

import assert from 'node:assert/strict';
import { type GuestMemory, loadLittleEndian } from '@mimic/base';
import type { AccessSize } from '../device.ts';
import { PciBus } from '../pci/bus.ts';
import type { Registers } from '../pci/config-space.ts';
import type { VirtioDevice } from './device.ts';
import { VirtioPci } from './transport-pci.ts';

const BAR_ADDRESS = 0xfe00_0000;
const MSI_ADDRESS = 0xfee0_0000;
const ARENA_START = 0x1000;
export const INDIRECT_DESC = 28;
export const EVENT_IDX = 29;
export const VERSION_1 = 32;

/** A buffer of a chain: bytes for the device to read, or room for it to write. */
export type Buffer = { out: Uint8Array } | { in: number };

/** A device plugged into a bus of its own, with all wires recorded. */
export class Rig {
  readonly memory: GuestMemory;
  readonly part: VirtioPci;
  /** Data of each message sent: 0 for the configuration vector, queue + 1 for the queues. */
  readonly messages: number[] = [];
  intx = false;
  /** The BAR as mapped, if it is. */
  bar: Registers | undefined;

  constructor(memory: GuestMemory, device: VirtioDevice) {
    this.memory = memory;
    const line = { set: () => {} };
    const pirqA = {
      set: (high: boolean) => {
        this.intx = high;
      },
    };
    const bus = new PciBus({
      pirqs: [pirqA, line, line, line],
      mappingChanged: (region, address) => {
        this.bar = address === undefined ? undefined : region.registers;
      },
    });
    this.part = bus.add(
      { device: 1 },
      (connection) =>
        new VirtioPci({
          connection,
          device,
          memory,
          msi: (address, data) => {
            assert.equal(address, MSI_ADDRESS);
            this.messages.push(data);
          },
        }),
    );
  }
}

interface Place {
  offset: number;
  lengthBytes: number;
  extra: number;
}

export class TestDriver {
  readonly rig: Rig;
  readonly queues: TestQueue[] = [];
  #arena = ARENA_START;
  #places = new Map<number, Place>();

  constructor(rig: Rig) {
    this.rig = rig;
  }

  /**
   * Everything up to DRIVER_OK. Asks for the features that the device offers, out of those given.
   */
  start(options: { features?: readonly number[]; interrupts?: 'msix' | 'intx' } = {}): this {
    const features = [...(options.features ?? []), VERSION_1];
    this.probe();
    this.status = 1 | 2;
    this.writeFeatures(features);
    this.status = 1 | 2 | 8;
    assert.equal(this.status, 1 | 2 | 8, 'the device accepts the features');
    const msix = (options.interrupts ?? 'msix') === 'msix';
    if (msix) this.#enableMsix();
    for (let index = 0; index < this.common(0x12, 2); index++) {
      this.queues.push(new TestQueue(this, { index, features, msix }));
    }
    this.status = 1 | 2 | 8 | 4;
    return this;
  }

  /** Places the BAR, turns decoding and bus mastering on, and finds the structures. */
  probe(): void {
    const { part } = this.rig;
    part.write(0x10, 4, BAR_ADDRESS);
    part.write(0x04, 2, 0x6);
    for (let at = part.read(0x34, 1); at !== 0; at = part.read(at + 1, 1)) {
      if (part.read(at, 1) !== 0x09) continue;
      this.#places.set(part.read(at + 3, 1), {
        offset: part.read(at + 8, 4),
        lengthBytes: part.read(at + 12, 4),
        extra: part.read(at + 2, 1) > 16 ? part.read(at + 16, 4) : 0,
      });
    }
  }

  get status(): number {
    return this.common(0x14, 1);
  }

  set status(value: number) {
    this.setCommon(0x14, 1, value);
  }

  get needsReset(): boolean {
    return (this.status & 0x40) !== 0;
  }

  /** Writes the given features, without those that are not offered. */
  writeFeatures(features: readonly number[]): void {
    for (const word of [0, 1]) {
      this.setCommon(0x00, 4, word);
      const offered = this.common(0x04, 4);
      let wanted = 0;
      for (const feature of features) {
        if (feature >>> 5 === word) wanted |= 1 << (feature & 31);
      }
      this.setCommon(0x08, 4, word);
      this.setCommon(0x0c, 4, (wanted & offered) >>> 0);
    }
  }

  common(offset: number, size: AccessSize): number {
    return this.rig.bar!.read(this.#place(1).offset + offset, size);
  }

  setCommon(offset: number, size: AccessSize, value: number): void {
    this.rig.bar!.write(this.#place(1).offset + offset, size, value);
  }

  notify(queue: number): void {
    this.setCommon(0x16, 2, queue);
    const { offset, extra } = this.#place(2);
    this.rig.bar!.write(offset + this.common(0x1e, 2) * extra, 2, queue);
  }

  isr(): number {
    return this.rig.bar!.read(this.#place(3).offset, 1);
  }

  config(offset: number, size: AccessSize): number {
    return this.rig.bar!.read(this.#place(4).offset + offset, size);
  }

  setConfig(offset: number, size: AccessSize, value: number): void {
    this.rig.bar!.write(this.#place(4).offset + offset, size, value);
  }

  /** Guest memory that nobody else uses, on a 16-byte boundary. */
  allocate(lengthBytes: number): number {
    const gpa = this.#arena;
    this.#arena += (lengthBytes + 15) & ~15;
    assert.ok(this.#arena <= this.rig.memory.sizeBytes, 'the test has enough memory');
    return gpa;
  }

  #place(type: number): Place {
    const place = this.#places.get(type);
    assert.ok(place, `structure ${type} was found`);
    return place;
  }

  #enableMsix(): void {
    const { part } = this.rig;
    let at = part.read(0x34, 1);
    while (part.read(at, 1) !== 0x11) at = part.read(at + 1, 1);
    const count = (part.read(at + 2, 2) & 0x7ff) + 1;
    const table = part.read(at + 4, 4) & ~7;
    for (let vector = 0; vector < count; vector++) {
      this.rig.bar!.write(table + vector * 16, 4, MSI_ADDRESS);
      this.rig.bar!.write(table + vector * 16 + 8, 4, vector);
      this.rig.bar!.write(table + vector * 16 + 12, 4, 0);
    }
    part.write(at + 2, 2, 0x8000);
    this.setCommon(0x10, 2, 0);
  }
}

/**
 * One virtqueue, driver side. Descriptors are handed out in order and never reused: tests are
 * short.
 */
export class TestQueue {
  readonly size: number;
  readonly descriptors: number;
  readonly driverArea: number;
  readonly deviceArea: number;
  readonly #driver: TestDriver;
  readonly #memory: GuestMemory;
  readonly #index: number;
  readonly #eventIndex: boolean;
  #nextDescriptor = 0;
  #nextAvail = 0;
  #lastUsed = 0;
  readonly #chains = new Map<number, { gpa: number; lengthBytes: number }[]>();

  constructor(
    driver: TestDriver,
    options: { index: number; features: readonly number[]; msix: boolean },
  ) {
    this.#driver = driver;
    this.#memory = driver.rig.memory;
    this.#index = options.index;
    this.#eventIndex = options.features.includes(EVENT_IDX);
    driver.setCommon(0x16, 2, options.index);
    this.size = driver.common(0x18, 2);
    this.descriptors = driver.allocate(16 * this.size);
    this.driverArea = driver.allocate(6 + 2 * this.size);
    this.deviceArea = driver.allocate(6 + 8 * this.size);
    this.#memory.write(this.driverArea, new Uint8Array(6 + 2 * this.size));
    this.#memory.write(this.deviceArea, new Uint8Array(6 + 8 * this.size));
    for (const [at, gpa] of [this.descriptors, this.driverArea, this.deviceArea].entries()) {
      driver.setCommon(0x20 + 8 * at, 4, gpa);
      driver.setCommon(0x24 + 8 * at, 4, 0);
    }
    if (options.msix) driver.setCommon(0x1a, 2, options.index + 1);
    driver.setCommon(0x1c, 2, 1);
  }

  /** Makes a chain available without telling the device; returns its head. */
  add(buffers: readonly Buffer[], options: { indirect?: boolean } = {}): number {
    const segments = buffers.map((buffer) => {
      const lengthBytes = 'out' in buffer ? buffer.out.length : buffer.in;
      const gpa = this.#driver.allocate(lengthBytes);
      if ('out' in buffer) this.#memory.write(gpa, buffer.out);
      return { gpa, lengthBytes, write: 'in' in buffer };
    });
    const table = options.indirect ? this.#driver.allocate(16 * segments.length) : this.descriptors;
    const first = options.indirect ? 0 : this.#nextDescriptor;
    for (const [at, segment] of segments.entries()) {
      const last = at === segments.length - 1;
      const index = first + at;
      this.writeDescriptor(table, index % (options.indirect ? 65_536 : this.size), {
        gpa: segment.gpa,
        lengthBytes: segment.lengthBytes,
        flags: (last ? 0 : 1) | (segment.write ? 2 : 0),
        next: last ? 0 : (index + 1) % (options.indirect ? 65_536 : this.size),
      });
    }
    const head = this.#nextDescriptor % this.size;
    if (options.indirect) {
      const lengthBytes = 16 * segments.length;
      this.writeDescriptor(this.descriptors, head, { gpa: table, lengthBytes, flags: 4, next: 0 });
    }
    this.#nextDescriptor += options.indirect ? 1 : segments.length;
    this.#chains.set(
      head,
      segments.filter((segment) => segment.write),
    );
    this.offer(head);
    return head;
  }

  writeDescriptor(
    table: number,
    index: number,
    entry: { gpa: number; lengthBytes: number; flags: number; next: number },
  ): void {
    const at = table + 16 * index;
    this.#memory.writeU32(at, entry.gpa >>> 0);
    this.#memory.writeU32(at + 4, Math.floor(entry.gpa / 2 ** 32));
    this.#memory.writeU32(at + 8, entry.lengthBytes);
    this.#memory.writeU32(at + 12, ((entry.next << 16) | entry.flags) >>> 0);
  }

  /** Puts a head into the available ring. */
  offer(head: number): void {
    this.#memory.writeU16(this.driverArea + 4 + 2 * (this.#nextAvail % this.size), head);
    this.#nextAvail = (this.#nextAvail + 1) & 0xffff;
    this.#memory.writeU16(this.driverArea + 2, this.#nextAvail);
  }

  notify(): void {
    this.#driver.notify(this.#index);
  }

  /** What `avail_event` asks for: the position at which the device wants to be notified. */
  get availEvent(): number {
    return this.#memory.readU16(this.deviceArea + 4 + 8 * this.size)!;
  }

  set usedEvent(position: number) {
    this.#memory.writeU16(this.driverArea + 4 + 2 * this.size, position);
  }

  /** Chains given back since the last call, each with the bytes that the device wrote. */
  used(): { head: number; written: Uint8Array }[] {
    const found: { head: number; written: Uint8Array }[] = [];
    const index = this.#memory.readU16(this.deviceArea + 2)!;
    for (; this.#lastUsed !== index; this.#lastUsed = (this.#lastUsed + 1) & 0xffff) {
      const entry = this.deviceArea + 4 + 8 * (this.#lastUsed % this.size);
      const head = this.#memory.readU32(entry)!;
      const lengthBytes = this.#memory.readU32(entry + 4)!;
      found.push({ head, written: this.#gather(head, lengthBytes) });
    }
    if (this.#eventIndex) this.usedEvent = this.#lastUsed;
    return found;
  }

  /** Adds one chain, notifies, and returns what came back; fails if nothing did. */
  request(buffers: readonly Buffer[], options: { indirect?: boolean } = {}): Uint8Array {
    const head = this.add(buffers, options);
    this.notify();
    const done = this.used();
    assert.deepEqual(
      done.map((entry) => entry.head),
      [head],
    );
    return done[0]!.written;
  }

  #gather(head: number, lengthBytes: number): Uint8Array {
    const bytes = new Uint8Array(lengthBytes);
    let position = 0;
    for (const segment of this.#chains.get(head) ?? []) {
      const run = Math.min(segment.lengthBytes, lengthBytes - position);
      this.#memory.read(segment.gpa, bytes.subarray(position, position + run));
      position += run;
    }
    assert.equal(position, lengthBytes, 'the used length fits the writable part');
    return bytes;
  }
}

/** Little-endian numbers, one byte string: `encode([4, 1], [2, 0xffff])` is a u32 and a u16. */
export function encode(...fields: readonly (readonly [size: 1 | 2 | 4 | 8, value: number])[]) {
  const bytes: number[] = [];
  for (const [size, value] of fields) {
    for (let index = 0; index < size; index++)
      bytes.push(Math.floor(value / 2 ** (8 * index)) % 256);
  }
  return Uint8Array.from(bytes);
}

export function decode(bytes: Uint8Array, offset: number, size: 1 | 2 | 4): number {
  return loadLittleEndian(bytes, offset, size);
}

/** xorshift32: the same numbers, below `limit`, for the same seed. */
export function randomFrom(seed: number): (limit: number) => number {
  let state = seed;
  return (limit) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % limit;
  };
}
