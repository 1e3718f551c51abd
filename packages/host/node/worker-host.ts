// What a machine's worker gets from Node: the clock, the way back to the host's thread, open disk images and folders.

import { createHash } from 'node:crypto';
import { parentPort, Worker, workerData } from 'node:worker_threads';
import { assert } from '@mimic/base';
import { type Assemble, runMachine, type WorkerHost, type WorkerStart } from '@mimic/machine';
import type { OpenImage } from './disk-image.ts';
import { FileStore } from './file-store.ts';
import { NodeHostFolder, type SharedFolder } from './host-folder.ts';

const PROCESSOR_WORKER = new URL('./processor-worker.ts', import.meta.url);

/** Nanoseconds of a clock that all threads share; `performance.now()` begins anew in each. */
export function hostNow(): number {
  return Number(process.hrtime.bigint());
}

/** Runs the machine that this worker was started for. The worker ends when its event loop is empty afterwards. */
export async function runInWorker(assemble: Assemble<FileStore>): Promise<void> {
  const port = parentPort;
  assert(port !== null, 'the module runs as a worker');
  const host: WorkerHost<FileStore> = {
    now: hostNow,
    send: (report) => {
      const transfer = 'bytes' in report ? [report.bytes.buffer] : [];
      port.postMessage(report, transfer);
    },
    // Casts: this package made the descriptors, and the machine hands them through untouched.
    sha256: () => {
      const hash = createHash('sha256');
      return { update: (bytes) => void hash.update(bytes), hex: () => hash.digest('hex') };
    },
    openStore: (disk) => new FileStore(disk.descriptor as OpenImage),
    startProcessor: (start) => {
      // It never comes to its event loop's end: it goes when this worker goes.
      new Worker(PROCESSOR_WORKER, { workerData: start, name: `mimic processor ${start.index}` });
    },
    openFolder: (share) => new NodeHostFolder(share.descriptor as SharedFolder),
  };
  await runMachine(workerData as WorkerStart, host, assemble);
}
