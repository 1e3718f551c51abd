import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '@mimic/base';
import { RecordingLine } from './contract-cases.ts';
import { PIT_EDGE_INTERVAL_TICKS_MIN, Pit8254 } from './pit8254.ts';

/** Nanoseconds of a tick, rounded up, so that n ticks are never a tick short. */
const TICK_NS = 838.0953;

function bench(): { clock: ManualClock; irq: RecordingLine; pit: Pit8254 } {
  const clock = new ManualClock();
  const irq = new RecordingLine();
  return { clock, irq, pit: new Pit8254({ irq, clock }) };
}

function program(pit: Pit8254, counter: number, mode: number, count: number): void {
  pit.write(3, 1, (counter << 6) | 0x30 | (mode << 1));
  pit.write(counter, 1, count & 0xff);
  pit.write(counter, 1, count >> 8);
}

function readCount(pit: Pit8254, counter: number): number {
  pit.write(3, 1, counter << 6);
  return pit.read(counter, 1) | (pit.read(counter, 1) << 8);
}

function ticks(clock: ManualClock, count: number): void {
  clock.advance(Math.ceil(count * TICK_NS));
}

test('mode 2 interrupts once a period without drift', () => {
  const { clock, irq, pit } = bench();
  program(pit, 0, 2, 11932);
  const before = irq.rises;
  clock.advance(10e9);
  const seconds = (irq.rises - before) / (14_318_180 / 12 / 11932);
  assert.ok(Math.abs(seconds - 10) < 0.011, `${seconds} s worth of edges`);
});

test('mode 0 raises its output when the count has run out, once', () => {
  const { clock, irq, pit } = bench();
  program(pit, 0, 0, 100);
  assert.equal(irq.high, false);
  ticks(clock, 99);
  assert.equal(irq.high, false);
  ticks(clock, 3);
  assert.equal(irq.high, true);
  ticks(clock, 200_000);
  assert.equal(irq.rises, 1);
  program(pit, 0, 0, 100);
  assert.equal(irq.high, false, 'a new count lowers it again');
});

test('mode 4 strobes once: the one-shot of Linux', () => {
  const { clock, irq, pit } = bench();
  program(pit, 0, 4, 1000);
  const before = irq.rises;
  ticks(clock, 1003);
  assert.equal(irq.rises, before + 1);
  ticks(clock, 100_000);
  assert.equal(irq.rises, before + 1);
});

test('edges that the host was too late for follow one by one, and the period keeps its phase', () => {
  const { clock, irq, pit } = bench();
  program(pit, 0, 2, 1000);
  const before = irq.rises;
  clock.jump(1000 * 20 * TICK_NS);
  assert.equal(irq.rises, before + 1, 'one at once');
  ticks(clock, PIT_EDGE_INTERVAL_TICKS_MIN * 5 + 1);
  assert.equal(irq.rises, before + 6, 'the others as the guest can take them');
  ticks(clock, 1000 * 10 - PIT_EDGE_INTERVAL_TICKS_MIN * 5 - 2);
  assert.equal(irq.rises, before + 29, 'none is lost, none is too many');
  ticks(clock, 1000);
  assert.equal(irq.rises, before + 30);
});

test('arrears of more than a tenth of a second are lost', () => {
  const { clock, irq, pit } = bench();
  program(pit, 0, 2, 1000);
  const before = irq.rises;
  clock.jump(1000 * 5000 * TICK_NS);
  ticks(clock, 10_000);
  const edges = irq.rises - before;
  assert.ok(edges >= 100 && edges <= 135, String(edges));
});

test('a latched count stays until both bytes are read, a second latch is ignored', () => {
  const { clock, pit } = bench();
  program(pit, 1, 2, 0xfff0);
  ticks(clock, 10);
  pit.write(3, 1, 0x40);
  ticks(clock, 1000);
  pit.write(3, 1, 0x40);
  const count = pit.read(1, 1) | (pit.read(1, 1) << 8);
  assert.ok(count > 0xfff0 - 12 && count <= 0xfff0 - 8, count.toString(16));
});

