import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ByteRing } from './ring.ts';

function makeRing(capacityBytes: number): { ring: ByteRing; positions: Int32Array } {
  const buffer = new SharedArrayBuffer(ByteRing.sizeFor(capacityBytes));
  return { ring: new ByteRing(buffer, 0, capacityBytes), positions: new Int32Array(buffer, 0, 2) };
}

test('a full ring takes no more and gives back what it took, in order', () => {
  const { ring } = makeRing(8);
  assert.equal(ring.write(Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8, 9, 10)), 8);
  assert.equal(ring.room, 0);
  assert.equal(ring.write(Uint8Array.of(11)), 0);
  assert.deepEqual([...ring.read(100)], [1, 2, 3, 4, 5, 6, 7, 8]);
  assert.equal(ring.length, 0);
});

test('bytes survive the wrap of the buffer and of the 32-bit positions', () => {
  const { ring, positions } = makeRing(16);
  positions.fill(-5); // 2^32 - 5 bytes have gone through already.
  for (let round = 0; round < 10; round++) {
    const bytes = Uint8Array.from({ length: 7 }, (_, index) => round * 7 + index);
    assert.equal(ring.write(bytes), 7);
    assert.deepEqual(ring.read(3), bytes.slice(0, 3));
    assert.deepEqual(ring.read(16), bytes.slice(3));
  }
});

test('a writer that waits for room is woken by the reader, also one that came too late to sleep', async () => {
  const { ring } = makeRing(4);
  ring.write(new Uint8Array(4));
  const waiting = ring.roomAfter(0);
  ring.read(1);
  await waiting;
  await ring.roomAfter(0);
  assert.equal(ring.room, 1);
});
