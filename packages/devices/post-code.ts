// Port 0x80: where firmware shows how far it got, and where Linux writes to wait a microsecond.

import { readAsBytes, writeAsBytes } from './byte-registers.ts';
import type { AccessSize, Device } from './device.ts';

export interface PostCodeState {
  code: number;
}

export class PostCode implements Device<PostCodeState> {
  readonly kind = 'post-code';
  #state: PostCodeState = { code: 0 };

  /** The last code written. */
  get code(): number {
    return this.#state.code;
  }

  read(offset: number, size: AccessSize): number {
    return readAsBytes(offset, size, (at) => (at === 0 ? this.#state.code : 0xff));
  }

  write(offset: number, size: AccessSize, value: number): void {
    writeAsBytes(offset, size, value, (at, byte) => {
      if (at === 0) this.#state.code = byte;
    });
  }

  reset(): void {
    this.#state = { code: 0 };
  }

  save(): PostCodeState {
    return structuredClone(this.#state);
  }

  restore(state: PostCodeState): void {
    this.#state = structuredClone(state);
  }
}
