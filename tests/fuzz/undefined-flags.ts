// Which flags may hold a value that the manual leaves undefined, in front of each item: a forward analysis over the
// program's branches. A program for the host gets an instruction that defines them before each one that would look.

import type { TableForm } from '../../packages/cpu/interpreter/handlers.ts';
import { ARITHMETIC_FLAGS, FLAG_BITS, undefinedFlags } from '../silicon/undefined.ts';
import type { FlagEffects, Item } from './item.ts';

/** Instructions that may leave flags alone: shifts and repeats by a count of zero. */
const CONDITIONAL = /^(SHL|SAL|SHR|SAR|ROL|ROR|RCL|RCR|SHLD|SHRD|CMPS|SCAS)[BW]?$/;

const maskOf = (letters: string | undefined) =>
  [...(letters ?? '')].reduce((mask, letter) => mask | (FLAG_BITS[letter] ?? 0), 0) &
  ARITHMETIC_FLAGS;

export function flagEffects(t: TableForm): FlagEffects {
  const { name, flags } = t.instruction;
  const undefines = undefinedFlags(t) & ARITHMETIC_FLAGS;
  const defines = CONDITIONAL.test(name) ? 0 : maskOf(flags?.writes) & ~undefines;
  const reads = name === 'PUSHF' ? ARITHMETIC_FLAGS : maskOf(flags?.reads);
  return { reads, defines, undefines };
}

/** The flags that may be undefined in front of each item, and behind the last. */
export function undefinedBefore(items: readonly Item[], kept: readonly boolean[]): number[] {
  const before = Array<number>(items.length + 1).fill(0);
  const returnPoints = items.flatMap((item, n) => (item.isReturnPoint ? [n] : []));
  for (let isStable = false; !isStable; ) {
    isStable = true;
    items.forEach((item, n) => {
      const { defines, undefines } = item.flags;
      const after = kept[n] ? (before[n]! & ~defines) | undefines : before[n]!;
      const next = !kept[n]
        ? [n + 1]
        : [
            ...item.targets,
            ...(item.fallsThrough ? [n + 1] : []),
            ...(item.isReturn ? returnPoints : []),
          ];
      for (const to of next) {
        if ((before[to]! | after) === before[to]) continue;
        before[to] = before[to]! | after;
        isStable = false;
      }
    });
  }
  return before;
}

/** Keeps those of the definers that an item behind them needs. */
export function keepNeededDefiners(items: readonly Item[]): boolean[] {
  const kept = items.map((item) => !item.isDefiner);
  const before = undefinedBefore(items, kept);
  return items.map((item, n) => {
    if (!item.isDefiner) return true;
    return (before[n]! & items[n + 1]!.flags.reads) !== 0;
  });
}
