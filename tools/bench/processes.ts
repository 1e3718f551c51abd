// What an emulator's processes have used so far, from Linux's /proc: CPU seconds of the whole tree and resident memory.
// proc(5); Documentation/admin-guide/mm/pagemap.rst.

import { closeSync, openSync, readdirSync, readFileSync, readSync } from 'node:fs';

/** Fields of /proc/PID/stat behind the command name. */
const STAT = {
  parent: 1,
  userTicks: 11,
  systemTicks: 12,
  childUserTicks: 13,
  childSystemTicks: 14,
} as const;
const TICKS_PER_SECOND = 100;
const NANOSECONDS_PER_SECOND = 1e9;
const KIB_PER_MIB = 1024;
const PAGES_PER_MIB = 256;
const PAGE_BYTES = 4096;
const PAGEMAP_ENTRY_BYTES = 8;
/** In the top byte of a pagemap entry. */
const PAGE_PRESENT = 0x80;

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
  for (const [pid, used] of ticks)
    if (isInTree(pid)) sum += Math.max(used / TICKS_PER_SECOND, threadSeconds(pid));
  return sum;
}

/**
 * CPU seconds of the threads that live: exact to the nanosecond, where stat's ticks are hundredths but have the
 * threads and children that ended too. Documentation/scheduler/sched-stats.rst.
 */
function threadSeconds(pid: number): number {
  let sum = 0;
  try {
    for (const thread of readdirSync(`/proc/${pid}/task`)) {
      const text = readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'latin1');
      sum += Number(text.split(' ')[0]);
    }
  } catch {
    // A thread ended meanwhile, or the kernel keeps no such numbers: the ticks will do.
  }
  return sum / NANOSECONDS_PER_SECOND;
}

export interface ResidentMemory {
  /** Largest resident set of the process so far. */
  readonly peakMiB: number;
  /** Guest RAM that is resident: what is left of the peak is the emulator's own. */
  readonly guestMiB: number;
}

/** Of one process; undefined if it has ended. */
export function residentMemory(pid: number, ramMiB: number): ResidentMemory | undefined {
  try {
    const peakKiB = /VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
    const ram = findRam(readFileSync(`/proc/${pid}/maps`, 'latin1'), ramMiB);
    const guestMiB = ram === undefined ? 0 : residentPages(pid, ram, ramMiB) / PAGES_PER_MIB;
    return { peakMiB: Number(peakKiB) / KIB_PER_MIB, guestMiB };
  } catch {
    return undefined;
  }
}

/**
 * Address of guest RAM: the end of the smallest anonymous writable mapping that has room for it. QEMU maps RAM by
 * itself, Mimic at the end of the one shared memory (decision 0009).
 */
export function findRam(maps: string, ramMiB: number): number | undefined {
  const ramBytes = ramMiB * PAGES_PER_MIB * PAGE_BYTES;
  const pattern = /^([\da-f]+)-([\da-f]+) rw\S+ 0+ 00:00 0\s*(?:\[anon.*)?$/gm;
  const sizes = [...maps.matchAll(pattern)]
    .map((match) => {
      const end = Number.parseInt(match[2]!, 16);
      return { end, size: end - Number.parseInt(match[1]!, 16) };
    })
    .filter(({ size }) => size >= ramBytes)
    .sort((a, b) => a.size - b.size);
  return sizes[0] && sizes[0].end - ramBytes;
}

function residentPages(pid: number, address: number, ramMiB: number): number {
  const entries = Buffer.alloc(ramMiB * PAGES_PER_MIB * PAGEMAP_ENTRY_BYTES);
  const file = openSync(`/proc/${pid}/pagemap`, 'r');
  try {
    readSync(file, entries, 0, entries.length, (address / PAGE_BYTES) * PAGEMAP_ENTRY_BYTES);
  } finally {
    closeSync(file);
  }
  let count = 0;
  for (let at = PAGEMAP_ENTRY_BYTES - 1; at < entries.length; at += PAGEMAP_ENTRY_BYTES)
    if ((entries[at]! & PAGE_PRESENT) !== 0) count++;
  return count;
}
