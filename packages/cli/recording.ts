// A recording's way to and from its file, and what a deterministic run was.

import { readFileSync } from 'node:fs';
import { type FinalState, fileError, type MachineOptions } from 'mimic';
import type { RunOptions } from './run-options.ts';
import { openFile, type SerialConsole } from './serial-console.ts';

/** Takes the lines of a recording; the file is made only once the machine could be built. */
export class RecordingFile {
  readonly #path: string | undefined;
  #file: SerialConsole | undefined;
  /** Lines that came before the file was open. */
  #early = '';
  #writing: Promise<void> = Promise.resolve();

  constructor(path: string | undefined) {
    this.#path = path;
  }

  async open(): Promise<void> {
    if (this.#path === undefined) return;
    this.#file = await openFile(this.#path);
    const early = this.#early;
    this.#early = '';
    this.#append(early);
  }

  /** In the order of the calls; errors come out of `close`. */
  write(line: string): void {
    if (this.#file === undefined) this.#early += `${line}\n`;
    else this.#append(`${line}\n`);
  }

  async close(): Promise<void> {
    await this.#writing;
    await this.#file?.close();
  }

  #append(text: string): void {
    const bytes = new TextEncoder().encode(text);
    this.#writing = this.#writing.then(() => this.#file?.write(bytes));
    this.#writing.catch(() => undefined);
  }
}

/** The machine's options for a deterministic run; none for any other. Fails if the recording cannot be read. */
export function deterministicOptions(
  options: RunOptions,
  recording: RecordingFile,
): Pick<MachineOptions, 'deterministic' | 'onRecord' | 'replay'> {
  const { deterministic, record, replay, instructions } = options;
  if ([deterministic, record, replay, instructions].every((option) => option === undefined)) {
    return {};
  }
  return {
    deterministic: {
      ...(typeof deterministic === 'number' ? { seed: deterministic } : {}),
      ...(instructions === undefined ? {} : { instructionsMax: instructions }),
      // A person at the terminal lives at the pace of the world.
      idle: process.stdin.isTTY === true ? 'wait' : 'skip',
    },
    ...(record === undefined ? {} : { onRecord: (line) => recording.write(line) }),
    ...(replay === undefined ? {} : { replay: readRecording(replay) }),
  };
}

function readRecording(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw fileError(path, error);
  }
}

export function reportFinalState({ count, ns, sha256 }: FinalState): void {
  const seconds = (ns / 1e9).toFixed(3);
  process.stderr.write(`${count} instructions, ${seconds} s of guest time, state ${sha256}\n`);
}
