import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ArrayMemory } from '@mimic/testing';
import type { AccessSize } from '../device.ts';
import { VirtioBlock } from './block.ts';
import { VirtioConsole } from './console.ts';
import type { VirtioDevice } from './device.ts';
import { VirtioNet } from './net.ts';
import { VirtioRng } from './rng.ts';
import { EVENT_IDX, INDIRECT_DESC, Rig, randomFrom, TestDriver, VERSION_1 } from './test-driver.ts';

const fill = (bytes: Uint8Array) => bytes.fill(0x5a);

function make() {
  const rig = new Rig(new ArrayMemory(0x4_0000), new VirtioRng(fill));
  return { rig, driver: new TestDriver(rig) };
}

test('the identity is that of a modern device', () => {
  const { part } = make().rig;
  assert.equal(part.read(0, 4), 0x1044_1af4);
  assert.equal(part.read(8, 1), 1);
  assert.equal(part.read(0x2c, 2), 0x1af4);
  assert.equal(part.read(0x3d, 1), 1);
});

test('features are offered by halves, and unknown selectors read 0', () => {
  const { driver } = make();
  driver.probe();
  const read = (select: number) => {
    driver.setCommon(0, 4, select);
    return driver.common(4, 4);
  };
  assert.equal(read(0), ((1 << INDIRECT_DESC) | (1 << EVENT_IDX)) >>> 0);
  assert.equal(read(1), 1 << (VERSION_1 - 32));
  assert.equal(read(2), 0);
  assert.equal(read(0xffff_ffff), 0);
});

test('FEATURES_OK is refused without VERSION_1 and for features not offered', () => {
  const { driver } = make();
  driver.probe();
  driver.status = 3;
  driver.status = 11;
  assert.equal(driver.status, 3);
  driver.setCommon(8, 4, 1);
  driver.setCommon(0xc, 4, 1 | 0x100);
  driver.status = 11;
  assert.equal(driver.status, 3);
  driver.setCommon(0xc, 4, 1);
  driver.status = 11;
  assert.equal(driver.status, 11);
  driver.setCommon(0xc, 4, 0);
  assert.equal(driver.common(0xc, 4), 1, 'the choice stands');
});

test('DRIVER_OK without FEATURES_OK is refused', () => {
  const { driver } = make();
  driver.probe();
  driver.status = 7;
  assert.equal(driver.status, 3);
});

test('common registers read in any part, and are written by their own size', () => {
  const { driver } = make();
  driver.probe();
  assert.equal(driver.common(0x12, 2), 1);
  assert.equal(driver.common(0x10, 4), 0x0001_ffff);
  assert.equal(driver.common(0x18, 2), 64);
  driver.setCommon(0x18, 2, 48);
  driver.setCommon(0x18, 2, 128);
  driver.setCommon(0x18, 2, 0);
  assert.equal(driver.common(0x18, 2), 64, 'no power of two, too large, nothing');
  driver.setCommon(0x18, 2, 8);
  assert.equal(driver.common(0x18, 2), 8);
  driver.setCommon(0x20, 4, 0x1234_5670);
  driver.setCommon(0x24, 4, 0x9abc);
  assert.equal(driver.common(0x20, 4), 0x1234_5670);
  assert.equal(driver.common(0x22, 4), 0x9abc_1234, 'across two halves');
  driver.setCommon(0x16, 2, 1);
  assert.equal(driver.common(0x18, 2), 0, 'a queue that is not there');
  assert.equal(driver.common(0x20, 4), 0);
  assert.equal(driver.common(0x36, 4), 0xffff_ffff, 'beyond the structure');
});

test('vectors that do not exist read back as none', () => {
  const { driver } = make();
  driver.probe();
  driver.setCommon(0x10, 2, 1);
  assert.equal(driver.common(0x10, 2), 1);
  driver.setCommon(0x10, 2, 2);
  assert.equal(driver.common(0x10, 2), 0xffff);
  driver.setCommon(0x1a, 2, 77);
  assert.equal(driver.common(0x1a, 2), 0xffff);
});

test('without MSI-X, INTx is held until the ISR status is read', () => {
  const { rig, driver } = make();
  driver.start({ interrupts: 'intx' });
  driver.queues[0]!.request([{ in: 4 }]);
  assert.equal(rig.intx, true);
  assert.equal(rig.part.read(6, 2) & 8, 8);
  assert.equal(driver.isr(), 1);
  assert.equal(rig.intx, false);
  assert.equal(driver.isr(), 0);
  driver.queues[0]!.offer(999);
  driver.queues[0]!.notify();
  assert.equal(driver.isr(), 2, 'the broken ring is told as a configuration change');
});

test('the interrupt disable bit masks INTx and not its status', () => {
  const { rig, driver } = make();
  driver.start({ interrupts: 'intx' });
  rig.part.write(4, 2, 0x406);
  driver.queues[0]!.request([{ in: 4 }]);
  assert.equal(rig.intx, false);
  assert.equal(rig.part.read(6, 2) & 8, 8);
  rig.part.write(4, 2, 0x006);
  assert.equal(rig.intx, true);
});

