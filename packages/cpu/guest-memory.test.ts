// Guest RAM as devices reach it: bounds, holes, and what a write leaves behind.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SharedGuestMemory } from './guest-memory.ts';
import { PAGE, PAGE_FLAGS_BASE, planMemory, RAM_BASE } from './state/memory-map.ts';

const RAM_BYTES = 16 << 20;
const HOLE = 0xa_0000;
const HOLE_BYTES = 0x2_0000;

function make() {
  const layout = planMemory({ ramBytes: RAM_BYTES, vcpuCount: 1 });
  const memory = new WebAssembly.Memory({
    initial: layout.wasmPages,
    maximum: 65536,
    shared: true,
  });
  const bytes = new Uint8Array(memory.buffer);
  const invalidated: [number, number][] = [];
  const blocks = {
    invalidate: (gpa: number, length: number) => void invalidated.push([gpa, length]),
  };
  const ram = new SharedGuestMemory({ memory, layout, blocks });
  ram.exclude(HOLE, HOLE_BYTES);
  const flags = (gpa: number) => bytes[PAGE_FLAGS_BASE + gpa / 4096]!;
  const markCode = (gpa: number) => {
    bytes[PAGE_FLAGS_BASE + gpa / 4096]! |= PAGE.hasCode;
  };
  return { ram, bytes, flags, markCode, invalidated };
}

test('bytes that are written are read, at any place and across pages', () => {
  const { ram, bytes } = make();
  for (const gpa of [0, 1, 4095, 0x9_fff8, RAM_BYTES - 8]) {
    const data = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, gpa & 0xff);
    assert.ok(ram.write(gpa, data));
    const into = new Uint8Array(8);
    assert.ok(ram.read(gpa, into));
    assert.deepEqual(into, data);
    assert.deepEqual(bytes.slice(RAM_BASE + gpa, RAM_BASE + gpa + 8), data);
    assert.deepEqual(ram.view(gpa, 8)?.slice(), data);
    const low = gpa & 0xff;
    assert.equal(ram.readU16(gpa), 0x201);
    assert.equal(ram.readU32(gpa), 0x4030201);
    assert.equal(ram.readU64(gpa), (BigInt(low) << 56n) | 0x07_0605_0403_0201n);
  }
});

test('numbers are little-endian', () => {
  const { ram } = make();
  assert.ok(
    ram.writeU16(1, 0xbeef) &&
      ram.writeU32(3, 0xdead_c0de) &&
      ram.writeU64(7, 0xffee_ddcc_bbaa_9988n),
  );
  assert.equal(Buffer.from(ram.view(1, 14)!).toString('hex'), 'efbedec0adde8899aabbccddeeff');
});

/** Ranges that are not RAM throughout. */
const OUTSIDE: readonly (readonly [number, number])[] = [
  [-1, 1],
  [RAM_BYTES, 1],
  [RAM_BYTES - 1, 2],
  [RAM_BYTES - 4, 8],
  [HOLE, 1],
  [HOLE - 1, 2],
  [HOLE + HOLE_BYTES - 1, 1],
  [HOLE - 8, HOLE_BYTES + 16],
  [2 ** 40, 1],
  [0, RAM_BYTES + 1],
  [0, -1],
  [Number.NaN, 1],
  [0, Number.POSITIVE_INFINITY],
];

test('a range that is not RAM from end to end is refused and left alone', () => {
  const { ram, bytes, invalidated } = make();
  for (const [gpa, length] of OUTSIDE) {
    assert.equal(ram.view(gpa, length), undefined, `${gpa}, ${length}`);
    ram.written(gpa, length);
    if (!(length > 0 && length < 100)) continue;
    const data = new Uint8Array(length).fill(0xee);
    assert.equal(ram.write(gpa, data), false);
    assert.equal(ram.read(gpa, data), false);
    assert.ok(data.every((byte) => byte === 0xee));
  }
  assert.equal(ram.readU16(RAM_BYTES - 1), undefined);
  assert.equal(ram.readU32(HOLE - 2), undefined);
  assert.equal(ram.readU64(RAM_BYTES - 7), undefined);
  assert.equal(ram.writeU16(HOLE - 1, 1), false);
  assert.equal(ram.writeU32(RAM_BYTES - 3, 1), false);
  assert.equal(ram.writeU64(HOLE - 4, 1n), false);
  assert.equal(bytes[RAM_BASE + HOLE - 1], 0);
  assert.equal(bytes[RAM_BASE + RAM_BYTES - 1], 0);
  assert.deepEqual(invalidated, []);
});

test('both sides of a hole are RAM, and no bytes are a range everywhere in RAM', () => {
  const { ram } = make();
  assert.ok(ram.write(HOLE - 1, Uint8Array.of(1)));
  assert.ok(ram.write(HOLE + HOLE_BYTES, Uint8Array.of(1)));
  assert.equal(ram.view(0, 0)?.length, 0);
});

test('writes mark the pages that they touch dirty, and no others', () => {
  const { ram, flags } = make();
  const dirty = () =>
    Array.from({ length: 8 }, (_, n) => flags(n * 4096) & PAGE.dirty).map(Boolean);
  ram.write(0x1fff, Uint8Array.of(1, 2));
  assert.deepEqual(dirty(), [false, true, true, false, false, false, false, false]);
  ram.read(0x3000, new Uint8Array(8));
  ram.view(0x3000, 8);
  ram.writeU32(0x4ffc, 1);
  ram.written(0x6000, 0);
  assert.deepEqual(dirty(), [false, true, true, false, true, false, false, false]);
  ram.written(0x5fff, 2);
  assert.deepEqual(dirty(), [false, true, true, false, true, true, true, false]);
});

test('writes to pages with code drop it, once and for the whole range', () => {
  const { ram, markCode, invalidated } = make();
  markCode(0x2000);
  ram.write(0x1ff0, new Uint8Array(16));
  ram.writeU64(0x3000, 1n);
  assert.deepEqual(invalidated, []);
  ram.write(0x1ff0, new Uint8Array(17));
  ram.writeU16(0x2010, 5);
  ram.written(0x1000, 0x3000);
  assert.deepEqual(invalidated, [
    [0x1ff0, 17],
    [0x2010, 2],
    [0x1000, 0x3000],
  ]);
});
