import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AssertionError } from '@mimic/base';
import { type Access, AddressSpace, BAR_PRIORITY, type Target } from './address-space.ts';

/** Reads give `fill` in each byte; every access is noted as text. */
function probe(fill: number): Target & { log: string[] } {
  const log: string[] = [];
  return {
    log,
    read(offset, size) {
      log.push(`r${size}@${offset}`);
      return (fill * 0x0101_0101) >>> (32 - size * 8);
    },
    write(offset, size, value) {
      log.push(`w${size}@${offset}=${value.toString(16)}`);
    },
  };
}

const MEMORY_SPACE = 2 ** 52;

for (const [kind, sizeBytes] of [
  ['ports', 0x1_0000],
  ['memory', MEMORY_SPACE],
] as const) {
  test(`${kind}: offsets count from the start of the range`, () => {
    const space = new AddressSpace(sizeBytes);
    const com1 = probe(0x11);
    space.map(0x3f8, 8, com1, 'com1');
    assert.equal(space.read(0x3fd, 1), 0x11);
    space.write(0x3f8, 2, 0xbeef);
    assert.deepEqual(com1.log, ['r1@5', 'w2@0=beef']);
  });

  test(`${kind}: unclaimed addresses read as ones and swallow writes`, () => {
    const space = new AddressSpace(sizeBytes);
    space.map(0x3f8, 8, probe(0), 'com1');
    assert.equal(space.read(0x3f7, 1), 0xff);
    assert.equal(space.read(0x400, 2), 0xffff);
    assert.equal(space.read(sizeBytes - 1, 4), 0xffff_ffff);
    space.write(0x400, 4, 1);
    space.write(sizeBytes - 1, 4, 1);
  });

  test(`${kind}: an access across two devices is split into bytes`, () => {
    const space = new AddressSpace(sizeBytes);
    const low = probe(0x11);
    const high = probe(0x22);
    space.map(0x100, 2, low, 'low');
    space.map(0x102, 1, high, 'high');
    assert.equal(space.read(0x101, 4), 0xffff_2211);
    space.write(0x101, 4, 0x4433_2211);
    assert.deepEqual(low.log, ['r1@1', 'w1@1=11']);
    assert.deepEqual(high.log, ['r1@0', 'w1@0=22']);
  });

  test(`${kind}: an 8-byte access is two of 4 bytes, low half first`, () => {
    const space = new AddressSpace(sizeBytes);
    const device = probe(0xab);
    space.map(0x100, 8, device, 'device');
    assert.equal(space.read64(0x100), 0xabab_abab_abab_ababn);
    space.write64(0x100, 0x1122_3344_5566_7788n);
    assert.deepEqual(device.log, ['r4@0', 'r4@4', 'w4@0=55667788', 'w4@4=11223344']);
  });

  test(`${kind}: two fixed ranges that overlap are a bug`, () => {
    const space = new AddressSpace(sizeBytes);
    space.map(0x100, 0x10, probe(0), 'first');
    assert.throws(() => space.map(0x10f, 1, probe(0), 'second'), AssertionError);
    assert.throws(() => space.map(sizeBytes - 1, 2, probe(0), 'outside'), AssertionError);
  });

  test(`${kind}: a BAR loses to a fixed part and to an earlier BAR, and shows around them`, () => {
    const space = new AddressSpace(sizeBytes);
    space.map(0x1000, 0x100, probe(0x22), 'bar', BAR_PRIORITY);
    space.map(0x1040, 0x10, probe(0x11), 'fixed');
    space.map(0x10f0, 0x20, probe(0x33), 'later', BAR_PRIORITY);
    const seen = [0xfff, 0x1000, 0x103f, 0x1040, 0x104f, 0x1050, 0x10ff, 0x1100, 0x110f, 0x1110];
    assert.deepEqual(
      seen.map((address) => space.read(address, 1)),
      [0xff, 0x22, 0x22, 0x11, 0x11, 0x22, 0x22, 0x33, 0x33, 0xff],
    );
    assert.equal(space.read(0x103f, 2), 0x1122);
  });

  test(`${kind}: an unmapped range is gone and uncovers what lay beneath`, () => {
    const space = new AddressSpace(sizeBytes);
    const under = space.map(0x1000, 0x100, probe(0x22), 'under', BAR_PRIORITY);
    const over = space.map(0x1000, 0x10, probe(0x11), 'over');
    assert.equal(space.read(0x1000, 1), 0x11);
    space.unmap(over);
    assert.equal(space.read(0x1000, 1), 0x22);
    space.unmap(under);
    assert.equal(space.read(0x1000, 1), 0xff);
  });
}

test('ranges are listed by address', () => {
  const space = new AddressSpace(MEMORY_SPACE);
  space.map(0xfee0_0000, 0x1000, probe(0), 'apic');
  space.map(0xfec0_0000, 0x1000, probe(0), 'ioapic');
  assert.deepEqual(
    space.ranges().map((range) => range.name),
    ['ioapic', 'apic'],
  );
  assert.equal(space.find(0xfec0_0fff)?.name, 'ioapic');
  assert.equal(space.find(0xfec0_1000), undefined);
});

test('the tracing hook sees each access once, with its value and its range', () => {
  const space = new AddressSpace(0x1_0000);
  const seen: Access[] = [];
  space.map(0x80, 1, probe(0x5a), 'post');
  space.onAccess = (access) => seen.push(access);
  space.read(0x80, 1);
  space.write(0x81, 2, 7);
  assert.deepEqual(seen, [
    { kind: 'read', address: 0x80, size: 1, value: 0x5a, name: 'post' },
    { kind: 'write', address: 0x81, size: 2, value: 7, name: undefined },
  ]);
});

test('the answer of a table agrees with that of the search over random layouts', () => {
  let seed = 12345;
  const random = (limit: number): number => {
    seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
    return seed % limit;
  };
  for (let round = 0; round < 20; round++) {
    const ports = new AddressSpace(0x1_0000);
    const memory = new AddressSpace(MEMORY_SPACE);
    for (let index = 0; index < 12; index++) {
      const base = random(0x200);
      const sizeBytes = 1 + random(0x40);
      const target = probe(index + 1);
      ports.map(base, sizeBytes, target, `${index}`, BAR_PRIORITY);
      memory.map(base, sizeBytes, target, `${index}`, BAR_PRIORITY);
    }
    for (let address = 0; address < 0x280; address++) {
      assert.equal(ports.read(address, 4), memory.read(address, 4), `address ${address}`);
    }
  }
});
