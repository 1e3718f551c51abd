// MC146818A real-time clock with 128 bytes of CMOS memory and the PC's century byte, ports 0x70
// (offset 0) and 0x71 (1); section numbers are Motorola's. The date is that of an injected wall
// clock plus an offset, which the guest moves by setting the clock. Left out: daylight saving, the
// square wave pin.

import { bit, bits, type Clock, get, type IrqLine, set, type Timer } from '@mimic/base';
import { readAsBytes, writeAsBytes } from './byte-registers.ts';
import type { AccessSize, Device } from './device.ts';
import { oscillator } from './oscillator.ts';
import { type CalendarFormat, decodeTime, encodeTime, matchesAlarm } from './rtc-calendar.ts';

const INDEX_PORT = 0;
const DATA_PORT = 1;
const INDEX = { register: bits(6, 0), nmiMask: bit(7) };

export const CMOS_SIZE = 128;
const REGISTER_A = 0x0a;
const REGISTER_B = 0x0b;
const REGISTER_C = 0x0c;
const REGISTER_D = 0x0d;
/** Where PC firmware keeps the century; ACPI's FADT names it. */
export const RTC_CENTURY = 0x32;

/** Register A. */
const A = { rateSelect: bits(3, 0), divider: bits(6, 4), updateInProgress: bit(7) };
const DIVIDER_RUN = 2;
const DIVIDER_RESET = 6;
/** Register B. */
const B = {
  hours24: bit(1),
  binary: bit(2),
  updateEnable: bit(4),
  alarmEnable: bit(5),
  periodicEnable: bit(6),
  set: bit(7),
};
/** Register C; the flags stand where register B has their enable bits. */
const C = { update: bit(4), alarm: bit(5), periodic: bit(6), irq: bit(7), flags: bits(6, 4) };
const D_VALID = 0x80;

/** UIP rises 244 us before an update, which takes 1984 us. Table "Update cycle times". */
const UPDATE_MS = 2.228;
/** After the divider is released the first update comes half a second later. "Divider control". */
const DIVIDER_PHASE_MS = 500;
/** The least wait for an update, in case the wall clock is behind the machine's. */
const UPDATE_WAIT_NS_MIN = 100_000;
const DAY_SECONDS = 86_400;
/** The 32768 Hz crystal. */
const CRYSTAL = oscillator({ ticks: 512, ns: 15_625_000 });

export interface RtcState {
  /** As written to the index port, with the NMI mask. */
  index: number;
  /** All registers and memory. Time and date are current only while the clock is held. */
  bytes: number[];
  /** Guest time minus wall time. */
  offsetMs: number;
  /** Added to the true day of the week, which the guest may set to anything. */
  weekdayShift: number;
  /** The divider was reset since the clock last ran. */
  dividerReset: boolean;
  /** Guest time up to which updates and alarms have been noticed, in seconds. */
  noticedSecond: number;
  /** Crystal tick up to which periodic interrupts have been noticed. */
  noticedTick: number;
}

export interface RtcWires {
  irq: IrqLine;
  clock: Clock;
  /** Milliseconds since 1970 of what the guest is to take for the present, whole or fractional. */
  wallClockMs(): number;
}

export class Rtc implements Device<RtcState> {
  readonly kind = 'rtc';
  readonly #wires: RtcWires;
  readonly #timer: Timer;
  readonly #cmos: ReadonlyArray<readonly [index: number, value: number]>;
  #state: RtcState;

  /** `cmos` presets memory bytes from 0x0e on, such as the memory sizes that firmware reads. */
  constructor(
    wires: RtcWires,
    options: { cmos?: ReadonlyArray<readonly [index: number, value: number]> } = {},
  ) {
    this.#wires = wires;
    this.#cmos = options.cmos ?? [];
    this.#timer = wires.clock.timer(() => this.#catchUp());
    this.#state = this.#resetState();
  }

