// The comparison as text for a terminal.

import { ITEMS } from './items.ts';
import { type Comparison, type MachineRun, OURS, type Results, type Row } from './results.ts';
import type { Spread } from './statistics.ts';
import { targets } from './targets.ts';

/** Of the item int: 200 million rounds of nine. */
const INT_LOOP_INSTRUCTIONS = 200e6 * 9;
const MILLION = 1e6;
const PARALLEL_ITEMS = Object.keys(ITEMS).filter((name) => ITEMS[name]?.group === 'parallel');

/** '0.52', or '12.3' where hundredths say nothing. */
export function number(value: number): string {
  if (!Number.isFinite(value)) return '–';
  return value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0);
}

/** '0.52 (0.50–0.61)'; only the number where there was one run. */
export function spreadText({ least, median, most }: Spread): string {
  return least === most || !Number.isFinite(median)
    ? number(median)
    : `${number(median)} (${number(least)}–${number(most)})`;
}

/** Columns to the right but for the first. */
export function alignColumns(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(...rows.map((row) => (row[column] ?? '').length)),
  );
  return rows.map((row) =>
    row
      .map((cell, column) =>
        column === 0 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!),
      )
      .join('  ')
      .trimEnd(),
  );
}

export function title({ peer, architecture, cpuCount }: Comparison): string {
  return `${OURS} and ${peer}, ${architecture} guest, ${cpuCount} processor${cpuCount > 1 ? 's' : ''}`;
}

/** The lines of one comparison. Times are medians of seconds, ratios are ours by theirs. */
export function comparisonText(comparison: Comparison): string {
  const { peer, rows, memory } = comparison;
  const hasFirst = Number.isFinite(comparison.first.wall);
  const first = (cell: string) => (hasFirst ? [cell] : []);
  const head = [
    ...['item', ...first('first run'), `${OURS} wall`, `${peer} wall`, 'ratio'],
    ...[`${OURS} cpu`, `${peer} cpu`, 'ratio', 'results'],
  ];
  const line = ({ name, ours, theirs, wall, cpu, results, first: { wall: once } }: Row) => [
    ...[name, ...first(number(once)), number(ours.wall.median), number(theirs.wall.median)],
    spreadText(wall),
    ...[number(ours.cpu.median), number(theirs.cpu.median), spreadText(cpu), results],
  ];
  const overall = [
    ...['geomean', ...first(''), '', '', spreadText(comparison.wall)],
    ...['', '', spreadText(comparison.cpu), ''],
  ];
  const int = rows.find(({ name }) => name === 'int')?.ours.cpu.least;
  return [
    `${title(comparison)}: median (least–most) of the runs`,
    ...alignColumns([head, ...rows.map(line), overall]),
    ...first(
      `geomean of the first run, which found nothing kept: ${number(comparison.first.wall)} wall, ${number(comparison.first.cpu)} cpu`,
    ),
    `peak memory beyond guest RAM: ${OURS} ${number(memory.ours)} MiB, ${peer} ${number(memory.theirs)} MiB`,
    ...(int === undefined
      ? []
      : [`integer loop: ${(INT_LOOP_INSTRUCTIONS / int / MILLION).toFixed(0)} MIPS`]),
    ...targets(comparison).map(
      ({ text, limit, measured, met }) =>
        `${met ? 'met   ' : 'MISSED'}  ${text}: ${number(measured)}, at most ${number(limit)}`,
    ),
    ...comparison.failures.map((failure) => `error: ${failure}`),
    '',
  ].join('\n');
}

export interface Speedup {
  readonly machine: string;
  readonly architecture: string;
  readonly name: string;
  readonly cpuCount: number;
  /** Wall time with one processor by that with several. */
  readonly factor: number;
}

/** What several processors gave over one, of items with two processes, by the least wall times. */
export function speedups({ runs }: Results): Speedup[] {
  const least = (like: Omit<Speedup, 'factor'>) =>
    Math.min(
      ...runs
        .filter((run) => !run.isFirst && isAlike(run, like))
        .flatMap((run) => walls(run, like.name)),
    );
  const found = new Map<string, Speedup>();
  for (const { machine, architecture, cpuCount } of runs.filter((run) => run.cpuCount > 1)) {
    for (const name of PARALLEL_ITEMS) {
      const several = { machine, architecture, cpuCount, name };
      const factor = least({ ...several, cpuCount: 1 }) / least(several);
      if (Number.isFinite(factor) && factor > 0)
        found.set(JSON.stringify(several), { ...several, factor });
    }
  }
  return [...found.values()];
}

function isAlike(run: MachineRun, like: Omit<Speedup, 'factor' | 'name'>): boolean {
  return (['machine', 'architecture', 'cpuCount'] as const).every((key) => run[key] === like[key]);
}

function walls(run: MachineRun, name: string): number[] {
  return (run.items[name] ?? []).map(({ wall }) => wall);
}
