// Finds the first instruction that two engines disagree about: both run side by side and are compared at ever shorter
// intervals, each time from the start up to the last place where they were the same.

import type { DeterministicRun } from '@mimic/machine/computer';
import { type Difference, differences } from './differences.ts';

/** Instructions between two comparisons, from pass to pass. */
const INTERVALS = [1_000_000, 20_000, 500, 20, 1] as const;

/** Makes a computer at its start; called several times. */
export type MakeRun = () => Promise<DeterministicRun>;

export interface Divergence {
  /** Instructions behind which both were the same still; the next one differs. */
  readonly count: number;
  /** That instruction as it stood in memory, or an interrupt's first. */
  readonly instruction: { readonly gva: bigint; readonly text: string; readonly bytes: Uint8Array };
  readonly differences: readonly Difference[];
}

export interface SearchOptions {
  /** Where to begin comparing; known to be the same up to there. */
  readonly from?: number;
  /** Instructions to compare at most. */
  readonly instructionsMax: number;
  readonly progress?: (text: string) => void;
}

/** Undefined when there is no difference up to the limit or to the end of both runs. */
export async function findDivergence(
  left: MakeRun,
  right: MakeRun,
  options: SearchOptions,
): Promise<Divergence | undefined> {
  const { progress = () => {} } = options;
  let same = options.from ?? 0;
  let end = options.instructionsMax;
  for (const [pass, interval] of INTERVALS.entries()) {
    const pair = await Promise.all([left(), right()]);
    progress(`comparing every ${interval} instructions from ${same}`);
    const found = firstInterval(pair, { from: same, to: end, interval });
    if (found === undefined) {
      if (pass === 0) return undefined;
      throw new Error(`the difference before ${end} was gone the next time: not deterministic`);
    }
    same = found;
    end = Math.min(found + interval, end);
  }
  const [a, b] = await Promise.all([left(), right()]);
  a.runTo(same);
  b.runTo(same);
  const instruction = nextInstruction(a);
  a.runTo(same + 1);
  b.runTo(same + 1);
  return { count: same, instruction, differences: differences(a, b) };
}

/** Beginning of the first interval at whose end they differ. */
function firstInterval(
  [a, b]: readonly [DeterministicRun, DeterministicRun],
  range: { from: number; to: number; interval: number },
): number | undefined {
  a.runTo(range.from);
  b.runTo(range.from);
  for (let same = range.from; same < range.to; ) {
    if (a.end && b.end) return undefined;
    const at = Math.min(same + range.interval, range.to);
    a.runTo(at);
    b.runTo(at);
    if (differences(a, b).length > 0) return same;
    same = at;
  }
  return undefined;
}

function nextInstruction({ computer }: DeterministicRun): Divergence['instruction'] {
  const { processor } = computer;
  const is64 = ((processor.readRegister('efer') ?? 0n) & 0x400n) !== 0n;
  const isLongCode = is64 && ((processor.readRegister('cs.attributes') ?? 0n) & 0x20_0000n) !== 0n;
  const base = isLongCode ? 0n : (processor.readRegister('cs.base') ?? 0n);
  const gva = (processor.readRegister('rip') ?? 0n) + base;
  return processor.disassemble(gva, 1)[0] ?? { gva, text: '(not mapped)', bytes: new Uint8Array() };
}
