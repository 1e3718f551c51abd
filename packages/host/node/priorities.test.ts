// Priorities of a machine's threads, as Linux tells them; other systems show no threads, and nothing is expected of them.

import assert from 'node:assert/strict';
import os from 'node:os';
import { test } from 'node:test';
import { type Host, Machine } from '@mimic/machine';
import { tinyKernel } from '../../machine/testing/tiny-kernel.ts';
import { nodeHost } from './node-host.ts';
import { threadsOf } from './priorities.ts';

const NICE_MAX = 19;
/** jmp $ */
const LOOP = [0xeb, 0xfe];

/** Nice values of the threads of that name. Names are cut off at 15 bytes: proc(5), comm. */
function niceOf(name: string): number[] {
  return threadsOf(name.slice(0, 15)).map((thread) => os.getPriority(thread));
}

/** What it is for each of `count` threads, that much above the process's own. */
function above(by: number, count: number): number[] {
  const nice = Math.min(os.getPriority(process.pid) + by, NICE_MAX);
  return Array.from({ length: os.platform() === 'linux' ? count : 0 }, () => nice);
}

/** Nice values once the translator has done something. */
async function runAndLook(host: Host) {
  await using machine = await Machine.create({ kernel: tinyKernel(LOOP), memory: '16M' }, host);
  await machine.start();
  while (!((await machine.jit()).translator?.regions ?? 0))
    await new Promise((resolve) => setTimeout(resolve, 10));
  return {
    processor: niceOf('mimic machine'),
    ticker: niceOf('mimic ticker'),
    translator: niceOf('mimic translator'),
    compilers: niceOf('V8Worker'),
  };
}

test('the translator and V8 stand back behind the processor, unless the host was told otherwise', async () => {
  const running = { processor: above(0, 1), ticker: above(0, 1) };
  const equal = await runAndLook(
    nodeHost(undefined, { priorities: false, keepTranslations: false }),
  );
  const compilers = equal.compilers.length;
  assert.equal(compilers > 0, os.platform() === 'linux');
  assert.deepEqual(equal, {
    ...running,
    translator: above(0, 1),
    compilers: above(0, compilers),
  });
  assert.deepEqual(await runAndLook(nodeHost(undefined, { keepTranslations: false })), {
    ...running,
    translator: above(5, 1),
    compilers: above(10, compilers),
  });
});