test('read-back latches status and count of several counters, status first', () => {
  const { clock, pit } = bench();
  program(pit, 1, 2, 0x1234);
  program(pit, 2, 3, 0x2000);
  ticks(clock, 4);
  pit.write(3, 1, 0xc0 | (1 << 2) | (1 << 3));
  assert.equal(pit.read(1, 1), 0x80 | 0x34);
  assert.ok(Math.abs((pit.read(1, 1) | (pit.read(1, 1) << 8)) - 0x1231) <= 1);
  assert.equal(pit.read(2, 1) & 0x3f, 0x36);
});

test('the status tells a count that is not loaded yet', () => {
  const { pit } = bench();
  pit.write(3, 1, 0x74);
  pit.write(3, 1, 0xe0 | (1 << 2));
  assert.equal(pit.read(1, 1), 0x80 | 0x40 | 0x34);
});

test('a new count of mode 2 takes over at the end of the period', () => {
  const { clock, irq, pit } = bench();
  program(pit, 0, 2, 1000);
  ticks(clock, 500);
  pit.write(0, 1, 200);
  pit.write(0, 1, 0);
  const before = irq.rises;
  ticks(clock, 490);
  assert.equal(irq.rises, before);
  ticks(clock, 20);
  assert.equal(irq.rises, before + 1);
  ticks(clock, 200);
  assert.equal(irq.rises, before + 2);
});

test('a new count of mode 3 takes over at the end of the half period', () => {
  const { clock, irq, pit } = bench();
  program(pit, 0, 3, 2000);
  ticks(clock, 500);
  pit.write(0, 1, 0xc8);
  pit.write(0, 1, 0);
  const before = irq.rises;
  ticks(clock, 595);
  assert.equal(irq.rises, before, 'half of 2000, then half of 200');
  ticks(clock, 10);
  assert.equal(irq.rises, before + 1);
  ticks(clock, 200);
  assert.equal(irq.rises, before + 2);
});

test('counter 2 waits for its gate and reports its output: calibration by port 0x61', () => {
  const { clock, pit } = bench();
  pit.setGate(2, true);
  pit.write(3, 1, 0xb0);
  pit.write(2, 1, 0x10);
  pit.write(2, 1, 0x27);
  assert.equal(pit.output(2), false);
  ticks(clock, 9990);
  assert.equal(pit.output(2), false);
  ticks(clock, 20);
  assert.equal(pit.output(2), true);
});

test('a closed gate stops mode 0, and it goes on where it stopped', () => {
  const { clock, pit } = bench();
  pit.setGate(2, true);
  program(pit, 2, 0, 1000);
  ticks(clock, 101);
  pit.setGate(2, false);
  const stopped = readCount(pit, 2);
  ticks(clock, 5000);
  assert.equal(readCount(pit, 2), stopped);
  pit.setGate(2, true);
  ticks(clock, 100);
  assert.ok(Math.abs(readCount(pit, 2) - (stopped - 100)) <= 1);
});

test('modes 1 and 5 start at the rising gate', () => {
  const { clock, pit } = bench();
  program(pit, 2, 1, 100);
  ticks(clock, 500);
  assert.equal(pit.output(2), true);
  pit.setGate(2, true);
  assert.equal(pit.output(2), false);
  ticks(clock, 102);
  assert.equal(pit.output(2), true);
});

test('mode 3 is a square wave with an even read count', () => {
  const { clock, pit } = bench();
  pit.setGate(2, true);
  program(pit, 2, 3, 1000);
  ticks(clock, 2);
  assert.equal(pit.output(2), true);
  assert.equal(readCount(pit, 2) & 1, 0);
  ticks(clock, 500);
  assert.equal(pit.output(2), false);
  ticks(clock, 500);
  assert.equal(pit.output(2), true);
});

test('BCD counts wrap at 10000', () => {
  const { clock, pit } = bench();
  pit.write(3, 1, 0x71);
  pit.write(1, 1, 0x00);
  pit.write(1, 1, 0x01);
  ticks(clock, 51);
  const count = readCount(pit, 1);
  assert.ok(count === 0x50 || count === 0x49, count.toString(16));
  ticks(clock, 60);
  assert.ok(readCount(pit, 1) >= 0x9980, 'below zero comes 9999');
});

test('a period shorter than a guest can serve does not flood the host', () => {
  const { clock, irq, pit } = bench();
  program(pit, 0, 2, 2);
  clock.advance(100e6);
  assert.ok(irq.rises < 10_100, `${irq.rises} edges in 0.1 s`);
});
