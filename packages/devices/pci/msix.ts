// MSI-X: capability, vector table and pending bits of one function. PCI Local Bus Specification 3.0
// §6.8.2. A message is one 32-bit write, handed to a wire; what the address means is the interrupt
// controllers' business.

import { assert, bit, get, loadLittleEndian, storeLittleEndian } from '@mimic/base';
import { type AccessSize, allOnes } from '../device.ts';
import type { ConfigSpace, Registers } from './config-space.ts';

const CAPABILITY_ID = 0x11;
/** Offsets in the capability. §6.8.2.3 to §6.8.2.5. */
const MESSAGE_CONTROL = 2;
const CONTROL = { functionMask: bit(14), enable: bit(15) };

/** Offsets in a table entry. §6.8.2.6 to §6.8.2.9. */
const ENTRY_BYTES = 16;
const ENTRY = { addressLow: 0, addressHigh: 4, data: 8, vectorControl: 12 };
const VECTOR_MASKED = bit(0);
export const MSIX_VECTORS_MAX = 2048; // §6.8.2: the table size field has 11 bits.

export interface MsixState {
  table: Uint8Array;
  pending: Uint8Array;
}

/** Sends a message-signalled interrupt: a 32-bit write of `data` to a guest-physical `address`. */
export type MsiWire = (address: number, data: number) => void;

export class Msix {
  /** The vector table and the pending bit array, to be placed in the BAR at the offsets given. */
  readonly table: Registers;
  readonly pendingBits: Registers;
  readonly vectorCount: number;
  readonly #config: ConfigSpace;
  readonly #capability: number;
  readonly #send: MsiWire;
  #state: MsixState;

  constructor(parts: {
    config: ConfigSpace;
    vectorCount: number;
    bar: number;
    tableOffset: number;
    pendingBitsOffset: number;
    send: MsiWire;
  }) {
    const { config, vectorCount, bar, tableOffset, pendingBitsOffset } = parts;
    assert(
      vectorCount > 0 && vectorCount <= MSIX_VECTORS_MAX,
      'an MSI-X table has 1 to 2048 vectors',
    );
    this.vectorCount = vectorCount;
    this.#config = config;
    this.#send = parts.send;
    const body = new Uint8Array(10);
    storeLittleEndian(body, 0, 2, vectorCount - 1);
    storeLittleEndian(body, 2, 4, tableOffset | bar);
    storeLittleEndian(body, 6, 4, pendingBitsOffset | bar);
    const writable = new Uint8Array(10);
    storeLittleEndian(writable, 0, 2, CONTROL.enable.mask | CONTROL.functionMask.mask);
    this.#capability = config.addCapability(CAPABILITY_ID, body, writable);
    this.#state = resetState(vectorCount);
    this.table = {
      read: (offset, size) => readBytes(this.#state.table, offset, size),
      write: (offset, size, value) => this.#writeTable(offset, size, value),
    };
    this.pendingBits = {
      read: (offset, size) => readBytes(this.#state.pending, offset, size),
      write: () => {},
    };
  }

  /** While enabled, the function must not use INTx. */
  get enabled(): boolean {
    return get(this.#control(), CONTROL.enable) === 1;
  }

  /**
   * Sends the vector's message, or keeps it pending while it is masked. Without effect if not
   * enabled.
   */
  raise(vector: number): void {
    if (!this.enabled || vector >= this.vectorCount) return;
    if (this.#masked(vector)) this.#setPending(vector, true);
    else this.#sendMessage(vector);
  }

  /** Call after each write to configuration space: enabling or unmasking sends what is pending. */
  configWritten(): void {
    for (let vector = 0; vector < this.vectorCount; vector++) this.#sendIfPending(vector);
  }

  reset(): void {
    this.#state = resetState(this.vectorCount);
  }

  save(): MsixState {
    return structuredClone(this.#state);
  }

  restore(state: MsixState): void {
    this.#state = structuredClone(state);
  }

  #control(): number {
    return this.#config.read(this.#capability + MESSAGE_CONTROL, 2);
  }

  #masked(vector: number): boolean {
    // A function that may not master the bus cannot write its message; it waits as if masked.
    if (!this.#config.busMaster || get(this.#control(), CONTROL.functionMask) === 1) return true;
    const control = this.#entry(vector, ENTRY.vectorControl);
    return get(control, VECTOR_MASKED) === 1;
  }

  #entry(vector: number, field: number): number {
    return loadLittleEndian(this.#state.table, vector * ENTRY_BYTES + field, 4);
  }

  #writeTable(offset: number, size: AccessSize, value: number): void {
    if (offset + size > this.#state.table.length) return;
    storeLittleEndian(this.#state.table, offset, size, value);
    this.#sendIfPending(Math.floor(offset / ENTRY_BYTES));
  }

  #sendIfPending(vector: number): void {
    const pending = (this.#state.pending[vector >>> 3]! >>> (vector & 7)) & 1;
    if (pending === 0 || !this.enabled || this.#masked(vector)) return;
    this.#setPending(vector, false);
    this.#sendMessage(vector);
  }

  #setPending(vector: number, pending: boolean): void {
    const mask = 1 << (vector & 7);
    const rest = this.#state.pending[vector >>> 3]! & ~mask;
    this.#state.pending[vector >>> 3] = pending ? rest | mask : rest;
  }

  #sendMessage(vector: number): void {
    const high = this.#entry(vector, ENTRY.addressHigh);
    const low = (this.#entry(vector, ENTRY.addressLow) & ~3) >>> 0;
    // Addresses beyond 2^52 do not exist here, and no interrupt controller listens there.
    if (high < 2 ** 20) this.#send(high * 2 ** 32 + low, this.#entry(vector, ENTRY.data));
  }
}

/** All vectors masked, nothing pending. §6.8.2.9. */
function resetState(vectorCount: number): MsixState {
  const table = new Uint8Array(vectorCount * ENTRY_BYTES);
  for (let vector = 0; vector < vectorCount; vector++) {
    table[vector * ENTRY_BYTES + ENTRY.vectorControl] = VECTOR_MASKED.mask;
  }
  return { table, pending: new Uint8Array(Math.ceil(vectorCount / 64) * 8) };
}

function readBytes(bytes: Uint8Array, offset: number, size: AccessSize): number {
  return offset + size > bytes.length ? allOnes(size) : loadLittleEndian(bytes, offset, size);
}
