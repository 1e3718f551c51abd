// System control port B of the AT, port 0x61 (NMISC of the 82371AB, Intel 290562 §4.2.4.1): gate
// and output of PIT counter 2, the speaker bit, and the refresh toggle that old delay loops count.
// No NMI sources: their enable bits are stored, their status bits stay clear.

import { bit, bits, type Clock, get } from '@mimic/base';
import { readAsBytes, writeAsBytes } from './byte-registers.ts';
import type { AccessSize, Device } from './device.ts';

const PORT_B = {
  gate2: bit(0),
  speakerData: bit(1),
  writable: bits(3, 0),
  refreshToggle: bit(4),
  output2: bit(5),
};

/** The toggle changes with each refresh request: every 18 PIT ticks. */
const REFRESH_NS = 15_085;

/** The part of the PIT that this port controls. */
export interface SpeakerTimer {
  setGate(counter: 2, high: boolean): void;
  output(counter: 2): boolean;
}

export interface SystemControlPortState {
  /** Bits 0 to 3 as written. */
  control: number;
}

export class SystemControlPort implements Device<SystemControlPortState> {
  readonly kind = 'system-control-port';
  readonly #timer: SpeakerTimer;
  readonly #clock: Clock;
  #state: SystemControlPortState = { control: 0 };

  constructor(wires: { timer: SpeakerTimer; clock: Clock }) {
    this.#timer = wires.timer;
    this.#clock = wires.clock;
  }

  read(offset: number, size: AccessSize): number {
    return readAsBytes(offset, size, (at) => (at === 0 ? this.#readControl() : 0xff));
  }

  write(offset: number, size: AccessSize, value: number): void {
    writeAsBytes(offset, size, value, (at, byte) => {
      if (at !== 0) return;
      this.#state.control = byte & PORT_B.writable.mask;
      this.#updateGate();
    });
  }

  reset(): void {
    this.#state = { control: 0 };
    this.#updateGate();
  }

  save(): SystemControlPortState {
    return structuredClone(this.#state);
  }

  /** The gate is the PIT's own state, so it is left as the PIT restores it. */
  restore(state: SystemControlPortState): void {
    this.#state = structuredClone(state);
  }

  #readControl(): number {
    const refresh = Math.floor(this.#clock.now() / REFRESH_NS) & 1;
    return (
      this.#state.control |
      (refresh ? PORT_B.refreshToggle.mask : 0) |
      (this.#timer.output(2) ? PORT_B.output2.mask : 0)
    );
  }

  #updateGate(): void {
    this.#timer.setGate(2, get(this.#state.control, PORT_B.gate2) === 1);
  }
}
