// What a profiler found: by function and time, and as a .cpuprofile, the format of Chrome's DevTools that speedscope
// reads too. Chrome DevTools Protocol, Profiler.Profile.

import type { SymbolTable } from './symbols.ts';

export interface ProfiledPlace {
  /** 'kernel' is all that runs with a CPL below 3. */
  readonly space: 'kernel' | 'user' | 'idle';
  /** Linear; 0 for 'idle'. */
  readonly address: bigint;
}

export interface HotPlace {
  readonly space: ProfiledPlace['space'];
  /** The symbol, or the address; '(idle)'. */
  readonly name: string;
  /** Of all processors' time, 0 to 1. */
  readonly share: number;
}

/** The file's contents, to be written as JSON. Times are in microseconds. */
export interface CpuProfile {
  readonly nodes: readonly CpuProfileNode[];
  readonly startTime: number;
  readonly endTime: number;
  /** Ids of nodes, and the time from each sample to the one before. */
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

export interface CpuProfileNode {
  readonly id: number;
  readonly callFrame: {
    readonly functionName: string;
    readonly scriptId: string;
    readonly url: string;
    readonly lineNumber: number;
    readonly columnNumber: number;
  };
  readonly hitCount: number;
  readonly children: readonly number[];
}

interface MutableNode extends CpuProfileNode {
  hitCount: number;
  children: number[];
}

const IDLE = '(idle)';

export class Profile {
  readonly #places: readonly ProfiledPlace[];
  readonly #durations: readonly number[];
  readonly #seen: readonly number[];
  readonly #cpuCount: number;
  readonly #systemCallEntry: bigint;

  /** `seen` has the place of each processor at each moment; `durations` how long the moments stand for, ms. */
  constructor(found: {
    places: readonly ProfiledPlace[];
    durations: readonly number[];
    seen: readonly number[];
    cpuCount: number;
    systemCallEntry: bigint;
  }) {
    this.#places = found.places;
    this.#durations = found.durations;
    this.#seen = found.seen;
    this.#cpuCount = found.cpuCount;
    this.#systemCallEntry = found.systemCallEntry;
  }

  get cpuCount(): number {
    return this.#cpuCount;
  }

  get milliseconds(): number {
    return this.#durations.reduce((sum, ms) => sum + ms, 0);
  }

  get momentCount(): number {
    return this.#durations.length;
  }

  /** By function, the hottest first; '(idle)' among them. */
  hottest(symbols: readonly SymbolTable[] = []): HotPlace[] {
    const names = this.#names(symbols);
    const sums = new Map<string, { place: HotPlace; ms: number }>();
    let all = 0;
    for (const [n, number] of this.#seen.entries()) {
      const ms = this.#durations[Math.floor(n / this.#cpuCount)]!;
      const { space } = this.#places[number]!;
      const name = names[number]!;
      const key = `${space} ${name}`;
      const sum = sums.get(key) ?? { place: { space, name, share: 0 }, ms: 0 };
      sums.set(key, sum);
      sum.ms += ms;
      all += ms;
    }
    return [...sums.values()]
      .toSorted((a, b) => b.ms - a.ms)
      .map(({ place, ms }) => ({ ...place, share: all > 0 ? ms / all : 0 }));
  }

  /** Several processors take turns on the one line of time that the format has: each has its part of every moment. */
  cpuProfile(symbols: readonly SymbolTable[] = []): CpuProfile {
    const names = this.#names(symbols);
    const nodes = new Nodes();
    const samples: number[] = [];
    const timeDeltas: number[] = [];
    let timeMs = 0;
    let endTime = 0;
    for (const [n, number] of this.#seen.entries()) {
      const index = n % this.#cpuCount;
      timeMs += this.#durations[(n - index) / this.#cpuCount]! / this.#cpuCount;
      const { space } = this.#places[number]!;
      const path = space === 'idle' ? [IDLE] : [space, names[number]!];
      const node = nodes.at(this.#cpuCount > 1 ? [`processor ${index}`, ...path] : path, space);
      node.hitCount++;
      samples.push(node.id);
      // Differences of rounded times, so that roundings do not add up.
      const time = Math.round(timeMs * 1000);
      timeDeltas.push(time - endTime);
      endTime = time;
    }
    return { nodes: nodes.all, startTime: 0, endTime, samples, timeDeltas };
  }

  /** A name for each place. */
  #names(symbols: readonly SymbolTable[]): string[] {
    const tables = symbols.map((table) => ({ table, slide: table.slide(this.#systemCallEntry) }));
    return this.#places.map(({ space, address }) => {
      if (space === 'idle') return IDLE;
      for (const { table, slide } of tables) {
        const symbol = table.find(BigInt.asUintN(64, address - slide));
        if (symbol !== undefined) return symbol.name;
      }
      return `0x${address.toString(16)}`;
    });
  }
}

class Nodes {
  readonly all: MutableNode[] = [];
  readonly #byPath = new Map<string, MutableNode>();

  constructor() {
    this.#add('(root)', '');
  }

  at(path: readonly string[], url: string): MutableNode {
    let node = this.all[0]!;
    for (let length = 1; length <= path.length; length++) {
      const key = path.slice(0, length).join('\n');
      let child = this.#byPath.get(key);
      if (child === undefined) {
        child = this.#add(path[length - 1]!, length === path.length ? url : '');
        node.children.push(child.id);
        this.#byPath.set(key, child);
      }
      node = child;
    }
    return node;
  }

  #add(functionName: string, url: string): MutableNode {
    const callFrame = { functionName, scriptId: '0', url, lineNumber: -1, columnNumber: -1 };
    const node = { id: this.all.length + 1, callFrame, hitCount: 0, children: [] };
    this.all.push(node);
    return node;
  }
}

/** A few lines for people: how time is shared, and where most of it went. */
export function formatHottest(
  profile: Profile,
  symbols: readonly SymbolTable[],
  countMax: number,
): string {
  const places = profile.hottest(symbols);
  const shareOf = (space: string) =>
    places.reduce((sum, place) => sum + (place.space === space ? place.share : 0), 0);
  const percent = (share: number) => `${(100 * share).toFixed(1)}%`;
  const seconds = (profile.milliseconds / 1000).toFixed(1);
  const parts = (['kernel', 'user', 'idle'] as const).map((s) => `${s} ${percent(shareOf(s))}`);
  const cpus = profile.cpuCount === 1 ? '' : ` of ${profile.cpuCount} processors`;
  const head = `profile: ${seconds} s${cpus}, ${profile.momentCount} samples; ${parts.join(', ')}`;
  const hot = places.filter(({ space }) => space !== 'idle').slice(0, countMax);
  const rows = hot.map(
    ({ space, name, share }) => `  ${percent(share).padStart(6)}  ${space.padEnd(6)}  ${name}`,
  );
  return [head, ...rows].join('\n');
}
