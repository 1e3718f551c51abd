import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ArrayMemory } from '@mimic/testing';
import { CHAIN_LENGTH_MAX } from './chain.ts';
import type { VirtioDevice, VirtioLink } from './device.ts';
import { DETACHED } from './device.ts';
import { EVENT_IDX, INDIRECT_DESC, Rig, randomFrom, TestDriver } from './test-driver.ts';

const MEMORY_BYTES = 0x10_0000;
const SIZE = 16;

/** Answers each chain with its readable bytes, as far as they fit. Can be told to wait. */
class EchoDevice implements VirtioDevice {
  readonly kind = 'virtio-echo';
  readonly deviceType = 42;
  readonly features = [];
  readonly queueSizes = [SIZE];
  link: VirtioLink = DETACHED;
  waiting = false;
  taken = 0;

  attach(link: VirtioLink): void {
    this.link = link;
  }

  readConfig(): number {
    return 0;
  }

  writeConfig(): void {}

  notified(): void {
    const queue = this.link.queues[0]!;
    if (this.waiting) return;
    for (let chain = queue.next(); chain; chain = queue.next()) {
      this.taken += 1;
      const bytes = new Uint8Array(Math.min(chain.readable.sizeBytes, 4096));
      chain.readable.read(bytes);
      queue.push(chain, chain.writable.write(bytes));
    }
    queue.signal();
  }

  reset(): void {}

  save(): object {
    return {};
  }

  restore(): void {}
}

function start(features: readonly number[] = [INDIRECT_DESC]) {
  const memory = new ArrayMemory(MEMORY_BYTES);
  const device = new EchoDevice();
  const rig = new Rig(memory, device);
  const driver = new TestDriver(rig).start({ features });
  return { memory, device, rig, driver, queue: driver.queues[0]! };
}

const NEXT = 1;
const WRITE = 2;
const INDIRECT = 4;

test('chains wrap around the ring many times, with correct indices', () => {
  const { queue } = start();
  for (let round = 0; round < 100; round++) {
    const out = Uint8Array.of(round, round + 1, round + 2);
    assert.deepEqual(queue.request([{ out }, { in: 2 }, { in: 5 }]), out);
  }
});

test('the 16-bit indices wrap', () => {
  const { queue, memory } = start();
  queue.writeDescriptor(queue.descriptors, 0, { gpa: 0x8000, lengthBytes: 4, flags: 0, next: 0 });
  for (let round = 0; round < 65_540; round++) {
    queue.offer(0);
    if (round % SIZE === SIZE - 1) queue.notify();
  }
  queue.notify();
  assert.equal(memory.readU16(queue.deviceArea + 2), 4);
});

test('each chain is interrupted for, unless the driver says no', () => {
  const { queue, rig, memory } = start();
  queue.request([{ in: 1 }]);
  assert.equal(rig.messages.length, 1);
  memory.writeU16(queue.driverArea, 1);
  queue.request([{ in: 1 }]);
  queue.notify();
  assert.equal(rig.messages.length, 1);
});

test('with the event index, the driver is interrupted when its position is passed', () => {
  const { queue, rig } = start([EVENT_IDX]);
  queue.usedEvent = 2;
  const add = () => {
    queue.add([{ in: 1 }]);
    queue.notify();
    return rig.messages.length;
  };
  assert.deepEqual([add(), add(), add(), add()], [0, 0, 1, 1]);
  queue.usedEvent = 5;
  queue.add([{ in: 1 }]);
  queue.add([{ in: 1 }]);
  queue.add([{ in: 1 }]);
  queue.notify();
  assert.equal(rig.messages.length, 2, 'one interrupt for a batch that passes it');
});

test('with the event index, the device asks for a notification only once it is out of work', () => {
  const { queue, device } = start([EVENT_IDX]);
  queue.notify();
  assert.equal(queue.availEvent, 0);
  queue.request([{ in: 1 }]);
  assert.equal(queue.availEvent, 1);
  device.waiting = true;
  queue.add([{ in: 1 }]);
  queue.notify();
  assert.equal(queue.availEvent, 1);
  device.waiting = false;
  queue.notify();
  assert.equal(queue.availEvent, 2);
});

