// What Linux finds when it asks the processor, on each model. /proc/cpuinfo has the names of model/features.ts.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type GuestOptions, startGuest } from '@mimic/testing';
import { shellInitramfs } from '../../tools/guests/initramfs.ts';
import { debianBusybox, debianKernel } from '../../tools/guests/kernels.ts';

const TIMEOUT = { timeoutMs: 300_000 };
const V3 = 'avx avx2 bmi1 bmi2 f16c fma abm movbe xsave aes pclmulqdq sha_ni'.split(' ');

/** Model, features that Linux shows, and some that it must not show. */
const MODELS: readonly (readonly [GuestOptions['cpu'], readonly string[], readonly string[]])[] = [
  ['v2', ['sse4_2', 'popcnt', 'ssse3', 'cx16', 'lahf_lm'], ['avx', 'bmi1', 'abm', 'aes', 'fma']],
  ['v3', V3, ['adx', 'vaes', 'avx512f']],
  ['max', [...V3, 'adx', 'vaes', 'vpclmulqdq', 'gfni', 'rdpid', 'xsavec'], ['avx512f']],
];

for (const [cpu, present, absent] of MODELS) {
  test(`Linux finds the features of ${cpu ?? 'the default model'}`, async () => {
    const kernel = await debianKernel('cloud-amd64');
    await using guest = await startGuest({
      kernel: kernel.image,
      initrd: shellInitramfs(await debianBusybox(kernel.architecture)),
      append: 'quiet cryptomgr.notests',
      ...(cpu && { cpu }),
    });
    await guest.expect(/mimic:~[#$] /, TIMEOUT);
    // What is typed is echoed, so it must not look like the answer.
    await guest.sendLine(
      "grep -m1 '^flags' /proc/cpuinfo; dmesg | grep -c 'AVX registers'; echo 'en''d'",
    );
    const { before } = await guest.expect('end\r\n', TIMEOUT);
    const [, words = '', count = ''] = /flags\t\t: (.*)\r\n(\d+)\r\n$/.exec(before) ?? [];
    const flags = new Set(words.split(' '));
    assert.deepEqual(
      present.filter((name) => !flags.has(name)),
      [],
    );
    assert.deepEqual(
      absent.filter((name) => flags.has(name)),
      [],
    );
    assert.equal(count, cpu === 'v2' ? '0' : '1', 'XSAVE has the upper halves');
    await guest.sendLine('exit');
    assert.equal(await guest.exited, 'power-off');
  });
}
