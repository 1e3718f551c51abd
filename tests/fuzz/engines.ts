// The three processors that a program runs on: interpreter, translator, and the host's own.

import { MemoryStore } from '../../packages/cpu/testing/memory-store.ts';
import type { TranslationStore } from '../../packages/cpu/translator/kept.ts';
import { InterpretedRunner } from '../silicon/interpreted.ts';
import { RESULT, TIMED_OUT } from '../silicon/layout.ts';
import { runNatively } from '../silicon/native.ts';
import { FUZZ_LAYOUT, INSTRUCTIONS_MAX } from './state.ts';

export const ENGINES = ['interpreter', 'translator', 'native'] as const;
export type EngineName = (typeof ENGINES)[number];

/** Entries after which a block is translated: soon, and not before it was interpreted. */
const HOT_THRESHOLD = 2;
/** Runs of one program on the translator: the first ones make it hot, in the last all of it can be translated. */
const TRANSLATED_RUNS = 3;
/** And on the one that takes them over: all that was made is asked for in the first. */
const TAKER_RUNS = 2;
/** Translations are never given back, so a processor is replaced when it has made many. */
const REGIONS_MAX = 8000;
/** A program that ends on the interpreter ends within this many on the translator, or it is wrong. */
const TRANSLATED_MAX = 4 * INSTRUCTIONS_MAX;

export interface Outcome {
  /** struct result of runner.c. */
  readonly result: Uint8Array;
  /** Instructions retired; the host does not tell, nor does translated code that does not count. */
  readonly instructions?: bigint | undefined;
}
export interface Run {
  /** struct test of runner.c, and the budget of one slice. */
  readonly test: Uint8Array;
  readonly slice: number;
  readonly translation: Translation;
}
/**
 * How programs are translated: regions count instructions and end with the budget; or only events end their loops, as in
 * a machine; or like that for memory that several processors share; or another processor takes over what was made.
 */
export type Translation = 'counting' | 'free' | 'shared' | 'kept';

export interface Trace {
  readonly addresses: readonly number[];
  readonly result: Uint8Array;
}

/** Our engines, kept from program to program as a guest's processor is. */
export class Engines {
  #interpreter = new InterpretedRunner({ layout: FUZZ_LAYOUT });
  readonly #translators = new Map<Translation, InterpretedRunner>();
  regions = 0;
  links = 0;

  interpret({ test }: Run): Outcome {
    return runOn(this.#interpreter, test, INSTRUCTIONS_MAX, INSTRUCTIONS_MAX);
  }
  /** Linear addresses of the instructions that the interpreter runs, at most so many, and what they lead to. */
  trace({ test }: Run, instructionsMax: number = INSTRUCTIONS_MAX): Trace {
    const trace = this.#interpreter.trace(test, instructionsMax);
    const addresses: number[] = [];
    for (;;) {
      const next = trace.next();
      if (next.done) return { addresses, result: next.value };
      addresses.push(next.value);
    }
  }
  /** The translator's state when it stops for having used up a budget, with everything translated before. */
  translateUpTo(run: Run, budget: number): Outcome {
    const counting = { ...run, translation: 'counting' } as const;
    this.translate(counting);
    return runOn(this.#translating(counting), run.test, budget, budget);
  }
  /** One outcome for each run of a program that is known to come to an end. */
  translate(run: Run): Outcome[] {
    const runner = this.#translating(run);
    const { loader } = runner.cpu;
    const before = { regions: loader.counters.regions, links: loader.linksResolved };
    const outcomes = Array.from({ length: TRANSLATED_RUNS }, () => {
      const { result, instructions } = runOn(runner, run.test, TRANSLATED_MAX, run.slice);
      return { result, ...(run.translation === 'counting' && { instructions }) };
    });
    this.regions += loader.counters.regions - before.regions;
    this.links += loader.linksResolved - before.links;
    if (run.translation === 'kept') outcomes.push(...this.#takeOver(runner, run));
    return outcomes;
  }
  /** Runs on a processor that finds what another one has made for the program. */
  #takeOver(maker: InterpretedRunner, { test, slice }: Run): Outcome[] {
    const { translator } = maker.cpu.translator;
    translator.save();
    const { made } = this.#store;
    const taker = newTranslating('kept', new MemoryStore(made.slice(this.#madeBefore)));
    this.#madeBefore = made.length;
    const outcomes = Array.from({ length: TAKER_RUNS }, () => ({
      result: runOn(taker, test, TRANSLATED_MAX, slice).result,
    }));
    this.links += taker.cpu.loader.linksResolved;
    this.adopted += taker.cpu.translator.translator.counters.adopted;
    return outcomes;
  }
  /** Of the processor that makes what others take over; modules that programs before have made. */
  #store = new MemoryStore();
  #madeBefore = 0;
  adopted = 0;
  #translating({ translation }: Run): InterpretedRunner {
    const known = this.#translators.get(translation);
    if (known && known.cpu.loader.counters.regions < REGIONS_MAX) return known;
    if (translation === 'kept') {
      this.#store = new MemoryStore();
      this.#madeBefore = 0;
    }
    const made = newTranslating(translation, translation === 'kept' ? this.#store : undefined);
    this.#translators.set(translation, made);
    return made;
  }
}

function newTranslating(translation: Translation, store?: TranslationStore): InterpretedRunner {
  return new InterpretedRunner({
    layout: FUZZ_LAYOUT,
    hotThreshold: HOT_THRESHOLD,
    counts: translation === 'counting',
    processors: translation === 'shared' ? 'several' : 'one',
    ...(store && { store }),
  });
}

function runOn(
  runner: InterpretedRunner,
  test: Uint8Array,
  instructionsMax: number,
  slice: number,
): Outcome {
  const count = () => runner.cpu.get('instructionCount') as bigint;
  const before = count();
  const result = runner.run(test, instructionsMax, Math.min(slice, instructionsMax));
  return { result, instructions: count() - before };
}

/** Programs on the host, one result each. */
export function runOnHost(tests: readonly Uint8Array[]): Outcome[] {
  const { testBytes, resultBytes } = FUZZ_LAYOUT;
  const input = new Uint8Array(tests.length * testBytes);
  for (const [n, test] of tests.entries()) input.set(test, n * testBytes);
  const output = runNatively(input, FUZZ_LAYOUT);
  return tests.map((_, n) => ({ result: output.subarray(n * resultBytes, (n + 1) * resultBytes) }));
}

/** A program that did not come to its end in time: nothing is compared. */
export function isEndless({ result }: Outcome): boolean {
  return (
    new DataView(result.buffer, result.byteOffset).getUint32(RESULT.vector, true) === TIMED_OUT
  );
}
