// The guest's serial port on standard input and output. On a terminal: raw mode, Ctrl-A keys and the monitor.
// Otherwise bytes go through as they are, and the end of the input is not the end of the guest.

import { type Machine, Terminal } from 'mimic';
import { ESCAPE_HELP, EscapeKeys } from './escape-keys.ts';
import { MonitorPrompt } from './monitor-prompt.ts';
import type { SerialConsole } from './serial-console.ts';

const NEWLINE = 0x0a;

export class StdioConsole implements SerialConsole {
  readonly #machine: Machine;
  readonly #terminal = Terminal.open();
  readonly #keys = new EscapeKeys();
  readonly #quit: () => void;
  readonly #outputGone: () => void;
  readonly #monitorHistory: string[] = [];
  #monitor: MonitorPrompt | undefined;
  #lastByte = NEWLINE;

  constructor(machine: Machine, actions: { quit: () => void; outputGone: () => void }) {
    this.#machine = machine;
    this.#quit = actions.quit;
    this.#outputGone = actions.outputGone;
  }

  /** From here on input goes to the guest. */
  open(): void {
    process.stdout.on('error', () => this.#outputGone());
    if (this.#terminal !== undefined) {
      this.#terminal.raw();
      process.stderr.write('The keys go to the guest now. Ctrl-A x quits, Ctrl-A h shows help.\n');
    }
    // A broken input is one that has ended.
    process.stdin.on('error', () => undefined);
    process.stdin.on('data', (bytes: Uint8Array) => this.#typed(bytes));
    this.#machine.on('exit', () => this.#monitor?.close());
  }

  /** What the guest prints waits while the user is in the monitor. */
  async write(bytes: Uint8Array): Promise<void> {
    await this.#monitor?.closed;
    this.#lastByte = bytes.at(-1) ?? this.#lastByte;
    await new Promise<void>((resolve) => {
      process.stdout.write(bytes, () => resolve());
    });
  }

  async close(): Promise<void> {
    process.stdin.removeAllListeners('data');
    process.stdin.pause();
    this.#terminal?.restore();
    if (process.stdout.isTTY && this.#lastByte !== NEWLINE) process.stdout.write('\n');
  }

  #typed(bytes: Uint8Array): void {
    if (this.#terminal === undefined) {
      this.#send(bytes);
      return;
    }
    for (const typed of this.#keys.feed(bytes)) {
      if (typed.to === 'mimic') this.#escape(typed.key);
      else if (this.#monitor !== undefined) this.#monitor.type(typed.bytes);
      else this.#send(typed.bytes);
    }
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