test('nothing happens before DRIVER_OK or without bus mastering, and both start the queues', () => {
  const { rig, driver } = make();
  driver.start();
  const queue = driver.queues[0]!;
  rig.part.write(4, 2, 0x2);
  queue.add([{ in: 4 }]);
  queue.notify();
  assert.equal(queue.used().length, 0);
  rig.part.write(4, 2, 0x6);
  assert.equal(queue.used().length, 1);
  driver.status = 11;
  queue.add([{ in: 4 }]);
  queue.notify();
  assert.equal(queue.used().length, 0);
  driver.status = 15;
  assert.equal(queue.used().length, 1);
});

test('writing status 0 resets queues and features and leaves PCI alone', () => {
  const { rig, driver } = make();
  driver.start();
  driver.status = 0;
  assert.equal(driver.common(0x1c, 2), 0);
  assert.equal(driver.common(0x20, 4), 0);
  assert.equal(driver.common(0x1a, 2), 0xffff);
  assert.equal(rig.part.read(4, 2), 6);
  rig.part.reset();
  assert.equal(rig.bar, undefined, 'a bus reset unmaps the BAR');
});

test('registers can be reached through configuration space', () => {
  const { rig, driver } = make();
  const { part } = rig;
  driver.probe();
  let at = part.read(0x34, 1);
  while (part.read(at, 1) !== 9 || part.read(at + 3, 1) !== 5) at = part.read(at + 1, 1);
  part.write(at + 4, 1, 0);
  part.write(at + 8, 4, 0x14);
  part.write(at + 12, 4, 1);
  part.write(at + 16, 1, 3);
  assert.equal(driver.status, 3);
  part.write(at + 8, 4, 0x12);
  part.write(at + 12, 4, 2);
  assert.equal(part.read(at + 16, 2), 1);
  part.write(at + 12, 4, 3);
  part.write(at + 8, 4, 0xffff_fff0);
  part.read(at + 16, 4);
  part.write(at + 16, 4, 0);
});

const nowhere = { write: () => {} };
const DEVICES: Record<string, () => VirtioDevice> = {
  rng: () => new VirtioRng(fill),
  console: () => new VirtioConsole([{ out: nowhere }, { name: 'p1', out: nowhere }]),
  net: () => new VirtioNet({ send: () => {} }, { mac: new Uint8Array(6) }),
  block: () =>
    new VirtioBlock({
      sizeBytes: 0x10_0000,
      readOnly: false,
      serial: 'fuzz',
      read: (_offset, _into, done) => done(),
      write: (_offset, _from, done) => done(),
      flush: (done) => done(),
      discard: (_offset, _length, done) => done(),
      writeZeroes: (_offset, _length, done) => done({ message: 'no' }),
    }),
};

for (const [name, create] of Object.entries(DEVICES)) {
  test(`${name}: random register accesses and rings never throw, and the state restores`, () => {
    for (let seed = 1; seed <= 40; seed++) {
      const random = randomFrom(seed * 40_503);
      const rig = new Rig(new ArrayMemory(0x10_0000), create());
      const driver = new TestDriver(rig).start({
        features: [...Array(32).keys()],
        interrupts: random(2) ? 'msix' : 'intx',
      });
      for (let round = 0; round < 150; round++) {
        const action = random(8);
        const size = ([1, 2, 4] as const)[random(3)] as AccessSize;
        if (action === 0) rig.bar?.write(random(0x40), size, random(2 ** (8 * size)));
        if (action === 1) rig.bar?.write(random(0x8000), size, random(2 ** (8 * size)));
        if (action === 2) rig.part.write(0x40 + random(0xc0), size, random(2 ** (8 * size)));
        if (action === 3) {
          const value = rig.bar?.read(random(0x8004), size) ?? 0;
          assert.ok(value >= 0 && value < 2 ** (8 * size));
        }
        if (action > 3) submitNoise(driver, random);
      }
      const state = rig.part.save();
      const copy = new Rig(rig.memory, create());
      copy.part.restore(state);
      assert.deepEqual(copy.part.save(), state);
      assert.equal(copy.intx, rig.intx);
    }
  });
}

/** One chain of random shape and content, well formed but for what it says. */
function submitNoise(driver: TestDriver, random: (limit: number) => number): void {
  const queue = driver.queues[random(driver.queues.length)]!;
  const out = Uint8Array.from({ length: random(40) }, () => (random(2) ? random(16) : random(256)));
  const shapes = [
    [{ out }],
    [{ out }, { in: random(600) }],
    [{ in: random(2000) }],
    [{ out: out.slice(0, 16) }, { out: new Uint8Array(512) }, { in: 1 }],
  ];
  queue.add(shapes[random(shapes.length)]!, { indirect: random(2) === 1 });
  queue.notify();
}
