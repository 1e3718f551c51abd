// High precision event timer (IA-PC HPET specification 1.0a): a 64-bit counter and three
// comparators, each one-shot or periodic, 32 or 64 bits, level- or edge-triggered. Left out: FSB
// (MSI) delivery. A timer in legacy replacement takes over ISA interrupts 0 and 8, so the lines of
// PIT and RTC pass through here.

import { bit, bits, type Clock, get, type IrqLine, set, type Timer } from '@mimic/base';
import { type AccessSize, allOnes, type Device } from './device.ts';
import { oscillator } from './oscillator.ts';

/**
 * Tick of the main counter: 100 MHz. In femtoseconds as GCAP_ID tells it; ACPI needs only the
 * address.
 */
export const HPET_PERIOD_NS = 10;
export const HPET_TIMER_COUNT = 3;
/** Low half of GCAP_ID, also the "Event Timer Block ID" of the ACPI HPET table. §2.3.4. */
export const HPET_BLOCK_ID = 0x8086_8001 + (2 ** 13 + ((HPET_TIMER_COUNT - 1) << 8));
/** Pins 20 to 23 of the I/O APIC, which no ISA device uses. */
export const HPET_ROUTES = 0x00f0_0000;

const FEMTOSECONDS = 1e6;
const CRYSTAL = oscillator({ ticks: 1, ns: HPET_PERIOD_NS });
/** Periodic comparators faster than this (50 kHz) miss matches: more than a guest can serve. */
export const HPET_MATCH_INTERVAL_TICKS_MIN = 2000;
/** Matches further away than this (about a year) are not timed. */
const MATCH_TICKS_MAX = 2 ** 51;

/** Register overview, §2.3.3. */
const GCAP_ID = 0x000;
const GCAP_ID_HIGH = 0x004;
const GEN_CONF = 0x010;
const GINTR_STA = 0x020;
const MAIN_CNT = 0x0f0;
const MAIN_CNT_HIGH = 0x0f4;
const TIMERS = 0x100;
const TIMER_SIZE = 0x20;
const TN_CONF = 0x00;
const TN_ROUTES = 0x04;
const TN_COMPARATOR = 0x08;
const TN_COMPARATOR_HIGH = 0x0c;
const REGISTERS_SIZE = 0x400;

const CONF = { enable: bit(0), legacy: bit(1), writable: bits(1, 0) };
/** §2.3.8. */
const TN = {
  level: bit(1),
  interruptEnable: bit(2),
  periodic: bit(3),
  periodicCapable: bit(4),
  wide: bit(5),
  valueSet: bit(6),
  mode32: bit(8),
  route: bits(13, 9),
};
const TN_WRITABLE = 0x3f4e;
/** What decides where an interrupt goes, and whether. */
const TN_LINE = TN.level.mask | TN.interruptEnable.mask | TN.route.mask;
const TN_CAPABILITIES = TN.periodicCapable.mask | TN.wide.mask;

interface HpetTimerState {
  conf: number;
  comparatorLow: number;
  comparatorHigh: number;
  /** What a periodic timer adds to its comparator on each match. */
  periodLow: number;
  periodHigh: number;
  /** VAL_SET was consumed by the low half; a write of the high half belongs to it. */
  valueSetHigh: boolean;
  /** Absolute tick of the next match; -1 is none in sight. */
  matchTick: number;
  /** Edge mode: the pulse of the last match, held until the next. */
  pulse: boolean;
}

export interface HpetState {
  conf: number;
  status: number;
  /** The main counter at `baseTick`; it does not move while halted. */
  counterLow: number;
  counterHigh: number;
  baseTick: number;
  timers: HpetTimerState[];
  /** Levels of the PIT's and the RTC's line. */
  pitLine: boolean;
  rtcLine: boolean;
}

export interface HpetWires {
  clock: Clock;
  /**
   * ISA interrupts 0 and 8, from the PIT and the RTC or, in legacy replacement, from timers 0 and
   * 1.
   */
  irq0: IrqLine;
  irq8: IrqLine;
  /** I/O APIC pin `index`, one of the routes. */
  pin(index: number): IrqLine;
}

