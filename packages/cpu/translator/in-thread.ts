// A translator in the thread that asks: each request is a module at once. For tests, and hosts without threads.

import { engine, type Processors, WASM_PAGES_MAX } from '../interpreter/engine.ts';
import type { TranslationSource } from './loader.ts';
import { type Translation, Translator, type TranslatorOptions } from './translator.ts';

export class InThreadTranslator implements TranslationSource {
  readonly translator: Translator;
  #ready: Translation[] = [];

  constructor(options: TranslatorOptions) {
    this.translator = new Translator(options);
  }
  request(request: Parameters<TranslationSource['request']>[0]): boolean {
    this.#ready.push(...this.translator.translate([request]));
    return true;
  }
  take(): readonly Translation[] {
    const ready = this.#ready;
    this.#ready = [];
    return ready;
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
