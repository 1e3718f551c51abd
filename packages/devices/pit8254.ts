// 8254 programmable interval timer (Intel 231164) as the PC clocks it: 1.193182 MHz, three
// counters. Offsets 0-2 are the counters, 3 is the control word. Counter 0 drives an interrupt
// line, counter 2 the speaker; counter 1, once the DRAM refresh, only counts. The counters
// themselves are in pit-counter.ts.

import { bits, type Clock, get, type IrqLine, type Timer } from '@mimic/base';
import { readAsBytes, writeAsBytes } from './byte-registers.ts';
import type { AccessSize, Device } from './device.ts';
import { type Oscillator, oscillator } from './oscillator.ts';
import {
  latchCount,
  latchStatus,
  nextRiseTick,
  outputAt,
  type PitCounterState,
  readCount,
  resetCounter,
  setGate,
  writeControl,
  writeCount,
} from './pit-counter.ts';

/** 14.31818 MHz / 12. */
const CRYSTAL: Oscillator = oscillator({ ticks: 715_909, ns: 600_000_000 });
const CONTROL_PORT = 3;
const CONTROL = { select: bits(7, 6) };
const READ_BACK = 3;
/** Read-back command: a zero bit selects the action. 231164 figure 11. */
const READ_BACK_COMMAND = { noStatus: bits(4, 4), noCount: bits(5, 5), counters: bits(3, 1) };

/** Edges of counter 0 are at least this far apart, 50 µs, so that the guest can take each. */
export const PIT_EDGE_INTERVAL_TICKS_MIN = 60;
/** What is made up for at most, 100 ms: edges that are later still are lost. */
export const PIT_ARREARS_TICKS_MAX = 119_318;

export interface PitState {
  counters: PitCounterState[];
  /** Level of counter 0's interrupt line. */
  line: boolean;
  /** Rises of counter 0's output up to this tick have been delivered. */
  deliveredTick: number;
  /** When the last one was delivered. */
  edgeTick: number;
}

export class Pit8254 implements Device<PitState> {
  readonly kind = 'pit8254';
  readonly #irq: IrqLine;
  readonly #clock: Clock;
  readonly #timer: Timer;
  #state: PitState = resetState();

  constructor(wires: { irq: IrqLine; clock: Clock }) {
    this.#irq = wires.irq;
    this.#clock = wires.clock;
    this.#timer = wires.clock.timer(() => this.#catchUp());
  }

  /** Counter 2's gate and output go through system control port B. */
  setGate(counter: number, high: boolean): void {
    const state = this.#state.counters[counter];
    if (state === undefined) return;
    this.#change((tick) => setGate(state, high, tick));
  }

  output(counter: number): boolean {
    const state = this.#state.counters[counter];
    this.#catchUp();
    return state !== undefined && outputAt(state, this.#tick());
  }

  read(offset: number, size: AccessSize): number {
    this.#catchUp();
    return readAsBytes(offset, size, (at) => {
      const counter = this.#state.counters[at];
      return counter === undefined ? 0xff : readCount(counter, this.#tick());
    });
  }

  write(offset: number, size: AccessSize, value: number): void {
    writeAsBytes(offset, size, value, (at, byte) => this.#writeByte(at, byte));
  }

  reset(): void {
    this.#state = resetState();
    this.#irq.set(false);
    this.#arm();
  }

  save(): PitState {
    return structuredClone(this.#state);
  }

  restore(state: PitState): void {
    this.#state = structuredClone(state);
    this.#irq.set(this.#state.line);
    this.#arm();
  }

  #writeByte(offset: number, byte: number): void {
    if (offset === CONTROL_PORT) {
      this.#writeControl(byte);
      return;
    }
    const counter = this.#state.counters[offset];
    if (counter !== undefined) this.#change((tick) => writeCount(counter, byte, tick));
  }

  #writeControl(byte: number): void {
    const select = get(byte, CONTROL.select);
    if (select === READ_BACK) {
      this.#catchUp();
      const tick = this.#tick();
      for (const [index, counter] of this.#state.counters.entries()) {
        if (!((get(byte, READ_BACK_COMMAND.counters) >> index) & 1)) continue;
        if (!get(byte, READ_BACK_COMMAND.noCount)) latchCount(counter, tick);
        if (!get(byte, READ_BACK_COMMAND.noStatus)) latchStatus(counter, tick);
      }
      return;
    }
    const counter = this.#state.counters[select]!;
    this.#change((tick) => writeControl(counter, byte, tick));
  }

  /**
   * A change by the guest: what counting has done before it is delivered first, then its own edge.
   */
  #change(apply: (tick: number) => void): void {
    this.#catchUp();
    const counter = this.#state.counters[0]!;
    const tick = this.#tick();
    // What was missed of the old count is not made up for.
    this.#state.deliveredTick = tick;
    const before = outputAt(counter, tick);
    apply(tick);
    const after = outputAt(counter, tick);
    if (before !== after) {
      this.#state.line = after;
      this.#irq.set(after);
    }
    this.#arm();
  }

  /**
   * Delivers a rising edge of counter 0 that is due. Hardware is never late; a host that gave us no time is, so edges
   * that were missed follow one by one, far enough apart for the guest to take each, up to `PIT_ARREARS_TICKS_MAX`:
   * guests that count ticks keep their time.
   * Deviation: the line falls right before it rises again, or on a control word, since only rises
   * count.
   */
  #catchUp(): void {
    const state = this.#state;
    const counter = state.counters[0]!;
    const tick = this.#tick();
    let rise = nextRiseTick(counter, state.deliveredTick);
    if (rise !== undefined && tick - rise > PIT_ARREARS_TICKS_MAX) {
      state.deliveredTick = tick - PIT_ARREARS_TICKS_MAX;
      rise = nextRiseTick(counter, state.deliveredTick);
    }
    if (rise === undefined || rise > tick) state.deliveredTick = tick;
    else if (tick >= state.edgeTick + PIT_EDGE_INTERVAL_TICKS_MIN) {
      this.#irq.set(false);
      this.#irq.set(true);
      state.line = true;
      state.edgeTick = tick;
      state.deliveredTick = rise;
    }
    this.#arm();
  }

  #arm(): void {
    const rise = nextRiseTick(this.#state.counters[0]!, this.#state.deliveredTick);
    if (rise === undefined) {
      this.#timer.cancel();
      return;
    }
    const earliest = this.#state.edgeTick + PIT_EDGE_INTERVAL_TICKS_MIN;
    this.#timer.arm(CRYSTAL.nsAt(Math.max(rise, earliest)));
  }

  #tick(): number {
    return CRYSTAL.ticksAt(this.#clock.now());
  }
}

/** Counter 2's gate is low until system control port B opens it; the others are tied high. */
function resetState(): PitState {
  return {
    counters: [resetCounter(true), resetCounter(true), resetCounter(false)],
    line: false,
    deliveredTick: 0,
    edgeTick: 0,
  };
}
