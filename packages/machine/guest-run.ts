// Takes a deterministic computer from one place in its time to a later one. The same for a machine in its worker and
// for tools that hold a computer themselves: nothing but the computer, its clock and the limits takes part.

import type { TimerQueue } from '@mimic/base';
import type { Computer, StopCause } from './computer.ts';
import type { InstructionTime, Place } from './instruction-time.ts';

/** A slice of guest code is at most this long, so that commands and input are seen soon. */
const SLICE_INSTRUCTIONS_MAX = 500_000;
/** Timers that arm themselves in the past again and again get no more turns than this at one place. */
const SETTLE_ROUNDS_MAX = 1000;

export class GuestRun {
  readonly #computer: Computer;
  readonly #clock: TimerQueue;
  readonly #time: InstructionTime;
  /** When the slice under way is over; never, between slices. */
  #sliceEndNs = -Infinity;

  constructor(parts: { computer: Computer; clock: TimerQueue; time: InstructionTime }) {
    this.#computer = parts.computer;
    this.#clock = parts.clock;
    this.#time = parts.time;
  }

  get place(): Place {
    return this.#time.place;
  }

  /** Lets all timers run that are due. Comes after whatever may have armed one, so that a place says all. */
  settle(): void {
    for (let round = 0; round < SETTLE_ROUNDS_MAX; round++) {
      const next = this.#clock.nextDeadlineNs();
      if (next === undefined || next > this.#time.now()) return;
      this.#clock.runExpired();
    }
  }

  /** A timer was armed or cancelled: a slice under way must not outlast it. */
  deadlineChanged(): void {
    const next = this.#clock.nextDeadlineNs();
    if (next !== undefined && next < this.#sliceEndNs) this.#computer.processor.stop();
  }

  /** Guest code up to the next timer, but not beyond `countMax`; then the timers that are due. */
  slice(countMax: number): StopCause {
    const deadlineNs = this.#clock.nextDeadlineNs() ?? Infinity;
    const budget = Math.min(
      Math.max(this.#time.instructionsUntil(deadlineNs), 1),
      countMax - this.#computer.processor.instructionCount,
      SLICE_INSTRUCTIONS_MAX,
    );
    this.#sliceEndNs = deadlineNs === Infinity ? Number.MAX_VALUE : deadlineNs;
    const cause = this.#computer.processor.run(budget);
    this.#sliceEndNs = -Infinity;
    this.settle();
    return cause;
  }

  /** The processor is halted: moves the clock on to the next timer, but not beyond `nsMax`. False if neither is there. */
  skip(nsMax = Infinity): boolean {
    const ns = Math.min(this.#clock.nextDeadlineNs() ?? Infinity, nsMax);
    if (ns === Infinity) return false;
    this.#time.skipTo(ns);
    this.settle();
    return true;
  }
}
