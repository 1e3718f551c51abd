// A script that is piped into `mimic run debian` runs in the guest's shell, and its end ends the machine.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { debianBusybox, debianKernel } from '../../tools/guests/kernels.ts';

const MAIN = join(import.meta.dirname, '..', '..', 'packages', 'cli', 'main.ts');
/** Alone it takes seconds; the machine may be busy with other tests. */
const TIMEOUT_MS = 240_000;

test('the end of a piped script, even in the midst of a line, turns the machine off', async () => {
  const kernel = await debianKernel('cloud-amd64');
  const busybox = await debianBusybox(kernel.architecture);
  const args = ['--kernel', kernel.image, '--busybox', busybox, '--append', 'quiet'];
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [MAIN, 'run', 'debian', '--no-keep-translations', ...args],
    // A command that is still running when the input ends does not swallow its end.
    { input: 'sleep 1\necho product $((6 * 7))', encoding: 'utf8', timeout: TIMEOUT_MS },
  );
  assert.equal(status, 0, stderr);
  assert.match(stdout, /\r\nproduct 42\r\n/);
});
