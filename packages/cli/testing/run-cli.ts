// Runs the command line in a process of its own, in an empty folder, with the scripted computer. For tests only.

import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const SCRIPTED_MAIN = fileURLToPath(new URL('./scripted-main.ts', import.meta.url));
const REAL_MAIN = fileURLToPath(new URL('../main.ts', import.meta.url));
/** Comes on a busy machine only. */
const PROGRESS = /^Building the machine.*\n/gm;
/** Longer than any of these runs takes on a busy machine; a hang fails the test. */
const TIMEOUT_MS = 60_000;

export interface CliResult {
  readonly code: number | null;
  readonly output: string;
  readonly errors: string;
}

export interface CliOptions {
  readonly cwd: string;
  /** With processor and board instead of the scripted computer. */
  readonly real?: boolean;
  /** Text for standard input, which then ends; 'closed' and 'null' are what they say. Default 'null'. */
  readonly input?: string | { readonly is: 'closed' | 'null' };
  /** A terminal instead of pipes; `input` is typed when the text has come. */
  readonly typed?: readonly { readonly after: string; readonly keys: string }[];
  /** Closes the reading end of standard output after this much. */
  readonly readOnly?: number;
  readonly signal?: { readonly after: string; readonly name: NodeJS.Signals };
}

/** A folder for one test, with the scripts given as files. `left` lists what is in it beside them. */
export function makeFolder(files: Record<string, string | Uint8Array>): {
  path: string;
  left: () => string[];
  [Symbol.dispose]: () => void;
} {
  const path = mkdtempSync(join(tmpdir(), 'mimic-cli-'));
  for (const [name, contents] of Object.entries(files)) writeFileSync(join(path, name), contents);
  return {
    path,
    left: () => readdirSync(path).filter((name) => !(name in files)),
    [Symbol.dispose]: () => rmSync(path, { recursive: true }),
  };
}

export async function runCli(args: readonly string[], options: CliOptions): Promise<CliResult> {
  const { command, commandArgs } = wrap(args, options);
  const child = spawn(command, commandArgs, { cwd: options.cwd, env: environment(options.cwd) });
  const timeout = setTimeout(() => child.kill('SIGKILL'), TIMEOUT_MS);
  const toType = [...(options.typed ?? [])];
  let output = '';
  let errors = '';
  let looked = 0;
  let signalled = false;
  child.stdin.on('error', () => undefined); // A program that ended does not read.
  child.stdout.on('data', (chunk: Uint8Array) => {
    output += Buffer.from(chunk).toString();
    const next = toType[0];
    const at = next === undefined ? -1 : output.indexOf(next.after, looked);
    if (next !== undefined && at >= 0) {
      toType.shift();
      looked = at + next.after.length;
      child.stdin.write(next.keys);
    }
    if (options.signal !== undefined && !signalled && output.includes(options.signal.after)) {
      signalled = true;
      child.kill(options.signal.name);
    }
    if (options.readOnly !== undefined && output.length >= options.readOnly) child.stdout.destroy();
  });
  child.stderr.on('data', (chunk) => {
    errors += String(chunk);
  });
  if (typeof options.input === 'string') child.stdin.end(options.input);
  const code = await new Promise<number | null>((resolve) => child.on('close', resolve));
  clearTimeout(timeout);
  return { code, output, errors: errors.replaceAll(PROGRESS, '') };
}

function wrap(
  args: readonly string[],
  { typed, real = false, input = { is: 'null' } }: CliOptions,
): { command: string; commandArgs: string[] } {
  const main = real ? REAL_MAIN : SCRIPTED_MAIN;
  const line = [process.execPath, main, ...args].map(quote).join(' ');
  if (typed !== undefined) {
    // `script` of util-linux makes a terminal; what stty says before and after must not differ.
    const session = `stty -g; ${line}; code=$?; stty -g; exit $code`;
    return { command: 'script', commandArgs: ['-qec', session, '/dev/null'] };
  }
  if (typeof input === 'string') {
    return { command: process.execPath, commandArgs: [main, ...args] };
  }
  const from = input.is === 'closed' ? '<&-' : '</dev/null';
  return { command: 'sh', commandArgs: ['-c', `exec ${line} ${from}`] };
}

function quote(word: string): string {
  return `'${word.replaceAll("'", "'\\''")}'`;
}

/** Of all runs of a test file: what one run keeps the next one finds, and no test's folder has it. */
const CACHE = mkdtempSync(join(tmpdir(), 'mimic-cli-cache-'));
process.once('exit', () => rmSync(CACHE, { recursive: true, force: true }));

function environment(cwd: string): NodeJS.ProcessEnv {
  return {
    ...process.env,
    TMPDIR: cwd,
    XDG_CACHE_HOME: CACHE,
    LC_ALL: 'C',
    SHELL: '/bin/sh',
  };
}
