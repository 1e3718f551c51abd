// Builds the interpreter's WebAssembly module: microcode, handlers and the loop, from the instruction table.

import { assemble } from '../lift/assemble.ts';
import type { FunctionRef } from '../lift/function.ts';
import { readFlagsFunction, writeFlagsFunction } from '../microcode/host-interface.ts';
import { flushPage, flushTlb, translateFetch } from '../microcode/memory.ts';
import { updateMode } from '../microcode/mode.ts';
import { walk } from '../microcode/page-walk.ts';
import { probeTranslated, storeTranslated } from '../translator/memory.ts';
import { STRATEGIES, type Strategies } from './access.ts';
import { buildHandlers, type HandlerTable } from './handlers.ts';
import { buildLoop, FIRST_HANDLER } from './loop.ts';

export interface Engine {
  readonly module: WebAssembly.Module;
  readonly handlers: HandlerTable;
  /** Number of the handler that is entry 0 of the module's table. */
  readonly firstFunction: number;
  /** Host functions that an instance must be given, in module "host". */
  readonly imports: readonly string[];
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
  storeTranslated,
  probeTranslated,
];

/** Pages of the largest memory that a machine can have; an instance's memory may be smaller. */
export const WASM_PAGES_MAX = 65536;

/** Whether guest memory belongs to one processor, or several have to agree about it (interpreter/locked.ts). */
export type Processors = 'one' | 'several';

const cached: { [kind in Processors]?: Engine } = {};

/** The engine; built once for each process or worker. */
export function engine(processors: Processors = 'one'): Engine {
  cached[processors] ??= build(STRATEGIES[processors]);
  return cached[processors];
}

function build(strategies: Strategies): Engine {
  const handlers = buildHandlers(FIRST_HANDLER, strategies);
  const { bytes, imports } = assemble({
    access: strategies.calls,
    memoryPagesMax: WASM_PAGES_MAX,
    roots: ROOTS,
    handEmitted: [buildLoop(handlers, strategies.inlined)],
    table: handlers.functions,
  });
  return {
    module: new WebAssembly.Module(bytes),
    handlers,
    firstFunction: FIRST_HANDLER + handlers.hot.length,
    imports: imports.map((i) => i.name),
  };
}
