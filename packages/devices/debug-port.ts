// Debug console of Bochs (port 0xe9) and of SeaBIOS and OVMF (port 0x402): each byte written goes
// to a sink.

import type { ByteSink } from '@mimic/base';
import { readAsBytes, writeAsBytes } from './byte-registers.ts';
import type { AccessSize, Device } from './device.ts';

/** Tells firmware that the port is there. */
const PRESENT = 0xe9;

export class DebugPort implements Device<object> {
  readonly kind = 'debug-port';
  readonly #out: ByteSink;

  constructor(wires: { out: ByteSink }) {
    this.#out = wires.out;
  }

  read(offset: number, size: AccessSize): number {
    return readAsBytes(offset, size, (at) => (at === 0 ? PRESENT : 0xff));
  }

  write(offset: number, size: AccessSize, value: number): void {
    writeAsBytes(offset, size, value, (at, byte) => {
      if (at === 0) this.#out.write(Uint8Array.of(byte));
    });
  }

  reset(): void {}

  save(): object {
    return {};
  }

  restore(): void {}
}
