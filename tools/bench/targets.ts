// What Mimic is to reach against its peers, and whether a comparison shows it.

import type { Comparison } from './results.ts';

export interface Target {
  readonly text: string;
  readonly limit: number;
  readonly measured: number;
  /** NaN was not measured: not met. */
  readonly met: boolean;
}

/** MiB of the process that are not guest RAM. */
const OWN_MEMORY_MAX = 250;

/** Of wall time, against QEMU or v86 with the same guest. Those whose items did not run are left out. */
export function targets(comparison: Comparison): Target[] {
  const ratio = (name: string) =>
    comparison.rows.find((row) => row.name === name)?.wall.median ?? Number.NaN;
  const worst = Math.max(...comparison.rows.map((row) => row.wall.median).filter(Number.isFinite));
  if (comparison.peer !== 'QEMU' && comparison.peer !== 'v86') return [];
  const rows: readonly (readonly [string, number, number])[] =
    comparison.peer === 'v86'
      ? [['geomean of wall time', 0.35, comparison.wall.median]]
      : [
          ['geomean of wall time', 0.8, comparison.wall.median],
          ['worst item', 1.5, worst],
          ['boot to user space', 1.3, ratio('boot')],
          ['fork and exec (forkx)', 1.5, ratio('forkx')],
          ['integer loop (int)', 0.7, ratio('int')],
          ['floating point by x87 (fp87)', 0.3, ratio('fp87')],
          ['floating point by SSE (fpsse)', 0.3, ratio('fpsse')],
        ];
  return [...rows, ['peak memory beyond guest RAM, MiB', OWN_MEMORY_MAX, comparison.memory.ours]]
    .map(([text, limit, measured]) => ({
      text: String(text),
      limit: Number(limit),
      measured: Number(measured),
      met: Number(measured) <= Number(limit),
    }))
    .filter(({ measured }) => Number.isFinite(measured));
}
