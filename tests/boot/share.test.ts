// A Debian guest and the host work in one folder, each seeing what the other wrote; the guest stays inside.

import assert from 'node:assert/strict';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { buildInitramfs, loadOrder } from '@mimic/cli';
import { Machine, nodeHost } from 'mimic';
import { debianBusybox, debianKernel } from '../../tools/guests/kernels.ts';

/** Alone it takes seconds; the machine may be busy with other tests. */
const TIMEOUT = { timeoutMs: 240_000 };
const PROMPT = /mimic:~# /;

/** What a command prints. The shell echoes what is typed and asks the terminal for the cursor's place. */
async function answer(vm: Machine, command: string): Promise<string> {
  await vm.serial.sendLine(`echo; echo '<''<'; ${command}; echo '>''>'`);
  await vm.serial.expect('<<\r\n', TIMEOUT);
  const { before } = await vm.serial.expect('>>\r\n', TIMEOUT);
  return before.replaceAll('\r\n', '\n').trim();
}

test('a Debian guest reads and writes shared folders, and gets no further than them', async () => {
  const outer = mkdtempSync(join(tmpdir(), 'mimic-share-'));
  const [folder, readOnly] = [join(outer, 'folder'), join(outer, 'read-only')];
  mkdirSync(folder);
  mkdirSync(readOnly);
  writeFileSync(join(outer, 'secret'), 'secret');
  writeFileSync(join(folder, 'from-host'), 'hello guest\n');
  writeFileSync(join(readOnly, 'fixed'), 'as it was\n');
  symlinkSync('../secret', join(folder, 'leak'));
  try {
    const kernel = await debianKernel('amd64');
    const busybox = readFileSync(await debianBusybox(kernel.architecture));
    await using vm = await Machine.create(
      {
        kernel: kernel.image,
        initrd: buildInitramfs({ busybox, modules: loadOrder(kernel.modules) }),
        append: 'console=ttyS0 quiet cryptomgr.notests SHARE=share,fixed',
        shares: [folder, { path: readOnly, tag: 'fixed', readOnly: true }],
      },
      nodeHost(undefined, { keepTranslations: false }),
    );
    await vm.start();
    await vm.serial.expect(PROMPT, TIMEOUT);
    assert.equal(await answer(vm, 'cat /mnt/share/from-host'), 'hello guest');
    assert.equal(await answer(vm, 'mkdir /mnt/share/sub; cd /mnt/share/sub; seq 3 >later'), '');
    assert.equal(readFileSync(join(folder, 'sub', 'later'), 'utf8'), '1\n2\n3\n');
    // Longer than one message.
    const numbers = Uint8Array.from({ length: 600_000 }, (_, index) => index ^ (index >> 8));
    writeFileSync(join(folder, 'sub', 'numbers'), numbers);
    assert.equal(await answer(vm, 'cp numbers copy'), '');
    assert.deepEqual(new Uint8Array(readFileSync(join(folder, 'sub', 'copy'))), numbers);
    assert.equal(
      await answer(vm, 'mv later ../moved; rm numbers copy; ls -1 ..'),
      'from-host\nleak\nmoved\nsub',
    );
    assert.deepEqual(readdirSync(folder).sort(), ['from-host', 'leak', 'moved', 'sub']);
    assert.deepEqual(readdirSync(join(folder, 'sub')), []);
    assert.match(await answer(vm, 'cat /mnt/share/leak'), /No such file/);
    assert.match(
      await answer(vm, 'cat /mnt/share/../secret /mnt/fixed/fixed'),
      /^cat: .*\nas it was$/,
    );
    assert.match(await answer(vm, 'echo changed >/mnt/fixed/fixed'), /Read-only file system/);
    assert.match(await answer(vm, 'rm /mnt/fixed/fixed'), /Read-only file system/);
    assert.equal(readFileSync(join(readOnly, 'fixed'), 'utf8'), 'as it was\n');
    await vm.serial.sendLine('exit');
    assert.deepEqual(await vm.exited, { reason: 'power-off' });
  } finally {
    rmSync(outer, { recursive: true });
  }
});
