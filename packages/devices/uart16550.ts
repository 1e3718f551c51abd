// 16550A serial port (National PC16550D datasheet; its registers are named where they matter).
// Sending takes no time: the transmitter is always empty again. The baud rate is stored, and only
// times the receiver's FIFO timeout.
// Deviation: OUT2 does not gate the interrupt, and word length and parity do not change the data.

import { type ByteSink, bit, bits, type Clock, get, type IrqLine, type Timer } from '@mimic/base';
import { readAsBytes, writeAsBytes } from './byte-registers.ts';
import type { AccessSize, Device } from './device.ts';

const RBR_THR = 0;
const IER_OFFSET = 1;
const IIR_FCR = 2;
const LCR_OFFSET = 3;
const MCR_OFFSET = 4;
const LSR_OFFSET = 5;
const MSR_OFFSET = 6;
const SCR_OFFSET = 7;

const IER = {
  receivedData: bit(0),
  transmitterEmpty: bit(1),
  lineStatus: bit(2),
  modemStatus: bit(3),
  writable: bits(3, 0),
};
/** Interrupt control functions table: the identification values, most urgent first. */
const IIR = {
  lineStatus: 0x06,
  receivedData: 0x04,
  timeout: 0x0c,
  transmitterEmpty: 0x02,
  modemStatus: 0x00,
  none: 0x01,
  fifosEnabled: 0xc0,
};
const FCR = { enable: bit(0), resetRx: bit(1), trigger: bits(7, 6) };
const LCR = { wordLength: bits(1, 0), stopBits: bit(2), parity: bit(3), dlab: bit(7) };
const MCR = {
  dtr: bit(0),
  rts: bit(1),
  out1: bit(2),
  out2: bit(3),
  loop: bit(4),
  writable: bits(4, 0),
};
const LSR = {
  dataReady: 0x01,
  overrun: 0x02,
  errors: 0x1e,
  breakInterrupt: 0x10,
  transmitterEmpty: 0x60,
  fifoError: 0x80,
};
const MSR = { deltas: 0x0f, cts: 0x10, dsr: 0x20, ri: 0x40, dcd: 0x80 };
const RI_TRAILING_EDGE = 0x04;

export const UART_FIFO_SIZE = 16;
/** FCR bits 6 and 7: bytes in the FIFO that raise the received data interrupt. */
const TRIGGER_LEVELS = [1, 4, 8, 14] as const;
/** The 1.8432 MHz crystal of the PC divided by 16: bits a second at divisor 1. */
const BAUD_BASE = 115_200;
const TIMEOUT_CHARACTERS = 4;
/** At a baud rate of 50 the guest would wait for almost a second. */
const TIMEOUT_NS_MAX = 40e6;

/** The four inputs of the modem side. */
export interface ModemLines {
  cts: boolean;
  dsr: boolean;
  ri: boolean;
  dcd: boolean;
}

export interface UartState {
  ier: number;
  lcr: number;
  mcr: number;
  scr: number;
  divisor: number;
  fifosEnabled: boolean;
  trigger: number;
  /** Received bytes, oldest first; LSR's error bits of each are above bit 8. */
  rx: number[];
  overrun: boolean;
  /** Error bits of bytes that were at the head of the FIFO, until LSR is read. */
  errors: number;
  /** The transmitter became empty and neither IIR nor THR was touched since. */
  thrEmptyPending: boolean;
  timeoutPending: boolean;
  /** When the timeout interrupt comes, in clock nanoseconds; -1 is not waiting. */
  timeoutNs: number;
  /** Upper half: the inputs from the modem; lower half: deltas. */
  msr: number;
  modem: number;
  /** `receive` took less than it was offered. */
  refused: boolean;
}

export interface UartWires {
  irq: IrqLine;
  out: ByteSink;
  /** Times the FIFO timeout; without one it comes at once. */
  clock?: Clock;
  /** The FIFO is empty after `receive` had to refuse bytes. May call `receive`. */
  roomAvailable?: () => void;
}

export class Uart16550 implements Device<UartState> {
  readonly kind = 'uart16550';
  readonly #wires: UartWires;
  readonly #timer: Timer | undefined;
  #state: UartState = resetState();

  constructor(wires: UartWires) {
    this.#wires = wires;
    this.#timer = wires.clock?.timer(() => this.#timeout());
  }

  /**
   * Takes bytes off the line, as many as fit, and returns how many. In loopback the line is cut:
   * none.
   */
  receive(bytes: Uint8Array): number {
    const state = this.#state;
    const room = this.#looped() ? 0 : capacity(state) - state.rx.length;
    const taken = Math.max(0, Math.min(room, bytes.length));
    for (const byte of bytes.subarray(0, taken)) state.rx.push(byte);
    if (taken < bytes.length) state.refused = true;
    if (taken > 0) this.#received();
    return taken;
  }

