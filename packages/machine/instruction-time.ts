// The time of a deterministic machine: so many nanoseconds for each instruction, and jumps over the time in which the
// guest has nothing to do. No host clock takes part.

import { assert } from '@mimic/base';

/** Where in its own time a guest is: what it has run (the processor's count), and what its clock shows. */
export interface Place {
  readonly count: number;
  readonly ns: number;
}

export class InstructionTime {
  readonly #count: () => number;
  readonly #nsPerInstruction: number;
  #idleNs = 0;

  /** `count` gives the processor's exact count, which never falls. */
  constructor(count: () => number, nsPerInstruction: number) {
    assert(Number.isInteger(nsPerInstruction), 'time is whole nanoseconds');
    this.#count = count;
    this.#nsPerInstruction = nsPerInstruction;
  }

  now(): number {
    return this.#count() * this.#nsPerInstruction + this.#idleNs;
  }

  get place(): Place {
    return { count: this.#count(), ns: this.now() };
  }

  /** Instructions to run until the clock shows `ns`, if nothing is skipped; 0 for the past, infinite for never. */
  instructionsUntil(ns: number): number {
    return Math.max(0, Math.ceil((ns - this.now()) / this.#nsPerInstruction));
  }

  /** Moves the clock on to a time to come while the guest waits. */
  skipTo(ns: number): void {
    this.#idleNs += Math.max(0, Math.ceil(ns - this.now()));
  }
}
