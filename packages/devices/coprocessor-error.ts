// The PC's way to report x87 errors when CR0.NE is clear: FERR# of the processor latches IRQ 13, which a write to
// port 0xF0 takes back. Intel 290562 (PIIX4), "Coprocessor error register".

import type { IrqLine } from '@mimic/base';
import type { AccessSize, Device } from './device.ts';
import { allOnes } from './device.ts';

export interface CoprocessorErrorState {
  /** The processor's FERR#, high when asserted. */
  error: boolean;
  /** IRQ 13. */
  latched: boolean;
}

export class CoprocessorError implements Device<CoprocessorErrorState> {
  readonly kind = 'coprocessor-error';
  /** FERR# of the processor. */
  readonly input: IrqLine;
  readonly #irq: IrqLine;
  #state: CoprocessorErrorState = { error: false, latched: false };

  constructor(wires: { irq: IrqLine }) {
    this.#irq = wires.irq;
    this.input = { set: (high) => this.#setError(high) };
  }

  #setError(high: boolean): void {
    if (high && !this.#state.error) this.#state.latched = true;
    if (!high) this.#state.latched = false;
    this.#state.error = high;
    this.#updateIrq();
  }
  #updateIrq(): void {
    this.#irq.set(this.#state.latched);
  }

  read(_offset: number, size: AccessSize): number {
    return allOnes(size);
  }
  write(): void {
    this.#state.latched = false;
    this.#updateIrq();
  }
  reset(): void {
    this.restore({ error: false, latched: false });
  }
  save(): CoprocessorErrorState {
    return structuredClone(this.#state);
  }
  restore(state: CoprocessorErrorState): void {
    this.#state = structuredClone(state);
    this.#updateIrq();
  }
}