export class Hpet implements Device<HpetState> {
  readonly kind = 'hpet';
  readonly #wires: HpetWires;
  readonly #timer: Timer;
  readonly #routes: { index: number; line: IrqLine }[] = [];
  /** Where the output of the PIT goes. */
  readonly pitInput: IrqLine = { set: (high) => this.#setInput('pitLine', high) };
  readonly rtcInput: IrqLine = { set: (high) => this.#setInput('rtcLine', high) };
  #state: HpetState = resetState();

  constructor(wires: HpetWires) {
    this.#wires = wires;
    this.#timer = wires.clock.timer(() => this.#catchUp());
    for (let index = 0; index < 32; index += 1) {
      if (get(HPET_ROUTES, bit(index))) this.#routes.push({ index, line: wires.pin(index) });
    }
  }

  read(offset: number, size: AccessSize): number {
    this.#catchUp();
    const value = this.#readRegister(offset & ~3) >>> ((offset & 3) * 8);
    return (value & allOnes(size)) >>> 0;
  }

  /** Registers are written in halves of 4 bytes; smaller writes are dropped. */
  write(offset: number, size: AccessSize, value: number): void {
    if (size !== 4 || offset & 3) return;
    this.#catchUp();
    this.#writeRegister(offset, value);
    this.#arm();
    this.#updateLines();
  }

  /** Inputs count as low afterwards: the board resets the HPET before PIT and RTC. */
  reset(): void {
    this.#state = resetState();
    this.#arm();
    this.#updateLines();
  }

  save(): HpetState {
    return structuredClone(this.#state);
  }

  restore(state: HpetState): void {
    this.#state = structuredClone(state);
    this.#arm();
    this.#updateLines();
  }

  #readRegister(offset: number): number {
    const state = this.#state;
    switch (offset) {
      case GCAP_ID:
        return HPET_BLOCK_ID;
      case GCAP_ID_HIGH:
        return HPET_PERIOD_NS * FEMTOSECONDS;
      case GEN_CONF:
        return state.conf;
      case GINTR_STA:
        return state.status;
      case MAIN_CNT:
        return this.#counter().low;
      case MAIN_CNT_HIGH:
        return this.#counter().high;
    }
    const timer = state.timers[Math.floor((offset - TIMERS) / TIMER_SIZE)];
    if (offset < TIMERS || timer === undefined) return offset < REGISTERS_SIZE ? 0 : 0xffff_ffff;
    switch (offset % TIMER_SIZE) {
      case TN_CONF:
        return timer.conf | TN_CAPABILITIES;
      case TN_ROUTES:
        return HPET_ROUTES;
      case TN_COMPARATOR:
        return timer.comparatorLow;
      case TN_COMPARATOR_HIGH:
        return get(timer.conf, TN.mode32) ? 0 : timer.comparatorHigh;
      default:
        return 0;
    }
  }

  #writeRegister(offset: number, value: number): void {
    const state = this.#state;
    if (offset === GEN_CONF) {
      this.#rebase();
      const changed = state.conf ^ value;
      state.conf = value & CONF.writable.mask;
      // A pulse that was sent already must not come up again on another line.
      if (changed & CONF.writable.mask) for (const timer of state.timers) timer.pulse = false;
      this.#findMatches();
    } else if (offset === GINTR_STA) {
      state.status &= ~value;
    } else if (offset === MAIN_CNT || offset === MAIN_CNT_HIGH) {
      this.#rebase();
      if (offset === MAIN_CNT) state.counterLow = value;
      else state.counterHigh = value;
      this.#findMatches();
    } else if (offset >= TIMERS) {
      const index = Math.floor((offset - TIMERS) / TIMER_SIZE);
      const timer = state.timers[index];
      if (timer !== undefined) this.#writeTimer(timer, index, offset % TIMER_SIZE, value);
    }
  }

  #writeTimer(timer: HpetTimerState, index: number, register: number, value: number): void {
    if (register === TN_CONF) {
      const before = timer.conf;
      timer.conf = value & TN_WRITABLE;
      // An unsupported route reads back as something else. §2.3.8, Tn_INT_ROUTE_CNF.
      const routed = get(HPET_ROUTES, bit(get(timer.conf, TN.route))) === 1;
      if (!routed) timer.conf = set(timer.conf, TN.route, 0);
      if (!get(timer.conf, TN.level)) this.#state.status &= ~(1 << index);
      if ((before ^ timer.conf) & TN_LINE) timer.pulse = false;
      this.#findMatch(timer, 'after');
    } else if (register === TN_COMPARATOR) {
      writeComparatorLow(timer, value);
      this.#findMatch(timer, 'at');
    } else if (register === TN_COMPARATOR_HIGH) {
      writeComparatorHigh(timer, value);
      this.#findMatch(timer, 'at');
    }
  }