test('a chain taken before a reset is not given back after it', () => {
  const { queue, device, driver, memory } = start();
  device.waiting = true;
  queue.add([{ in: 4 }]);
  const chain = device.link.queues[0]!.next()!;
  driver.status = 0;
  device.link.queues[0]!.push(chain, 4);
  assert.equal(memory.readU16(queue.deviceArea + 2), 0);
});

/** Each entry breaks one rule; the device must stop and say so, and work again after a reset. */
const BROKEN: Record<string, (rig: ReturnType<typeof start>) => void> = {
  'a loop': ({ queue }) => {
    const entry = { gpa: 0x8000, lengthBytes: 4, flags: NEXT };
    queue.writeDescriptor(queue.descriptors, 0, { ...entry, next: 1 });
    queue.writeDescriptor(queue.descriptors, 1, { ...entry, next: 0 });
    queue.offer(0);
  },
  'a buffer outside RAM': ({ queue }) => {
    const entry = { gpa: MEMORY_BYTES - 2, lengthBytes: 4, flags: WRITE, next: 0 };
    queue.writeDescriptor(queue.descriptors, 0, entry);
    queue.offer(0);
  },
  'an address beyond 52 bits': ({ queue }) => {
    const entry = { gpa: 2 ** 60, lengthBytes: 4, flags: 0, next: 0 };
    queue.writeDescriptor(queue.descriptors, 0, entry);
    queue.offer(0);
  },
  'a huge length': ({ queue }) => {
    const entry = { gpa: 0x8000, lengthBytes: 0xffff_ffff, flags: 0, next: 0 };
    queue.writeDescriptor(queue.descriptors, 0, entry);
    queue.offer(0);
  },
  'a next index beyond the table': ({ queue }) => {
    const entry = { gpa: 0x8000, lengthBytes: 4, flags: NEXT, next: SIZE };
    queue.writeDescriptor(queue.descriptors, 0, entry);
    queue.offer(0);
  },
  'a head beyond the table': ({ queue }) => queue.offer(SIZE),
  'an available index ahead of the ring': ({ queue, memory }) => {
    memory.writeU16(queue.driverArea + 2, SIZE + 1);
  },
  'a readable buffer after a writable one': ({ queue }) => {
    const entry = { gpa: 0x8000, lengthBytes: 4 };
    queue.writeDescriptor(queue.descriptors, 0, { ...entry, flags: NEXT | WRITE, next: 1 });
    queue.writeDescriptor(queue.descriptors, 1, { ...entry, flags: 0, next: 0 });
    queue.offer(0);
  },
  'an indirect table in an indirect table': ({ queue }) => {
    const entry = { gpa: 0x8000, lengthBytes: 16, flags: INDIRECT, next: 0 };
    queue.writeDescriptor(queue.descriptors, 0, entry);
    queue.writeDescriptor(0x8000, 0, entry);
    queue.offer(0);
  },
  'an indirect table with a next descriptor': ({ queue }) => {
    const entry = { gpa: 0x8000, lengthBytes: 16, flags: INDIRECT | NEXT, next: 1 };
    queue.writeDescriptor(queue.descriptors, 0, entry);
    queue.offer(0);
  },
  'an indirect table of odd size': ({ queue }) => {
    const entry = { gpa: 0x8000, lengthBytes: 15, flags: INDIRECT, next: 0 };
    queue.writeDescriptor(queue.descriptors, 0, entry);
    queue.offer(0);
  },
  'an indirect table outside RAM': ({ queue }) => {
    const entry = { gpa: MEMORY_BYTES, lengthBytes: 16, flags: INDIRECT, next: 0 };
    queue.writeDescriptor(queue.descriptors, 0, entry);
    queue.offer(0);
  },
  'a chain longer than the limit': ({ queue }) => {
    const table = 0x8_0000;
    for (let index = 0; index <= CHAIN_LENGTH_MAX; index++) {
      const next = index + 1;
      queue.writeDescriptor(table, index, { gpa: 0x8000, lengthBytes: 1, flags: NEXT, next });
    }
    const lengthBytes = 16 * (CHAIN_LENGTH_MAX + 2);
    queue.writeDescriptor(queue.descriptors, 0, {
      gpa: table,
      lengthBytes,
      flags: INDIRECT,
      next: 0,
    });
    queue.offer(0);
  },
};

