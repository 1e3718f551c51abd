// Linux's own drivers for the virtio cards: console ports both ways, a network card, random numbers and a disk, all
// by MSI-X.

import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { buildInitramfs, loadOrder } from '@mimic/cli';
import { Machine, nodeHost, type PartReport } from 'mimic';
import { debianBusybox, debianKernel } from '../../tools/guests/kernels.ts';

/** Alone it takes seconds; the machine may be busy with other tests. */
const TIMEOUT = { timeoutMs: 240_000 };
const PROMPT = /mimic:~# /;
const MAC = '02:00:5e:10:00:01';
const AGENT = 'org.example.agent';
/** Linux counts virtio devices in the order of their slots, and the disk comes first. */
const PORT_PREFIX = 'vport1p';
const PORTS = [0, 1, 2].map((index) => `/dev/${PORT_PREFIX}${index}`).join('\n');
const DISK_BYTES = 4 << 20;
/** In each line its number, so that a line lost, repeated or out of order shows. */
const LINES = Array.from({ length: 20_000 }, (_, index) => `line ${index + 1}\n`).join('');

const folder = mkdtempSync(join(tmpdir(), 'mimic-virtio-'));
after(() => rmSync(folder, { recursive: true }));
const disk = join(folder, 'disk.img');
const diskContents = randomBytes(DISK_BYTES);
writeFileSync(disk, diskContents);

async function boot(link: 'down' | 'up'): Promise<Machine> {
  const kernel = await debianKernel('cloud-amd64');
  const busybox = readFileSync(await debianBusybox(kernel.architecture));
  const vm = await Machine.create(
    {
      kernel: kernel.image,
      initrd: buildInitramfs({ busybox, modules: loadOrder(kernel.modules) }),
      append: 'console=ttyS0 quiet cryptomgr.notests',
      memory: '256M',
      disks: [disk],
      consoles: [{}, { name: AGENT }, {}],
      network: { mac: MAC, link },
    },
    nodeHost(undefined, { keepTranslations: false }),
  );
  try {
    await vm.start();
    await vm.serial.expect(PROMPT, TIMEOUT);
  } catch (error) {
    await vm.stop();
    throw error;
  }
  return vm;
}

/** What a command prints. The shell echoes what is typed and asks the terminal for the cursor's place. */
async function answer(vm: Machine, command: string): Promise<string> {
  await vm.serial.sendLine(`echo; echo '<''<'; ${command}; echo '>''>'`);
  await vm.serial.expect('<<\r\n', TIMEOUT);
  const { before } = await vm.serial.expect('>>\r\n', TIMEOUT);
  return before.replaceAll('\r\n', '\n').trim();
}

function sha256(bytes: Uint8Array | string): string {
  return createHash('sha256').update(bytes).digest('hex');
}

async function part(vm: Machine, kind: string): Promise<PartReport> {
  const found = (await vm.parts()).find(({ name }) => name.endsWith(kind));
  assert.ok(found !== undefined, `${kind} is on the board`);
  return found;
}

