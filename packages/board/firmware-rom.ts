// The ROM below 1 MiB in which systems look for tables. A machine whose RAM goes through there never asks
// it: the tables are written to RAM too, as firmware shadows its ROM.

import { loadLittleEndian } from '@mimic/base';
import type { AccessSize } from '@mimic/devices';
import type { Target } from './address-space.ts';

export class FirmwareRom implements Target {
  readonly #bytes: Uint8Array;

  constructor(sizeBytes: number) {
    this.#bytes = new Uint8Array(sizeBytes);
  }

  /** Burns bytes in; the board does that once, while it is built. */
  program(offset: number, bytes: Uint8Array): void {
    this.#bytes.set(bytes, offset);
  }

  read(offset: number, size: AccessSize): number {
    return loadLittleEndian(this.#bytes, offset, size);
  }

  write(): void {}
}
