// The monitor as a prompt on the terminal: a line editor with history around `machine.monitor`.

import { createInterface, type Interface } from 'node:readline';
import { PassThrough } from 'node:stream';
import { OperatingError } from '@mimic/base';
import type { Machine } from 'mimic';

const PROMPT = '(mimic) ';

export class MonitorPrompt {
  /** Resolves when the user goes back to the guest, or the machine ends. */
  readonly closed: Promise<void>;
  readonly #machine: Machine;
  readonly #keys = new PassThrough();
  readonly #lines: Interface;

  constructor(machine: Machine, history: string[]) {
    this.#machine = machine;
    process.stdout.write(
      '\nMonitor: "help" lists the commands, Ctrl-A c goes back to the guest.\n',
    );
    this.#lines = createInterface({
      input: this.#keys,
      output: process.stdout,
      terminal: true,
      prompt: PROMPT,
      history,
    });
    this.#lines.on('history', (lines) => history.splice(0, history.length, ...lines));
    this.#lines.on('line', (line) => void this.#run(line));
    this.#lines.on('SIGINT', () => {
      process.stdout.write('\n');
      this.#lines.prompt();
    });
    this.closed = new Promise((resolve) => {
      this.#lines.once('close', () => {
        process.stdout.write('\n');
        resolve();
      });
    });
    this.#lines.prompt();
  }

  type(bytes: Uint8Array): void {
    this.#keys.write(bytes);
  }

  close(): void {
    this.#lines.close();
  }

  async #run(line: string): Promise<void> {
    try {
      const text = await this.#machine.monitor(line);
      if (text !== '') process.stdout.write(`${text}\n`);
    } catch (error) {
      if (!(error instanceof OperatingError)) throw error;
      process.stdout.write(
        `${error.message}${error.hint === undefined ? '' : ` (${error.hint})`}\n`,
      );
    }
    if (this.#machine.state !== 'ended') this.#lines.prompt();
  }
}
