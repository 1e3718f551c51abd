import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ArrayMemory } from '@mimic/testing';
import { RNG_BYTES_MAX, VirtioRng } from './rng.ts';
import { EVENT_IDX, INDIRECT_DESC, Rig, TestDriver } from './test-driver.ts';

function start(memoryBytes = 0x4_0000) {
  let next = 0;
  const rig = new Rig(
    new ArrayMemory(memoryBytes),
    new VirtioRng((bytes) => {
      for (let index = 0; index < bytes.length; index++) bytes[index] = next++;
    }),
  );
  return { rig, driver: new TestDriver(rig).start({ features: [INDIRECT_DESC, EVENT_IDX] }) };
}

test('a request is filled from the source, over all its buffers', () => {
  const { rig, driver } = start();
  assert.deepEqual(
    [...driver.queues[0]!.request([{ in: 3 }, { in: 0 }, { in: 2 }])],
    [0, 1, 2, 3, 4],
  );
  assert.deepEqual([...driver.queues[0]!.request([{ in: 2 }], { indirect: true })], [5, 6]);
  assert.deepEqual(rig.messages, [1, 1]);
});

test('a huge request is answered in part', () => {
  const { driver } = start(0x10_0000);
  assert.equal(driver.queues[0]!.request([{ in: RNG_BYTES_MAX * 2 }]).length, RNG_BYTES_MAX);
});

test('a chain without room comes back empty', () => {
  const { driver } = start();
  assert.equal(driver.queues[0]!.request([{ out: Uint8Array.of(1) }]).length, 0);
});
