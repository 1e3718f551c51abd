// PIIX4 function 3: power management, configuration space only (82371AB, Intel 290562 §7.1). It
// places the block of PM registers in I/O space; the block itself is another device, described by
// the ACPI tables.
// Left out: the SMBus host and the device monitors.

import { bit, get } from '@mimic/base';
import type { AccessSize } from '../device.ts';
import type { PciFunction } from './bus.ts';
import { CONFIG, ConfigSpace, type ConfigSpaceState } from './config-space.ts';

/**
 * PMBA, power management base address. 290562 §7.1.10: 64 ports; bit 0 says I/O and is read-only.
 */
const PMBA = 0x40;
const PMBA_ADDRESS = 0xffc0;
/** PMREGMISC. 290562 §7.1.22. */
const PMREGMISC = 0x80;
const PM_IO_SPACE_ENABLE = bit(0);

export interface Piix4PmState {
  config: ConfigSpaceState;
}

export interface Piix4PmWires {
  /** The PM registers answer at this port from now on, or nowhere. */
  baseChanged(port: number | undefined): void;
}

export class Piix4Pm implements PciFunction {
  readonly kind = 'piix4-pm';
  readonly #wires: Piix4PmWires;
  readonly #config = new ConfigSpace({
    identity: {
      vendorId: 0x8086,
      deviceId: 0x7113,
      revisionId: 3,
      classCode: 0x068000,
      interruptPin: 1,
    },
  });
  /** What was last told to `baseChanged`: wiring, not state. */
  #told: number | undefined;

  /**
   * `base` presets PMBA and enables it from reset, for a board that boots without firmware to do
   * so. SCI is ISA interrupt 9 whatever the interrupt line register says (290562 §7.1.9).
   */
  constructor(wires: Piix4PmWires, presets: { base?: number } = {}) {
    this.#wires = wires;
    const { base = 0 } = presets;
    this.#config.define(PMBA, 4, (base & PMBA_ADDRESS) | 1, PMBA_ADDRESS);
    this.#config.define(PMREGMISC, 1, base === 0 ? 0 : 1, PM_IO_SPACE_ENABLE.mask);
    this.#config.define(CONFIG.interruptLine, 1, 9, 0xff);
    this.#updateBase();
  }

  read(offset: number, size: AccessSize): number {
    return this.#config.read(offset, size);
  }

  write(offset: number, size: AccessSize, value: number): void {
    this.#config.write(offset, size, value);
    this.#updateBase();
  }

  reset(): void {
    this.#config.reset();
    this.#updateBase();
  }

  save(): Piix4PmState {
    return { config: this.#config.save() };
  }

  restore(state: Piix4PmState): void {
    this.#config.restore(state.config);
    this.#updateBase();
  }

  #updateBase(): void {
    const address = this.#config.read(PMBA, 4) & PMBA_ADDRESS;
    const enabled = get(this.#config.read(PMREGMISC, 1), PM_IO_SPACE_ENABLE) === 1;
    const base = enabled && address !== 0 ? address : undefined;
    if (base === this.#told) return;
    this.#told = base;
    this.#wires.baseChanged(base);
  }
}