  #setInput(input: 'pitLine' | 'rtcLine', high: boolean): void {
    this.#state[input] = high;
    if (!this.#legacy()) (input === 'pitLine' ? this.#wires.irq0 : this.#wires.irq8).set(high);
  }

  #legacy(): boolean {
    return get(this.#state.conf, CONF.legacy) === 1;
  }

  #tick(): number {
    return CRYSTAL.ticksAt(this.#wires.clock.now());
  }

  #counter(): { low: number; high: number } {
    const { conf, counterLow, counterHigh, baseTick } = this.#state;
    if (!get(conf, CONF.enable)) return { low: counterLow, high: counterHigh };
    const sum = counterLow + (this.#tick() - baseTick);
    return { low: sum % 2 ** 32, high: (counterHigh + Math.floor(sum / 2 ** 32)) % 2 ** 32 };
  }

  /** Makes the present the base of the counter, before it changes its pace or value. */
  #rebase(): void {
    const { low, high } = this.#counter();
    this.#state.counterLow = low;
    this.#state.counterHigh = high;
    this.#state.baseTick = this.#tick();
  }

  #findMatches(): void {
    for (const timer of this.#state.timers) this.#findMatch(timer, 'after');
  }

  /**
   * When the counter will equal the comparator. `after`: an equality of right now has been served
   * already.
   */
  #findMatch(timer: HpetTimerState, from: 'at' | 'after'): void {
    timer.matchTick = -1;
    if (!get(this.#state.conf, CONF.enable)) return;
    const counter = this.#counter();
    let ahead: number;
    let lap: number;
    if (get(timer.conf, TN.mode32)) {
      ahead = (timer.comparatorLow - counter.low) >>> 0;
      lap = 2 ** 32;
    } else {
      const comparator = join(timer.comparatorHigh, timer.comparatorLow);
      ahead = Number(BigInt.asUintN(64, comparator - join(counter.high, counter.low)));
      lap = 2 ** 64;
    }
    if (ahead === 0 && from === 'after') ahead = lap;
    if (ahead <= MATCH_TICKS_MAX) timer.matchTick = this.#tick() + ahead;
  }

  /** Serves all matches up to now: late ones of a periodic timer merge into one interrupt. */
  #catchUp(): void {
    const tick = this.#tick();
    let matched = false;
    for (const [index, timer] of this.#state.timers.entries()) {
      if (timer.matchTick < 0 || timer.matchTick > tick) continue;
      matched = true;
      const elapsed = tick - timer.matchTick;
      if (get(timer.conf, TN.periodic)) advancePeriodic(timer, elapsed);
      this.#findMatch(timer, 'after');
      if (get(timer.conf, TN.level)) this.#state.status |= 1 << index;
      else this.#pulse(timer);
    }
    if (!matched) return;
    this.#arm();
    this.#updateLines();
  }

  /**
   * Deviation: the line falls right before it rises again, since only rises count and a short pulse
   * would be lost on a PIC that is not acknowledged at once.
   */
  #pulse(timer: HpetTimerState): void {
    if (!get(timer.conf, TN.interruptEnable)) return;
    timer.pulse = false;
    this.#updateLines();
    timer.pulse = true;
  }

  #arm(): void {
    let next = Number.POSITIVE_INFINITY;
    for (const { matchTick, conf, periodLow, periodHigh } of this.#state.timers) {
      if (matchTick < 0) continue;
      const fast =
        get(conf, TN.periodic) && periodHigh === 0 && periodLow < HPET_MATCH_INTERVAL_TICKS_MIN;
      next = Math.min(next, fast ? matchTick + HPET_MATCH_INTERVAL_TICKS_MIN : matchTick);
    }
    if (next === Number.POSITIVE_INFINITY) this.#timer.cancel();
    else this.#timer.arm(CRYSTAL.nsAt(next));
  }

  #updateLines(): void {
    const { timers, conf, status, pitLine, rtcLine } = this.#state;
    const legacy = this.#legacy();
    const enabled = get(conf, CONF.enable) === 1;
    const outputs = timers.map((timer, index) => {
      if (!enabled || !get(timer.conf, TN.interruptEnable)) return false;
      return get(timer.conf, TN.level) ? get(status, bit(index)) === 1 : timer.pulse;
    });
    this.#wires.irq0.set(legacy ? outputs[0]! : pitLine);
    this.#wires.irq8.set(legacy ? outputs[1]! : rtcLine);
    const firstRouted = legacy ? 2 : 0;
    for (const { index: pin, line } of this.#routes) {
      const high = outputs.some(
        (output, index) =>
          output && index >= firstRouted && get(timers[index]!.conf, TN.route) === pin,
      );
      line.set(high);
    }
  }
}

