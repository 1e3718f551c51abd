// What a machine's worker gets from Node: the clock, the way back to the host's thread, open disk images and folders.

import { createHash } from 'node:crypto';
import { once } from 'node:events';
import {
  MessageChannel,
  type MessagePort,
  parentPort,
  Worker,
  workerData,
} from 'node:worker_threads';
import { assert } from '@mimic/base';
import type { EngineImage, WorkerHost, WorkerStart } from '@mimic/machine';
import { type Assemble, runMachine } from '@mimic/machine/computer';
import type { OpenImage } from './disk-image.ts';
import { FileStore } from './file-store.ts';
import { NodeHostFolder, type SharedFolder } from './host-folder.ts';
import { setAside } from './set-aside.ts';
import {
  collectGarbage,
  heapLimits,
  hostNow,
  type ProcessorData,
  receiveTranslation,
  type TranslatorData,
} from './worker-links.ts';

const TRANSLATOR_WORKER = new URL('./translator-worker.ts', import.meta.url);
const TICKER_WORKER = new URL('./ticker-worker.ts', import.meta.url);
const PROCESSOR_WORKER = new URL('./processor-worker.ts', import.meta.url);

/** What the host's thread has for a machine when it is ready. */
export interface EngineMessage {
  readonly image: EngineImage | undefined;
  /** Names the sources of translations that are kept; undefined: none are. */
  readonly sources: string | undefined;
}

/** What a machine's worker is started with. */
export interface MachineData {
  readonly start: WorkerStart;
  /** Where the engine comes from, as one `EngineMessage`. */
  readonly engine: MessagePort | undefined;
  /** Whether threads that make code faster stand back behind those that run it. */
  readonly priorities: boolean;
}

/** Runs the machine that this worker was started for. The worker ends when its event loop is empty afterwards. */
export async function runInWorker(assemble: Assemble<FileStore>): Promise<void> {
  const port = parentPort;
  assert(port !== null, 'the module runs as a worker');
  const { start, engine, priorities } = workerData as MachineData;
  let sources: string | undefined;
  const host: WorkerHost<FileStore> = {
    now: hostNow,
    engine: async () => {
      if (!engine) return undefined;
      const [message] = (await once(engine, 'message')) as [EngineMessage];
      engine.close();
      sources = message.sources;
      return message.image;
    },
    send: (report) => {
      // The machine is built. Its loop never leaves V8 a moment to look for what reading the sources has left.
      if (report.kind === 'ready') collectGarbage();
      const transfer = 'bytes' in report ? [report.bytes.buffer] : [];
      port.postMessage(report, transfer);
    },
    // Casts: this package made the descriptors, and the machine hands them through untouched.
    sha256: () => {
      const hash = createHash('sha256');
      return { update: (bytes) => void hash.update(bytes), hex: () => hash.digest('hex') };
    },
    setAside: (bytes) => setAside(bytes),
    openStore: (disk) => new FileStore(disk.descriptor as OpenImage),
    // Workers that never come to their event loop's end: they go when this worker goes.
    startProcessor: (start, link) => {
      new Worker(PROCESSOR_WORKER, {
        workerData: { start, link } satisfies ProcessorData,
        ...(link && { transferList: [link as MessagePort] }),
        resourceLimits: heapLimits('processor'),
        name: `mimic processor ${start.index}`,
      });
    },
    startTranslator: (start) => {
      const channels = Array.from({ length: start.vcpuCount }, () => new MessageChannel());
      const ports = channels.map(({ port1 }) => port1);
      new Worker(TRANSLATOR_WORKER, {
        workerData: { start, ports, priorities, sources } satisfies TranslatorData,
        transferList: ports,
        resourceLimits: heapLimits('translator'),
        name: 'mimic translator',
      });
      return channels.map(({ port2 }) => port2);
    },
    receiveTranslation,
    collectGarbage,
    startTicker: (start) => {
      new Worker(TICKER_WORKER, {
        workerData: start,
        resourceLimits: heapLimits('ticker'),
        name: 'mimic ticker',
      });
    },
    openFolder: (share) => new NodeHostFolder(share.descriptor as SharedFolder),
  };
  await runMachine(start, host, assemble);
}
