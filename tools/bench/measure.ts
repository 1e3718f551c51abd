// Times the benchmark guest from outside: wall seconds between the marks on its serial port, and CPU seconds of the
// emulator's whole process tree at the same moments.

import { type ChildProcess, spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';

export interface Item {
  readonly wall: number;
  readonly cpu: number;
  /** Last line that the item printed, to be equal everywhere. */
  readonly printed: string;
}

export interface Run {
  readonly items: ReadonlyMap<string, Item>;
  /** Largest resident set of the emulator, MiB. */
  readonly peakMiB: number;
  /** What went wrong, with the end of the guest's output. */
  readonly failure: string | undefined;
}

/** Fields of /proc/PID/stat behind the command name. proc(5). */
const STAT = {
  parent: 1,
  userTicks: 11,
  systemTicks: 12,
  childUserTicks: 13,
  childSystemTicks: 14,
} as const;
const TICKS_PER_SECOND = 100;
const TAIL_BYTES = 2000;

/** CPU seconds used so far by a process and all its living descendants. */
export function cpuSeconds(root: number): number {
  const parents = new Map<number, number>();
  const ticks = new Map<number, number>();
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
      const field = text
        .slice(text.lastIndexOf(')') + 2)
        .split(' ')
        .map(Number);
      parents.set(Number(pid), field[STAT.parent]!);
      const { userTicks, systemTicks, childUserTicks, childSystemTicks } = STAT;
      ticks.set(
        Number(pid),
        field[userTicks]! + field[systemTicks]! + field[childUserTicks]! + field[childSystemTicks]!,
      );
    } catch {
      // The process ended meanwhile.
    }
  }
  const isInTree = (pid: number): boolean =>
    pid === root || (pid > 1 && isInTree(parents.get(pid) ?? 0));
  let sum = 0;
  for (const [pid, used] of ticks) if (isInTree(pid)) sum += used;
  return sum / TICKS_PER_SECOND;
}

/** Runs an emulator with the guest's first serial port on its standard output until the guest says @@DONE. */
export function measure(command: readonly string[], timeoutMs: number): Promise<Run> {
  return new Promise((resolve) => {
    const items = new Map<string, Item>();
    const started = performance.now();
    const child = spawn(command[0]!, command.slice(1), { stdio: ['ignore', 'pipe', 'pipe'] });
    let pending = '';
    let tail = '';
    let peakMiB = 0;
    let from = { wall: 0, cpu: 0 };
    const finish = (failure?: string) => {
      clearTimeout(deadline);
      child.removeAllListeners('exit');
      end(child);
      resolve({ items, peakMiB, failure: failure && `${failure}\n${tail}` });
    };
    const deadline = setTimeout(() => finish(`no @@DONE after ${timeoutMs / 1000} s`), timeoutMs);
    const line = (text: string) => {
      const mark = /@@(\w+)\s*(\S*)\s*(.*)/.exec(text.trim());
      if (!mark) return;
      const now = performance.now();
      const [, kind, name = '', rest = ''] = mark;
      const cpu = () => cpuSeconds(child.pid!);
      if (kind === 'READY')
        items.set('boot', { wall: (now - started) / 1000, cpu: cpu(), printed: '' });
      else if (kind === 'START') from = { wall: now, cpu: cpu() };
      else if (kind === 'END') {
        const printed = rest.split(' ').slice(2).join(' ');
        items.set(name, { wall: (now - from.wall) / 1000, cpu: cpu() - from.cpu, printed });
      } else if (kind === 'DONE') {
        peakMiB = peakResidentMiB(child.pid!);
        finish();
      }
    };
    child.stderr.on('data', (chunk: Buffer) => {
      tail = (tail + chunk.toString('latin1')).slice(-TAIL_BYTES);
    });
    child.stdout.on('data', (chunk: Buffer) => {
      const text = chunk.toString('latin1');
      tail = (tail + text).slice(-TAIL_BYTES);
      pending += text;
      for (let at = pending.indexOf('\n'); at >= 0; at = pending.indexOf('\n')) {
        line(pending.slice(0, at));
        pending = pending.slice(at + 1);
      }
    });
    child.on('error', (error) => finish(error.message));
    child.on('exit', (code) => finish(`the emulator ended with ${code} before @@DONE`));
  });
}

function peakResidentMiB(pid: number): number {
  const kib = /VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  return Math.round(Number(kib) / 1024);
}

function end(child: ChildProcess): void {
  child.kill('SIGTERM');
  setTimeout(() => child.kill('SIGKILL'), 2000).unref();
}
