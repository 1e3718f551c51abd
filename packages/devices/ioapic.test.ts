import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { InterruptMessage } from '@mimic/base';
import { Ioapic } from './ioapic.ts';

const EDGE = 0;
const LEVEL = 1 << 15;
const ACTIVE_LOW = 1 << 13;
const MASKED = 1 << 16;

function bench(): { ioapic: Ioapic; sent: InterruptMessage[] } {
  const sent: InterruptMessage[] = [];
  return { ioapic: new Ioapic({ sink: { send: (message) => sent.push(message) } }), sent };
}

function write(ioapic: Ioapic, index: number, value: number): void {
  ioapic.write(0x00, 4, index);
  ioapic.write(0x10, 4, value >>> 0);
}

function read(ioapic: Ioapic, index: number): number {
  ioapic.write(0x00, 4, index);
  return ioapic.read(0x10, 4);
}

function program(ioapic: Ioapic, pin: number, low: number, destination = 0): void {
  write(ioapic, 0x11 + 2 * pin, destination << 24);
  write(ioapic, 0x10 + 2 * pin, low);
}

test('version, size and id read as a 24-pin part of version 0x20', () => {
  const { ioapic } = bench();
  assert.equal(read(ioapic, 1), 0x0017_0020);
  write(ioapic, 0, 0xff00_0000);
  assert.equal(read(ioapic, 0), 0x0f00_0000);
  assert.equal(read(ioapic, 0x10), 0x1_0000, 'pins are masked after reset');
  assert.equal(read(ioapic, 0x40), 0xffff_ffff);
});

test('read-only bits of an entry are not written', () => {
  const { ioapic } = bench();
  write(ioapic, 0x10, 0xffff_ffff);
  assert.equal(read(ioapic, 0x10), 0x1_afff);
  write(ioapic, 0x11, 0xffff_ffff);
  assert.equal(read(ioapic, 0x11), 0xff00_0000);
});

test('an edge is sent once, with destination and vector', () => {
  const { ioapic, sent } = bench();
  program(ioapic, 4, EDGE | 0x51, 3);
  ioapic.pin(4).set(true);
  ioapic.pin(4).set(true);
  assert.deepEqual(sent, [
    { destination: 3, logical: false, deliveryMode: 0, vector: 0x51, level: false },
  ]);
  ioapic.pin(4).set(false);
  ioapic.pin(4).set(true);
  assert.equal(sent.length, 2);
});

test('an edge on a masked pin is lost, a level is not', () => {
  const { ioapic, sent } = bench();
  program(ioapic, 4, EDGE | MASKED | 0x51);
  program(ioapic, 5, LEVEL | MASKED | 0x52);
  ioapic.pin(4).set(true);
  ioapic.pin(5).set(true);
  program(ioapic, 4, EDGE | 0x51);
  program(ioapic, 5, LEVEL | 0x52);
  assert.deepEqual(
    sent.map((message) => message.vector),
    [0x52],
  );
});

test('a level waits for its EOI and comes again while the pin is asserted', () => {
  const { ioapic, sent } = bench();
  program(ioapic, 10, LEVEL | 0x61);
  ioapic.pin(10).set(true);
  assert.equal(read(ioapic, 0x24) & 0x4000, 0x4000, 'Remote IRR');
  ioapic.pin(10).set(false);
  ioapic.pin(10).set(true);
  assert.equal(sent.length, 1);
  ioapic.endOfInterrupt(0x62);
  assert.equal(sent.length, 1, 'another vector');
  ioapic.endOfInterrupt(0x61);
  assert.equal(sent.length, 2);
  ioapic.pin(10).set(false);
  ioapic.write(0x40, 4, 0x61);
  assert.equal(sent.length, 2);
  assert.equal(read(ioapic, 0x24) & 0x4000, 0);
});

test('an active-low pin is asserted by a low line', () => {
  const { ioapic, sent } = bench();
  ioapic.pin(11).set(true);
  program(ioapic, 11, LEVEL | ACTIVE_LOW | 0x71);
  assert.equal(sent.length, 0);
  ioapic.pin(11).set(false);
  assert.equal(sent.length, 1);
});

test('switching to edge and back clears Remote IRR: the EOI of old Linux kernels', () => {
  const { ioapic, sent } = bench();
  program(ioapic, 12, LEVEL | 0x81);
  ioapic.pin(12).set(true);
  program(ioapic, 12, EDGE | MASKED | 0x81);
  program(ioapic, 12, LEVEL | 0x81);
  assert.equal(sent.length, 2);
});

test('NMI, ExtINT and the like are never level; reserved modes send nothing', () => {
  const { ioapic, sent } = bench();
  for (const mode of [0, 1, 2, 3, 4, 5, 6, 7]) program(ioapic, mode, LEVEL | (mode << 8) | 0x90);
  for (const mode of [0, 1, 2, 3, 4, 5, 6, 7]) ioapic.pin(mode).set(true);
  assert.deepEqual(
    sent.map((message) => [message.deliveryMode, message.level]),
    [
      [0, true],
      [1, true],
      [2, false],
      [4, false],
      [5, false],
      [7, false],
    ],
  );
});

test('a logical destination is passed on as one', () => {
  const { ioapic, sent } = bench();
  program(ioapic, 1, EDGE | (1 << 11) | 0x31, 0xff);
  ioapic.pin(1).set(true);
  assert.equal(sent[0]?.logical, true);
  assert.equal(sent[0]?.destination, 0xff);
});

test('byte reads of the index and window work', () => {
  const { ioapic } = bench();
  ioapic.write(0x00, 1, 1);
  assert.equal(ioapic.read(0x00, 1), 1);
  assert.equal(ioapic.read(0x12, 1), 0x17);
});
