// What the benchmark measured, as it is kept in JSON, and the comparison of two machines made from it.

import { ITEMS } from './items.ts';
import type { Sample } from './measure.ts';
import type { ResidentMemory } from './processes.ts';
import { geomean, type Spread, spread } from './statistics.ts';

/** Counts up when the form of the file changes. */
export const RESULTS_VERSION = 1;

/** One boot of one machine. */
export interface MachineRun {
  /** 'Mimic' or a peer. */
  readonly machine: string;
  /** What it is compared with, on both sides of the comparison. */
  readonly peer: string;
  readonly architecture: string;
  readonly cpuCount: number;
  /** What the guest says of its processor and clock. */
  readonly guest: string;
  readonly items: Readonly<Record<string, readonly Sample[]>>;
  readonly memory?: ResidentMemory | undefined;
  readonly failure?: string | undefined;
  /** It ran before all others and found nothing kept: no part of ratios. */
  readonly isFirst?: boolean;
}

export interface Results {
  readonly version: number;
  readonly date: string;
  readonly commit: string;
  /** Of the computer that all ran on. */
  readonly host: {
    readonly processor: string;
    readonly cores: number;
    readonly memoryGiB: number;
    /** Load average of the last minute, before the first run. */
    readonly load: number;
  };
  /** Programs with their versions: emulators, Node, the guest's kernels and packages. */
  readonly versions: readonly string[];
  readonly ramMiB: number;
  /** Mimic's engine as asked for; undefined: its default. */
  readonly accel?: string | undefined;
  /** Whether Mimic's runs, but the first, found translations that those before them had kept; undefined: no such thing. */
  readonly keeps?: boolean;
  /** Further options of `mimic run`. */
  readonly mimicOptions: readonly string[];
  /** How the benchmark was called. */
  readonly command: string;
  /** In the order in which they ran. */
  readonly runs: readonly MachineRun[];
}

/** What is compared: Mimic and a peer with the same guest. */
export interface Pairing {
  readonly peer: string;
  readonly architecture: string;
  readonly cpuCount: number;
}

/** Seconds of one machine. */
export interface Times {
  /** Run by run. */
  readonly every: readonly { readonly wall: number; readonly cpu: number }[];
  readonly wall: Spread;
  readonly cpu: Spread;
}

export interface Row {
  readonly name: string;
  readonly ours: Times;
  readonly theirs: Times;
  /** Ours by theirs, of runs next to each other. */
  readonly wall: Spread;
  readonly cpu: Spread;
  readonly results: 'same' | 'DIFFER' | 'FAILED' | '';
  /** Of our first run, with nothing kept; NaN if there was none. */
  readonly first: { readonly wall: number; readonly cpu: number };
}

export interface Comparison extends Pairing {
  readonly rows: readonly Row[];
  /** Geometric means over the rows; the spread is that of the runs. */
  readonly wall: Spread;
  readonly cpu: Spread;
  /** Of our first run by the median of theirs; NaN if there was none. */
  readonly first: { readonly wall: number; readonly cpu: number };
  /** Largest of the runs, MiB that are not guest RAM; `first`: of our first run, which builds the processor. */
  readonly memory: { readonly ours: number; readonly theirs: number; readonly first: number };
  /** What the guests say of their processors and clocks. */
  readonly guests: { readonly ours: string; readonly theirs: string };
  readonly failures: readonly string[];
}

export const OURS = 'Mimic';
/** Times of processes are counted in hundredths of a second. */
const SECONDS_MIN = 0.01;
const FAILED = /^FAILED:/;

/** All pairings that the results hold, in the order of their first run. */
export function pairings({ runs }: Results): Pairing[] {
  const found = new Map<string, Pairing>();
  for (const { peer, architecture, cpuCount } of runs) {
    const pairing = { peer, architecture, cpuCount };
    const key = JSON.stringify(pairing);
    if (!found.has(key)) found.set(key, pairing);
  }
  return [...found.values()];
}