  /**
   * A break condition on the line: a zero byte marked as one. It needs room like any other byte.
   */
  receiveBreak(): boolean {
    if (this.#looped() || this.#state.rx.length >= capacity(this.#state)) return false;
    this.#state.rx.push(LSR.breakInterrupt << 8);
    this.#received();
    return true;
  }

  /** Sets the modem's lines. After reset a modem is present and ready: CTS, DSR and DCD. */
  setModem(lines: ModemLines): void {
    this.#state.modem =
      (lines.cts ? MSR.cts : 0) |
      (lines.dsr ? MSR.dsr : 0) |
      (lines.ri ? MSR.ri : 0) |
      (lines.dcd ? MSR.dcd : 0);
    this.#updateModemStatus();
    this.#updateIrq();
  }

  read(offset: number, size: AccessSize): number {
    return readAsBytes(offset, size, (at) => this.#readByte(at));
  }

  write(offset: number, size: AccessSize, value: number): void {
    writeAsBytes(offset, size, value, (at, byte) => {
      this.#writeByte(at, byte);
      this.#updateIrq();
    });
  }

  reset(): void {
    const { refused } = this.#state;
    this.#state = resetState();
    this.#timer?.cancel();
    this.#updateIrq();
    if (refused) this.#wires.roomAvailable?.();
  }

  save(): UartState {
    return structuredClone(this.#state);
  }

  restore(state: UartState): void {
    this.#state = structuredClone(state);
    this.#armTimeout();
    this.#updateIrq();
  }

  #readByte(offset: number): number {
    const state = this.#state;
    const dlab = get(state.lcr, LCR.dlab) === 1;
    switch (offset) {
      case RBR_THR:
        return dlab ? state.divisor & 0xff : this.#readData();
      case IER_OFFSET:
        return dlab ? state.divisor >> 8 : state.ier;
      case IIR_FCR:
        return this.#readIdentification();
      case LCR_OFFSET:
        return state.lcr;
      case MCR_OFFSET:
        return state.mcr;
      case LSR_OFFSET:
        return this.#readLineStatus();
      case MSR_OFFSET:
        return this.#readModemStatus();
      case SCR_OFFSET:
        return state.scr;
      default:
        return 0xff;
    }
  }

  #writeByte(offset: number, value: number): void {
    const state = this.#state;
    const dlab = get(state.lcr, LCR.dlab) === 1;
    switch (offset) {
      case RBR_THR:
        if (dlab) state.divisor = (state.divisor & 0xff00) | value;
        else this.#send(value);
        break;
      case IER_OFFSET:
        if (dlab) state.divisor = (state.divisor & 0x00ff) | (value << 8);
        else this.#writeInterruptEnable(value & IER.writable.mask);
        break;
      case IIR_FCR:
        this.#writeFifoControl(value);
        break;
      case LCR_OFFSET:
        state.lcr = value;
        break;
      case MCR_OFFSET:
        state.mcr = value & MCR.writable.mask;
        this.#updateModemStatus();
        this.#offerRoom();
        break;
      case SCR_OFFSET:
        state.scr = value;
        break;
    }
  }

  #readData(): number {
    const state = this.#state;
    const entry = state.rx.shift() ?? 0;
    state.timeoutPending = false;
    this.#exposeErrors();
    this.#startTimeout();
    this.#updateIrq();
    this.#offerRoom();
    return entry & 0xff;
  }

  /** Reading IIR takes back the THR empty interrupt, if that is the one it names. */
  #readIdentification(): number {
    const id = this.#identify();
    if (id === IIR.transmitterEmpty) {
      this.#state.thrEmptyPending = false;
      this.#updateIrq();
    }
    return id | (this.#state.fifosEnabled ? IIR.fifosEnabled : 0);
  }

