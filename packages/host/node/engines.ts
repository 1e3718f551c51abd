// The processor's engines of this process: read from the cache, or built in a worker that ends when it has done so, so
// that what building leaves behind goes with it. Machines started later have them at once.

import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { compileEngine, type EngineData, type EngineImage, type EngineKind } from '@mimic/machine';
import { cacheFolder } from './cache-folder.ts';
import { EngineCache } from './engine-cache.ts';
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
    image = find(kind);
    built.set(kind, image);
  }
  return image;
}

async function find(kind: EngineKind): Promise<EngineImage | undefined> {
  const cache = new EngineCache(join(cacheFolder(), 'engines'));
  const cached = await cache.read(kind);
  if (cached) return compileEngine(cached);
  const engine = await build(kind);
  if (engine) void cache.write(engine);
  return engine && compileEngine(engine);
}

function build(kind: EngineKind): Promise<EngineData | undefined> {
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
