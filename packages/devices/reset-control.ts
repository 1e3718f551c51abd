// The two reset registers of the chipset. Offset 0 is system control port A of the PS/2 (port 0x92:
// fast A20 and fast processor reset), offset 1 the PIIX reset control register (port 0xcf9;
// 82371AB, Intel 290562, RC).

import { bit, get } from '@mimic/base';
import { readAsBytes, writeAsBytes } from './byte-registers.ts';
import type { AccessSize, Device } from './device.ts';

const PORT_92 = 0;
const RESET_CONTROL = 1;
const FAST = { init: bit(0), a20: bit(1) };
const RESET = { hard: bit(1), processor: bit(2) };

export interface ResetControlState {
  port92: number;
  resetControl: number;
}

export interface ResetControlWires {
  /** Soft: INIT of the processors. Hard: the whole board. */
  reset(kind: 'soft' | 'hard'): void;
  /** Fast A20: the address line is open if this or the keyboard controller says so. */
  a20(enabled: boolean): void;
}

export class ResetControl implements Device<ResetControlState> {
  readonly kind = 'reset-control';
  readonly #wires: ResetControlWires;
  #state: ResetControlState = { port92: 0, resetControl: 0 };

  constructor(wires: ResetControlWires) {
    this.#wires = wires;
  }

  read(offset: number, size: AccessSize): number {
    return readAsBytes(offset, size, (at) => {
      if (at === PORT_92) return this.#state.port92;
      return at === RESET_CONTROL ? this.#state.resetControl : 0xff;
    });
  }

  write(offset: number, size: AccessSize, value: number): void {
    writeAsBytes(offset, size, value, (at, byte) => {
      if (at === PORT_92) this.#writePort92(byte);
      else if (at === RESET_CONTROL) this.#writeResetControl(byte);
    });
  }

  reset(): void {
    this.#state = { port92: 0, resetControl: 0 };
    this.#wires.a20(false);
  }

  save(): ResetControlState {
    return structuredClone(this.#state);
  }

  restore(state: ResetControlState): void {
    this.#state = structuredClone(state);
    this.#wires.a20(get(this.#state.port92, FAST.a20) === 1);
  }

  /** The processor is reset when the bit goes from 0 to 1. */
  #writePort92(byte: number): void {
    const rising = get(byte & ~this.#state.port92, FAST.init) === 1;
    this.#state.port92 = byte & (FAST.init.mask | FAST.a20.mask);
    this.#wires.a20(get(byte, FAST.a20) === 1);
    if (rising) this.#wires.reset('soft');
  }

  #writeResetControl(byte: number): void {
    const rising = get(byte & ~this.#state.resetControl, RESET.processor) === 1;
    this.#state.resetControl = byte & (RESET.hard.mask | RESET.processor.mask);
    if (rising) this.#wires.reset(get(byte, RESET.hard) ? 'hard' : 'soft');
  }
}
