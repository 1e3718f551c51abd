// What a machine needs of the program and platform that it runs in. Node and the browser each have their own.

import type { HostFolder } from '@mimic/devices';
import type { ComputerConfig } from './options.ts';
import type { ProcessorStart } from './processors/worker.ts';
import type { Report } from './protocol.ts';
import type { Hasher } from './state-hash.ts';

/** All that a worker is started with; can be cloned. */
export interface WorkerStart {
  readonly mailbox: SharedArrayBuffer;
  readonly config: ComputerConfig;
}

export interface WorkerHandle {
  /** Ends the worker at once, wherever it is. */
  terminate(): Promise<void>;
}

/** The side of the thread that makes machines. */
export interface Host {
  /** `onGone` is called once, when the worker no longer exists; after all of its reports. */
  startWorker(
    start: WorkerStart,
    onReport: (report: Report) => void,
    onGone: (error: Error | undefined) => void,
  ): WorkerHandle;
}

/** The side of the worker. `Store` is whatever the board's block devices want. */
export interface WorkerHost<Store> {
  /** A monotonic clock in nanoseconds, the same in all workers. */
  now(): number;
  send(report: Report): void;
  /** Starts the worker of one of several processors; it ends with this one. */
  startProcessor(start: ProcessorStart): void;
  openStore(disk: ComputerConfig['disks'][number]): Store;
  sha256(): Hasher;
  openFolder(share: ComputerConfig['shares'][number]): HostFolder;
}
