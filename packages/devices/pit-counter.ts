// One counter of the 8254 interval timer (Intel 231164): its six modes, derived from the tick at
// which the counting element was loaded. Nothing ticks: count and output are computed from the
// current tick on demand.

import { bit, bits, get } from '@mimic/base';

/** Control word, also the low six bits of the status byte. 231164 figure 7. */
const CONTROL = { bcd: bit(0), mode: bits(3, 1), access: bits(5, 4), select: bits(7, 6) };
const STATUS = { nullCount: bit(6), output: bit(7) };
const ACCESS = { latch: 0, low: 1, high: 2, both: 3 };

export interface PitCounterState {
  /** Low six bits of the last control word. */
  control: number;
  /** Count register as the guest wrote it, 16 bits, possibly BCD. */
  countRegister: number;
  /** A count was written since the control word. */
  counted: boolean;
  /**
   * The counting element runs or is stopped by its gate; false while it waits for a count or a
   * trigger.
   */
  loaded: boolean;
  /** What the counting element was loaded with: 1 to 65536. */
  initial: number;
  /**
   * Modes 2 and 3: what is loaded at `nextTick`, the end of a period or of mode 3's high half; 0 is
   * nothing.
   */
  next: number;
  nextTick: number;
  /** Tick at which the counting element held `initial`. */
  startTick: number;
  gate: boolean;
  /** Ticks counted when the gate stopped the counter; -1 while it runs. */
  pausedElapsed: number;
  /** Low byte written, waiting for the high one (access mode 3). */
  pendingLow: number;
  writeHighNext: boolean;
  readHighNext: boolean;
  /** Output latch; -1 is none. */
  countLatch: number;
  statusLatch: number;
}

export function resetCounter(gate: boolean): PitCounterState {
  return {
    control: 0,
    countRegister: 0,
    counted: false,
    loaded: false,
    initial: 65536,
    next: 0,
    nextTick: 0,
    startTick: 0,
    gate,
    pausedElapsed: 0,
    pendingLow: 0,
    writeHighNext: false,
    readHighNext: false,
    countLatch: -1,
    statusLatch: -1,
  };
}

/** 0 to 5; the two encodings with the middle bit ignored are modes 2 and 3. */
export function modeOf(state: PitCounterState): number {
  const mode = get(state.control, CONTROL.mode);
  return mode > 5 ? mode - 4 : mode;
}

/**
 * A control word that is not a latch command: the output goes to its initial level, counting stops.
 */
export function writeControl(state: PitCounterState, control: number, tick: number): void {
  if (get(control, CONTROL.access) === ACCESS.latch) {
    latchCount(state, tick);
    return;
  }
  state.control = control & 0x3f;
  state.counted = false;
  state.loaded = false;
  state.next = 0;
  state.pausedElapsed = 0;
  state.writeHighNext = false;
  state.readHighNext = false;
  state.countLatch = -1;
  state.statusLatch = -1;
}

export function writeCount(state: PitCounterState, byte: number, tick: number): void {
  const access = get(state.control, CONTROL.access);
  if (access === ACCESS.low) {
    load(state, byte, tick);
  } else if (access === ACCESS.high) {
    load(state, byte << 8, tick);
  } else if (state.writeHighNext) {
    state.writeHighNext = false;
    load(state, (byte << 8) | state.pendingLow, tick);
  } else {
    state.writeHighNext = true;
    state.pendingLow = byte;
    // The first of two bytes stops mode 0 at once. 231164 "Mode 0".
    if (modeOf(state) === 0) {
      state.loaded = false;
      state.counted = false;
    }
  }
}

export function readCount(state: PitCounterState, tick: number): number {
  if (state.statusLatch >= 0) {
    const status = state.statusLatch;
    state.statusLatch = -1;
    return status;
  }
  const access = get(state.control, CONTROL.access);
  const count = state.countLatch >= 0 ? state.countLatch : countAt(state, tick);
  const high = access === ACCESS.high || (access === ACCESS.both && state.readHighNext);
  if (access === ACCESS.both) state.readHighNext = !state.readHighNext;
  if (access !== ACCESS.both || !state.readHighNext) state.countLatch = -1;
  return high ? count >> 8 : count & 0xff;
}

/** A second latch command before the first was read is ignored. 231164 "Counter Latch Command". */
export function latchCount(state: PitCounterState, tick: number): void {
  if (state.countLatch < 0) state.countLatch = countAt(state, tick);
}

export function latchStatus(state: PitCounterState, tick: number): void {
  if (state.statusLatch >= 0) return;
  settle(state, tick);
  const loading = !state.loaded || state.next !== 0 || tick < state.startTick;
  state.statusLatch =
    (outputAt(state, tick) ? STATUS.output.mask : 0) |
    (loading ? STATUS.nullCount.mask : 0) |
    state.control;
}

/**
 * Moves the gate input. 231164 figure 21: it stops modes 0, 2, 3 and 4 and triggers 1, 2, 3 and 5.
 */
