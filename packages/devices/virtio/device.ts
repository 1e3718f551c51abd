// The contract between a virtio device and its transport. Virtio 1.2 §2. A device knows its
// features, its configuration and its queues; whether it sits on PCI or elsewhere, who interrupts
// whom and where the rings lie, it does not.

import type { AccessSize } from '../device.ts';
import type { Virtqueue } from './queue.ts';

/** Device types. §5. */
export const DEVICE_TYPE = {
  network: 1,
  block: 2,
  console: 3,
  entropy: 4,
  filesystem9p: 9,
} as const;

/** What a transport offers its device. */
export interface VirtioLink {
  /** As many as the device has `queueSizes`. */
  readonly queues: readonly Virtqueue[];
  /** Whether the driver accepted a feature bit. */
  negotiated(feature: number): boolean;
  /** The driver is ready (DRIVER_OK) and the device does not need a reset. */
  readonly running: boolean;
  /** Configuration space changed by itself: the driver is told. §2.3. */
  configChanged(): void;
}

/** What a device that is not attached yet talks to. */
export const DETACHED: VirtioLink = {
  queues: [],
  negotiated: () => false,
  running: false,
  configChanged: () => {},
};

export interface VirtioDevice<State extends object = object> {
  /** Part name, also the snapshot tag: 'virtio-block'. */
  readonly kind: string;
  readonly deviceType: number;
  /** Feature bits offered, without those of the queues and the transport. */
  readonly features: readonly number[];
  /** The most entries of each queue. */
  readonly queueSizes: readonly number[];
  /** Called once, by the transport. */
  attach(link: VirtioLink): void;
  /** Device-specific configuration, little-endian; zero where nothing is. */
  readConfig(offset: number, size: AccessSize): number;
  writeConfig(offset: number, size: AccessSize, value: number): void;
  /**
   * The driver may have made buffers available in this queue. Also called once for each when it
   * starts.
   */
  notified(queueIndex: number): void;
  /** The driver resets the device, or the machine does. The queues are reset already. */
  reset(): void;
  /** Without the queues, which are the transport's. */
  save(): State;
  restore(state: State): void;
  /**
   * For a device whose requests are in the hands of the host: takes no further ones and calls
   * `idle` once all are done, perhaps at once. Only then can it be saved; `resume` lets it go on.
   * Others leave it out.
   */
  drain?(idle: () => void): void;
  resume?(): void;
}
