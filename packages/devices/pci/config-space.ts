// Configuration space of one PCI function, header type 0. PCI Local Bus Specification 3.0 §6.1,
// §6.2, §6.7. Registers are bytes with a mask of the bits that software can write; base addresses
// are derived from them, and whoever maps them is told when one moves. Left out: expansion ROM,
// extended (PCIe) configuration space.

import { assert, bit, get, loadLittleEndian, storeLittleEndian } from '@mimic/base';
import { type AccessSize, allOnes, type Device } from '../device.ts';

export const CONFIG_SPACE_BYTES = 256;

/** Register offsets. PCI 3.0 figure 6-1. */
export const CONFIG = {
  vendorId: 0x00,
  deviceId: 0x02,
  command: 0x04,
  status: 0x06,
  revisionId: 0x08,
  classCode: 0x09,
  cacheLineSize: 0x0c,
  latencyTimer: 0x0d,
  headerType: 0x0e,
  bar0: 0x10,
  subsystemVendorId: 0x2c,
  subsystemId: 0x2e,
  capabilitiesPointer: 0x34,
  interruptLine: 0x3c,
  interruptPin: 0x3d,
} as const;

/** PCI 3.0 §6.2.2. */
export const COMMAND = {
  ioSpace: bit(0),
  memorySpace: bit(1),
  busMaster: bit(2),
  parityErrorResponse: bit(6),
  serrEnable: bit(8),
  interruptDisable: bit(10),
};
const COMMAND_WRITABLE = Object.values(COMMAND).reduce((mask, field) => mask | field.mask, 0);

/** PCI 3.0 §6.2.3. */
const STATUS = { interruptStatus: bit(3), capabilitiesList: bit(4) };

const HEADER_MULTI_FUNCTION = 0x80;
const BAR_COUNT = 6;
const BAR_IO = 0x1;
const BAR_MEMORY_64 = 0x4;
const BAR_PREFETCHABLE = 0x8;
const FIRST_CAPABILITY = 0x40;
const IO_LIMIT = 0x1_0000;
const MEMORY32_LIMIT = 0x1_0000_0000;
const MEMORY64_LIMIT = 2 ** 52;

/** A block of registers, at offsets from its own start. */
export type Registers = Pick<Device, 'read' | 'write'>;

/**
 * What a base address register decodes. The object is the region's identity for whoever maps it.
 */
export interface BarRegion {
  /** The base address register's number, 0 to 5; a 64-bit one takes two. */
  readonly index: number;
  readonly space: 'io' | 'memory32' | 'memory64';
  /** A power of two below 4 GiB. */
  readonly sizeBytes: number;
  readonly prefetchable?: boolean;
  /** For traces and listings: 'virtio-block'. */
  readonly name: string;
  readonly registers: Registers;
}

export interface PciIdentity {
  readonly vendorId: number;
  readonly deviceId: number;
  readonly revisionId?: number;
  /** Base class, subclass and programming interface: 0x060100 is an ISA bridge. */
  readonly classCode: number;
  readonly subsystemVendorId?: number;
  readonly subsystemId?: number;
  /** 0 for none, 1 to 4 for INTA# to INTD#. */
  readonly interruptPin?: number;
  readonly multiFunction?: boolean;
}

export interface ConfigSpaceState {
  registers: Uint8Array;
}

/**
 * Tells that a region answers at `address` from now on, or nowhere (undefined). Software may put
 * regions anywhere, over RAM or over each other, also for a moment while it sizes them: the board
 * decides who wins.
 */
export type MappingChanged = (region: BarRegion, address: number | undefined) => void;

export class ConfigSpace {
  readonly #initial = new Uint8Array(CONFIG_SPACE_BYTES);
  readonly #writable = new Uint8Array(CONFIG_SPACE_BYTES);
  readonly #regions: readonly BarRegion[];
  readonly #mappingChanged: MappingChanged;
  /** What was last told to `mappingChanged`, by position in `#regions`: wiring, not state. */
  readonly #mapped: (number | undefined)[];
  #capabilityEnd = FIRST_CAPABILITY;
  #lastCapability = 0;
  #state: ConfigSpaceState;

