// What firmware does to the PCI bus before it starts a system: sizes the base address registers, gives them
// addresses, turns decoding on and routes interrupts. PCI Local Bus Specification 3.0 §6.2.5.1.
// It works through configuration space alone, as firmware must.

import { PCI_COMMAND, PCI_CONFIG, type PciBus, type PciFunction, pirqOf } from '@mimic/devices';
import { MEMORY, PCI_PORTS, PCI_SLOT, PIRQ_DEFAULTS } from './address-map.ts';

const BAR_COUNT = 6;
const BAR_IO = 0x1;
const BAR_TYPE = 0x6;
const BAR_MEMORY_64 = 0x4;
const PIRQ_ROUTE_CONTROL = 0x60;
/** Frames do not share a page with another part. */
const MEMORY_ALIGNMENT = 0x1000;

/** Gives out addresses upwards; a resource that finds no room stays unset, as firmware leaves it. */
class Window {
  #next: number;
  readonly #end: number;

  constructor(range: { start: number; end: number }) {
    this.#next = range.start;
    this.#end = range.end;
  }

  take(sizeBytes: number, alignment: number): number | undefined {
    const step = Math.max(sizeBytes, alignment);
    const address = Math.ceil(this.#next / step) * step;
    if (address + sizeBytes > this.#end) return undefined;
    this.#next = address + sizeBytes;
    return address;
  }
}

/** Sets up every function on the bus. */
export function setUpPci(bus: PciBus): void {
  const memory = new Window({ start: MEMORY.pciWindow, end: MEMORY.pciWindowEnd });
  const ports = new Window({ start: PCI_PORTS.min, end: PCI_PORTS.max + 1 });
  for (const { device, part } of bus.functions()) {
    const decodes = placeBars(part, { memory, ports });
    part.write(PCI_CONFIG.command, 2, part.read(PCI_CONFIG.command, 2) | decodes);
    const pin = part.read(PCI_CONFIG.interruptPin, 1);
    if (pin >= 1 && pin <= 4 && device !== PCI_SLOT.isaBridge) {
      part.write(PCI_CONFIG.interruptLine, 1, PIRQ_DEFAULTS[pirqOf(device, pin - 1)]!);
    }
  }
}

/** Routes PIRQA to PIRQD to their interrupts, for systems without an I/O APIC. */
export function routePirqs(isaBridge: PciFunction): void {
  for (const [pirq, irq] of PIRQ_DEFAULTS.entries()) {
    isaBridge.write(PIRQ_ROUTE_CONTROL + pirq, 1, irq);
  }
}

/** Places all BARs; returns the command bits that turn on what they decode. */
function placeBars(part: PciFunction, windows: { memory: Window; ports: Window }): number {
  let decodes = 0;
  for (let index = 0; index < BAR_COUNT; index++) {
    const offset = PCI_CONFIG.bar0 + 4 * index;
    const before = part.read(offset, 4);
    part.write(offset, 4, 0xffff_ffff);
    const sized = part.read(offset, 4);
    part.write(offset, 4, before);
    if (sized === 0) continue;
    const io = (sized & BAR_IO) !== 0;
    // An I/O register may have only its low 16 bits.
    const mask = io ? (sized | 0xffff_0000) & ~0x3 : sized & ~0xf;
    const sizeBytes = (~mask >>> 0) + 1;
    const address = io
      ? windows.ports.take(sizeBytes, sizeBytes)
      : windows.memory.take(sizeBytes, MEMORY_ALIGNMENT);
    const wide = !io && (sized & BAR_TYPE) === BAR_MEMORY_64;
    if (address !== undefined) {
      part.write(offset, 4, address);
      if (wide) part.write(offset + 4, 4, 0);
      decodes |= io ? PCI_COMMAND.ioSpace.mask : PCI_COMMAND.memorySpace.mask;
    }
    if (wide) index++;
  }
  return decodes;
}
