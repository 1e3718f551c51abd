// Tells people what takes so long, on standard error: a spinner on a terminal, plain lines elsewhere.
// It never touches standard input, which belongs to the guest: that is why no library does this.

/** Work that is done sooner is not worth a word. */
const QUIET_MS = 1_000;
const FRAME_MS = 100;
const FRAMES = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];
const FRAMES_ASCII = ['-', '\\', '|', '/'];

/** Runs the work and says so if it takes a while; `note` replaces the text meanwhile. */
export async function withProgress<Result>(
  text: string,
  work: (note: (text: string) => void) => Promise<Result>,
): Promise<Result> {
  const line = new ProgressLine(text);
  try {
    const result = await work((note) => line.note(note));
    line.end('done');
    return result;
  } catch (error) {
    line.end('failed');
    throw error;
  }
}

class ProgressLine {
  readonly #live = process.stderr.isTTY === true && process.env.TERM !== 'dumb';
  readonly #utf8 = /utf-?8/i.test(
    process.env.LC_ALL || process.env.LC_CTYPE || process.env.LANG || '',
  );
  readonly #startMs = performance.now();
  readonly #timer: NodeJS.Timeout;
  #text: string;
  #said: string | undefined;
  #frame = 0;

  constructor(text: string) {
    this.#text = text;
    this.#timer = setInterval(() => this.#tick(), FRAME_MS);
  }

  note(text: string): void {
    this.#text = text;
  }

  end(how: 'done' | 'failed'): void {
    clearInterval(this.#timer);
    if (this.#said === undefined) return;
    const seconds = `${(this.#elapsedMs() / 1000).toFixed(1)} s`;
    const mark = this.#utf8
      ? { done: '✔', failed: '✖' }[how]
      : { done: 'ok:', failed: 'failed:' }[how];
    if (this.#live) process.stderr.write(`\r\x1b[K${mark} ${this.#text} (${seconds})\n`);
    else if (how === 'done') process.stderr.write(`${this.#text}: done (${seconds})\n`);
  }

  #elapsedMs(): number {
    return performance.now() - this.#startMs;
  }

  #tick(): void {
    if (this.#elapsedMs() < QUIET_MS) return;
    if (this.#live) {
      const frames = this.#utf8 ? FRAMES : FRAMES_ASCII;
      const seconds = Math.floor(this.#elapsedMs() / 1000);
      const width = Math.max((process.stderr.columns ?? 80) - 10, 10);
      const text = this.#text.slice(0, width);
      process.stderr.write(`\r\x1b[K${frames[this.#frame++ % frames.length]} ${text} ${seconds} s`);
    } else if (this.#said !== this.#text) {
      process.stderr.write(`${this.#text} …\n`);
    }
    this.#said = this.#text;
  }
}
