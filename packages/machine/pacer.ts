// How many instructions a processor may run before its worker looks at timers and commands again: as many as take
// about as long as the worker can wait, by the speed that the guest had so far.

import type { Clock } from '@mimic/base';
import type { Slices } from '@mimic/cpu';
import type { StopCause } from './computer.ts';

/** A slice of guest code takes about this long, so that commands and input are seen soon. */
const SLICE_NS = 2_000_000;
const SLICE_INSTRUCTIONS_MIN = 2_000;
const SLICE_INSTRUCTIONS_MAX = 4_000_000;
/** Instructions a nanosecond: one slow slice, as when the host was asleep, must not make all that follow tiny. */
const SPEED_MIN = 0.001;

/** A clock that knows when its next timer is due. */
export interface PacedClock extends Clock {
  nextDeadlineNs(): number | undefined;
}

/** Instructions of a slice that time ends. */
const UNBOUNDED = 0x7fff_ffff;

export class Pacer {
  readonly #clock: PacedClock;
  readonly #slices: Slices | undefined;
  /** The guest's speed, as the last slices had it. */
  #instructionsPerNs = 0.05;
  /** When the slice under way should be over; never, between slices. */
  #sliceEndNs = -Infinity;

  /** `slices`: a ticker ends slices, and they need no estimate in instructions. */
  constructor(clock: PacedClock, slices?: Slices) {
    this.#clock = clock;
    this.#slices = slices;
  }

  /** Guest code until a slice is over or the next timer is due, as near as the guest's speed so far can tell. */
  run(processor: { run(instructionsMax: number): StopCause }): StopCause {
    const startNs = this.#clock.now();
    const deadlineNs = this.#clock.nextDeadlineNs() ?? Infinity;
    this.#sliceEndNs = Math.min(startNs + SLICE_NS, deadlineNs);
    if (this.#slices) return this.#runByTime(processor, this.#slices, startNs);
    const ideal = Math.floor((this.#sliceEndNs - startNs) * this.#instructionsPerNs);
    const budget = Math.max(SLICE_INSTRUCTIONS_MIN, Math.min(ideal, SLICE_INSTRUCTIONS_MAX));
    const cause = processor.run(budget);
    const tookNs = this.#clock.now() - startNs;
    this.#sliceEndNs = -Infinity;
    if (cause === 'budget' && tookNs > 0) {
      // Half old, half new; at most doubled, because a slice may have ended early.
      const speed = Math.min(budget / tookNs, 2 * this.#instructionsPerNs);
      this.#instructionsPerNs = Math.max((this.#instructionsPerNs + speed) / 2, SPEED_MIN);
    }
    return cause;
  }

  #runByTime(
    processor: { run(instructionsMax: number): StopCause },
    slices: Slices,
    startNs: number,
  ): StopCause {
    slices.begin(this.#sliceEndNs - startNs);
    const cause = processor.run(UNBOUNDED);
    slices.end();
    this.#sliceEndNs = -Infinity;
    return cause;
  }

  /** Whether a timer is now due before the slice under way would be over: then the slice must end. */
  get isOverdue(): boolean {
    const next = this.#clock.nextDeadlineNs();
    return next !== undefined && next < this.#sliceEndNs;
  }

  /** How long the processor may sleep before a timer is due, ms; Infinity when none is armed. */
  get idleMs(): number {
    return ((this.#clock.nextDeadlineNs() ?? Infinity) - this.#clock.now()) / 1e6;
  }
}
