// The processor's engines of this process: read from the cache, or built in a process of their own, so that what building
// leaves behind goes with it: V8 would keep the pages of a worker for some seconds after its end. Machines started later have them at once. What V8 makes of an engine
// while guests run is kept too.

import { fork } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { EngineData, EngineImage, EngineKind } from '@mimic/machine';
import { cacheFolder } from './cache-folder.ts';
import {
  compiledCode,
  digest,
  moduleFunctions,
  moduleOf,
  optimisedCount,
} from './compiled-code.ts';
import { EngineCache } from './engine-cache.ts';
import { sourcesName } from './sources.ts';

const ENGINE_PROCESS = fileURLToPath(new URL('./engine-process.ts', import.meta.url));
/** Megabytes of young objects, twice: three times as many are a tenth faster and take 25 MB more. */
const SEMI_SPACE_MB = 4;
/** Pages of a memory that an instance can be made with: as engines declare it. */
const MEMORY = { initial: 1, maximum: 65536, shared: true } as const;

/** What the process is sent. */
export interface EngineBuild {
  readonly kind: EngineKind;
}

/** An engine of this process. */
interface Found {
  readonly image: EngineImage;
  readonly cache: EngineCache | undefined;
  readonly bytesDigest: Uint8Array;
  /** Functions that the kept code has. */
  optimised: number;
}

const found = new Map<EngineKind, Promise<Found | undefined>>();
const ready = new Map<EngineKind, Found>();

/** Undefined when no process could build it: whoever wants it has to. */
export async function engineImage(kind: EngineKind): Promise<EngineImage | undefined> {
  let engine = found.get(kind);
  if (engine === undefined) {
    engine = find(kind);
    found.set(kind, engine);
  }
  return (await engine)?.image;
}

let sources: Promise<string | undefined> | undefined;

/** Names the sources of engines and translations; undefined when they cannot be read: nothing is kept then. */
export function engineSources(): Promise<string | undefined> {
  sources ??= sourcesName().catch(() => undefined);
  return sources;
}

/**
 * Keeps V8's code of the engine if it has become better, for the next process. Synchronous: whose machine has ended may
 * end the process.
 */
export function keepEngineCode(kind: EngineKind): void {
  const engine = ready.get(kind);
  if (!engine?.cache) return;
  const { image, bytesDigest, cache } = engine;
  const functions = moduleFunctions(image.module, new WebAssembly.Memory(MEMORY));
  const optimised = optimisedCount(functions);
  if (optimised <= engine.optimised) return;
  const code = compiledCode(image.module, bytesDigest, functions);
  if (!code) return;
  engine.optimised = optimised;
  cache.writeCode(kind, { code, optimised });
}

async function engineCache(): Promise<EngineCache | undefined> {
  const name = await engineSources();
  return name === undefined ? undefined : new EngineCache(join(cacheFolder(), 'engines'), name);
}

async function find(kind: EngineKind): Promise<Found | undefined> {
  const cache = await engineCache();
  const cached = await cache?.read(kind);
  const data = cached ?? (await build(kind));
  if (!data) return undefined;
  if (!cached) void cache?.write(data);
  const code = await cache?.readCode(kind);
  const { bytes, ...rest } = data;
  const taken = moduleOf(bytes, code?.code);
  if (!taken) return undefined;
  const image = { ...rest, module: taken.module };
  const optimised = taken.hasCode ? (code?.optimised ?? 0) : 0;
  const engine = { image, cache, bytesDigest: digest(bytes), optimised };
  ready.set(kind, engine);
  return engine;
}

function build(kind: EngineKind): Promise<EngineData | undefined> {
  return new Promise((resolve) => {
    const builder = fork(ENGINE_PROCESS, {
      execArgv: ['--disable-warning=ExperimentalWarning', `--max-semi-space-size=${SEMI_SPACE_MB}`],
      // Typed arrays stay what they are.
      serialization: 'advanced',
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    });
    builder.unref();
    builder.channel?.unref();
    // Cast: the process is of the same sources.
    builder.on('message', (engine) => resolve(engine as EngineData));
    builder.on('error', () => resolve(undefined));
    builder.on('exit', () => resolve(undefined));
    builder.send({ kind } satisfies EngineBuild);
  });
}
