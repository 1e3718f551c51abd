// The guest's serial port on standard input and output. On a terminal: raw mode, Ctrl-A keys and the monitor.
// Otherwise bytes go through as they are, and the end of the input is not the end of the guest; a command that knows
// its guest's shell can have it told of the end.

import { type Machine, Terminal } from 'mimic';
import { ESCAPE_HELP, EscapeKeys } from './escape-keys.ts';
import { MonitorPrompt } from './monitor-prompt.ts';
import type { SerialConsole } from './serial-console.ts';

const NEWLINE = 0x0a;
const CTRL_D = '\x04';
/**
 * The wait between two Ctrl-D, which doubles up to the second number and starts anew when the guest prints, as after
 * a command. One is not enough: a pipe stays at its end for all who read it, and what a terminal has received while
 * a command ran is no longer an end when the shell reads it.
 */
const END_OF_INPUT_MS = { first: 500, last: 8_000 };

export class StdioConsole implements SerialConsole {
  readonly #machine: Machine;
  readonly #terminal = Terminal.open();
  readonly #keys = new EscapeKeys();
  readonly #quit: () => void;
  readonly #outputGone: () => void;
  readonly #monitorHistory: string[] = [];
  #monitor: MonitorPrompt | undefined;
  #lastByte = NEWLINE;
  #lastTyped: number | undefined;
  #endTimer: NodeJS.Timeout | undefined;
  #endWaitMs = 0;

  constructor(machine: Machine, actions: { quit: () => void; outputGone: () => void }) {
    this.#machine = machine;
    this.#quit = actions.quit;
    this.#outputGone = actions.outputGone;
  }

  /**
   * From here on input goes to the guest. With `endOfInput`, Ctrl-D follows piped input; where there was none from
   * the start, as in /dev/null, nobody is there to end anything, and the guest runs on.
   */
  open(endOfInput: 'silent' | 'ctrl-d'): void {
    process.stdout.on('error', () => this.#outputGone());
    if (this.#terminal !== undefined) {
      this.#terminal.raw();
      process.stderr.write('The keys go to the guest now. Ctrl-A x quits, Ctrl-A h shows help.\n');
    }
    // A broken input is one that has ended.
    process.stdin.on('error', () => undefined);
    process.stdin.on('data', (bytes: Uint8Array) => this.#typed(bytes));
    if (endOfInput === 'ctrl-d' && this.#terminal === undefined) {
      process.stdin.on('end', () => this.#typeEnd());
    }
    this.#machine.on('exit', () => {
      this.#monitor?.close();
      clearTimeout(this.#endTimer);
    });
  }

  /** What the guest prints waits while the user is in the monitor. */
  async write(bytes: Uint8Array): Promise<void> {
    await this.#monitor?.closed;
    this.#lastByte = bytes.at(-1) ?? this.#lastByte;
    if (this.#endWaitMs > END_OF_INPUT_MS.first) this.#awaitCtrlD(END_OF_INPUT_MS.first);
    await new Promise<void>((resolve) => {
      process.stdout.write(bytes, () => resolve());
    });
  }

  async close(): Promise<void> {
    process.stdin.removeAllListeners('data');
    clearTimeout(this.#endTimer);
    process.stdin.pause();
    this.#terminal?.restore();
    if (process.stdout.isTTY && this.#lastByte !== NEWLINE) process.stdout.write('\n');
  }

  #typed(bytes: Uint8Array): void {
    if (this.#terminal === undefined) {
      this.#lastTyped = bytes.at(-1);
      this.#send(bytes);
      return;
    }
    for (const typed of this.#keys.feed(bytes)) {
      if (typed.to === 'mimic') this.#escape(typed.key);
      else if (this.#monitor !== undefined) this.#monitor.type(typed.bytes);
      else this.#send(typed.bytes);
    }
  }

  /** Ends the last line if the input did not, as a shell that reads a pipe does. */
  #typeEnd(): void {
    if (this.#lastTyped === undefined) return;
    const lineEnd = this.#lastTyped === NEWLINE ? '' : '\n';
    this.#typeCtrlD(lineEnd);
  }

  #typeCtrlD(before: string): void {
    const { first, last } = END_OF_INPUT_MS;
    this.#machine.serial.write(before + CTRL_D).then(
      () => this.#awaitCtrlD(Math.min(Math.max(2 * this.#endWaitMs, first), last)),
      () => undefined, // The machine has ended.
    );
  }

  #awaitCtrlD(waitMs: number): void {
    clearTimeout(this.#endTimer);
    if (this.#machine.state === 'ended') return;
    this.#endWaitMs = waitMs;
    this.#endTimer = setTimeout(() => this.#typeCtrlD(''), waitMs);
  }

  #escape(key: 'quit' | 'help' | 'monitor'): void {
    if (key === 'quit') this.#quit();
    else if (key === 'help') process.stdout.write(ESCAPE_HELP);
    else if (this.#monitor === undefined) this.#openMonitor();
    else {
      // At once, so that what was typed behind Ctrl-A c goes to the guest.
      this.#monitor.close();
      this.#monitor = undefined;
    }
  }

  #openMonitor(): void {
    const monitor = new MonitorPrompt(this.#machine, this.#monitorHistory);
    this.#monitor = monitor;
    // Ctrl-D closes it too.
    void monitor.closed.then(() => {
      if (this.#monitor === monitor) this.#monitor = undefined;
    });
  }

  /** Takes no more input until the guest's port has room for this. On a terminal, Ctrl-A must be seen even then. */
  #send(bytes: Uint8Array): void {
    if (this.#terminal === undefined) process.stdin.pause();
    this.#machine.serial.write(bytes).then(
      () => {
        if (this.#terminal === undefined) process.stdin.resume();
      },
      () => undefined, // The machine has ended: nobody is left to type to.
    );
  }
}
