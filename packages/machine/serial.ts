// The guest's first serial port, or a port of its virtio console, as the host's program sees it: a stream out, a stream in, and expect.

import { MachineError } from './errors.ts';
import type { Mailbox } from './mailbox.ts';
import type { ByteRing } from './ring.ts';

/** Text kept for `expect` and for error messages. */
const HISTORY_LENGTH_MAX = 1 << 18;
/** `readable` takes this much before the guest is held. */
const STREAM_BUFFER_BYTES = 1 << 16;
const QUOTE_LENGTH = 2000;
const EXPECT_TIMEOUT_MS = 60_000;

export interface ExpectOptions {
  /** Default 60 seconds. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

/** What `expect` found. */
export interface ExpectMatch {
  /** The text that matched. */
  readonly text: string;
  /** Everything between the match before and this one. */
  readonly before: string;
  /** The groups of a regular expression; undefined for one that took no part. */
  readonly groups: readonly (string | undefined)[];
}

interface Expectation {
  readonly pattern: string | RegExp;
  readonly settle: (result: ExpectMatch | MachineError) => void;
}

export class SerialPort {
  readonly #mailbox: Mailbox;
  readonly #input: ByteRing;
  readonly #decoder = new TextDecoder();
  /** Output not yet passed by a match; older text is dropped beyond the limit. */
  #unmatched = '';
  /** The last output, matched or not, for quoting. */
  #tail = '';
  readonly #expectations: Expectation[] = [];
  #stream: ReadableStream<Uint8Array> | undefined;
  #controller: ReadableStreamDefaultController<Uint8Array> | undefined;
  /** All deliveries that wait for the stream's reader. */
  #pulled: PromiseWithResolvers<void> | undefined;
  #writing: Promise<void> = Promise.resolve();
  #ended: string | undefined;
  readonly #over = Promise.withResolvers<void>();

  /** Made by `Machine`. `input` is the ring of `mailbox` that takes what is typed. */
  constructor(mailbox: Mailbox, input: ByteRing = mailbox.serialInput) {
    this.#mailbox = mailbox;
    this.#input = input;
  }

