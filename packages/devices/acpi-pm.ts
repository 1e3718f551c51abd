// Power management block of the PIIX4 (82371AB, Intel 290562 §7.2): PM1 event and control
// registers, PM timer, general purpose events, and the APM ports through which an OS hands over to
// ACPI. Fixed hardware as ACPI 6.5 §4.8. Left out: device monitors, throttling, SMI (there is no
// SMM: what firmware would do happens here).

import { bit, bits, type Clock, get, type IrqLine, set, type Timer } from '@mimic/base';
import { readAsBytes, writeAsBytes } from './byte-registers.ts';
import type { AccessSize, Device } from './device.ts';
import { oscillator } from './oscillator.ts';

/** Offsets for the FADT. 290562 §7.2; the APM ports (0xb2, 0xb3) follow the block of 64. */
export const ACPI_PM = {
  event: 0x00,
  eventSize: 4,
  control: 0x04,
  controlSize: 2,
  timer: 0x08,
  timerSize: 4,
  gpe0: 0x0c,
  gpe0Size: 4,
  blockSize: 0x40,
  apm: 0x40,
  apmSize: 2,
} as const;
/** What the FADT tells the OS to write to the SMI command port (`apm`). */
export const ACPI_ENABLE = 0xf1;
export const ACPI_DISABLE = 0xf0;

/** PM1 status and enable. ACPI §4.8.3.1. */
const PM1 = { timer: bit(0), global: bit(5), powerButton: bit(8), rtc: bit(10), wake: bit(15) };
const STATUS_BITS = 0x8d31;
const ENABLE_BITS = PM1.timer.mask | PM1.global.mask | PM1.powerButton.mask | PM1.rtc.mask;
/** PM1 control. ACPI §4.8.3.2. */
const CONTROL = { sciEnable: bit(0), sleepType: bits(12, 10), sleepEnable: bit(13) };
const CONTROL_BITS = 0x1c03;
const GPE_COUNT = 16;

const CRYSTAL = oscillator({ ticks: 715_909, ns: 200_000_000 });

export interface AcpiPmState {
  status: number;
  enable: number;
  control: number;
  gpeStatus: number;
  gpeEnable: number;
  apmCommand: number;
  apmStatus: number;
  /** Timer tick up to which overflows have been noticed. */
  noticedTick: number;
}

export interface AcpiPmWires {
  /** High while an event is pending: a level-triggered interrupt. */
  sci: IrqLine;
  clock: Clock;
  /** The guest enters sleep state `type`, the SLP_TYP value that the DSDT gives to S1 to S5. */
  sleep(type: number): void;
}

export class AcpiPm implements Device<AcpiPmState> {
  readonly kind = 'acpi-pm';
  readonly #wires: AcpiPmWires;
  readonly #timerBits: 24 | 32;
  readonly #timer: Timer;
  #state: AcpiPmState;

  /** `timerBits` must agree with TMR_VAL_EXT of the FADT. */
  constructor(wires: AcpiPmWires, options: { timerBits?: 24 | 32 } = {}) {
    this.#wires = wires;
    this.#timerBits = options.timerBits ?? 24;
    this.#timer = wires.clock.timer(() => this.#catchUp());
    this.#state = this.#resetState();
  }

  /**
   * A short press. False if the guest will not hear of it: no ACPI, or the event is not enabled.
   */
  pressPowerButton(): boolean {
    this.#state.status |= PM1.powerButton.mask;
    this.#update();
    return this.#acpiMode() && get(this.#state.enable, PM1.powerButton) === 1;
  }

  /** The machine comes back from S1 or S3. */
  wake(): void {
    this.#state.status |= PM1.wake.mask;
    this.#update();
  }

  /** General purpose event 0 to 15, as the DSDT's \_GPE methods number them. */
  raiseGpe(index: number): void {
    if (index >= 0 && index < GPE_COUNT) this.#state.gpeStatus |= 1 << index;
    this.#update();
  }

