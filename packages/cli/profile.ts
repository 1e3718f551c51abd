// --profile and --symbols: where the guest spent its time, as a file and as a few lines behind the run.

import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { fileError, formatHottest, type Machine, type Profiler, SymbolTable } from 'mimic';
import type { RunOptions } from './run-options.ts';

/** Places in the table at the end. */
const HOTTEST_COUNT = 15;

export class ProfileOutput {
  readonly #path: string | undefined;
  readonly #symbols: readonly SymbolTable[];
  #profiler: Profiler | undefined;

  /** Reads the symbols, so that a file that has none is told of before anything runs. */
  constructor({ profile, symbols = [] }: RunOptions, kernel: string | Uint8Array) {
    this.#path = profile;
    const tables = profile === undefined ? [] : symbols.map(readSymbols);
    const ofKernel = profile === undefined ? undefined : kernelSymbols(kernel);
    this.#symbols = ofKernel === undefined ? tables : [...tables, ofKernel];
  }

  async start(machine: Machine): Promise<void> {
    if (this.#path === undefined) return;
    // An empty one now: better than to find out at the end that there is no such folder.
    await write(this.#path, '');
    this.#profiler = await machine.profile();
  }

  async finish(): Promise<void> {
    if (this.#path === undefined || this.#profiler === undefined) return;
    const profile = this.#profiler.stop();
    await write(this.#path, JSON.stringify(profile.cpuProfile(this.#symbols)));
    process.stderr.write(`${formatHottest(profile, this.#symbols, HOTTEST_COUNT)}\n`);
  }
}

async function write(path: string, text: string): Promise<void> {
  try {
    await writeFile(path, text);
  } catch (error) {
    throw fileError(path, error);
  }
}

function readSymbols(path: string): SymbolTable {
  let bytes: Uint8Array;
  try {
    bytes = readFileSync(path);
  } catch (error) {
    throw fileError(path, error);
  }
  return SymbolTable.parse(bytes, path);
}

/** Those of an ELF kernel that has not been stripped. */
function kernelSymbols(kernel: string | Uint8Array): SymbolTable | undefined {
  try {
    return SymbolTable.parseElf(typeof kernel === 'string' ? readFileSync(kernel) : kernel);
  } catch {
    // Who makes the machine says what is wrong with the file.
    return undefined;
  }
}
