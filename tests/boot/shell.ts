// A Debian kernel that boots to a shell, answers there, and turns the machine off: the shortest proof of the whole.

import assert from 'node:assert/strict';
import type { Accel } from '@mimic/machine';
import { type Guest, startGuest } from '@mimic/testing';
import { shellInitramfs } from '../../tools/guests/initramfs.ts';
import { debianBusybox, debianKernel, type KernelFlavour } from '../../tools/guests/kernels.ts';

/** Alone it takes seconds; the machine may be busy with other tests. */
const TIMEOUT = { timeoutMs: 240_000 };
// What these commands print is known without the guest.
const LARGE_PRODUCT_MD5 = '523a873df03a0674b9659d872d499a62  -';
const SEQUENCE_SHA256 = 'f6351f5ead9a700e';
/** What the kernels call themselves. */
const UNAME = {
  'cloud-amd64': /^Linux 6\.\S+-cloud-amd64 x86_64$/,
  '686': /^Linux 6\.\S+-686 i686$/,
} as const;
const PROMPT = /mimic:~[#$] /;

async function bootToPrompt(flavour: KernelFlavour, accel?: Accel): Promise<Guest> {
  const kernel = await debianKernel(flavour);
  const guest = await startGuest({
    kernel: kernel.image,
    initrd: shellInitramfs(await debianBusybox(kernel.architecture)),
    // The kernel's tests of its cryptography are for tests/long.
    append: 'quiet cryptomgr.notests',
    ...(accel && { accel }),
  });
  try {
    await guest.expect(PROMPT, TIMEOUT);
  } catch (error) {
    await guest.stop();
    throw error;
  }
  return guest;
}

/** What a command prints. The shell echoes what is typed and asks the terminal for the cursor's place. */
async function answer(guest: Guest, command: string): Promise<string> {
  await guest.sendLine(`echo; echo '<''<'; ${command}; echo '>''>'`);
  await guest.expect('<<\r\n', TIMEOUT);
  const { before } = await guest.expect('>>\r\n', TIMEOUT);
  return before.replaceAll('\r\n', '\n').trim();
}

/** Boots to the shell, runs commands and turns the machine off. */
export async function checkShell(flavour: keyof typeof UNAME, accel?: Accel): Promise<void> {
  await using guest = await bootToPrompt(flavour, accel);
  assert.match(await answer(guest, 'uname -srm'), UNAME[flavour]);
  assert.equal(await answer(guest, 'echo $((0x7fffffff * 0x10001)) | md5sum'), LARGE_PRODUCT_MD5);
  assert.equal(
    await answer(guest, 'seq 1 20000 | gzip | gunzip | sha256sum | cut -c 1-16'),
    SEQUENCE_SHA256,
  );
  // Nothing that the kernel complains about.
  assert.equal(await answer(guest, 'dmesg -r | grep -E "^<[0-3]>"'), '');
  await guest.sendLine('exit');
  assert.equal(await guest.exited, 'power-off');
}
