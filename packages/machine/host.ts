// What a machine needs of the program and platform that it runs in. Node and the browser each have their own.

import type { EngineImage, TranslatorMessage, TranslatorStart } from '@mimic/cpu';
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
  /**
   * Takes the memory of kernel and initrd from `start`. `onGone` is called once, when the worker no longer exists; after all of its
   * reports.
   */
  startWorker(
    start: WorkerStart,
    onReport: (report: Report) => void,
    onGone: (error: Error | undefined) => void,
  ): WorkerHandle;
}

declare const TRANSLATOR_LINK: unique symbol;
/** What only the host knows: a message port, say. */
export type TranslatorLink = { readonly [TRANSLATOR_LINK]?: never } & object;

/** What a ticker is started with; can be cloned. */
export interface TickerStart {
  readonly memory: WebAssembly.Memory;
  readonly vcpuCount: number;
}

/** The side of the worker. `Store` is whatever the board's block devices want. */
export interface WorkerHost<Store> {
  /** A monotonic clock in nanoseconds, the same in all workers. */
  now(): number;
  send(report: Report): void;
  /** The processor's engine, built where building it costs this worker nothing; undefined: to be built here. */
  engine(): Promise<EngineImage | undefined>;
  /** Starts the worker of one of several processors; it ends with this one. `link`: its way from the translator. */
  startProcessor(start: ProcessorStart, link: TranslatorLink | undefined): void;
  /** Starts the machine's translator, a worker that runs `runTranslator`; gives each processor's way from it. */
  startTranslator(start: TranslatorStart): readonly TranslatorLink[];
  /** What has come that way and was not taken yet; called often, never waits. */
  receiveTranslation(link: TranslatorLink): TranslatorMessage | undefined;
  /** Frees the memory of what is no longer used, which the worker's thread would not come to for a long time. */
  collectGarbage(): void;
  /** Starts a worker that runs `runTicker`. */
  startTicker(start: TickerStart): void;
  /**
   * Puts bytes where they take no memory; the function reads them again, as often as it is called. Undefined, or no such
   * function: there is no such place.
   */
  setAside?(bytes: Uint8Array): (() => Uint8Array<ArrayBuffer>) | undefined;
  openStore(disk: ComputerConfig['disks'][number]): Store;
  sha256(): Hasher;
  openFolder(share: ComputerConfig['shares'][number]): HostFolder;
}
