// Guest time. `TimerQueue` is the clock a machine runs on: host time minus pauses, with the timers
// that are armed on it. It never calls back by itself: whoever runs the vCPU asks for the next
// deadline, and runs what has expired between two guest instructions. `ManualClock` is the same
// moved by hand, for tests and replay.

import { assert } from './assert.ts';
import type { Clock, Timer } from './wires.ts';

class QueuedTimer implements Timer {
  readonly expired: () => void;
  readonly #queue: TimerQueue;
  #deadlineNs: number | undefined;

  constructor(queue: TimerQueue, expired: () => void) {
    this.#queue = queue;
    this.expired = expired;
  }

  get deadlineNs(): number | undefined {
    return this.#deadlineNs;
  }

  arm(deadlineNs: number): void {
    assert(!Number.isNaN(deadlineNs), 'a deadline is a number');
    if (this.#deadlineNs === deadlineNs) return;
    this.#deadlineNs = deadlineNs;
    this.#queue.changed(this);
  }

  cancel(): void {
    if (this.#deadlineNs === undefined) return;
    this.#deadlineNs = undefined;
    this.#queue.changed(this);
  }

  /** Takes the deadline away before the call, so that the callback can arm the timer again. */
  expire(): void {
    this.#deadlineNs = undefined;
    this.expired();
  }
}

/**
 * A machine's clock over a host time source. A machine has a few dozen timers, so a sorted list
 * will do.
 */
export class TimerQueue implements Clock {
  readonly #readNs: () => number;
  readonly #deadlineChanged: () => void;
  /** Armed timers, the earliest deadline first; equal deadlines in the order they were armed. */
  #armed: QueuedTimer[] = [];
  /** Expired timers of the `runExpired` under way that have not been called yet. */
  #due: QueuedTimer[] = [];
  #offsetNs: number;
  #lastNs = 0;
  #paused = false;

  /**
   * `readNs` is any clock in nanoseconds (its zero does not matter; steps backwards are ignored).
   * `deadlineChanged` is told when the next deadline has moved, so that a sleeping vCPU can be
   * woken.
   */
  constructor(readNs: () => number, deadlineChanged: () => void = () => {}) {
    this.#readNs = readNs;
    this.#deadlineChanged = deadlineChanged;
    this.#offsetNs = readNs();
  }

  now(): number {
    if (!this.#paused) {
      const ns = this.#readNs() - this.#offsetNs;
      if (ns > this.#lastNs) this.#lastNs = ns;
    }
    return this.#lastNs;
  }

  timer(expired: () => void): Timer {
    return new QueuedTimer(this, expired);
  }

  get paused(): boolean {
    return this.#paused;
  }

  /** Host time minus guest time, while not paused. */
  get offsetNs(): number {
    return this.#offsetNs;
  }

  /** Runs on, at another clock's offset: both then tell the same time, from the same host clock. */
  follow(offsetNs: number): void {
    this.#paused = false;
    this.#offsetNs = offsetNs;
  }

  /** Stops guest time; no timer runs until `resume`. */
  pause(): void {
    this.now();
    this.#paused = true;
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#offsetNs = this.#readNs() - this.#lastNs;
  }

  /**
   * Sets guest time, for a restored machine; its devices arm their timers anew when they are
   * restored.
   */
  restore(nowNs: number): void {
    this.#lastNs = nowNs;
    this.#offsetNs = this.#readNs() - nowNs;
  }

  /** The earliest armed deadline, in this clock's nanoseconds; may be in the past. */
  nextDeadlineNs(): number | undefined {
    return this.#armed[0]?.deadlineNs;
  }

  /**
   * Calls every timer whose deadline has been reached, in order of deadlines. A timer armed by one
   * of the callbacks waits for the next call, so a timer runs at most once a call. Returns how many
   * ran.
   */
  runExpired(): number {
    if (this.#paused || this.#armed.length === 0) return 0;
    const now = this.now();
    let count = 0;
    while (count < this.#armed.length && this.#armed[count]!.deadlineNs! <= now) count += 1;
    if (count === 0) return 0;
    this.#due = this.#armed.splice(0, count);
    let ran = 0;
    for (let timer = this.#due.shift(); timer !== undefined; timer = this.#due.shift()) {
      timer.expire();
      ran += 1;
    }
    this.#deadlineChanged();
    return ran;
  }

  /** A timer's deadline was set or taken away. For `QueuedTimer` only. */
  changed(timer: QueuedTimer): void {
    const before = this.nextDeadlineNs();
    remove(this.#armed, timer);
    remove(this.#due, timer);
    const deadline = timer.deadlineNs;
    if (deadline !== undefined) {
      let index = this.#armed.length;
      while (index > 0 && this.#armed[index - 1]!.deadlineNs! > deadline) index -= 1;
      this.#armed.splice(index, 0, timer);
    }
    if (this.nextDeadlineNs() !== before) this.#deadlineChanged();
  }
}

/**
 * How often timers may expire without time moving on: more is a timer that arms itself in the past.
 */
const EXPIRIES_WITHOUT_PROGRESS_MAX = 1000;

/** A clock that moves only when told to. */
export class ManualClock implements Clock {
  #ns = 0;
  readonly #queue = new TimerQueue(() => this.#ns);

  now(): number {
    return this.#ns;
  }

  timer(expired: () => void): Timer {
    return this.#queue.timer(expired);
  }

  nextDeadlineNs(): number | undefined {
    return this.#queue.nextDeadlineNs();
  }

  /**
   * Moves time on, stopping at each deadline on the way, so that every timer finds its exact time.
   */
  advance(ns: number): void {
    assert(ns >= 0, 'time does not run backwards');
    const target = this.#ns + ns;
    let expiries = 0;
    for (;;) {
      const deadline = this.#queue.nextDeadlineNs();
      if (deadline === undefined || deadline > target) break;
      if (deadline > this.#ns) {
        this.#ns = deadline;
        expiries = 0;
      }
      this.#queue.runExpired();
      expiries += 1;
      assert(expiries <= EXPIRIES_WITHOUT_PROGRESS_MAX, 'a timer keeps arming itself in the past');
    }
    this.#ns = target;
  }

  /** Moves time on in one step and then runs what expired on the way: a host that was late. */
  jump(ns: number): void {
    assert(ns >= 0, 'time does not run backwards');
    this.#ns += ns;
    this.#queue.runExpired();
  }
}

function remove(timers: QueuedTimer[], timer: QueuedTimer): void {
  const index = timers.indexOf(timer);
  if (index >= 0) timers.splice(index, 1);
}
