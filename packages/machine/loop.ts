// The loop that a machine's worker spends its life in: guest code in slices, between them timers, commands,
// serial input and output. It sleeps on the mailbox's bell whenever the guest has nothing to do.

import type { TimerQueue } from '@mimic/base';
import { runCommand } from './commands.ts';
import type { Computer, Processor } from './computer.ts';
import { MachineError } from './errors.ts';
import type { Mailbox } from './mailbox.ts';
import type { Output } from './output.ts';
import { Pacer } from './pacer.ts';
import type { CommandFrame, ErrorReport, Report, WorkerEnd } from './protocol.ts';

/** A sleep that nothing bounds is still looked at once in a while: a lost wake-up costs this, not a hang. */
export const SLEEP_MAX_MS = 1_000;
/** The FIFO of a 16550 holds 16 bytes. */
export const SERIAL_PIECE_BYTES = 16;
/** A console's driver gives buffers of a page. */
export const CONSOLE_PIECE_BYTES = 4096;

export interface LoopOptions {
  /** What follows a reset by the guest. */
  readonly onReset: 'boot' | 'stop';
  /** Hardware resets on a triple fault; people who start a kernel rather want to know about it. */
  readonly onTripleFault: 'reset' | 'stop';
}

/** What the guest did during a slice that the loop deals with after it. */
export interface GuestSignals {
  poweredOff: boolean;
  resetAsked: boolean;
}

export class MachineLoop {
  readonly #computer: Computer;
  readonly #clock: TimerQueue;
  readonly #pacer: Pacer;
  readonly #mailbox: Mailbox;
  readonly #output: Output;
  readonly #send: (report: Report) => void;
  readonly #options: LoopOptions;
  readonly #signals: GuestSignals;
  #state: 'paused' | 'running' | 'stopped' = 'paused';

  constructor(parts: {
    computer: Computer;
    clock: TimerQueue;
    mailbox: Mailbox;
    output: Output;
    send: (report: Report) => void;
    signals: GuestSignals;
    options: LoopOptions;
  }) {
    this.#computer = parts.computer;
    this.#clock = parts.clock;
    this.#pacer = new Pacer(parts.clock, parts.computer.slices);
    this.#mailbox = parts.mailbox;
    this.#output = parts.output;
    this.#send = parts.send;
    this.#signals = parts.signals;
    this.#options = parts.options;
  }

  /** Runs until the machine ends. Awaits between slices, so that promises of host back ends get their turn. */
  async run(): Promise<WorkerEnd> {
    for (;;) {
      const bell = this.#mailbox.bell;
      this.#takeCommands();
      if (this.#state === 'stopped') return { reason: 'stopped' };
      const held = this.#state === 'paused' || this.#output.full;
      if (held) {
        this.#computer.processor.hold();
        this.#clock.pause();
        this.#output.flush();
        this.#mailbox.sleep(bell, SLEEP_MAX_MS);
      } else {
        this.#clock.resume();
        const end = this.#slice(bell);
        if (end !== undefined) return end;
      }
      await undefined;
    }
  }

  /** A timer was armed or cancelled, maybe by a device in the middle of a slice: that slice must not outlast it. */
  deadlineChanged(): void {
    if (this.#pacer.isOverdue) this.#computer.processor.stop();
  }

  /** Timers, input, guest code, output; then sleeps if the guest halted. */
  #slice(bell: number): WorkerEnd | undefined {
    this.#clock.runExpired();
    this.feedSerial();
    for (const index of this.#mailbox.consoleInputs.keys()) this.feedConsole(index);
    const cause = this.#pacer.run(this.#computer.processor);
    this.#output.flush();
    if (this.#signals.poweredOff) return { reason: 'power-off' };
    if (cause === 'shutdown' && !this.#signals.resetAsked) {
      if (this.#options.onTripleFault === 'stop') return tripleFault(this.#computer.processor);
      this.#signals.resetAsked = true;
    }
    if (this.#signals.resetAsked) {
      if (this.#options.onReset === 'stop') return { reason: 'reset' };
      this.#boot();
    } else if (cause === 'halted') {
      this.#sleepUntilDeadline(bell);
    }
    return undefined;
  }

  #sleepUntilDeadline(bell: number): void {
    const { idleMs } = this.#pacer;
    if (idleMs > 0) this.#mailbox.sleep(bell, Math.min(idleMs, SLEEP_MAX_MS));
  }

  /** Hands waiting input to the serial port until it refuses some. */
  feedSerial(): void {
    const { serialInput } = this.#mailbox;
    while (serialInput.length > 0) {
      const bytes = serialInput.peek(SERIAL_PIECE_BYTES);
      const taken = this.#computer.serialInput(bytes);
      serialInput.skip(taken);
      if (taken < bytes.length) return;
    }
  }

  /** The same for a port of the virtio console. */
  feedConsole(index: number): void {
    const input = this.#mailbox.consoleInputs[index]!;
    while (input.length > 0) {
      const bytes = input.peek(CONSOLE_PIECE_BYTES);
      const taken = this.#computer.consoleInput(index, bytes);
      input.skip(taken);
      if (taken < bytes.length) return;
    }
  }

  #boot(): void {
    this.#signals.resetAsked = false;
    this.#computer.boot();
    this.#send({ kind: 'reset' });
  }

  #takeCommands(): void {
    takeCommands(this.#mailbox, this.#send, (frame) => {
      const value = this.#command(frame);
      return { value, isLast: this.#state === 'stopped' };
    });
  }

  #command(frame: CommandFrame): unknown {
    switch (frame.name) {
      case 'resume':
        this.#state = 'running';
        return null;
      case 'pause':
        this.#state = 'paused';
        // Before the answer: who asked may look at once, and finds all processors at rest.
        this.#computer.processor.hold();
        this.#output.flush();
        return null;
      case 'stop':
        this.#state = 'stopped';
        this.#output.flush();
        return null;
      case 'reset':
        this.#boot();
        return null;
      default:
        return runCommand(this.#computer, frame);
    }
  }
}

/** Carries out and answers the commands that have come, until one is the machine's last. */
export function takeCommands(
  mailbox: Mailbox,
  send: (report: Report) => void,
  carryOut: (frame: CommandFrame) => { value: unknown; isLast: boolean },
): void {
  for (;;) {
    const frame = mailbox.take() as CommandFrame | undefined;
    if (frame === undefined) return;
    try {
      const { value, isLast } = carryOut(frame);
      send({ kind: 'reply', id: frame.id, value });
      if (isLast) return;
    } catch (error) {
      send({ kind: 'refused', id: frame.id, error: errorReport(error) });
    }
  }
}

export function tripleFault(processor: Processor): WorkerEnd {
  const registers: Record<string, bigint> = {};
  for (const name of processor.registerNames) {
    const value = processor.readRegister(name);
    if (value !== undefined) registers[name] = value;
  }
  return { reason: 'triple-fault', registers };
}

export function errorReport(error: unknown): ErrorReport {
  if (error instanceof Error && 'code' in error && typeof error.code === 'string') {
    const hint = error instanceof MachineError || 'hint' in error ? error.hint : undefined;
    return {
      code: error.code,
      message: error.message,
      hint: typeof hint === 'string' ? hint : undefined,
    };
  }
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return { code: 'CRASHED', message: text, hint: undefined };
}
