// Builds the interpreter's WebAssembly module: microcode, handlers and the loop, from the instruction table.

import { assemble } from '../lift/assemble.ts';
import type { FunctionRef } from '../lift/function.ts';
import { settleNote } from '../microcode/flag-note.ts';
import { readFlagsFunction, writeFlagsFunction } from '../microcode/host-interface.ts';
import { translateFetch } from '../microcode/memory.ts';
import { updateMode } from '../microcode/mode.ts';
import { walk } from '../microcode/page-walk.ts';
import { flushPage, flushTlb } from '../microcode/tlb.ts';
import { probeTranslated, readTranslated, writeTranslated } from '../translator/memory.ts';
import { STRATEGIES } from './access.ts';
import {
  buildHandlers,
  type HandlerNumbers,
  type PackedNumbers,
  unpackNumbers,
} from './handlers.ts';
import { buildLoop, FIRST_HANDLER } from './loop.ts';

export interface Engine {
  readonly module: WebAssembly.Module;
  readonly handlers: HandlerNumbers;
  /** Number of the handler that is entry 0 of the module's table. */
  readonly firstFunction: number;
  /** Host functions that an instance must be given, in module "host". */
  readonly imports: readonly string[];
  /** For other workers: what takes time to build. */
  readonly image: EngineImage;
}

/** An engine as data that can be kept. */
export interface EngineData {
  readonly processors: Processors;
  /** The WebAssembly module. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly handlers: PackedNumbers;
  readonly imports: readonly string[];
}
/** An engine as data that can be cloned. */
export interface EngineImage extends Omit<EngineData, 'bytes'> {
  readonly module: WebAssembly.Module;
}

/** What the host calls besides `run`. */
const ROOTS: readonly FunctionRef[] = [
  flushTlb,
  flushPage,
  translateFetch,
  walk,
  readFlagsFunction,
  writeFlagsFunction,
  updateMode,
  readTranslated,
  writeTranslated,
  probeTranslated,
  settleNote,
];

/** Pages of the largest memory that a machine can have; an instance's memory may be smaller. */
export const WASM_PAGES_MAX = 65536;

/**
 * Whether guest memory belongs to one processor, or several have to agree about it (interpreter/locked.ts), on a host
 * that does not order its accesses as x86 does (ordered.ts).
 */
export type Processors = 'one' | 'several' | 'ordered';

const cached: { [kind in Processors]?: Engine } = {};

/** The engine; built once for each process or worker that did not adopt one. */
export function engine(processors: Processors = 'one'): Engine {
  return cached[processors] ?? adoptEngine(compileEngine(buildEngine(processors)));
}

/** Takes over another worker's engine as this one's. */
export function adoptEngine(image: EngineImage): Engine {
  const { module, imports, processors } = image;
  const { first, hotCount } = image.handlers;
  const handlers = unpackNumbers(image.handlers);
  const adopted = { module, imports, handlers, firstFunction: first + hotCount, image };
  cached[processors] = adopted;
  return adopted;
}

/** Builds an engine from the instruction table, which takes about half a second and tens of megabytes. */
export function buildEngine(processors: Processors): EngineData {
  const strategies = STRATEGIES[processors];
  const handlers = buildHandlers(FIRST_HANDLER, strategies);
  const { bytes, imports } = assemble({
    access: strategies.calls,
    memoryPagesMax: WASM_PAGES_MAX,
    roots: ROOTS,
    handEmitted: [buildLoop(handlers, strategies.inlined)],
    table: handlers.functions,
  });
  return { processors, bytes, handlers: handlers.packed, imports: imports.map((i) => i.name) };
}

/** What `buildEngine` gave, now or at another time with the same sources, as WebAssembly of this process. */
export function compileEngine({ bytes, ...rest }: EngineData): EngineImage {
  return { ...rest, module: new WebAssembly.Module(bytes) };
}