function join(high: number, low: number): bigint {
  return (BigInt(high) << 32n) | BigInt(low);
}

/**
 * Moves the comparator beyond the present by whole periods. `elapsedTicks` have passed since the
 * match.
 */
function advancePeriodic(timer: HpetTimerState, elapsedTicks: number): void {
  const period = join(timer.periodHigh, timer.periodLow);
  if (period === 0n) return;
  const steps = BigInt(elapsedTicks) / period + 1n;
  const next = join(timer.comparatorHigh, timer.comparatorLow) + steps * period;
  timer.comparatorLow = Number(BigInt.asUintN(32, next));
  timer.comparatorHigh = get(timer.conf, TN.mode32) ? 0 : Number(BigInt.asUintN(32, next >> 32n));
}

/**
 * A periodic timer takes a written comparator as its period; with VAL_SET, which clears itself, as
 * the time of the first match too. §2.3.9.2.2.
 */
function writeComparatorLow(timer: HpetTimerState, value: number): void {
  const periodic = get(timer.conf, TN.periodic) === 1;
  const valueSet = get(timer.conf, TN.valueSet) === 1;
  if (!periodic || valueSet) timer.comparatorLow = value;
  if (periodic) timer.periodLow = value;
  timer.conf = set(timer.conf, TN.valueSet, 0);
  timer.valueSetHigh = periodic && valueSet && !get(timer.conf, TN.mode32);
  if (get(timer.conf, TN.mode32)) {
    timer.comparatorHigh = 0;
    timer.periodHigh = 0;
  }
}

/** The high half of an 8-byte write follows its low half, and shares its VAL_SET. */
function writeComparatorHigh(timer: HpetTimerState, value: number): void {
  if (get(timer.conf, TN.mode32)) return;
  const periodic = get(timer.conf, TN.periodic) === 1;
  const valueSet = timer.valueSetHigh || get(timer.conf, TN.valueSet) === 1;
  if (!periodic || valueSet) timer.comparatorHigh = value;
  if (periodic) timer.periodHigh = value;
  timer.conf = set(timer.conf, TN.valueSet, 0);
  timer.valueSetHigh = false;
}

function resetState(): HpetState {
  const timers = Array.from({ length: HPET_TIMER_COUNT }, () => ({
    conf: 0,
    comparatorLow: 0xffff_ffff,
    comparatorHigh: 0xffff_ffff,
    periodLow: 0,
    periodHigh: 0,
    valueSetHigh: false,
    matchTick: -1,
    pulse: false,
  }));
  return {
    conf: 0,
    status: 0,
    counterLow: 0,
    counterHigh: 0,
    baseTick: 0,
    timers,
    pitLine: false,
    rtcLine: false,
  };
}
