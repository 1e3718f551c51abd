// A Debian system with systemd boots from a virtio disk to its login prompt, works, shuts down by itself, and leaves
// a file system without a fault that holds what was written.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { type Guest, startGuest } from '@mimic/testing';
import { diskInitramfs } from '../../tools/guests/initramfs.ts';
import { debianBusybox, debianKernel, kernelModules } from '../../tools/guests/kernels.ts';
import { debianRootDisk, ROOT_DISK } from '../../tools/guests/root-disk.ts';

const TIMEOUT = { timeoutMs: 900_000 };
/**
 * The disk has no modules: these are what modprobe would load. ext4's checksums come from the kernel's
 * cryptography; systemd wants to mount on demand.
 */
const MODULES = ['virtio_pci', 'virtio_blk', 'crc32c_generic', 'crc32c_intel', 'ext4', 'autofs4'];
const PROMPT = `root@${ROOT_DISK.hostName}:~# `;
const PROOF_LINES = 200_000;

const folder = mkdtempSync(join(tmpdir(), 'mimic-disk-'));
const disk = join(folder, 'disk.img');
after(() => rmSync(folder, { recursive: true }));

async function boot(): Promise<Guest> {
  const kernel = await debianKernel('amd64');
  const busybox = await debianBusybox(kernel.architecture);
  const initrd = diskInitramfs(busybox, kernelModules(kernel, MODULES), ROOT_DISK.fileSystem);
  return await startGuest({
    kernel: kernel.image,
    initrd,
    append: 'quiet cryptomgr.notests',
    memoryMib: 512,
    disks: [disk],
  });
}

async function logIn(guest: Guest): Promise<void> {
  await guest.expect(`${ROOT_DISK.hostName} login: `, TIMEOUT);
  await guest.sendLine('root');
  await guest.expect('Password: ', TIMEOUT);
  await guest.sendLine(ROOT_DISK.password);
  await guest.expect(PROMPT, TIMEOUT);
}

/** What a command prints; the marks are typed in another form than they are printed in. */
async function answer(guest: Guest, command: string): Promise<string> {
  await guest.sendLine(`echo '<''<'; ${command}; echo '>''>'`);
  await guest.expect('<<\r\n', TIMEOUT);
  const { before } = await guest.expect('>>\r\n', TIMEOUT);
  await guest.expect(PROMPT, TIMEOUT);
  return before.replaceAll('\r\n', '\n').trim();
}

/** A program of e2fsprogs on the image, as on a disk that was taken out. */
function onDisk(program: string, ...args: string[]): { status: number | null; output: string } {
  const { status, stdout, stderr } = spawnSync(program, [...args, disk], {
    encoding: 'utf8',
    maxBuffer: 1 << 26,
  });
  return { status, output: status === 0 ? stdout : `${stdout}${stderr}` };
}

const md5 = (data: string | Uint8Array) => createHash('md5').update(data).digest('hex');
const proof = Array.from({ length: PROOF_LINES }, (_, index) => `${index + 1}\n`).join('');

test('Debian with systemd boots from a virtio disk, works and shuts down; fsck finds no fault', async () => {
  spawnSync('cp', ['--sparse=always', await debianRootDisk(), disk]);
  await using guest = await boot();
  await logIn(guest);
  const state = await answer(guest, 'systemctl is-system-running --wait');
  assert.equal(state, 'running', await answer(guest, 'systemctl --failed; journalctl -b -p 4'));
  assert.match(await answer(guest, 'findmnt -no SOURCE,FSTYPE,OPTIONS /'), /^\/dev\/vda +ext4 +rw/);
  assert.equal(
    await answer(guest, `seq 1 ${PROOF_LINES} > proof; md5sum < proof`),
    `${md5(proof)}  -`,
  );
  // Many small files and a directory tree, removed again in part.
  assert.equal(
    await answer(
      guest,
      'cp -a /etc copy && diff -r --no-dereference /etc copy && rm -r copy/[a-m]* && echo same',
    ),
    'same',
  );
  assert.equal(await answer(guest, 'journalctl -b -p 3 -q --no-pager -o cat | cat'), '');
  await guest.sendLine('poweroff');
  assert.equal(await guest.exited, 'power-off');

  assert.deepEqual(onDisk('e2fsck', '-f', '-n').status, 0, onDisk('e2fsck', '-f', '-n').output);
  assert.equal(md5(onDisk('debugfs', '-R', 'cat /root/proof').output), md5(proof));
});

test('what was written is there after the next boot', async () => {
  await using guest = await boot();
  await logIn(guest);
  assert.equal(await answer(guest, 'md5sum < proof'), `${md5(proof)}  -`);
  await guest.sendLine('poweroff');
  assert.equal(await guest.exited, 'power-off');
  assert.equal(onDisk('e2fsck', '-f', '-n').status, 0);
});
