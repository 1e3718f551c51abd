// The user's terminal in raw mode, and its way back: whatever ends the process, the terminal is left as it was found.

import { writeSync } from 'node:fs';
import type { ReadStream } from 'node:tty';

/** Attributes off, cursor shown, no mouse reports, no bracketed paste: what a guest may have left on. */
const TIDY_UP = '\x1b[0m\x1b[?25h\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?2004l';

export class Terminal {
  readonly #input: ReadStream;
  readonly #tidyOutput: boolean;
  readonly #restore = () => this.restore();
  #raw = false;

  /** Undefined where standard input is no terminal. */
  static open(): Terminal | undefined {
    return process.stdin.isTTY ? new Terminal(process.stdin) : undefined;
  }

  private constructor(input: ReadStream) {
    this.#input = input;
    this.#tidyOutput = process.stdout.isTTY === true;
  }

  /** From here on every key goes to the program, Ctrl-C too. Restored at the latest when the process exits. */
  raw(): void {
    if (this.#raw) return;
    this.#raw = true;
    this.#input.setRawMode(true);
    process.on('exit', this.#restore);
  }

  restore(): void {
    if (!this.#raw) return;
    this.#raw = false;
    process.off('exit', this.#restore);
    try {
      this.#input.setRawMode(false);
      if (this.#tidyOutput) writeSync(1, TIDY_UP);
    } catch {
      // The terminal is gone (hang-up): nothing is left to restore.
    }
  }
}
