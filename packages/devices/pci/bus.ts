// A PCI bus: functions by device and function number, their configuration space, and INTx lines
// joined to the four PIRQ lines of the chipset. PCI Local Bus Specification 3.0 §2.2.6, §3.2.2.3.

import { assert, type IrqLine } from '@mimic/base';
import { type AccessSize, allOnes, type Device } from '../device.ts';
import type { MappingChanged } from './config-space.ts';

const DEVICE_COUNT = 32;
const FUNCTION_COUNT = 8;
const PIRQ_COUNT = 4;

/** A PCI function is a device whose registers are its configuration space: offsets 0 to 255. */
export type PciFunction = Device;

export interface PciLocation {
  /** 0 to 31. */
  readonly device: number;
  /**
   * 0 to 7; 0 if left out. A device with more than function 0 says so in function 0's header type.
   */
  readonly function?: number;
}

/** What a slot offers the function plugged into it. */
export interface PciConnection {
  /** INTA# to INTD#. */
  readonly intx: readonly [IrqLine, IrqLine, IrqLine, IrqLine];
  readonly mappingChanged: MappingChanged;
}

/**
 * The PIRQ, 0 to 3 for A to D, that a device's interrupt pin (0 to 3 for INTA# to INTD#) is wired
 * to. The order is that of the usual i440FX boards, which firmware knows: INTA# of device 1 is
 * PIRQA.
 */
export function pirqOf(device: number, pin: number): number {
  return (device - 1 + pin + PIRQ_COUNT) % PIRQ_COUNT;
}

export class PciBus {
  readonly #functions: (PciFunction | undefined)[] = new Array(DEVICE_COUNT * FUNCTION_COUNT);
  readonly #pirqs: readonly IrqLine[];
  readonly #mappingChanged: MappingChanged;
  /**
   * How many functions hold each PIRQ. Follows from the functions' states, so it is not state
   * itself.
   */
  readonly #holders = [0, 0, 0, 0];

  constructor(wires: {
    pirqs: readonly [IrqLine, IrqLine, IrqLine, IrqLine];
    mappingChanged: MappingChanged;
  }) {
    this.#pirqs = wires.pirqs;
    this.#mappingChanged = wires.mappingChanged;
  }

  /** Plugs a function in: `build` makes it from what the slot offers. */
  add<Part extends PciFunction>(
    location: PciLocation,
    build: (connection: PciConnection) => Part,
  ): Part {
    const { device, function: number = 0 } = location;
    assert(device >= 0 && device < DEVICE_COUNT, 'PCI device number is 0 to 31');
    assert(number >= 0 && number < FUNCTION_COUNT, 'PCI function number is 0 to 7');
    const position = device * FUNCTION_COUNT + number;
    assert(this.#functions[position] === undefined, 'the PCI location is free');
    const part = build({
      intx: [0, 1, 2, 3].map((pin) => this.#intx(pirqOf(device, pin))) as unknown as [
        IrqLine,
        IrqLine,
        IrqLine,
        IrqLine,
      ],
      mappingChanged: this.#mappingChanged,
    });
    this.#functions[position] = part;
    return part;
  }

  /** All functions with their places, in order. */
  *functions(): Generator<{ device: number; function: number; part: PciFunction }> {
    for (const [position, part] of this.#functions.entries()) {
      if (!part) continue;
      const device = Math.floor(position / FUNCTION_COUNT);
      yield { device, function: position % FUNCTION_COUNT, part };
    }
  }

  /** A configuration read. `position` is the device number times 8 plus the function number. */
  readConfig(position: number, offset: number, size: AccessSize): number {
    return this.#functions[position]?.read(offset, size) ?? allOnes(size);
  }

  writeConfig(position: number, access: { offset: number; size: AccessSize; value: number }): void {
    this.#functions[position]?.write(access.offset, access.size, access.value);
  }

  reset(): void {
    for (const { part } of this.functions()) part.reset();
  }

  /** INTx is open drain: the PIRQ is high while any function holds it. */
  #intx(pirq: number): IrqLine {
    let held = false;
    return {
      set: (high) => {
        if (high === held) return;
        held = high;
        this.#holders[pirq]! += high ? 1 : -1;
        this.#pirqs[pirq]!.set(this.#holders[pirq]! > 0);
      },
    };
  }
}
