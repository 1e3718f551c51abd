// A translator in the thread that asks: each request is a module at once. For tests, and hosts without threads.

import { engine, type Processors, WASM_PAGES_MAX } from '../interpreter/engine.ts';
import type { TranslationSource } from './loader.ts';
import { Translator, type TranslatorMessage, type TranslatorOptions } from './translator.ts';

export class InThreadTranslator implements TranslationSource {
  readonly translator: Translator;
  readonly isKept: boolean;
  #ready: TranslatorMessage[] = [];

  constructor(options: TranslatorOptions) {
    this.translator = new Translator(options);
    this.isKept = options.store !== undefined;
  }
  request(request: Parameters<TranslationSource['request']>[0]): boolean {
    if (this.translator.cache.isFull) return false;
    const kept = this.translator.adopt(request);
    this.#ready.push(...kept);
    if (kept.length === 0 && !request.isEarly)
      this.#ready.push(...this.translator.translate([request]));
    const eviction = this.translator.evict();
    if (eviction) this.#ready.push(eviction);
    return true;
  }
  take(): readonly TranslatorMessage[] {
    const ready = this.#ready;
    this.#ready = [];
    return ready;
  }
  letGo(id: number): void {
    this.translator.release(id);
  }
}

/** What a translator for a machine's memory needs to know of this thread's engine. */
export function translatorOptions(
  memory: WebAssembly.Memory,
  processors: Processors = 'one',
): Omit<TranslatorOptions, 'counts'> {
  const { handlers, firstFunction } = engine(processors);
  const firstSlot = handlers.functionCount;
  const isShared = processors === 'several';
  return { memory, wasmPagesMax: WASM_PAGES_MAX, handlers, firstFunction, firstSlot, isShared };
}
