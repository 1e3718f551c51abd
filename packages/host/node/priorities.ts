// Which threads stand back where processors are scarce: those that make code faster stand back behind those that run it
// (decision 0020). Linux only, where each thread has a nice value of its own: sched(7), "The nice value". Elsewhere, and
// where the system refuses, all threads stay as they are.

import { readdirSync, readFileSync } from 'node:fs';
import os from 'node:os';

const THREADS = '/proc/self/task';
/** As Node 24 names the threads that compile for all isolates of the process, and help them to collect garbage. */
const COMPILER_NAME = 'V8Worker';

/**
 * Added to the process's own nice value; sched(7) has a tenth of a processor thread's share for 10, a third for 5. The
 * translator's part is the larger one: what it does not translate is interpreted, many times slower, while V8's
 * compilers make translated code about twice as fast.
 */
const STANDING_BACK = { translator: 5, compilers: 10 };
const NICE_MAX = 19;

/** Has the calling thread, a translator's, stand back. */
export function standBack(): void {
  // 0 is the calling thread in Linux, and would be the whole process elsewhere.
  lower(0, STANDING_BACK.translator);
}

/** Has V8's compilers stand back, in all of the process. Only a process with rights could undo it. */
export function haveCompilersStandBack(): void {
  for (const thread of threadsOf(COMPILER_NAME)) lower(thread, STANDING_BACK.compilers);
}

/** Identifiers of this process's threads of that name; none where the system does not tell. */
export function threadsOf(name: string): number[] {
  if (os.platform() !== 'linux') return [];
  try {
    return readdirSync(THREADS)
      .map(Number)
      .filter((thread) => nameOf(thread) === name);
  } catch {
    return [];
  }
}

function nameOf(thread: number): string | undefined {
  try {
    return readFileSync(`${THREADS}/${thread}/comm`, 'utf8').trimEnd();
  } catch {
    // It ended meanwhile.
    return undefined;
  }
}

function lower(thread: number, by: number): void {
  if (os.platform() !== 'linux') return;
  try {
    // The first thread has the process's own nice value.
    const nice = Math.min(os.getPriority(process.pid) + by, NICE_MAX);
    if (os.getPriority(thread) < nice) os.setPriority(thread, nice);
  } catch {
    // It ended meanwhile, or a sandbox refuses: no worse than before.
  }
}