  /** Bit 7 of port 0x70: the guest wants no NMI. */
  get nmiMasked(): boolean {
    return get(this.#state.index, INDEX.nmiMask) === 1;
  }

  read(offset: number, size: AccessSize): number {
    return readAsBytes(offset, size, (at) => {
      // The index port is write-only on a PC.
      return at === DATA_PORT ? this.#readRegister(get(this.#state.index, INDEX.register)) : 0xff;
    });
  }

  write(offset: number, size: AccessSize, value: number): void {
    writeAsBytes(offset, size, value, (at, byte) => {
      if (at === INDEX_PORT) this.#state.index = byte;
      else if (at === DATA_PORT) {
        this.#writeRegister(get(this.#state.index, INDEX.register), byte);
      }
    });
  }

  /**
   * A new battery: the guest's time and memory are gone. A machine that reboots uses `pinReset`.
   */
  reset(): void {
    this.#state = this.#resetState();
    this.#update();
  }

  /** The RESET pin: interrupts are off, time and memory stay. "RESET". */
  pinReset(): void {
    const { bytes } = this.#state;
    const enables = B.periodicEnable.mask | B.alarmEnable.mask | B.updateEnable.mask;
    bytes[REGISTER_B]! &= ~enables;
    bytes[REGISTER_C] = 0;
    this.#state.index = 0;
    this.#update();
  }

  save(): RtcState {
    return structuredClone(this.#state);
  }

  restore(state: RtcState): void {
    this.#state = structuredClone(state);
    this.#update();
  }

  #resetState(): RtcState {
    const bytes = new Array<number>(CMOS_SIZE).fill(0);
    for (const [index, value] of this.#cmos) bytes[index & (CMOS_SIZE - 1)] = value & 0xff;
    // 1024 Hz, as firmware leaves it; 24 hours, BCD.
    bytes[REGISTER_A] = 0x26;
    bytes[REGISTER_B] = B.hours24.mask;
    bytes[REGISTER_C] = 0;
    bytes[REGISTER_D] = D_VALID;
    return {
      index: 0,
      bytes,
      offsetMs: 0,
      weekdayShift: 0,
      dividerReset: false,
      noticedSecond: Math.floor(this.#wires.wallClockMs() / 1000),
      noticedTick: CRYSTAL.ticksAt(this.#wires.clock.now()),
    };
  }

  #readRegister(index: number): number {
    this.#catchUp();
    const { bytes } = this.#state;
    if (isTime(index)) return this.#held() ? bytes[index]! : this.#encodeNow()[index]!;
    if (index === REGISTER_A) {
      return set(bytes[REGISTER_A]!, A.updateInProgress, this.#updating() ? 1 : 0);
    }
    if (index !== REGISTER_C) return bytes[index]!;
    const flags = bytes[REGISTER_C]! | (this.#interrupting() ? C.irq.mask : 0);
    bytes[REGISTER_C] = 0;
    this.#update();
    return flags;
  }

  #writeRegister(index: number, value: number): void {
    this.#catchUp();
    const { bytes } = this.#state;
    if (index === REGISTER_C || index === REGISTER_D) return;
    if (isTime(index)) {
      // A running clock takes the byte too, at its present phase.
      const running = !this.#held();
      if (running) this.#hold();
      bytes[index] = value;
      if (running) this.#release();
    } else if (index === REGISTER_A || index === REGISTER_B) {
      this.#writeControl(index, value);
    } else {
      bytes[index] = value;
    }
    this.#update();
  }

  #writeControl(index: number, value: number): void {
    const { bytes } = this.#state;
    const wasHeld = this.#held();
    if (!wasHeld) this.#hold();
    if (index === REGISTER_A) {
      bytes[REGISTER_A] = value & ~A.updateInProgress.mask;
      if (get(value, A.divider) >= DIVIDER_RESET) this.#state.dividerReset = true;
    } else {
      // Setting the clock turns the update interrupt off. "SET".
      bytes[REGISTER_B] = get(value, B.set) ? value & ~B.updateEnable.mask : value;
    }
    // A change of format does not convert what a held clock shows, only what a running one will.
    if (wasHeld && !this.#held()) this.#release();
  }

  /** The clock stands still: it is being set, or its divider does not run. */
  #held(): boolean {
    const { bytes } = this.#state;
    const running = get(bytes[REGISTER_A]!, A.divider) === DIVIDER_RUN;
    return !running || get(bytes[REGISTER_B]!, B.set) === 1;
  }

  #hold(): void {
    const now = this.#encodeNow();
    for (const [index] of now.entries()) {
      if (isTime(index) && now[index] !== undefined) this.#state.bytes[index] = now[index];
    }
  }

  /** Goes on from the time in the registers. */
  #release(): void {
    const state = this.#state;
    const phaseMs = state.dividerReset ? DIVIDER_PHASE_MS : positiveModulo(this.#timeMs(), 1000);
    const { seconds, weekdayShift } = decodeTime(state.bytes, this.#format());
    state.offsetMs = seconds * 1000 + phaseMs - this.#wires.wallClockMs();
    state.weekdayShift = weekdayShift;
    state.dividerReset = false;
    state.noticedSecond = seconds;
  }

  #encodeNow(): number[] {
    const seconds = Math.floor(this.#timeMs() / 1000);
    return encodeTime(seconds, this.#state.weekdayShift, this.#format());
  }

  #format(): CalendarFormat {
    const control = this.#state.bytes[REGISTER_B]!;
    return { binary: get(control, B.binary) === 1, hours24: get(control, B.hours24) === 1 };
  }

  #timeMs(): number {
    return this.#wires.wallClockMs() + this.#state.offsetMs;
  }

  #updating(): boolean {
    return !this.#held() && positiveModulo(this.#timeMs(), 1000) >= 1000 - UPDATE_MS;
  }

  #interrupting(): boolean {
    const { bytes } = this.#state;
    return get(bytes[REGISTER_B]! & bytes[REGISTER_C]!, C.flags) !== 0;
  }