for (const [what, breakIt] of Object.entries(BROKEN)) {
  test(`${what} makes the device need a reset`, () => {
    const rig = start();
    breakIt(rig);
    rig.queue.notify();
    assert.equal(rig.driver.needsReset, true);
    assert.notEqual(rig.rig.part.fault, '');
    assert.deepEqual(rig.rig.messages, [0], 'a configuration interrupt and no other');
    assert.equal(rig.device.taken, 0);
    rig.queue.notify();
    assert.equal(rig.device.taken, 0, 'it stands still');
    rig.driver.status = 0;
    assert.equal(rig.driver.needsReset, false);
    const again = new TestDriver(rig.rig).start();
    assert.deepEqual([...again.queues[0]!.request([{ out: Uint8Array.of(7) }, { in: 1 }])], [7]);
  });
}

test('an indirect descriptor needs the feature', () => {
  const { queue, driver } = start([]);
  queue.add([{ in: 4 }], { indirect: true });
  queue.notify();
  assert.equal(driver.needsReset, true);
});

test('a chain of exactly the limit passes', () => {
  const { queue, driver, device } = start();
  const table = 0x8_0000;
  // The indirect descriptor itself counts as one.
  for (let index = 0; index < CHAIN_LENGTH_MAX - 1; index++) {
    const flags = index === CHAIN_LENGTH_MAX - 2 ? 0 : NEXT;
    queue.writeDescriptor(table, index, { gpa: 0x8000, lengthBytes: 1, flags, next: index + 1 });
  }
  const lengthBytes = 16 * (CHAIN_LENGTH_MAX - 1);
  queue.writeDescriptor(queue.descriptors, 0, {
    gpa: table,
    lengthBytes,
    flags: INDIRECT,
    next: 0,
  });
  queue.offer(0);
  queue.notify();
  assert.equal(driver.needsReset, false);
  assert.equal(device.taken, 1);
});

for (const [area, last] of [
  ['descriptors', MEMORY_BYTES],
  ['driverArea', MEMORY_BYTES - 2],
  ['deviceArea', MEMORY_BYTES - 4],
] as const) {
  test(`the ${area} outside RAM or misaligned makes the device need a reset`, () => {
    for (const gpa of [last, 2 ** 45, 2 ** 60, 0x8001]) {
      const memory = new ArrayMemory(MEMORY_BYTES);
      const rig = new Rig(memory, new EchoDevice());
      const driver = new TestDriver(rig);
      driver.probe();
      driver.status = 3;
      driver.writeFeatures([32]);
      driver.status = 11;
      const areas = { descriptors: 0x1000, driverArea: 0x2000, deviceArea: 0x3000, [area]: gpa };
      memory.writeU16(areas.driverArea + 2, 1);
      for (const [at, address] of [
        areas.descriptors,
        areas.driverArea,
        areas.deviceArea,
      ].entries()) {
        driver.setCommon(0x20 + 8 * at, 4, address % 2 ** 32);
        driver.setCommon(0x24 + 8 * at, 4, Math.floor(address / 2 ** 32));
      }
      driver.setCommon(0x1c, 2, 1);
      driver.status = 15;
      driver.notify(0);
      assert.equal(driver.needsReset, true, `${gpa.toString(16)}`);
    }
  });
}

test('random rings never throw, hang or write outside what they name', () => {
  for (let seed = 1; seed <= 150; seed++) {
    const random = randomFrom(seed * 2_654_435);
    const { queue, memory, driver } = start(
      random(2) ? [INDIRECT_DESC, EVENT_IDX] : [INDIRECT_DESC],
    );
    for (let round = 0; round < 20; round++) {
      for (let index = 0; index < SIZE; index++) {
        const gpa = [random(MEMORY_BYTES), 0x8_0000 + random(64) * 16, random(2 ** 31) * 2 ** 20];
        queue.writeDescriptor(random(4) ? queue.descriptors : 0x8_0000, index, {
          gpa: gpa[random(8) ? random(2) : 2]!,
          lengthBytes: random(3) ? random(128) * 16 : random(2 ** 31),
          flags: random(6) ? random(4) : random(65_536),
          next: random(SIZE + 1),
        });
      }
      for (let count = random(SIZE + 2); count > 0; count--) queue.offer(random(SIZE + (seed % 2)));
      queue.notify();
      if (!driver.needsReset) continue;
      assert.equal(memory.bytes.length, MEMORY_BYTES);
      break;
    }
  }
});
