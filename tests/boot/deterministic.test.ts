// Linux on a deterministic machine: a boot, a session in its shell and the power-off come again exactly from the
// recording of them, and without input two boots are the same.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { type FinalState, Machine, type MachineOptions } from 'mimic';
import { ENGINES, runner } from '../../tools/diverge/engines.ts';
import { findDivergence } from '../../tools/diverge/search.ts';
import { shellInitramfs } from '../../tools/guests/initramfs.ts';
import { debianBusybox, debianKernel } from '../../tools/guests/kernels.ts';

/** Alone it takes seconds; the machine may be busy with other tests. */
const TIMEOUT = { timeoutMs: 240_000 };
const PROMPT = /mimic:~[#$] /;

async function boot(options: Partial<MachineOptions>, live?: (machine: Machine) => Promise<void>) {
  const kernel = await debianKernel('cloud-amd64');
  await using machine = await Machine.create({
    kernel: kernel.image,
    initrd: shellInitramfs(await debianBusybox(kernel.architecture)),
    append: 'console=ttyS0 quiet cryptomgr.notests',
    memory: '96M',
    ...options,
  });
  let output = '';
  const reading = (async () => {
    for await (const bytes of machine.serial.readable) output += Buffer.from(bytes).toString();
  })();
  await machine.start();
  await live?.(machine);
  const { reason } = await machine.exited;
  await reading;
  return { reason, final: machine.finalState as FinalState, output };
}

test('a session in Linux comes again from its recording', async () => {
  const lines: string[] = [];
  const recorded = await boot({ onRecord: (line) => void lines.push(line) }, async (machine) => {
    await machine.serial.expect(PROMPT, TIMEOUT);
    await machine.serial.sendLine(
      'cat /proc/interrupts /proc/uptime; head -c 64 /dev/urandom | md5sum; date',
    );
    await machine.serial.expect(PROMPT, TIMEOUT);
    await machine.serial.sendLine('exit');
  });
  assert.equal(recorded.reason, 'power-off');
  // The guest's own clock began with 2026.
  assert.match(recorded.output, /Thu Jan {2}1 00:\d\d:\d\d UTC 2026/);
  assert.deepEqual(await boot({ replay: lines.join('\n') }), recorded);
});

test('two boots of Linux are the same, and one with another seed is not', async () => {
  const [first, second, other] = await Promise.all(
    [1, 1, 2].map((seed) => boot({ deterministic: { seed, instructionsMax: 150_000_000 } })),
  );
  assert.equal(first?.final.count, 150_000_000);
  assert.deepEqual(second, first);
  assert.notEqual(other?.final.sha256, first?.final.sha256);
});

test('the translator agrees with the interpreter about a boot', async () => {
  const kernel = await debianKernel('cloud-amd64');
  const options = { kernel: readFileSync(kernel.image), append: 'quiet', memory: '96M' };
  const [left, right] = [ENGINES.interpreter!, ENGINES.translator!];
  const found = await findDivergence(runner(options, left), runner(options, right), {
    instructionsMax: 100_000_000,
  });
  assert.equal(found, undefined);
});
