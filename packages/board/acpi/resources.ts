// Resource descriptors: what _CRS and _PRS say a device decodes. ACPI 6.5 §6.4.

import { assert } from '@mimic/base';
import { type Aml, buffer, join, littleEndian } from './aml.ts';

/** Fixed I/O ports. §6.4.2.5; decodes 16 bits. */
export function ioPorts(base: number, length: number): Aml {
  const decode16 = 1;
  const alignment = 1;
  const ports = littleEndian(base, 2);
  return join([0x47, decode16], ports, ports, [alignment, length]);
}

/** An ISA interrupt: edge-triggered, active high, exclusive, so the short form. §6.4.2.1. */
export function isaIrq(irq: number): Aml {
  return join([0x22], littleEndian(1 << irq, 2));
}

/** PCI-style ISA interrupts to choose from: level, active low, shared. §6.4.2.1, three-byte form. */
export function sharedIrqs(irqs: readonly number[]): Aml {
  const mask = irqs.reduce((all, irq) => all | (1 << irq), 0);
  const levelLowShared = 0x18;
  return join([0x23], littleEndian(mask, 2), [levelLowShared]);
}

/** A fixed range of 32-bit memory. §6.4.3.4. */
export function fixedMemory(base: number, length: number, writable: boolean): Aml {
  return join([0x86, 9, 0, writable ? 1 : 0], littleEndian(base, 4), littleEndian(length, 4));
}

/** Kinds of a window that a bridge passes on. §6.4.3.5, table 6.47. */
const WINDOW = { memory: 0, io: 1, busNumber: 2 } as const;

/** A range that the bridge passes to the bus behind it, both ends fixed. `max` is inclusive. */
export interface Window {
  readonly kind: keyof typeof WINDOW;
  readonly min: number;
  readonly max: number;
  /** Memory only: cacheable, for a legacy frame buffer. */
  readonly cacheable?: boolean;
}

/** Word (bus number, I/O) or DWord (memory) address space descriptor of a producer. §6.4.3.5.2-3. */
export function window(range: Window): Aml {
  const wide = range.kind === 'memory';
  const width = wide ? 4 : 2;
  assert(range.min <= range.max && range.max < 2 ** (8 * width), 'window bounds');
  // Min and max fixed, positive decode, producer.
  const general = 0x0c;
  const readWrite = 0x01;
  const cached = 0x02;
  const entireRange = 0x03;
  const specific =
    range.kind === 'memory'
      ? readWrite | (range.cacheable ? cached : 0)
      : range.kind === 'io'
        ? entireRange
        : 0;
  const granularity = 0;
  const translation = 0;
  const values = [granularity, range.min, range.max, translation, range.max - range.min + 1];
  // A window over all 64K of a space has a length that does not fit, so it may not be declared.
  assert(range.max - range.min + 1 < 2 ** (8 * width), 'window length');
  const body = values.flatMap((value) => littleEndian(value, width));
  const head = [WINDOW[range.kind], general, specific];
  return join([wide ? 0x87 : 0x88], littleEndian(head.length + body.length, 2), head, body);
}

/** Descriptors with their end tag, as the buffer that _CRS returns. Checksum 0: not checked. */
export function resourceTemplate(...descriptors: Aml[]): Aml {
  return buffer(join(...descriptors, [0x79, 0]));
}
