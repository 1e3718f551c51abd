// Replaces hot blocks by WebAssembly made from the same meanings. A translated region is a handler like any other: the
// block's first record names it, the interpreter's loop calls it, and dropping the block drops it.

import type { BlockStore } from '../decode/block-store.ts';
import type { HandlerTable } from '../interpreter/handlers.ts';
import { R } from '../interpreter/record.ts';
import { calleesOf } from '../lift/assemble.ts';
import type { FunctionRef } from '../lift/function.ts';
import { storeSlow } from '../microcode/memory.ts';
import { MODE_SINGLE_STEP } from '../microcode/mode.ts';
import { RECORDS_BASE, RECORDS_BYTES } from '../state/memory-map.ts';
import { ModuleBuilder } from '../wasm/module.ts';
import { compileRegion } from './compile.ts';
import { buildRegion, REGION_LENGTH_MAX, type Region } from './region.ts';

/** Times that a block is entered before it is translated. */
export const HOT_THRESHOLD = 500;
/** A region with fewer instructions that need no handler gains nothing. */
const SIMPLE_MIN = 3;
/** Handler numbers have 16 bits; regions take those that instructions leave. */
const HANDLER_MAX = 0xffff;

export interface TranslatorOptions {
  readonly memory: WebAssembly.Memory;
  readonly wasmPagesMax: number;
  readonly handlers: HandlerTable;
  readonly blocks: BlockStore;
  /** Exports of the interpreter's instance: its functions by name, and its table. */
  readonly exports: Readonly<Record<string, unknown>>;
  /** Number of the first handler that is a function: the table's entry 0. */
  readonly firstFunction: number;
  /** Instructions of a region, at most and at least (those that need no handler); tests translate each alone. */
  readonly lengthMax?: number;
  readonly lengthMin?: number;
}

interface TableWithGrow extends WebAssembly.Table {
  grow(count: number): number;
  set(index: number, value: unknown): void;
}

export class Translator {
  readonly #options: TranslatorOptions;
  readonly #table: TableWithGrow;
  readonly #view: DataView;
  /** Regions translated, refused, and milliseconds spent. */
  readonly counters = { regions: 0, refused: 0, instructions: 0, milliseconds: 0 };

  constructor(options: TranslatorOptions) {
    this.#options = options;
    this.#table = options.exports.table as TableWithGrow;
    this.#view = new DataView(options.memory.buffer);
  }

  /** Translates the block at an address, if it can be; from then on the hash leads to the translation. */
  translate(gpa: number, mode: number): boolean {
    const started = performance.now();
    let isTranslated = false;
    if (
      !(mode & MODE_SINGLE_STEP) &&
      this.#options.blocks.hasRoom &&
      this.#table.length + this.#options.firstFunction < HANDLER_MAX
    ) {
      const { blocks, handlers } = this.#options;
      const region = buildRegion({
        blocks,
        handlers,
        gpa,
        mode,
        known: (load, address) => this.#known(load, address),
        lengthMax: this.#options.lengthMax ?? REGION_LENGTH_MAX,
      });
      if (region && simpleCount(region) >= (this.#options.lengthMin ?? SIMPLE_MIN)) {
        this.#install(region, gpa, mode);
        isTranslated = true;
      } else this.counters.refused++;
    }
    this.counters.milliseconds += performance.now() - started;
    return isTranslated;
  }

  /** What a load from a decoded record gives: records do not change while their region lives. */
  #known(load: string, address: number): number | bigint | undefined {
    if (address < RECORDS_BASE || address >= RECORDS_BASE + RECORDS_BYTES) return undefined;
    switch (load) {
      case 'i32.load8_u':
        return this.#view.getUint8(address);
      case 'i32.load16_u':
        return this.#view.getUint16(address, true);
      case 'i32.load':
        return this.#view.getInt32(address, true);
      case 'i64.load8_u':
        return BigInt(this.#view.getUint8(address));
      case 'i64.load16_u':
        return BigInt(this.#view.getUint16(address, true));
      case 'i64.load':
        return this.#view.getBigInt64(address, true);
      default:
        return undefined;
    }
  }

  #install(region: Region, gpa: number, mode: number): void {
    const { exports, memory, wasmPagesMax, handlers, firstFunction, blocks } = this.#options;
    const module = new ModuleBuilder({ memoryPagesMax: wasmPagesMax });
    module.importTable();
    const indices = new Map<FunctionRef, number>();
    for (const ref of calleesIn(region)) {
      const type = {
        params: ['i32' as const, ...ref.params],
        results: ref.result ? [ref.result] : [],
      };
      indices.set(ref, module.importFunction('code', ref.name, type));
    }
    const handlerType = module.typeIndex({ params: ['i32', 'i32'], results: ['i32'] });
    const index = module.declareFunction('region', { params: ['i32', 'i32'], results: ['i32'] });
    const body = compileRegion(region, {
      functionIndex: (callee) => indices.get(callee)!,
      handlerType,
      tableIndex: (handler) => handlers.tableIndex(handler),
      segmentOf: (record) => this.#view.getUint8(record + R.segment),
    });
    module.defineFunction(index, body);
    module.exportFunction('region', index);
    const instance = new WebAssembly.Instance(new WebAssembly.Module(module.encode()), {
      env: { memory, table: this.#table },
      code: exports as Readonly<Record<string, unknown>>,
    });
    const slot = this.#table.grow(1);
    this.#table.set(slot, instance.exports.region);
    const page = gpa - (gpa % 4096);
    blocks.install({
      gpa,
      mode,
      handler: firstFunction + slot,
      start: page + region.start,
      end: page + region.end,
    });
    this.counters.regions++;
    for (const block of region.blocks.values())
      this.counters.instructions += block.instructions.length;
  }
}

/** Instructions that run without their handler. */
function simpleCount(region: Region): number {
  let simple = 0;
  for (const block of region.blocks.values())
    for (const i of block.instructions) if (i.statements) simple++;
  return simple;
}

function calleesIn(region: Region): ReadonlySet<FunctionRef> {
  const found = new Set<FunctionRef>([storeSlow]);
  for (const block of region.blocks.values()) {
    for (const i of block.instructions)
      if (i.statements) calleesOf(i.statements, (callee) => found.add(callee));
  }
  return found;
}
