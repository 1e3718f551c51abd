// Takes a deterministic computer from one place in its time to a later one, with the input of a recording if there is
// one. The same for a machine in its worker (deterministic-loop.ts) and for who holds a computer himself
// (deterministic-run.ts): nothing of the host takes part.

import type { TimerQueue } from '@mimic/base';
import { runCommand } from './commands.ts';
import type { Computer, StopCause } from './computer.ts';
import type { InstructionTime, Place } from './instruction-time.ts';
import { type GuestSignals, type LoopOptions, tripleFault } from './loop.ts';
import type { CommandFrame, WorkerEnd } from './protocol.ts';
import type { Input, RecordedInput } from './recording.ts';

/** A slice of guest code is at most this long, so that commands and input are seen soon. */
const SLICE_INSTRUCTIONS_MAX = 500_000;
/** Timers that arm themselves in the past again and again get no more turns than this at one place. */
const SETTLE_ROUNDS_MAX = 1000;

/** The guest is not where the recording says it was. */
export class Diverged extends Error {}

export interface GuestRunParts {
  readonly computer: Computer;
  readonly clock: TimerQueue;
  readonly time: InstructionTime;
  readonly signals: GuestSignals;
  readonly options: LoopOptions;
  /** Input to give, each at its place. */
  readonly replay: readonly RecordedInput[] | undefined;
  /** An input of the recording was given. */
  readonly onInput?: (recorded: RecordedInput) => void;
  readonly onReset?: () => void;
}

export class GuestRun {
  readonly #parts: GuestRunParts;
  /** What is left of the recording. */
  readonly #replay: RecordedInput[] | undefined;
  /** When the slice under way is over; never, between slices. */
  #sliceEndNs = -Infinity;

  constructor(parts: GuestRunParts) {
    this.#parts = parts;
    this.#replay = parts.replay && [...parts.replay];
  }

  get place(): Place {
    return this.#parts.time.place;
  }

  /** What the recording has next. */
  get nextInput(): RecordedInput | undefined {
    return this.#replay?.[0];
  }

  /** Lets all timers run that are due. Comes after whatever may have armed one, so that a place says all. */
  settle(): void {
    const { clock, time } = this.#parts;
    for (let round = 0; round < SETTLE_ROUNDS_MAX; round++) {
      const next = clock.nextDeadlineNs();
      if (next === undefined || next > time.now()) return;
      clock.runExpired();
    }
  }

  /** A timer was armed or cancelled: a slice under way must not outlast it. */
  deadlineChanged(): void {
    const next = this.#parts.clock.nextDeadlineNs();
    if (next !== undefined && next < this.#sliceEndNs) this.#parts.computer.processor.stop();
  }

  boot(): void {
    this.#parts.signals.resetAsked = false;
    this.#parts.computer.boot();
    this.settle();
    this.#parts.onReset?.();
  }

  /**
   * Recorded input that is due, then guest code for a while, but not beyond `countMax`. Gives how the machine ended, if
   * it did, or 'waits' for a guest that does nothing until its next timer.
   */
  advance(countMax: number): WorkerEnd | 'waits' | undefined {
    const ended = this.#replay && this.#recordedInput(this.#replay);
    if (ended !== undefined) return ended;
    const { count } = this.place;
    if (count >= countMax) return undefined;
    const next = this.nextInput?.at;
    if (next?.count === count) {
      // The recorded guest waited here until the next input came.
      this.skip(next.ns);
      return undefined;
    }
    const cause = this.#slice(Math.min(countMax, next?.count ?? Infinity));
    const { signals, options, computer } = this.#parts;
    if (signals.poweredOff) return { reason: 'power-off' };
    if (cause === 'shutdown' && !signals.resetAsked) {
      if (options.onTripleFault === 'stop') return tripleFault(computer.processor);
      signals.resetAsked = true;
    }
    if (signals.resetAsked) {
      if (options.onReset === 'stop') return { reason: 'reset' };
      this.boot();
      return undefined;
    }
    return cause === 'halted' ? 'waits' : undefined;
  }

  /** Moves a waiting guest's clock on to its next timer, but not beyond `nsMax`. False if neither is there. */
  skip(nsMax = Infinity): boolean {
    const ns = Math.min(this.#parts.clock.nextDeadlineNs() ?? Infinity, nsMax);
    if (ns === Infinity) {
      if (this.#replay?.length) throw new Diverged(`the guest waits for ever at ${this.where()}`);
      return false;
    }
    this.#parts.time.skipTo(ns);
    this.settle();
    return true;
  }

  /** Gives input to a port; how many bytes it took. */
  give(input: Input): number {
    const { computer } = this.#parts;
    const taken =
      input.kind === 'serial'
        ? computer.serialInput(input.bytes)
        : input.kind === 'console'
          ? computer.consoleInput(input.index, input.bytes)
          : 0;
    this.settle();
    return taken;
  }

  /** The place, for people. */
  where(place = this.place): string {
    return `instruction ${place.count} (${(place.ns / 1e9).toFixed(6)} s)`;
  }

  #slice(countMax: number): StopCause {
    const { clock, time, computer } = this.#parts;
    const deadlineNs = clock.nextDeadlineNs() ?? Infinity;
    const budget = Math.min(
      Math.max(time.instructionsUntil(deadlineNs), 1),
      countMax - computer.processor.instructionCount,
      SLICE_INSTRUCTIONS_MAX,
    );
    this.#sliceEndNs = deadlineNs === Infinity ? Number.MAX_VALUE : deadlineNs;
    const cause = computer.processor.run(budget);
    this.#sliceEndNs = -Infinity;
    this.settle();
    return cause;
  }

  /** The inputs that came at this place; the end, if that is where the recorded machine was stopped. */
  #recordedInput(inputs: RecordedInput[]): WorkerEnd | undefined {
    for (let first = inputs[0]; first !== undefined; first = inputs[0]) {
      const { at, input } = first;
      const { count, ns } = this.place;
      if (count > at.count || (count === at.count && ns > at.ns)) {
        const message = `the guest is at ${this.where()} and never was where its next input came`;
        throw new Diverged(`${message}, ${this.where(at)}`);
      }
      if (count < at.count || ns < at.ns) return undefined;
      if (input.kind === 'end') {
        const { reason } = input;
        if (reason === 'stopped' || reason === 'instruction-limit') return { reason };
        throw new Diverged(`the recorded machine ended here (${reason}): ${this.where()}`);
      }
      inputs.shift();
      this.#parts.onInput?.(first);
      if (input.kind === 'command') this.#command(input);
      else if (this.give(input) !== input.bytes.length) {
        throw new Diverged(`the guest does not take the input that it took at ${this.where()}`);
      }
    }
    return undefined;
  }

  #command({ name, argument }: Input & { readonly kind: 'command' }): void {
    try {
      if (name === 'reset') this.boot();
      else runCommand(this.#parts.computer, { id: 0, name, argument } as CommandFrame);
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      throw new Diverged(`${name} is refused at ${this.where()}: ${why}`);
    }
    this.settle();
  }
}