  read(offset: number, size: AccessSize): number {
    this.#catchUp();
    // One value for all bytes of an access.
    const timer = this.#tick() % 2 ** this.#timerBits;
    return readAsBytes(offset, size, (at) => this.#readByte(at, timer));
  }

  write(offset: number, size: AccessSize, value: number): void {
    this.#catchUp();
    writeAsBytes(offset, size, value, (at, byte) => this.#writeByte(at, byte));
    this.#update();
  }

  reset(): void {
    this.#state = this.#resetState();
    this.#update();
  }

  save(): AcpiPmState {
    return structuredClone(this.#state);
  }

  restore(state: AcpiPmState): void {
    this.#state = structuredClone(state);
    this.#update();
  }

  #resetState(): AcpiPmState {
    return {
      status: 0,
      enable: 0,
      control: 0,
      gpeStatus: 0,
      gpeEnable: 0,
      apmCommand: 0,
      apmStatus: 0,
      noticedTick: this.#tick(),
    };
  }

  #readByte(offset: number, timer: number): number {
    const state = this.#state;
    const { timer: timerOffset, timerSize } = ACPI_PM;
    if (offset >= timerOffset && offset < timerOffset + timerSize) {
      return (timer >>> (8 * (offset - timerOffset))) & 0xff;
    }
    const high = (offset & 1) * 8;
    switch (offset & ~1) {
      case ACPI_PM.event:
        return (state.status >> high) & 0xff;
      case ACPI_PM.event + 2:
        return (state.enable >> high) & 0xff;
      case ACPI_PM.control:
        return (state.control >> high) & 0xff;
      case ACPI_PM.gpe0:
        return (state.gpeStatus >> high) & 0xff;
      case ACPI_PM.gpe0 + 2:
        return (state.gpeEnable >> high) & 0xff;
      case ACPI_PM.apm:
        return high ? state.apmStatus : state.apmCommand;
      default:
        return offset < ACPI_PM.blockSize ? 0 : 0xff;
    }
  }

  #writeByte(offset: number, byte: number): void {
    const state = this.#state;
    const high = (offset & 1) * 8;
    const kept = 0xff00 >> high;
    const bitsWritten = byte << high;
    switch (offset & ~1) {
      case ACPI_PM.event:
        state.status &= ~bitsWritten;
        break;
      case ACPI_PM.event + 2:
        state.enable = ((state.enable & kept) | bitsWritten) & ENABLE_BITS;
        break;
      case ACPI_PM.control:
        state.control = ((state.control & kept) | bitsWritten) & CONTROL_BITS;
        if (get(bitsWritten, CONTROL.sleepEnable)) {
          this.#wires.sleep(get(state.control, CONTROL.sleepType));
        }
        break;
      case ACPI_PM.gpe0:
        state.gpeStatus &= ~bitsWritten;
        break;
      case ACPI_PM.gpe0 + 2:
        state.gpeEnable = (state.gpeEnable & kept) | bitsWritten;
        break;
      case ACPI_PM.apm:
        if (high) state.apmStatus = byte;
        else this.#command(byte);
        break;
    }
  }

  /** Deviation: firmware's SMI handler would set SCI_EN; here the port does. ACPI §16.3.1. */
  #command(command: number): void {
    this.#state.apmCommand = command;
    if (command === ACPI_ENABLE)
      this.#state.control = set(this.#state.control, CONTROL.sciEnable, 1);
    if (command === ACPI_DISABLE)
      this.#state.control = set(this.#state.control, CONTROL.sciEnable, 0);
  }

  #acpiMode(): boolean {
    return get(this.#state.control, CONTROL.sciEnable) === 1;
  }

  #tick(): number {
    return CRYSTAL.ticksAt(this.#wires.clock.now());
  }

  /** TMR_STS is set whenever the timer's highest bit changes. ACPI §4.8.3.3. */
  #catchUp(): void {
    const state = this.#state;
    const tick = this.#tick();
    const half = 2 ** (this.#timerBits - 1);
    const overflowed = Math.floor(tick / half) > Math.floor(state.noticedTick / half);
    state.noticedTick = tick;
    if (!overflowed) return;
    state.status |= PM1.timer.mask;
    this.#update();
  }

  /** Derives line and timer from the state. */
  #update(): void {
    const { status, enable, gpeStatus, gpeEnable } = this.#state;
    const pending = (status & enable & STATUS_BITS) !== 0 || (gpeStatus & gpeEnable) !== 0;
    this.#wires.sci.set(this.#acpiMode() && pending);
    const timed = this.#acpiMode() && get(enable, PM1.timer) && !get(status, PM1.timer);
    if (!timed) {
      this.#timer.cancel();
      return;
    }
    const half = 2 ** (this.#timerBits - 1);
    this.#timer.arm(CRYSTAL.nsAt((Math.floor(this.#state.noticedTick / half) + 1) * half));
  }
}