describe('Linux drives the virtio cards', () => {
  let vm: Machine;
  before(async () => {
    vm = await boot('down');
  });
  after(() => vm.stop());

  test('every card has its MSI-X vectors, and they fire', async () => {
    const interrupts = await answer(vm, 'grep virtio /proc/interrupts');
    for (const queue of ['req.0', 'input', 'control-i', 'input.0', 'output.0', 'config']) {
      assert.match(interrupts, new RegExp(`PCI-MSI.* virtio\\d+-${queue}`), interrupts);
    }
    assert.match(interrupts, / [1-9]\d* +PCI-MSI.*-req\.0/);
    assert.doesNotMatch(interrupts, /IO-APIC/);
  });

  test('what the guest writes to hvc0 arrives, and what is typed there is read', async () => {
    const [console] = vm.consoles;
    assert.ok(console !== undefined);
    const arrived = console.expect('line 20000\n', TIMEOUT);
    // Raw: a terminal makes more of a newline. Held open: the last close undoes that.
    await answer(vm, 'exec 4<>/dev/hvc0; stty raw -echo <&4');
    await answer(vm, 'seq 1 20000 | sed "s/^/line /" >&4');
    const { before, text } = await arrived;
    assert.equal(before + text, LINES);
    const reading = answer(vm, 'head -n 20000 <&4 | sha256sum');
    await console.write(LINES);
    assert.equal(await reading, `${sha256(LINES)}  -`);
    await answer(vm, 'exec 4>&-');
  });

  test('ports have names and carry bytes both ways', async () => {
    assert.equal(await answer(vm, `cat /sys/class/virtio-ports/${PORT_PREFIX}1/name`), AGENT);
    const agent = vm.consoles[1];
    assert.ok(agent !== undefined);
    // Queued before anybody in the guest has opened the port: it waits.
    const written = agent.write(LINES);
    assert.equal(
      await answer(vm, `head -n 20000 /dev/${PORT_PREFIX}1 | sha256sum`),
      `${sha256(LINES)}  -`,
    );
    await written;
    await answer(vm, `exec 3<>/dev/${PORT_PREFIX}1`);
    await agent.write('ping\n');
    assert.equal(await answer(vm, 'head -n 1 <&3'), 'ping');
    const arrived = agent.expect('line 20000\n', TIMEOUT);
    await answer(vm, 'seq 1 20000 | sed "s/^/line /" >&3');
    const { before, text } = await arrived;
    assert.equal(before + text, LINES);
    assert.equal(await answer(vm, `exec 3>&-; ls -1d /dev/${PORT_PREFIX}*`), PORTS);
  });

  test('a network card whose cable is not plugged in', async () => {
    assert.equal(await answer(vm, 'cat /sys/class/net/eth0/address'), MAC);
    await answer(vm, 'ip link set eth0 up');
    assert.equal(await answer(vm, 'cat /sys/class/net/eth0/carrier'), '0');
    assert.match(await answer(vm, 'ip link show eth0'), /NO-CARRIER/);
    assert.equal(await answer(vm, 'ip link set eth0 down; echo $?'), '0');
  });

  test('random numbers come through hwrng', async () => {
    const rng = await answer(vm, 'cat /sys/class/misc/hw_random/rng_current');
    assert.match(rng, /^virtio_rng/);
    const bytes = await answer(vm, 'head -c 4096 /dev/hwrng | gzip | wc -c');
    assert.ok(Number(bytes) > 4096, `${bytes} bytes: random ones do not compress`);
  });

  test('a disk has the contents of its image, and keeps what is written', async () => {
    assert.equal(await answer(vm, 'sha256sum </dev/vda'), `${sha256(diskContents)}  -`);
    await answer(
      vm,
      'head -c 1048576 /dev/hwrng >/tmp/new; dd if=/tmp/new of=/dev/vda bs=64k seek=16; sync',
    );
    const written = await answer(vm, 'sha256sum </tmp/new');
    const image = readFileSync(disk);
    assert.equal(`${sha256(image.subarray(1 << 20, 2 << 20))}  -`, written);
    assert.deepEqual(image.subarray(0, 1 << 20), diskContents.subarray(0, 1 << 20));
    assert.deepEqual(image.subarray(2 << 20), diskContents.subarray(2 << 20));
  });

  test('the drivers let go of their cards and take them again', async () => {
    for (const driver of ['virtio_console', 'virtio_net', 'virtio_rng', 'virtio_blk']) {
      const again = `rmmod ${driver} && insmod /lib/modules/${driver}.ko; echo $?`;
      const file =
        driver === 'virtio_rng' ? again.replace('virtio_rng.ko', 'virtio-rng.ko') : again;
      assert.equal(await answer(vm, file), '0', driver);
    }
    assert.equal(await answer(vm, 'sha256sum </dev/vda'), `${sha256(readFileSync(disk))}  -`);
    assert.equal(await answer(vm, 'cat /sys/class/net/eth0/address'), MAC);
    const arrived = vm.consoles[0]?.expect('again', TIMEOUT);
    await answer(vm, 'echo again >/dev/hvc0');
    await arrived;
  });

  test('the kernel has nothing to complain about', async () => {
    assert.equal(await answer(vm, 'dmesg -r | grep -E "^<[0-3]>"'), '');
    await vm.serial.sendLine('exit');
    assert.deepEqual(await vm.exited, { reason: 'power-off' });
  });
});

test('frames that Linux sends leave the card', async () => {
  await using vm = await boot('up');
  await answer(vm, 'ip link set eth0 up; ip addr add 192.0.2.1/24 dev eth0; sleep 1');
  assert.equal(await answer(vm, 'cat /sys/class/net/eth0/carrier'), '1');
  await answer(vm, 'arping -c 3 -w 5 -I eth0 192.0.2.2');
  const packets = Number(await answer(vm, 'cat /sys/class/net/eth0/statistics/tx_packets'));
  assert.ok(packets >= 3, `${packets} packets`);
  const { state } = await part(vm, 'virtio-net');
  const { device } = state as { device: { sent: number } };
  assert.ok(device.sent >= packets, `${device.sent} frames, ${packets} packets`);
});
