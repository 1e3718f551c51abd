// Virtio entropy device. Virtio 1.2 §5.4: one queue of buffers to fill with random bytes.

import { DETACHED, DEVICE_TYPE, type VirtioDevice, type VirtioLink } from './device.ts';

/** A source of entropy: fills all of `bytes`, which is never shared memory. */
export type FillRandom = (bytes: Uint8Array) => void;

const QUEUE_SIZE = 64;
/**
 * Bytes given for one request; the driver asks again if it wants more (§5.4.6.1). Also crypto's own
 * limit.
 */
export const RNG_BYTES_MAX = 65_536;

export class VirtioRng implements VirtioDevice {
  readonly kind = 'virtio-rng';
  readonly deviceType = DEVICE_TYPE.entropy;
  readonly features = [];
  readonly queueSizes = [QUEUE_SIZE];
  readonly #fill: FillRandom;
  #link: VirtioLink = DETACHED;

  constructor(fill: FillRandom) {
    this.#fill = fill;
  }

  attach(link: VirtioLink): void {
    this.#link = link;
  }

  readConfig(): number {
    return 0;
  }

  writeConfig(): void {}

  notified(): void {
    const queue = this.#link.queues[0]!;
    for (let chain = queue.next(); chain; chain = queue.next()) {
      const bytes = new Uint8Array(Math.min(chain.writable.remaining, RNG_BYTES_MAX));
      this.#fill(bytes);
      queue.push(chain, chain.writable.write(bytes));
    }
    queue.signal();
  }

  /** There is no state: what was not asked for yet is still in the ring. */
  reset(): void {}

  save(): object {
    return {};
  }

  restore(): void {}
}
