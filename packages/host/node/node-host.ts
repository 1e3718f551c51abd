// The machine's host in Node: each machine gets a worker thread.

import v8 from 'node:v8';
import { Worker } from 'node:worker_threads';
import type { Host, Report, WorkerHandle } from '@mimic/machine';

const MACHINE_WORKER = new URL('./machine-worker.ts', import.meta.url);

/** Branch hints keep slow paths out of the way of translated code: up to twice as fast. V8 12 and 13 want to be asked. */
v8.setFlagsFromString('--experimental-wasm-branch-hinting');

/** `workerUrl` is the module that the worker runs; tests have their own. */
export function nodeHost(workerUrl: URL = MACHINE_WORKER): Host {
  return {
    startWorker(start, onReport, onGone): WorkerHandle {
      const worker = new Worker(workerUrl, { workerData: start, name: 'mimic machine' });
      let failure: Error | undefined;
      worker.on('message', (report: Report) => onReport(report));
      worker.on('error', (error) => {
        failure = error instanceof Error ? error : new Error(String(error));
      });
      worker.on('exit', () => onGone(failure));
      return {
        async terminate() {
          await worker.terminate();
        },
      };
    },
  };
}
