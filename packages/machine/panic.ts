// Notices on the serial console that the guest's kernel gave up. Linux prints the message (kernel/panic.c) and then
// either restarts at once (panic=-1), after a while (panic=N), or prints an end marker and hangs for good.

/** A console line longer than this is cut: the guest decides how long lines are. */
const LINE_LENGTH_MAX = 1024;

export interface PanicNews {
  /** What the kernel gave as its reason. */
  readonly message: string;
  /** The kernel said that it will do nothing more. */
  readonly final: boolean;
}

export class PanicWatcher {
  #line = '';
  #message: string | undefined;
  readonly #decoder = new TextDecoder('latin1');

  /** The reason of a panic since the last boot. */
  get message(): string | undefined {
    return this.#message;
  }

  /** Returns what happened within these bytes, if anything. */
  push(bytes: Uint8Array): PanicNews | undefined {
    let news: PanicNews | undefined;
    const lines = (this.#line + this.#decoder.decode(bytes)).split('\n');
    this.#line = (lines.pop() ?? '').slice(0, LINE_LENGTH_MAX);
    for (const line of lines) news = this.#look(line.slice(0, LINE_LENGTH_MAX)) ?? news;
    return news;
  }

  /** The guest starts again: what it said before no longer counts. */
  forget(): void {
    this.#message = undefined;
    this.#line = '';
  }

  #look(line: string): PanicNews | undefined {
    const end = /---\[ end Kernel panic - not syncing: (.*?) \]---/.exec(line);
    if (end !== null && this.#message !== undefined) return { message: this.#message, final: true };
    const start = /Kernel panic - not syncing: (.*?)\r?$/.exec(line);
    if (start !== null && end === null) {
      this.#message = start[1]?.trim() ?? '';
      return { message: this.#message, final: false };
    }
    // An orderly restart after all: the panic was text that somebody printed, such as an old log.
    if (/reboot: (Restarting system|Power down|System halted)/.test(line))
      this.#message = undefined;
    return undefined;
  }
}
