// I/O APIC: 82093AA (Intel 290566) with the EOI register of version 0x20, 24 pins. Registers are
// reached through an index (offset 0x00) and a window (0x10). The delivery status bit always reads
// idle, since a message is accepted at once.

import {
  bit,
  bits,
  type DeliveryMode,
  get,
  type InterruptSink,
  type IrqLine,
  set,
} from '@mimic/base';
import { type AccessSize, allOnes, type Device } from './device.ts';

export const IOAPIC_PINS = 24;
/**
 * Memory-mapped registers. 290566 §3.1; the EOI register as in Intel's later I/O controller hubs.
 */
const IOREGSEL = 0x00;
const IOWIN = 0x10;
const EOI = 0x40;
/** Indirect registers. 290566 §3.2. */
const IOAPICID = 0x00;
const IOAPICVER = 0x01;
const IOAPICARB = 0x02;
const IOREDTBL = 0x10;

const ID = { id: bits(27, 24) };
const VERSION = 0x20 | ((IOAPIC_PINS - 1) << 16);
/** Redirection entry, low half. 290566 §3.2.4. */
const ENTRY = {
  vector: bits(7, 0),
  deliveryMode: bits(10, 8),
  logical: bit(11),
  deliveryStatus: bit(12),
  activeLow: bit(13),
  remoteIrr: bit(14),
  level: bit(15),
  masked: bit(16),
};
const ENTRY_WRITABLE = 0x1_afff;
/** High half: the destination. */
const DESTINATION = bits(31, 24);
/** Fixed and lowest priority: the only modes in which a level-triggered pin waits for an EOI. */
const LOWEST_PRIORITY = 1;
/** Encodings 3 and 6 are reserved. */
const RESERVED_MODES = [3, 6];

export interface IoapicState {
  select: number;
  id: number;
  entries: { low: number; high: number }[];
  /** Levels of the pins as wired, before polarity; bit n is pin n. */
  levels: number;
}

export class Ioapic implements Device<IoapicState> {
  readonly kind = 'ioapic';
  readonly #sink: InterruptSink;
  #state: IoapicState = resetState();

  /**
   * `sink` delivers to the local APICs; their EOI broadcasts come back through `endOfInterrupt`.
   */
  constructor(wires: { sink: InterruptSink }) {
    this.#sink = wires.sink;
  }

  /** Input pin 0 to 23. High is asserted unless the guest programs the pin active-low. */
  pin(index: number): IrqLine {
    return { set: (high) => this.#setPin(index, high) };
  }

  /** An EOI for a level-triggered vector: a pin that is still asserted is delivered again. */
  endOfInterrupt(vector: number): void {
    for (const [index, entry] of this.#state.entries.entries()) {
      if (get(entry.low, ENTRY.vector) !== vector || !get(entry.low, ENTRY.remoteIrr)) continue;
      entry.low = set(entry.low, ENTRY.remoteIrr, 0);
      this.#deliverLevel(index);
    }
  }

  read(offset: number, size: AccessSize): number {
    const register = offset & ~3;
    const shift = (offset & 3) * 8;
    if (register === IOREGSEL) return narrow(this.#state.select >>> shift, size);
    if (register === IOWIN) return narrow(this.#readIndirect(this.#state.select) >>> shift, size);
    return allOnes(size);
  }

  write(offset: number, size: AccessSize, value: number): void {
    if (offset === IOREGSEL) this.#state.select = value & 0xff;
    else if (offset === EOI) this.endOfInterrupt(value & 0xff);
    // The window takes whole registers only: 290566 §3.1.2.
    else if (offset === IOWIN && size === 4) this.#writeIndirect(this.#state.select, value);
  }

  /** Pins count as low afterwards: the board resets controllers before what drives them. */
  reset(): void {
    this.#state = resetState();
  }

  save(): IoapicState {
    return structuredClone(this.#state);
  }

  restore(state: IoapicState): void {
    this.#state = structuredClone(state);
  }

  #readIndirect(index: number): number {
    if (index === IOAPICID || index === IOAPICARB) return set(0, ID.id, this.#state.id);
    if (index === IOAPICVER) return VERSION;
    const entry = this.#state.entries[(index - IOREDTBL) >> 1];
    if (index < IOREDTBL || entry === undefined) return 0xffff_ffff;
    return index & 1 ? entry.high : entry.low;
  }

  #writeIndirect(index: number, value: number): void {
    if (index === IOAPICID) {
      this.#state.id = get(value, ID.id);
      return;
    }
    const pin = (index - IOREDTBL) >> 1;
    const entry = this.#state.entries[pin];
    if (index < IOREDTBL || entry === undefined) return;
    if (index & 1) {
      entry.high = set(0, DESTINATION, get(value, DESTINATION));
      return;
    }
    const remoteIrr = get(entry.low, ENTRY.remoteIrr);
    entry.low = (value & ENTRY_WRITABLE) >>> 0;
    // Turning a pin to edge and back drops Remote IRR: how systems end an interrupt without an EOI
    // register.
    if (get(entry.low, ENTRY.level)) entry.low = set(entry.low, ENTRY.remoteIrr, remoteIrr);
    this.#deliverLevel(pin);
  }

  #setPin(index: number, high: boolean): void {
    const entry = this.#state.entries[index];
    if (entry === undefined) return;
    const wasAsserted = this.#asserted(index);
    this.#state.levels = set(this.#state.levels, bit(index), high ? 1 : 0);
    if (wasAsserted || !this.#asserted(index)) return;
    if (waitsForEoi(entry.low)) this.#deliverLevel(index);
    // An edge on a masked pin is ignored, not held. 290566 §3.2.4, mask bit.
    else if (!get(entry.low, ENTRY.masked)) this.#send(entry);
  }

  #asserted(index: number): boolean {
    const activeLow = get(this.#state.entries[index]!.low, ENTRY.activeLow);
    return get(this.#state.levels, bit(index)) !== activeLow;
  }

  #deliverLevel(index: number): void {
    const entry = this.#state.entries[index]!;
    if (!waitsForEoi(entry.low) || get(entry.low, ENTRY.masked)) return;
    if (get(entry.low, ENTRY.remoteIrr) || !this.#asserted(index)) return;
    entry.low = set(entry.low, ENTRY.remoteIrr, 1);
    this.#send(entry);
  }

  #send(entry: { low: number; high: number }): void {
    const deliveryMode = get(entry.low, ENTRY.deliveryMode);
    if (RESERVED_MODES.includes(deliveryMode)) return;
    this.#sink.send({
      destination: get(entry.high, DESTINATION),
      logical: get(entry.low, ENTRY.logical) === 1,
      deliveryMode: deliveryMode as DeliveryMode,
      vector: get(entry.low, ENTRY.vector),
      level: waitsForEoi(entry.low),
    });
  }
}

/**
 * SMI, NMI, INIT and ExtINT are edges whatever the trigger bit says. 290566 §3.2.4, delivery mode.
 */
function waitsForEoi(low: number): boolean {
  return get(low, ENTRY.level) === 1 && get(low, ENTRY.deliveryMode) <= LOWEST_PRIORITY;
}

function narrow(value: number, size: AccessSize): number {
  return (value & allOnes(size)) >>> 0;
}

function resetState(): IoapicState {
  const entries = Array.from({ length: IOAPIC_PINS }, () => ({ low: ENTRY.masked.mask, high: 0 }));
  return { select: 0, id: 0, entries, levels: 0 };
}