  #readLineStatus(): number {
    const status = this.#lineStatus();
    this.#state.overrun = false;
    this.#state.errors = 0;
    this.#updateIrq();
    return status;
  }

  #readModemStatus(): number {
    const { msr } = this.#state;
    this.#state.msr &= ~MSR.deltas;
    this.#updateIrq();
    return msr;
  }

  #send(byte: number): void {
    const state = this.#state;
    if (!this.#looped()) {
      this.#wires.out.write(Uint8Array.of(byte));
    } else if (state.rx.length < capacity(state)) {
      state.rx.push(byte);
      this.#received();
    } else {
      // The FIFO keeps what it has, the single register takes the new byte. LSR, bit 1.
      if (!state.fifosEnabled) state.rx[0] = byte;
      state.overrun = true;
    }
    // The byte is gone at once, so THR is empty anew.
    state.thrEmptyPending = true;
  }

  /** Enabling the THR empty interrupt while THR is empty raises it. */
  #writeInterruptEnable(value: number): void {
    const enabled = value & ~this.#state.ier;
    this.#state.ier = value;
    if (get(enabled, IER.transmitterEmpty)) this.#state.thrEmptyPending = true;
  }

  #writeFifoControl(value: number): void {
    const state = this.#state;
    const enable = get(value, FCR.enable) === 1;
    const changed = enable !== state.fifosEnabled;
    state.fifosEnabled = enable;
    // The other bits are only taken together with the enable bit. FCR, bit 0.
    if (enable) state.trigger = TRIGGER_LEVELS[get(value, FCR.trigger)]!;
    if (changed || (enable && get(value, FCR.resetRx))) this.#clearReceiver();
  }

  #clearReceiver(): void {
    const state = this.#state;
    state.rx = [];
    state.timeoutPending = false;
    this.#startTimeout();
    this.#updateIrq();
    this.#offerRoom();
  }

  /** The last thing done in an access: the callback may come back in through `receive`. */
  #offerRoom(): void {
    const state = this.#state;
    if (!state.refused || state.rx.length > 0 || this.#looped()) return;
    state.refused = false;
    this.#wires.roomAvailable?.();
  }

  #looped(): boolean {
    return get(this.#state.mcr, MCR.loop) === 1;
  }

  #received(): void {
    if (this.#state.rx.length === 1) this.#exposeErrors();
    this.#startTimeout();
    this.#updateIrq();
  }

  /** Error bits show in LSR when their byte is the next to be read. LSR, bits 2 to 4. */
  #exposeErrors(): void {
    const state = this.#state;
    const head = state.rx[0];
    if (head === undefined) return;
    state.errors |= head >> 8;
    state.rx[0] = head & 0xff;
  }

  #lineStatus(): number {
    const { rx, overrun, errors, fifosEnabled } = this.#state;
    const inFifo = errors !== 0 || rx.some((entry) => entry > 0xff);
    return (
      LSR.transmitterEmpty |
      (rx.length > 0 ? LSR.dataReady : 0) |
      (overrun ? LSR.overrun : 0) |
      errors |
      (fifosEnabled && inFifo ? LSR.fifoError : 0)
    );
  }

  /** In loopback the modem inputs are the control outputs. MCR, bit 4. */
  #updateModemStatus(): void {
    const state = this.#state;
    const looped =
      (get(state.mcr, MCR.rts) ? MSR.cts : 0) |
      (get(state.mcr, MCR.dtr) ? MSR.dsr : 0) |
      (get(state.mcr, MCR.out1) ? MSR.ri : 0) |
      (get(state.mcr, MCR.out2) ? MSR.dcd : 0);
    const inputs = this.#looped() ? looped : state.modem;
    const changed = (state.msr ^ inputs) >> 4;
    // Of RI only the trailing edge counts.
    const deltas = inputs & MSR.ri ? changed & ~RI_TRAILING_EDGE : changed;
    state.msr = inputs | (state.msr & MSR.deltas) | (deltas & MSR.deltas);
  }

  /**
   * The FIFO holds less than the trigger level: if nothing happens for four characters, tell the
   * guest.
   */
  #startTimeout(): void {
    const state = this.#state;
    const { clock } = this.#wires;
    const waiting = state.fifosEnabled && state.rx.length > 0 && !state.timeoutPending;
    if (!waiting) state.timeoutNs = -1;
    else if (clock === undefined) state.timeoutPending = true;
    else state.timeoutNs = clock.now() + timeoutNs(state);
    this.#armTimeout();
  }

  #armTimeout(): void {
    if (this.#state.timeoutNs < 0) this.#timer?.cancel();
    else this.#timer?.arm(this.#state.timeoutNs);
  }

  #timeout(): void {
    this.#state.timeoutPending = true;
    this.#state.timeoutNs = -1;
    this.#updateIrq();
  }

  #identify(): number {
    const { ier, rx, overrun, errors, fifosEnabled, trigger } = this.#state;
    if (get(ier, IER.lineStatus) && (overrun || errors & LSR.errors)) return IIR.lineStatus;
    if (get(ier, IER.receivedData)) {
      if (rx.length >= (fifosEnabled ? trigger : 1)) return IIR.receivedData;
      if (this.#state.timeoutPending) return IIR.timeout;
    }
    if (get(ier, IER.transmitterEmpty) && this.#state.thrEmptyPending) return IIR.transmitterEmpty;
    if (get(ier, IER.modemStatus) && this.#state.msr & MSR.deltas) return IIR.modemStatus;
    return IIR.none;
  }

  #updateIrq(): void {
    this.#wires.irq.set(this.#identify() !== IIR.none);
  }
}

function capacity(state: UartState): number {
  return state.fifosEnabled ? UART_FIFO_SIZE : 1;
}

function timeoutNs(state: UartState): number {
  const { lcr } = state;
  const bitCount =
    1 + 5 + get(lcr, LCR.wordLength) + get(lcr, LCR.parity) + 1 + get(lcr, LCR.stopBits);
  const divisor = state.divisor === 0 ? 65_536 : state.divisor;
  const characterNs = (bitCount * divisor * 1e9) / BAUD_BASE;
  return Math.min(Math.round(TIMEOUT_CHARACTERS * characterNs), TIMEOUT_NS_MAX);
}

/** UART reset configuration table. The divisor is undefined after reset; 12 is 9600 baud. */
function resetState(): UartState {
  const modem = MSR.cts | MSR.dsr | MSR.dcd;
  return {
    ier: 0,
    lcr: 0,
    mcr: 0,
    scr: 0,
    divisor: 12,
    fifosEnabled: false,
    trigger: 1,
    rx: [],
    overrun: false,
    errors: 0,
    thrEmptyPending: false,
    timeoutPending: false,
    timeoutNs: -1,
    msr: modem,
    modem,
    refused: false,
  };
}