export function compare(results: Results, pairing: Pairing): Comparison {
  const of = (machine: string, isFirst = false) =>
    results.runs.filter(
      (run) =>
        run.machine === machine &&
        (run.isFirst ?? false) === isFirst &&
        run.peer === pairing.peer &&
        run.architecture === pairing.architecture &&
        run.cpuCount === pairing.cpuCount,
    );
  const ours = of(OURS);
  const theirs = of(pairing.peer);
  const first = of(OURS, true);
  const rows = Object.keys(ITEMS)
    .filter((name) => [...first, ...ours, ...theirs].some(({ items }) => items[name] !== undefined))
    .map((name) => row(name, { ours, theirs, first }));
  const all = [...first, ...ours, ...theirs];
  const firstByTheirs = (key: 'wall' | 'cpu') => {
    const ratios = rows.map((row) => row.first[key] / row.theirs[key].median);
    const known = ratios.filter(Number.isFinite);
    return known.length === 0 ? Number.NaN : geomean(known);
  };
  const overall = (key: 'wall' | 'cpu') =>
    spread(
      ours
        .map((_, index) =>
          geomean(rows.flatMap(({ name }) => ratio(name, key, ours[index], theirs[index]))),
        )
        .filter(Number.isFinite),
    );
  return {
    ...pairing,
    rows,
    wall: overall('wall'),
    cpu: overall('cpu'),
    first: { wall: firstByTheirs('wall'), cpu: firstByTheirs('cpu') },
    memory: { ours: ownMemory(ours), first: ownMemory(first), theirs: ownMemory(theirs) },
    guests: { ours: ours[0]?.guest ?? '', theirs: theirs[0]?.guest ?? '' },
    failures: all.flatMap(({ machine, failure }) => (failure ? [`${machine}: ${failure}`] : [])),
  };
}

function row(
  name: string,
  { ours, theirs, first }: Record<'ours' | 'theirs' | 'first', readonly MachineRun[]>,
): Row {
  const times = (runs: readonly MachineRun[]) => ({
    every: runs.flatMap(({ items }) => items[name] ?? []),
    wall: spread(runs.flatMap((run) => time(run, name, 'wall'))),
    cpu: spread(runs.flatMap((run) => time(run, name, 'cpu'))),
  });
  const ratios = (key: 'wall' | 'cpu') =>
    spread(ours.flatMap((run, index) => ratio(name, key, run, theirs[index])));
  return {
    name,
    ours: times(ours),
    theirs: times(theirs),
    wall: ratios('wall'),
    cpu: ratios('cpu'),
    results: sameResults(name, [...first, ...ours, ...theirs]),
    first: {
      wall: time(first[0], name, 'wall')[0] ?? Number.NaN,
      cpu: time(first[0], name, 'cpu')[0] ?? Number.NaN,
    },
  };
}

/** The least of what one boot gave, as a list of one or none. */
function time(run: MachineRun | undefined, name: string, key: 'wall' | 'cpu'): number[] {
  const samples = run?.items[name] ?? [];
  if (samples.length === 0) return [];
  return [Math.max(SECONDS_MIN, Math.min(...samples.map((sample) => sample[key])))];
}

function ratio(
  name: string,
  key: 'wall' | 'cpu',
  ours: MachineRun | undefined,
  theirs: MachineRun | undefined,
): number[] {
  const [a] = time(ours, name, key);
  const [b] = time(theirs, name, key);
  return a === undefined || b === undefined ? [] : [a / b];
}

function sameResults(name: string, runs: readonly MachineRun[]): Row['results'] {
  const printed = runs.flatMap(({ items }) => (items[name] ?? []).map((sample) => sample.printed));
  if (printed.some((text) => FAILED.test(text))) return 'FAILED';
  if (name === 'boot' || ITEMS[name]?.printsTime) return '';
  return new Set(printed).size <= 1 ? 'same' : 'DIFFER';
}

function ownMemory(runs: readonly MachineRun[]): number {
  const own = runs.flatMap(({ memory }) => (memory ? [memory.peakMiB - memory.guestMiB] : []));
  return own.length === 0 ? Number.NaN : Math.max(...own);
}
