// Looks again and again where the processors of a running machine are. It reads memory that they share with this thread
// and costs them nothing. What it finds is where the block or region under way began (docs/design/translator.md).

import { sampleVcpu } from '@mimic/cpu/outline';
import { Profile, type ProfiledPlace } from './profile.ts';

/** Moments kept; with more, every second one is forgotten and looks are half as often. */
const MOMENT_COUNT_MAX = 1 << 19;

export interface ProfileOptions {
  /** Between two looks. Default 1. */
  readonly intervalMs?: number;
}

/** What a profiler is told of its machine. */
export interface ProfiledMachine {
  readonly memory: WebAssembly.Memory;
  readonly cpuCount: number;
  readonly state: () => 'running' | 'waiting' | 'ended';
}

export class Profiler {
  readonly #machine: ProfiledMachine;
  readonly #places: ProfiledPlace[] = [];
  readonly #numbers = new Map<string, number>();
  /** For each moment how long it stands for, ms, and a place for each processor. */
  #durations: number[] = [];
  #seen: number[] = [];
  #intervalMs: number;
  #timer: ReturnType<typeof setInterval> | undefined;
  #lastMs: number | undefined;
  #systemCallEntry = 0n;

  constructor(machine: ProfiledMachine, { intervalMs = 1 }: ProfileOptions = {}) {
    this.#machine = machine;
    this.#intervalMs = Math.max(intervalMs, 1);
    this.#start();
  }

  /** Ends it; gives what was found so far, and the same when called again. */
  stop(): Profile {
    clearInterval(this.#timer);
    return new Profile({
      places: this.#places,
      durations: this.#durations,
      seen: this.#seen,
      cpuCount: this.#machine.cpuCount,
      systemCallEntry: this.#systemCallEntry,
    });
  }

  #start(): void {
    clearInterval(this.#timer);
    this.#timer = setInterval(() => this.look(), this.#intervalMs);
  }

  /** One look at all processors; the timer does so. */
  look(nowMs: number = performance.now()): void {
    const { memory, cpuCount, state } = this.#machine;
    const is = state();
    if (is === 'ended') clearInterval(this.#timer);
    const lastMs = this.#lastMs;
    this.#lastMs = is === 'running' ? nowMs : undefined;
    if (is !== 'running' || lastMs === undefined) return;
    this.#durations.push(nowMs - lastMs);
    for (let index = 0; index < cpuCount; index++) {
      const { address, cpl, isIdle, systemCallEntry } = sampleVcpu(memory, index);
      if (systemCallEntry !== 0n) this.#systemCallEntry = systemCallEntry;
      if (isIdle) this.#seen.push(this.#number({ space: 'idle', address: 0n }));
      else this.#seen.push(this.#number({ space: cpl === 3 ? 'user' : 'kernel', address }));
    }
    if (this.#durations.length >= MOMENT_COUNT_MAX) this.#thin();
  }

  #number(place: ProfiledPlace): number {
    const key = `${place.space} ${place.address}`;
    let number = this.#numbers.get(key);
    if (number === undefined) {
      number = this.#places.push(place) - 1;
      this.#numbers.set(key, number);
    }
    return number;
  }

  #thin(): void {
    const { cpuCount } = this.#machine;
    const durations = this.#durations;
    this.#durations = durations.flatMap((ms, n) => (n % 2 ? [ms + durations[n - 1]!] : []));
    this.#seen = this.#seen.filter((_, n) => Math.floor(n / cpuCount) % 2 === 1);
    this.#intervalMs *= 2;
    this.#start();
  }
}