  /** Sets the flags of all updates, alarms and periods since last time; several of a kind merge. */
  #catchUp(): void {
    this.#noticeUpdates();
    this.#noticePeriods();
    this.#update();
  }

  #noticeUpdates(): void {
    if (this.#held()) return;
    const state = this.#state;
    const second = Math.floor(this.#timeMs() / 1000);
    const first = Math.max(state.noticedSecond + 1, second - DAY_SECONDS + 1);
    state.noticedSecond = second;
    // Also when the wall clock was set back.
    if (second < first) return;
    state.bytes[REGISTER_C]! |= C.update.mask;
    const format = this.#format();
    for (let at = first; at <= second; at += 1) {
      if (!matchesAlarm(state.bytes, at, format)) continue;
      state.bytes[REGISTER_C]! |= C.alarm.mask;
      break;
    }
  }

  #noticePeriods(): void {
    const state = this.#state;
    const tick = CRYSTAL.ticksAt(this.#wires.clock.now());
    const period = periodTicks(state.bytes[REGISTER_A]!);
    const passed = Math.floor(tick / period) > Math.floor(state.noticedTick / period);
    state.noticedTick = tick;
    if (passed) state.bytes[REGISTER_C]! |= C.periodic.mask;
  }

  /** Derives line and timer from the state. */
  #update(): void {
    this.#wires.irq.set(this.#interrupting());
    const deadline = Math.min(this.#nextUpdateNs(), this.#nextPeriodNs());
    if (deadline === Number.POSITIVE_INFINITY) this.#timer.cancel();
    else this.#timer.arm(deadline);
  }

  /** Flags are found late when they are read; only an interrupt needs to be on time. */
  #nextUpdateNs(): number {
    const control = this.#state.bytes[REGISTER_B]!;
    const wanted = get(control, B.updateEnable) || get(control, B.alarmEnable);
    if (!wanted || this.#held()) return Number.POSITIVE_INFINITY;
    const waitNs = Math.ceil((1000 - positiveModulo(this.#timeMs(), 1000)) * 1e6);
    return this.#wires.clock.now() + Math.max(waitNs, UPDATE_WAIT_NS_MIN);
  }

  #nextPeriodNs(): number {
    const { bytes, noticedTick } = this.#state;
    const period = periodTicks(bytes[REGISTER_A]!);
    const wanted =
      get(bytes[REGISTER_B]!, B.periodicEnable) && !get(bytes[REGISTER_C]!, C.periodic);
    if (!wanted || period === Number.POSITIVE_INFINITY) return Number.POSITIVE_INFINITY;
    return CRYSTAL.nsAt((Math.floor(noticedTick / period) + 1) * period);
  }
}

/**
 * Ticks of the crystal in one periodic interrupt. Table "Periodic interrupt rate", 32.768 kHz
 * column.
 */
function periodTicks(registerA: number): number {
  const rate = get(registerA, A.rateSelect);
  if (rate === 0 || get(registerA, A.divider) !== DIVIDER_RUN) return Number.POSITIVE_INFINITY;
  return rate <= 2 ? 1 << (rate + 6) : 1 << (rate - 1);
}

function isTime(index: number): boolean {
  const alarm = index === 1 || index === 3 || index === 5;
  return (index < REGISTER_A && !alarm) || index === RTC_CENTURY;
}

function positiveModulo(value: number, modulus: number): number {
  return ((value % modulus) + modulus) % modulus;
}