export function setGate(state: PitCounterState, high: boolean, tick: number): void {
  if (state.gate === high) return;
  settle(state, tick);
  state.gate = high;
  const mode = modeOf(state);
  if (mode === 1 || mode === 5) {
    if (high && state.counted) start(state, binaryCount(state), tick + 1);
  } else if (!state.loaded) {
    return;
  } else if (!high) {
    state.pausedElapsed = elapsedAt(state, tick);
  } else if (mode === 2 || mode === 3) {
    start(state, binaryCount(state), tick + 1);
  } else {
    state.startTick = tick - state.pausedElapsed;
    state.pausedElapsed = -1;
  }
}

export function outputAt(state: PitCounterState, tick: number): boolean {
  const mode = modeOf(state);
  if (!state.loaded) return mode !== 0;
  settle(state, tick);
  const elapsed = elapsedAt(state, tick);
  switch (mode) {
    case 0:
    case 1:
      return elapsed >= state.initial;
    case 2:
      return !state.gate || elapsed !== state.initial - 1;
    case 3:
      return !state.gate || elapsed < highTicks(state.initial);
    default:
      return elapsed !== state.initial;
  }
}

/**
 * The next tick after `tick` at which the output rises by counting alone; undefined if it will not.
 */
export function nextRiseTick(state: PitCounterState, tick: number): number | undefined {
  if (!state.loaded || state.pausedElapsed >= 0) return undefined;
  settle(state, tick);
  const mode = modeOf(state);
  const end = state.startTick + state.initial;
  const shortened = state.next !== 0 && state.nextTick !== end;
  const rise = shortened ? state.nextTick + (state.next >> 1) : end + (mode >= 4 ? 1 : 0);
  return rise > tick ? rise : undefined;
}

function load(state: PitCounterState, count: number, tick: number): void {
  settle(state, tick);
  state.countRegister = count & 0xffff;
  state.counted = true;
  const mode = modeOf(state);
  const periodic = mode === 2 || mode === 3;
  // Modes 1 and 5 wait for a trigger; 2 and 3 finish their period first; 0 and 4 load at the next
  // clock.
  if (mode === 1 || mode === 5) return;
  if (!periodic || !state.loaded || state.pausedElapsed >= 0) {
    start(state, binaryCount(state), tick + 1);
    return;
  }
  const half = state.startTick + highTicks(state.initial);
  state.next = binaryCount(state);
  state.nextTick = mode === 3 && tick < half ? half : state.startTick + state.initial;
}

function start(state: PitCounterState, initial: number, tick: number): void {
  const mode = modeOf(state);
  state.initial = initial;
  state.next = 0;
  state.startTick = tick;
  state.loaded = true;
  state.pausedElapsed = state.gate || mode === 1 || mode === 5 ? -1 : 0;
}

/**
 * Brings the periodic modes into their current period, taking over a newly written count on the
 * way.
 */
function settle(state: PitCounterState, tick: number): void {
  const mode = modeOf(state);
  if (!state.loaded || state.pausedElapsed >= 0 || (mode !== 2 && mode !== 3)) return;
  if (state.next !== 0) settleNext(state, tick);
  const elapsed = tick - state.startTick;
  if (elapsed >= state.initial) state.startTick += elapsed - (elapsed % state.initial);
}

/** Mode 2 takes a new count at the end of the period, mode 3 at the end of the half period. */
function settleNext(state: PitCounterState, tick: number): void {
  if (tick < state.nextTick) return;
  const atEnd = state.nextTick === state.startTick + state.initial;
  // Loaded at the half, the low half begins with the new count: as if its high half lay just
  // before.
  state.startTick = state.nextTick - (atEnd ? 0 : highTicks(state.next));
  state.initial = state.next;
  state.next = 0;
}

function elapsedAt(state: PitCounterState, tick: number): number {
  if (state.pausedElapsed >= 0) return state.pausedElapsed;
  return Math.max(0, tick - state.startTick);
}

/** Mode 3: an odd count is high for one tick longer than low. */
function highTicks(initial: number): number {
  return Math.ceil(initial / 2);
}

/** The counting element as the guest reads it: 16 bits, BCD if so programmed. */
function countAt(state: PitCounterState, tick: number): number {
  const bcd = get(state.control, CONTROL.bcd) === 1;
  if (!state.loaded) return state.countRegister;
  settle(state, tick);
  const elapsed = elapsedAt(state, tick);
  const wrap = bcd ? 10_000 : 65_536;
  let count: number;
  if (modeOf(state) === 3) {
    const high = highTicks(state.initial);
    const inHalf = elapsed < high ? elapsed : elapsed - high;
    count = Math.max(0, state.initial - (state.initial & 1) - 2 * inHalf);
  } else {
    count = state.initial - elapsed;
  }
  const wrapped = ((count % wrap) + wrap) % wrap;
  return bcd ? toBcd(wrapped) : wrapped;
}

function binaryCount(state: PitCounterState): number {
  const raw = state.countRegister;
  if (get(state.control, CONTROL.bcd) === 0) return raw === 0 ? 65_536 : raw;
  // A digit above 9 counts as its value, like the decade counters do until they first borrow.
  const value = (raw >> 12) * 1000 + ((raw >> 8) & 15) * 100 + ((raw >> 4) & 15) * 10 + (raw & 15);
  return value === 0 ? 10_000 : value;
}

function toBcd(value: number): number {
  const digit = (unit: number): number => Math.floor(value / unit) % 10;
  return (digit(1000) << 12) | (digit(100) << 8) | (digit(10) << 4) | digit(1);
}
