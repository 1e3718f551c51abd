// A process that takes kept translations over and says what it found. Started by tests only: node FILE PATH [improve].

import { moduleFunctions, optimisedCount } from '../compiled-code.ts';
import { KeptTranslations } from '../translation-store.ts';
import { addOf, MEMORY, makeHot } from './small-modules.ts';

/** What it says of each module, as JSON. */
export interface Finding {
  readonly regions: readonly object[];
  /** What the function makes of 100; undefined when there is none. */
  readonly sum: number | undefined;
  readonly optimised: number;
}

const [, , path, improve] = process.argv;
const store = new KeptTranslations(path!, { memory: MEMORY });
const findings = store.kept.map(({ regions }, n): Finding => {
  const module = store.load(n);
  if (!module) return { regions, sum: undefined, optimised: 0 };
  const optimised = optimisedCount(moduleFunctions(module, MEMORY));
  const finding = { regions, sum: addOf(module)(100), optimised };
  if (improve !== undefined) {
    makeHot(module);
    store.save({ used: new Set([n]), made: [] });
  }
  return finding;
});
console.log(JSON.stringify(findings));
