// How interrupt lines run on the board: ISA lines to PICs and I/O APIC, shared by who drives them, and PCI's
// PIRQs to I/O APIC pins 16 to 19 and, as the PIIX routes them, to a PIC input. 82371SB (Intel 290550) §2.2.11.

import { assert, type IrqLine } from '@mimic/base';
import type { Ioapic, Pic8259 } from '@mimic/devices';
import { PIRQ_PIN_BASE, PIT_PIN } from './address-map.ts';

const ISA_IRQ_COUNT = 16;
const PIRQ_COUNT = 4;
const CASCADE_IRQ = 2;
const PIT_IRQ = 0;

/** A wire that is high while any of its drivers holds it. Levels follow from the drivers' states. */
class SharedLine {
  readonly #target: IrqLine;
  #holders = 0;

  constructor(target: IrqLine) {
    this.#target = target;
  }

  /** One more driver. */
  driver(): IrqLine {
    let held = false;
    return {
      set: (high) => {
        if (high === held) return;
        held = high;
        this.#holders += high ? 1 : -1;
        this.#target.set(this.#holders > 0);
      },
    };
  }

  /** Tells the target the level again, after it was reset. */
  drive(): void {
    this.#target.set(this.#holders > 0);
  }
}

export class InterruptWiring {
  readonly #pic: SharedLine[] = [];
  readonly #isa: SharedLine[] = [];
  readonly #pirqLevels = new Array<boolean>(PIRQ_COUNT).fill(false);
  /** The PIC input that each PIRQ drives now, or undefined. */
  readonly #pirqDrivers = new Array<IrqLine | undefined>(PIRQ_COUNT).fill(undefined);
  /** For each PIRQ a driver on each PIC input. */
  readonly #pirqOutputs: IrqLine[][];
  readonly #pirqPins: IrqLine[];

  constructor(controllers: { pic: Pic8259; ioapic: Ioapic }) {
    const { pic, ioapic } = controllers;
    for (let irq = 0; irq < ISA_IRQ_COUNT; irq++) {
      const picInput = new SharedLine(pic.line(irq));
      this.#pic.push(picInput);
      const picDriver = picInput.driver();
      // Pin 0 is where other boards bring the PIC's output; here LINT0 has it alone.
      const pin = ioapic.pin(irq === PIT_IRQ ? PIT_PIN : irq);
      this.#isa.push(
        new SharedLine({
          set: (high) => {
            picDriver.set(high);
            pin.set(high);
          },
        }),
      );
    }
    this.#pirqOutputs = Array.from({ length: PIRQ_COUNT }, () =>
      this.#pic.map((line) => line.driver()),
    );
    this.#pirqPins = Array.from({ length: PIRQ_COUNT }, (_, pirq) =>
      ioapic.pin(PIRQ_PIN_BASE + pirq),
    );
    this.drive();
  }

  /** A new driver on an ISA interrupt line. */
  isa(irq: number): IrqLine {
    assert(irq !== CASCADE_IRQ, 'ISA interrupt 2 is the cascade');
    return this.#isa[irq]!.driver();
  }

  /** PIRQ 0 to 3, high while some PCI function asks for it. */
  pirq(index: number): IrqLine {
    return { set: (high) => this.#setPirq(index, high) };
  }

  /** The PIIX routes a PIRQ to another PIC input, or to none. */
  route(pirq: number, irq: number | undefined): void {
    this.#pirqDrivers[pirq]?.set(false);
    this.#pirqDrivers[pirq] = irq === undefined ? undefined : this.#pirqOutputs[pirq]![irq];
    this.#pirqDrivers[pirq]?.set(this.#pirqLevels[pirq]!);
  }

  /** Tells all controllers all levels, after their reset. */
  drive(): void {
    for (const line of this.#pic) line.drive();
    for (const line of this.#isa) line.drive();
    for (let pirq = 0; pirq < PIRQ_COUNT; pirq++) this.#drivePin(pirq);
  }

  #setPirq(pirq: number, high: boolean): void {
    this.#pirqLevels[pirq] = high;
    this.#drivePin(pirq);
    this.#pirqDrivers[pirq]?.set(high);
  }

  /** INTx# is active low: the pin sees the inverse, and systems program it so (PCI 3.0 §2.2.6). */
  #drivePin(pirq: number): void {
    this.#pirqPins[pirq]!.set(!this.#pirqLevels[pirq]);
  }
}
