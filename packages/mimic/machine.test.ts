// The library's front door, as a program uses it. The computer is scripted; nothing here depends on the processor.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Machine, type MachineOptions, nodeHost, OperatingError } from 'mimic';

const folder = mkdtempSync(join(tmpdir(), 'mimic-api-'));
after(() => rmSync(folder, { recursive: true }));
const kernel = join(folder, 'kernel');
writeFileSync(kernel, 'print login: \nhalt\n');
const disk = join(folder, 'disk');
writeFileSync(disk, new Uint8Array(4096));

const HOST = nodeHost(new URL('../host/node/testing/scripted-worker.ts', import.meta.url));
const create = (options: Partial<MachineOptions> = {}) =>
  Machine.create({ kernel, ...options }, HOST);

test('a machine from files: start, expect, look inside, stop', async () => {
  await using vm = await create({ disks: [disk], memory: '64M' });
  assert.equal(vm.state, 'created');
  assert.equal(vm.memoryBytes, 64 * 2 ** 20);
  await vm.start();
  assert.equal((await vm.serial.expect(/(\w+): $/)).groups[0], 'login');
  assert.equal((await vm.readRegister('rip')) > 0n, true);
  await vm.stop();
  assert.equal(vm.state, 'ended');
});

test('leaving the block stops the machine and gives its disk back', async () => {
  let ended: unknown;
  {
    await using vm = await create({ disks: [disk] });
    vm.on('exit', (end) => {
      ended = end;
    });
    await vm.start();
    await assert.rejects(create({ disks: [disk] }), { code: 'DISK_IN_USE' });
  }
  assert.deepEqual(ended, { reason: 'stopped' });
  await using again = await create({ disks: [disk] });
  assert.equal(again.state, 'created');
});

test('errors have a code, a sentence and a hint; disks opened before them are given back', async () => {
  const failures: [Partial<MachineOptions>, string][] = [
    [{ kernel: join(folder, 'none') }, 'FILE_MISSING'],
    [{ initrd: folder }, 'FILE_UNREADABLE'],
    [{ disks: [disk, join(folder, 'none')] }, 'FILE_MISSING'],
    [{ disks: [disk], memory: '1M' }, 'BAD_OPTION'],
    [{ disks: [disk, disk] }, 'DISK_IN_USE'],
    [{ disks: [disk], shares: [join(folder, 'none')] }, 'FILE_MISSING'],
    [{ disks: [disk], shares: [folder, { path: disk, tag: 'b' }] }, 'FILE_UNREADABLE'],
    [{ disks: [disk], shares: [folder, folder] }, 'BAD_OPTION'],
  ];
  for (const [options, code] of failures) {
    await assert.rejects(create(options), (error) => {
      assert.ok(error instanceof OperatingError && error.hint !== undefined);
      assert.equal(error.code, code);
      return true;
    });
  }
  await using vm = await create({ disks: [disk] });
  assert.equal(vm.state, 'created');
});
