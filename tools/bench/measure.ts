// Times the benchmark guest from outside: wall seconds between the marks on its serial port, and CPU seconds of the
// emulator's whole process tree at the same moments. The guest's own clocks are not asked.

import { type ChildProcess, spawn } from 'node:child_process';
import { cpuSeconds, type ResidentMemory, residentMemory } from './processes.ts';

/** One pass of one item. */
export interface Sample {
  readonly wall: number;
  readonly cpu: number;
  /** Last line that the item printed, to be equal everywhere. */
  readonly printed: string;
}

/** One boot of the guest. */
export interface Run {
  /** By item, in the guest's order; several samples where the guest was told to repeat. */
  readonly items: ReadonlyMap<string, readonly Sample[]>;
  /** What the guest says of its processor and clock. */
  readonly guest: string;
  /** Of the emulator, after the last item. */
  readonly memory: ResidentMemory | undefined;
  /** What went wrong, with the end of the guest's output. */
  readonly failure: string | undefined;
}

export interface MeasureOptions {
  readonly ramMiB: number;
  readonly timeoutMs: number;
  /** Beside this process's own. */
  readonly env?: Readonly<Record<string, string>>;
  /** Called as each sample comes. */
  readonly onSample?: (name: string, sample: Sample) => void;
}

export type Mark =
  | { readonly kind: 'ready' | 'done' }
  | { readonly kind: 'guest'; readonly text: string }
  | { readonly kind: 'start'; readonly name: string }
  | { readonly kind: 'end'; readonly name: string; readonly printed: string };

const TAIL_BYTES = 2000;
/** An emulator may have things to write down at its end. */
const KILL_AFTER_MS = 10_000;
const EXIT_INTERRUPTED = 130;

/** The mark in a line of the guest's output; tools/bench/init writes them. */
export function parseMark(line: string): Mark | undefined {
  const mark = /@@(\w+) ?(\S*) ?(.*)/.exec(line.trim());
  if (!mark) return undefined;
  const [, kind, name = '', rest = ''] = mark;
  switch (kind) {
    case 'READY':
      return { kind: 'ready' };
    case 'CPU':
      return { kind: 'guest', text: `${name} ${rest}`.trim() };
    case 'START':
      return { kind: 'start', name };
    case 'END':
      // The guest's own times come before what the item printed.
      return { kind: 'end', name, printed: rest.split(' ').slice(2).join(' ') };
    case 'DONE':
      return { kind: 'done' };
    default:
      return undefined;
  }
}

/** Runs an emulator with the guest's first serial port on its standard output until the guest says @@DONE. */
export function measure(command: readonly string[], options: MeasureOptions): Promise<Run> {
  return new Promise((resolve) => {
    const items = new Map<string, Sample[]>();
    const started = performance.now();
    const child = spawn(command[0]!, command.slice(1), {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...options.env },
    });
    let pending = '';
    let tail = '';
    let guest = '';
    let from = { wall: 0, cpu: 0 };
    const now = () => ({
      wall: (performance.now() - started) / 1000,
      cpu: child.pid === undefined ? 0 : cpuSeconds(child.pid),
    });
    const finish = (failure?: string) => {
      clearTimeout(deadline);
      child.removeAllListeners('exit');
      const memory =
        child.pid === undefined ? undefined : residentMemory(child.pid, options.ramMiB);
      const run = { items, guest, memory, failure: failure && `${failure}\n${tail}` };
      process.removeListener('exit', kill);
      // The next machine must not run beside this one's end.
      end(child).then(() => resolve(run));
    };
    const kill = () => child.kill('SIGKILL');
    process.once('exit', kill);
    const deadline = setTimeout(
      () => finish(`no @@DONE after ${options.timeoutMs / 1000} s`),
      options.timeoutMs,
    );
    const add = (name: string, sample: Sample) => {
      items.set(name, [...(items.get(name) ?? []), sample]);
      options.onSample?.(name, sample);
    };
    const line = (text: string) => {
      const mark = parseMark(text);
      if (mark === undefined) return;
      if (mark.kind === 'ready') add('boot', { ...now(), printed: '' });
      else if (mark.kind === 'guest') guest = mark.text;
      else if (mark.kind === 'start') from = now();
      else if (mark.kind === 'end') {
        const { wall, cpu } = now();
        add(mark.name, { wall: wall - from.wall, cpu: cpu - from.cpu, printed: mark.printed });
      } else finish();
    };
    child.stderr.on('data', (chunk: Buffer) => {
      tail = (tail + chunk.toString('latin1')).slice(-TAIL_BYTES);
    });
    child.stdout.on('data', (chunk: Buffer) => {
      const text = chunk.toString('latin1');
      tail = (tail + text).slice(-TAIL_BYTES);
      const lines = (pending + text).split('\n');
      pending = lines.pop() ?? '';
      lines.forEach(line);
    });
    child.on('error', (error) => finish(error.message));
    child.on('exit', (code) => finish(`the emulator ended with ${code} before @@DONE`));
  });
}

/** Without this, an emulator would live on when the benchmark is stopped. */
export function exitOnSignals(): void {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.on(signal, () => process.exit(EXIT_INTERRUPTED));
}

/** Resolves when the process is gone. */
function end(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null)
      return resolve();
    const killer = setTimeout(() => child.kill('SIGKILL'), KILL_AFTER_MS);
    child.once('exit', () => {
      clearTimeout(killer);
      resolve();
    });
    child.kill('SIGTERM');
  });
}