  constructor(parts: {
    identity: PciIdentity;
    regions?: readonly BarRegion[];
    mappingChanged?: MappingChanged;
  }) {
    this.#regions = parts.regions ?? [];
    this.#mappingChanged = parts.mappingChanged ?? (() => {});
    this.#mapped = this.#regions.map(() => undefined);
    this.#defineHeader(parts.identity);
    for (const region of this.#regions) this.#defineBar(region);
    this.#state = { registers: this.#initial.slice() };
  }

  /** Adds a register of the part's own: its reset value and the bits that software can write. */
  define(offset: number, size: AccessSize, reset: number, writable: number): void {
    storeLittleEndian(this.#initial, offset, size, reset);
    storeLittleEndian(this.#writable, offset, size, writable);
    this.#state = { registers: this.#initial.slice() };
  }

  /**
   * Appends to the capabilities list; returns the capability's offset. `body` starts after the two
   * bytes of id and link; `writable` is its mask, nothing if left out.
   */
  addCapability(id: number, body: Uint8Array, writable?: Uint8Array): number {
    const offset = this.#capabilityEnd;
    assert(offset + 2 + body.length <= CONFIG_SPACE_BYTES, 'capabilities fit configuration space');
    this.#initial[offset] = id;
    this.#initial.set(body, offset + 2);
    if (writable) this.#writable.set(writable, offset + 2);
    const link = this.#lastCapability === 0 ? CONFIG.capabilitiesPointer : this.#lastCapability + 1;
    this.#initial[link] = offset;
    this.#initial[CONFIG.status]! |= STATUS.capabilitiesList.mask;
    this.#lastCapability = offset;
    this.#capabilityEnd = (offset + 2 + body.length + 3) & ~3;
    this.#state = { registers: this.#initial.slice() };
    return offset;
  }

  read(offset: number, size: AccessSize): number {
    if (offset + size > CONFIG_SPACE_BYTES) return allOnes(size);
    return loadLittleEndian(this.#state.registers, offset, size);
  }

  write(offset: number, size: AccessSize, value: number): void {
    if (offset + size > CONFIG_SPACE_BYTES) return;
    const { registers } = this.#state;
    for (let index = 0; index < size; index++) {
      const mask = this.#writable[offset + index]!;
      const written = (value >>> (8 * index)) & mask;
      registers[offset + index] = (registers[offset + index]! & ~mask) | written;
    }
    this.#updateMappings();
  }

  get command(): number {
    return loadLittleEndian(this.#state.registers, CONFIG.command, 2);
  }

  /** Whether the function may access memory by itself, which includes sending MSIs. */
  get busMaster(): boolean {
    return get(this.command, COMMAND.busMaster) === 1;
  }

  get interruptDisabled(): boolean {
    return get(this.command, COMMAND.interruptDisable) === 1;
  }

  /**
   * Shows the function's INTx request in the status register, whatever the interrupt disable bit
   * says.
   */
  setInterruptStatus(pending: boolean): void {
    const { registers } = this.#state;
    const rest = registers[CONFIG.status]! & ~STATUS.interruptStatus.mask;
    registers[CONFIG.status] = pending ? rest | STATUS.interruptStatus.mask : rest;
  }

  reset(): void {
    this.#state = { registers: this.#initial.slice() };
    this.#updateMappings();
  }

  save(): ConfigSpaceState {
    return structuredClone(this.#state);
  }

  restore(state: ConfigSpaceState): void {
    this.#state = structuredClone(state);
    this.#updateMappings();
  }

  #defineHeader(identity: PciIdentity): void {
    const initial = this.#initial;
    storeLittleEndian(initial, CONFIG.vendorId, 2, identity.vendorId);
    storeLittleEndian(initial, CONFIG.deviceId, 2, identity.deviceId);
    // The four bytes at the revision id hold the class code above it.
    const classAndRevision = identity.classCode * 256 + (identity.revisionId ?? 0);
    storeLittleEndian(initial, CONFIG.revisionId, 4, classAndRevision);
    initial[CONFIG.headerType] = identity.multiFunction ? HEADER_MULTI_FUNCTION : 0;
    storeLittleEndian(initial, CONFIG.subsystemVendorId, 2, identity.subsystemVendorId ?? 0);
    storeLittleEndian(initial, CONFIG.subsystemId, 2, identity.subsystemId ?? 0);
    initial[CONFIG.interruptPin] = identity.interruptPin ?? 0;
    storeLittleEndian(this.#writable, CONFIG.command, 2, COMMAND_WRITABLE);
    this.#writable[CONFIG.cacheLineSize] = 0xff;
    this.#writable[CONFIG.latencyTimer] = 0xff;
    this.#writable[CONFIG.interruptLine] = 0xff;
  }

  /**
   * PCI 3.0 §6.2.5.1: the low address bits are wired to 0, so that writing all ones tells the size.
   */
  #defineBar(region: BarRegion): void {
    const { index, space, sizeBytes } = region;
    assert(Number.isInteger(Math.log2(sizeBytes)), 'a BAR size is a power of two');
    assert(sizeBytes >= (space === 'io' ? 4 : 16), 'a BAR decodes at least its type bits');
    assert(index + (space === 'memory64' ? 2 : 1) <= BAR_COUNT, 'the BAR exists');
    const offset = CONFIG.bar0 + 4 * index;
    let type = space === 'io' ? BAR_IO : 0;
    if (space === 'memory64') type |= BAR_MEMORY_64;
    if (region.prefetchable) type |= BAR_PREFETCHABLE;
    storeLittleEndian(this.#initial, offset, 4, type);
    storeLittleEndian(this.#writable, offset, 4, 2 ** 32 - sizeBytes);
    if (space === 'memory64') storeLittleEndian(this.#writable, offset + 4, 4, 0xffff_ffff);
  }

  #updateMappings(): void {
    for (const [position, region] of this.#regions.entries()) {
      const address = this.#address(region);
      if (address === this.#mapped[position]) continue;
      this.#mapped[position] = address;
      this.#mappingChanged(region, address);
    }
  }

  /** Where the region answers; undefined if decoding is off or the address was not set. */
  #address(region: BarRegion): number | undefined {
    const offset = CONFIG.bar0 + 4 * region.index;
    const enable = region.space === 'io' ? COMMAND.ioSpace : COMMAND.memorySpace;
    if (get(this.command, enable) === 0) return undefined;
    const low = loadLittleEndian(this.#state.registers, offset, 4);
    let address = (low & (region.space === 'io' ? ~0x3 : ~0xf)) >>> 0;
    let limit = region.space === 'io' ? IO_LIMIT : MEMORY32_LIMIT;
    if (region.space === 'memory64') {
      address += loadLittleEndian(this.#state.registers, offset + 4, 4) * 2 ** 32;
      limit = MEMORY64_LIMIT;
    }
    // The topmost place is what sizing leaves there for a moment; address 0 is the reset value.
    if (address === 0 || address + region.sizeBytes >= limit) return undefined;
    return address;
  }
}