  /**
   * What the guest sends, from the moment this is first read. One stream: read it in one place (or `tee` it).
   * A reader that is slow holds the guest back; nothing is dropped. It ends when the machine does.
   */
  get readable(): ReadableStream<Uint8Array> {
    this.#stream ??= new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.#controller = controller;
          if (this.#ended !== undefined) controller.close();
        },
        pull: () => this.#release(),
        cancel: () => {
          this.#controller = undefined;
          this.#release();
        },
      },
      { highWaterMark: STREAM_BUFFER_BYTES, size: (bytes) => bytes?.byteLength ?? 0 },
    );
    return this.#stream;
  }

  /** The last output as text, at most a few thousand characters. */
  get tail(): string {
    return this.#tail;
  }

  /** Types to the guest. Resolves when all of it has been queued for the port, in order with other writes. */
  write(data: string | Uint8Array): Promise<void> {
    const bytes = typeof data === 'string' ? new TextEncoder().encode(data) : data.slice();
    const written = this.#writing.then(() => this.#write(bytes));
    this.#writing = written.catch(() => undefined);
    return written;
  }

  /** Types a line and presses Enter. */
  sendLine(line = ''): Promise<void> {
    return this.write(`${line}\r`);
  }

  /**
   * Waits until the guest has sent the text, or something that the expression matches, and moves past it:
   * the next `expect` looks at what came after. Fails with code `EXPECT_TIMEOUT` or `MACHINE_ENDED` and
   * quotes the last output.
   */
  expect(pattern: string | RegExp, options: ExpectOptions = {}): Promise<ExpectMatch> {
    const { signal, timeoutMs = EXPECT_TIMEOUT_MS } = options;
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      const abort = () => {
        finish();
        reject(signal?.reason);
      };
      const timeout = setTimeout(() => {
        expectation.settle(
          new MachineError(
            'EXPECT_TIMEOUT',
            `${describe(pattern)} did not come within ${timeoutMs / 1000} s\n${this.#quote()}`,
          ),
        );
      }, timeoutMs);
      const finish = () => {
        clearTimeout(timeout);
        signal?.removeEventListener('abort', abort);
        const index = this.#expectations.indexOf(expectation);
        if (index >= 0) this.#expectations.splice(index, 1);
      };
      const expectation: Expectation = {
        pattern,
        settle: (result) => {
          finish();
          if (result instanceof MachineError) reject(result);
          else resolve(result);
        },
      };
      signal?.addEventListener('abort', abort, { once: true });
      this.#expectations.push(expectation);
      this.#match();
      if (this.#ended !== undefined) this.#failAll();
    });
  }

  /** Made by `Machine`: output arrived. Resolves when the next may follow. */
  deliver(bytes: Uint8Array): Promise<void> | undefined {
    const text = this.#decoder.decode(bytes, { stream: true });
    this.#unmatched = (this.#unmatched + text).slice(-HISTORY_LENGTH_MAX);
    this.#tail = (this.#tail + text).slice(-QUOTE_LENGTH);
    this.#match();
    if (this.#controller === undefined) return undefined;
    this.#controller.enqueue(bytes);
    if ((this.#controller.desiredSize ?? 1) > 0) return undefined;
    this.#pulled ??= Promise.withResolvers();
    return this.#pulled.promise;
  }

  /** Made by `Machine`: no output will follow. */
  end(why: string): void {
    this.#ended = why;
    this.#over.resolve();
    this.#controller?.close();
    this.#controller = undefined;
    this.#release();
    this.#failAll();
  }

  async #write(bytes: Uint8Array): Promise<void> {
    const ring = this.#input;
    for (let done = 0; done < bytes.length; ) {
      if (this.#ended !== undefined) {
        throw new MachineError('MACHINE_ENDED', `the machine ended (${this.#ended})`);
      }
      const { room } = ring;
      const count = ring.write(bytes.subarray(done));
      done += count;
      if (count > 0) this.#mailbox.ring();
      else await Promise.race([ring.roomAfter(room), this.#over.promise]);
    }
  }

  #release(): void {
    this.#pulled?.resolve();
    this.#pulled = undefined;
  }

  /** Serves waiting expectations in the order they were made; each moves past what it matched. */
  #match(): void {
    for (const expectation of [...this.#expectations]) {
      const found = find(this.#unmatched, expectation.pattern);
      if (found === undefined) continue;
      const before = this.#unmatched.slice(0, found.index);
      this.#unmatched = this.#unmatched.slice(found.index + found.text.length);
      expectation.settle({ text: found.text, before, groups: found.groups });
    }
  }

  #failAll(): void {
    for (const { pattern, settle } of [...this.#expectations]) {
      const message = `the machine ended (${this.#ended}) while waiting for ${describe(pattern)}`;
      settle(new MachineError('MACHINE_ENDED', `${message}\n${this.#quote()}`));
    }
  }

  #quote(): string {
    if (this.#tail === '') return 'The guest has sent nothing so far.';
    return `The last output was:\n${this.#tail.replaceAll(/^/gm, '  | ')}`;
  }
}

function find(
  text: string,
  pattern: string | RegExp,
): { index: number; text: string; groups: (string | undefined)[] } | undefined {
  if (typeof pattern === 'string') {
    const index = text.indexOf(pattern);
    return index < 0 ? undefined : { index, text: pattern, groups: [] };
  }
  // A copy without the flags that make an expression remember where it stopped.
  const match = new RegExp(pattern.source, pattern.flags.replaceAll(/[gy]/g, '')).exec(text);
  return match === null
    ? undefined
    : { index: match.index, text: match[0], groups: match.slice(1) };
}

function describe(pattern: string | RegExp): string {
  return typeof pattern === 'string' ? JSON.stringify(pattern) : String(pattern);
}
