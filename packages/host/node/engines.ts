// The processor's engines of this process, each built once, in a worker that ends when it has done so: what building
// leaves behind goes with it, and machines started later have it at once.

import { Worker } from 'node:worker_threads';
import type { EngineImage, EngineKind } from '@mimic/machine';
import { heapLimits } from './worker-links.ts';

const ENGINE_WORKER = new URL('./engine-worker.ts', import.meta.url);

/** What the worker is started with. */
export interface EngineBuild {
  readonly kind: EngineKind;
}

const built = new Map<EngineKind, Promise<EngineImage | undefined>>();

/** Undefined when no worker could build it: whoever wants it has to. */
export function engineImage(kind: EngineKind): Promise<EngineImage | undefined> {
  let image = built.get(kind);
  if (image === undefined) {
    image = build(kind);
    built.set(kind, image);
  }
  return image;
}

function build(kind: EngineKind): Promise<EngineImage | undefined> {
  return new Promise((resolve) => {
    const worker = new Worker(ENGINE_WORKER, {
      workerData: { kind } satisfies EngineBuild,
      resourceLimits: heapLimits('engine'),
      name: 'mimic engine',
    });
    worker.unref();
    worker.on('message', resolve);
    worker.on('error', () => resolve(undefined));
    worker.on('exit', () => resolve(undefined));
  });
}
