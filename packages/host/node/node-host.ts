// The machine's host in Node: each machine gets a worker thread.

import os from 'node:os';
import v8 from 'node:v8';
import { MessageChannel, Worker } from 'node:worker_threads';
import { engineKind, type Host, type Report, type WorkerHandle } from '@mimic/machine';
import { engineImage, engineSources, keepEngineCode } from './engines.ts';
import { haveCompilersStandBack } from './priorities.ts';
import type { EngineMessage, MachineData } from './worker-host.ts';
import { heapLimits } from './worker-links.ts';

const MACHINE_WORKER = new URL('./machine-worker.ts', import.meta.url);

/** Branch hints keep slow paths out of the way of translated code: up to twice as fast. V8 12 and 13 want to be asked. */
v8.setFlagsFromString('--experimental-wasm-branch-hinting');
/** Workers that never come to their event loop collect garbage at moments of their own. */
v8.setFlagsFromString('--expose-gc');
/**
 * V8's compilers have a job for each function at once, on as many threads as the process has for it; each wants megabytes
 * that malloc keeps for it. One was no slower than four on two processors (decision 0021). Holds for the whole process.
 */
const COMPILERS = Math.ceil(os.availableParallelism() / 4);
v8.setFlagsFromString(`--wasm-num-compilation-tasks=${COMPILERS}`);

export interface NodeHostOptions {
  /**
   * Whether threads that make code faster stand back behind those that run it, where the system can tell threads apart
   * (Linux); yes by default. V8's own are shared by the whole process, stay so, and help all of its isolates to collect
   * garbage: a program with much work of its own beside its machines may be better off without.
   */
  readonly priorities?: boolean;
  /**
   * Whether translations are kept in the user's cache, and those of earlier machines taken from there; yes by default. How
   * soon a guest's code is fast then tells what ran before (decision 0025).
   */
  readonly keepTranslations?: boolean;
}

/** `workerUrl` is the module that the worker runs; tests have their own, which has no processor. */
export function nodeHost(workerUrl: URL = MACHINE_WORKER, options: NodeHostOptions = {}): Host {
  const { priorities = true, keepTranslations = true } = options;
  return {
    startWorker(start, onReport, onGone): WorkerHandle {
      if (priorities) haveCompilersStandBack();
      const { port1, port2 } = new MessageChannel();
      const engine = workerUrl === MACHINE_WORKER ? port2 : undefined;
      const { kernel, initrd } = start.config;
      const worker = new Worker(workerUrl, {
        workerData: { start, engine, priorities } satisfies MachineData,
        transferList: [
          ...(engine ? [engine] : []),
          kernel.buffer,
          ...(initrd ? [initrd.buffer] : []),
        ],
        resourceLimits: heapLimits('machine'),
        name: 'mimic machine',
      });
      const kind = engineKind(start.config);
      const sendEngine = async () => {
        const image = await engineImage(kind);
        const sources = keepTranslations ? await engineSources() : undefined;
        port1.postMessage({ image, sources } satisfies EngineMessage);
      };
      if (engine) void sendEngine();
      let failure: Error | undefined;
      worker.on('message', (report: Report) => onReport(report));
      worker.on('error', (error) => {
        failure = error instanceof Error ? error : new Error(String(error));
      });
      worker.on('exit', () => {
        port1.close();
        if (engine) keepEngineCode(kind);
        onGone(failure);
      });
      return {
        async terminate() {
          await worker.terminate();
        },
      };
    },
  };
}
