// The timer of the local APIC: one-shot, periodic and TSC-deadline. SDM vol 3A §11.5.4.

import type { Clock, Timer } from '@mimic/base';
import { TIMER_MODE } from './registers.ts';

/** Converts between the guest's time-stamp counter and the clock. */
export interface TscConversion {
  /** Clock time (ns) at which the guest reads this value or a later one; may lie in the past. */
  toNs(tsc: bigint): number;
}

export interface ApicTimerState {
  initialCount: number;
  /** Divide configuration register. Figure 11-10. */
  divide: number;
  /** When the count reaches zero next, ns; null while it stands still. */
  deadlineNs: number | null;
  /** IA32_TSC_DEADLINE as two 32-bit halves. */
  tscDeadlineLow: number;
  tscDeadlineHigh: number;
}

/** Deviation: a periodic timer faster than this runs at this period, so that a guest cannot occupy the host. */
export const PERIOD_MIN_NS = 20_000;

export function resetTimerState(): ApicTimerState {
  return { initialCount: 0, divide: 0, deadlineNs: null, tscDeadlineLow: 0, tscDeadlineHigh: 0 };
}

export class ApicTimer {
  readonly #clock: Clock;
  readonly #timer: Timer;
  readonly #tsc: TscConversion;
  readonly #hz: number;
  readonly #fire: () => void;
  #state: ApicTimerState;
  #mode: number = TIMER_MODE.oneShot;

  constructor(wires: {
    clock: Clock;
    tsc: TscConversion;
    /** Input clock of the divider. */
    hz: number;
    state: ApicTimerState;
    fire: () => void;
  }) {
    this.#clock = wires.clock;
    this.#tsc = wires.tsc;
    this.#hz = wires.hz;
    this.#fire = wires.fire;
    this.#state = wires.state;
    this.#timer = wires.clock.timer(() => this.#expired());
  }

  /** Works on this state from now on, in the mode that the LVT entry has. */
  attach(state: ApicTimerState, mode: number): void {
    this.#state = state;
    this.#mode = mode;
    this.#schedule();
  }

  /** LVT bits 18:17. Changing to or from TSC-deadline mode disarms the timer. */
  setMode(mode: number): void {
    if (mode === this.#mode) return;
    const disarms = mode === TIMER_MODE.tscDeadline || this.#mode === TIMER_MODE.tscDeadline;
    this.#mode = mode;
    if (!disarms) return;
    this.#state.deadlineNs = null;
    this.#state.tscDeadlineLow = this.#state.tscDeadlineHigh = 0;
    this.#schedule();
  }

  get initialCount(): number {
    return this.#state.initialCount;
  }
  /** Starts the count; 0 stops it. Without effect in TSC-deadline mode. */
  set initialCount(count: number) {
    if (this.#mode === TIMER_MODE.tscDeadline) return;
    this.#state.initialCount = count;
    this.#state.deadlineNs = count === 0 ? null : this.#clock.now() + this.#toNs(count);
    this.#schedule();
  }

  get currentCount(): number {
    const { deadlineNs, initialCount } = this.#state;
    if (deadlineNs === null || this.#mode === TIMER_MODE.tscDeadline) return 0;
    const count = Math.ceil((deadlineNs - this.#clock.now()) / this.#toNs(1));
    return Math.min(Math.max(count, 0), initialCount);
  }

  get divide(): number {
    return this.#state.divide;
  }
  /** What is left of the count goes on at the new speed. */
  set divide(value: number) {
    const count = this.currentCount;
    this.#state.divide = value & 0b1011;
    if (this.#state.deadlineNs === null || this.#mode === TIMER_MODE.tscDeadline) return;
    this.#state.deadlineNs = this.#clock.now() + this.#toNs(count);
    this.#schedule();
  }

  /** IA32_TSC_DEADLINE: 0 when disarmed or in another mode. */
  get tscDeadline(): bigint {
    const { tscDeadlineLow, tscDeadlineHigh } = this.#state;
    return (BigInt(tscDeadlineHigh) << 32n) | BigInt(tscDeadlineLow);
  }
  set tscDeadline(value: bigint) {
    if (this.#mode !== TIMER_MODE.tscDeadline) return;
    this.#state.tscDeadlineLow = Number(value & 0xffff_ffffn);
    this.#state.tscDeadlineHigh = Number((value >> 32n) & 0xffff_ffffn);
    this.tscChanged();
  }

  /** The guest's time-stamp counter was set: a pending TSC deadline lies elsewhere in time. */
  tscChanged(): void {
    if (this.#mode !== TIMER_MODE.tscDeadline) return;
    const deadline = this.tscDeadline;
    this.#state.deadlineNs = deadline === 0n ? null : this.#tsc.toNs(deadline);
    this.#schedule();
  }

  /** Duration of `count` ticks. Divide values: figure 11-10 (bits 3, 1, 0; 0b111 divides by 1). */
  #toNs(count: number): number {
    const { divide } = this.#state;
    const code = ((divide & 8) >> 1) | (divide & 3);
    const divisor = code === 7 ? 1 : 2 << code;
    return (count * divisor * 1e9) / this.#hz;
  }

  #schedule(): void {
    if (this.#state.deadlineNs === null) this.#timer.cancel();
    else this.#timer.arm(this.#state.deadlineNs);
  }

  #expired(): void {
    const state = this.#state;
    if (this.#mode === TIMER_MODE.periodic && state.deadlineNs !== null) {
      const period = Math.max(this.#toNs(state.initialCount), PERIOD_MIN_NS);
      // A late host: periods that have passed as a whole are one interrupt, and the phase stays.
      const late = Math.max(this.#clock.now() - state.deadlineNs, 0);
      state.deadlineNs += period * (Math.floor(late / period) + 1);
    } else {
      state.deadlineNs = null;
      state.tscDeadlineLow = state.tscDeadlineHigh = 0;
    }
    this.#schedule();
    this.#fire();
  }
}
