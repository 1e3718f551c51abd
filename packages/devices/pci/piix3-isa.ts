// PIIX3 function 0: the PCI-to-ISA bridge (82371SB, Intel 290550). The PIRQ route control registers
// work, the other ISA timing registers only keep what firmware writes. Its reset control register
// is reset-control.ts.

import { bit, bits, get } from '@mimic/base';
import type { AccessSize } from '../device.ts';
import type { PciFunction } from './bus.ts';
import { ConfigSpace, type ConfigSpaceState } from './config-space.ts';

/** PIRQRCA to PIRQRCD. 290550 §2.2.11. */
const PIRQ_ROUTE = 0x60;
const PIRQ_COUNT = 4;
const ROUTE = { irq: bits(3, 0), disabled: bit(7) };
/** Interrupts that a PIRQ can be routed to; the others are reserved in PIRQRCx. */
const ROUTABLE = [3, 4, 5, 6, 7, 9, 10, 11, 12, 14, 15];

/** Registers without effect here: offset, reset value, writable bits. 290550 §2.2. */
const PASSIVE_REGISTERS = [
  [0x4c, 0x4d, 0xff], // IORT, ISA I/O recovery timer.
  [0x4e, 0x03, 0xff], // XBCS, X-bus chip select, low byte.
  [0x4f, 0x00, 0x01], // XBCS, high byte.
  [0x69, 0x02, 0xfe], // TOM, top of memory.
  [0x82, 0x00, 0x05], // DLC, deterministic latency control.
] as const;

export interface Piix3IsaState {
  config: ConfigSpaceState;
}

export interface Piix3IsaWires {
  /** PIRQ 0 to 3 drives this ISA interrupt from now on, or none. */
  routeChanged(pirq: number, irq: number | undefined): void;
}

export class Piix3Isa implements PciFunction {
  readonly kind = 'piix3-isa';
  readonly #wires: Piix3IsaWires;
  readonly #config = new ConfigSpace({
    identity: { vendorId: 0x8086, deviceId: 0x7000, classCode: 0x060100, multiFunction: true },
  });
  /** What was last told to `routeChanged`: wiring, not state. */
  readonly #told: (number | undefined)[] = new Array(PIRQ_COUNT).fill(undefined);

  constructor(wires: Piix3IsaWires) {
    this.#wires = wires;
    for (const [offset, reset, writable] of PASSIVE_REGISTERS) {
      this.#config.define(offset, 1, reset, writable);
    }
    for (let pirq = 0; pirq < PIRQ_COUNT; pirq++) {
      this.#config.define(PIRQ_ROUTE + pirq, 1, 0x80, ROUTE.irq.mask | ROUTE.disabled.mask);
    }
  }

  /** The ISA interrupt that a PIRQ is routed to, or undefined. */
  route(pirq: number): number | undefined {
    const register = this.#config.read(PIRQ_ROUTE + pirq, 1);
    const irq = get(register, ROUTE.irq);
    const routed = get(register, ROUTE.disabled) === 0 && ROUTABLE.includes(irq);
    return routed ? irq : undefined;
  }

  read(offset: number, size: AccessSize): number {
    return this.#config.read(offset, size);
  }

  write(offset: number, size: AccessSize, value: number): void {
    this.#config.write(offset, size, value);
    this.#updateRoutes();
  }

  reset(): void {
    this.#config.reset();
    this.#updateRoutes();
  }

  save(): Piix3IsaState {
    return { config: this.#config.save() };
  }

  restore(state: Piix3IsaState): void {
    this.#config.restore(state.config);
    this.#updateRoutes();
  }

  #updateRoutes(): void {
    for (let pirq = 0; pirq < PIRQ_COUNT; pirq++) {
      const irq = this.route(pirq);
      if (irq === this.#told[pirq]) continue;
      this.#told[pirq] = irq;
      this.#wires.routeChanged(pirq, irq);
    }
  }
}
