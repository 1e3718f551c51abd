// Makes a failing program small: drops items while it still fails, in halves, quarters and so on down to single ones
// (Zeller and Hildebrandt, "Simplifying and isolating failure-inducing input", 2002), and then once more.

import type { Program } from './program.ts';

const ATTEMPTS_MAX = 400;

/** Which items are left. The one that ends a program is never dropped. */
export function minimise(
  program: Program,
  kept: readonly boolean[],
  fails: (kept: readonly boolean[]) => boolean,
): boolean[] {
  let best = [...kept];
  let attempts = 0;
  const present = () => best.flatMap((is, n) => (is && !isLast(program, n) ? [n] : []));
  for (let size = Math.ceil(present().length / 2); size >= 1; size = size > 1 ? size >> 1 : 0) {
    for (let isSmaller = true; isSmaller; ) {
      isSmaller = false;
      const numbers = present();
      for (let from = 0; from < numbers.length && attempts < ATTEMPTS_MAX; from += size) {
        const dropped = new Set(numbers.slice(from, from + size));
        const candidate = best.map((is, n) => is && !dropped.has(n));
        attempts++;
        if (!fails(candidate)) continue;
        best = candidate;
        isSmaller = true;
      }
    }
  }
  return best;
}
function isLast(program: Program, n: number): boolean {
  return program.items[n]!.bytes[0] === 0xcc;
}
