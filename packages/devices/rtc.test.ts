import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '@mimic/base';
import { RecordingLine } from './contract-cases.ts';
import { Rtc } from './rtc.ts';

/** Thursday, 29 February 2024, 23:59:58.000 UTC. */
const LEAP_DAY = Date.UTC(2024, 1, 29, 23, 59, 58);

interface Bench {
  clock: ManualClock;
  irq: RecordingLine;
  rtc: Rtc;
}

function bench(startMs = LEAP_DAY): Bench {
  const clock = new ManualClock();
  const irq = new RecordingLine();
  const wallClockMs = (): number => startMs + clock.now() / 1e6;
  const cmos = [[0x15, 0x80]] as const;
  return { clock, irq, rtc: new Rtc({ irq, clock, wallClockMs }, { cmos }) };
}

function read(rtc: Rtc, index: number): number {
  rtc.write(0, 1, index);
  return rtc.read(1, 1);
}

function write(rtc: Rtc, index: number, value: number): void {
  rtc.write(0, 1, index);
  rtc.write(1, 1, value);
}

function show(rtc: Rtc): number[] {
  return [0x32, 9, 8, 7, 6, 4, 2, 0].map((index) => read(rtc, index));
}

test('the time reads in BCD and 24 hours, with weekday and century', () => {
  const { rtc, clock } = bench();
  assert.deepEqual(show(rtc), [0x20, 0x24, 0x02, 0x29, 5, 0x23, 0x59, 0x58]);
  clock.advance(2e9);
  assert.deepEqual(show(rtc), [0x20, 0x24, 0x03, 0x01, 6, 0x00, 0x00, 0x00]);
});

test('binary and 12-hour format', () => {
  const { rtc } = bench();
  write(rtc, 0x0b, 0x04);
  assert.deepEqual(show(rtc), [20, 24, 2, 29, 5, 11 | 0x80, 59, 58]);
  const noon = bench(Date.UTC(2024, 0, 1, 0, 30)).rtc;
  write(noon, 0x0b, 0x00);
  assert.equal(read(noon, 4), 0x12, 'midnight is 12 AM');
});

test('Linux sets the clock: SET, divider reset, date, divider on, SET off', () => {
  const { rtc, clock } = bench();
  write(rtc, 0x0b, 0x82);
  write(rtc, 0x0a, 0x76);
  for (const [index, value] of [
    [9, 0x30],
    [8, 0x12],
    [7, 0x31],
    [4, 0x23],
    [2, 0x59],
    [0, 0x59],
    [0x32, 0x19],
  ] as const) {
    write(rtc, index, value);
  }
  clock.advance(5e9);
  assert.equal(read(rtc, 0), 0x59, 'a held clock stands still');
  write(rtc, 0x0b, 0x02);
  write(rtc, 0x0a, 0x26);
  assert.deepEqual(show(rtc).slice(0, 4), [0x19, 0x30, 0x12, 0x31]);
  clock.advance(499e6);
  assert.equal(read(rtc, 0), 0x59);
  clock.advance(2e6);
  assert.deepEqual(show(rtc), [0x19, 0x31, 0x01, 0x01, read(rtc, 6), 0, 0, 0]);
});

test('a byte written to the running clock takes effect at once', () => {
  const { rtc, clock } = bench();
  write(rtc, 4, 0x10);
  clock.advance(1e9);
  assert.deepEqual(show(rtc).slice(5), [0x10, 0x59, 0x59]);
});

test('nonsense in the date does not stop the clock', () => {
  const { rtc, clock } = bench();
  write(rtc, 0x0b, 0x82);
  for (const index of [0, 2, 4, 6, 7, 8, 9, 0x32]) write(rtc, index, 0xff);
  write(rtc, 0x0b, 0x02);
  const before = show(rtc);
  clock.advance(1e9);
  assert.notDeepEqual(show(rtc), before);
});

test('UIP is set right before the update and clear otherwise', () => {
  const { rtc, clock } = bench();
  assert.equal(read(rtc, 0x0a), 0x26);
  clock.advance(999e6);
  assert.equal(read(rtc, 0x0a), 0xa6);
  clock.advance(1e6);
  assert.equal(read(rtc, 0x0a), 0x26);
});

test('the update-ended interrupt comes each second and register C ends it', () => {
  const { rtc, clock, irq } = bench();
  write(rtc, 0x0b, 0x12);
  clock.advance(999e6);
  assert.equal(irq.high, false);
  clock.advance(1e6);
  assert.equal(irq.high, true);
  assert.equal(read(rtc, 0x0c), 0x90 | (read(rtc, 0x0c) & 0x40) | 0x40);
  assert.equal(irq.high, false);
  assert.equal(read(rtc, 0x0c), 0);
  clock.advance(1e9);
  assert.equal(irq.rises, 2);
});

test('the alarm interrupts at its time, with wildcards every minute', () => {
  const { rtc, clock, irq } = bench();
  write(rtc, 1, 0x05);
  write(rtc, 3, 0x00);
  write(rtc, 5, 0x00);
  write(rtc, 0x0b, 0x22);
  clock.advance(6.9e9);
  assert.equal(irq.high, false);
  clock.advance(0.2e9);
  assert.equal(irq.high, true);
  assert.equal(read(rtc, 0x0c) & 0xa0, 0xa0);
  write(rtc, 3, 0xff);
  write(rtc, 5, 0xc0);
  clock.advance(60e9);
  assert.equal(irq.rises, 2);
});

test('an alarm that passed while the host slept is noticed late', () => {
  const { rtc, clock, irq } = bench();
  write(rtc, 1, 0x05);
  write(rtc, 3, 0x00);
  write(rtc, 5, 0x00);
  write(rtc, 0x0b, 0x22);
  clock.jump(30e9);
  assert.equal(irq.high, true);
});

test('the periodic interrupt keeps its rate without drift', () => {
  const { rtc, clock, irq } = bench();
  write(rtc, 0x0b, 0x42);
  let interrupts = 0;
  for (let step = 0; step < 2000; step += 1) {
    clock.advance(1e6);
    if (irq.high) interrupts += 1;
    read(rtc, 0x0c);
  }
  assert.ok(
    Math.abs(interrupts - 2000) < 60,
    `${interrupts} of 2048 at 1024 Hz, polled at 1000 Hz`,
  );
});

test('without reading register C the line stays up and nothing more is timed', () => {
  const { rtc, clock, irq } = bench();
  write(rtc, 0x0a, 0x23);
  write(rtc, 0x0b, 0x42);
  clock.advance(1e9);
  assert.equal(irq.rises, 1);
  assert.equal(clock.nextDeadlineNs(), undefined);
});

test('setting SET clears the update interrupt enable', () => {
  const { rtc } = bench();
  write(rtc, 0x0b, 0x92);
  assert.equal(read(rtc, 0x0b), 0x82);
});

test('memory keeps bytes, the board presets them, register D says valid and is read-only', () => {
  const { rtc } = bench();
  assert.equal(read(rtc, 0x15), 0x80);
  write(rtc, 0x40, 0x5a);
  assert.equal(read(rtc, 0x40), 0x5a);
  write(rtc, 0x0d, 0);
  assert.equal(read(rtc, 0x0d), 0x80);
});

test('port 0x70 is write-only and carries the NMI mask', () => {
  const { rtc } = bench();
  rtc.write(0, 1, 0x8d);
  assert.equal(rtc.nmiMasked, true);
  assert.equal(rtc.read(0, 1), 0xff);
  assert.equal(rtc.read(1, 1), 0x80);
});

test('the reset pin turns interrupts off and keeps time and memory', () => {
  const { rtc, clock, irq } = bench();
  write(rtc, 0x40, 0x5a);
  write(rtc, 4, 0x10);
  write(rtc, 0x0b, 0x72);
  clock.advance(2e9);
  assert.equal(irq.high, true);
  rtc.pinReset();
  assert.equal(irq.high, false);
  assert.equal(read(rtc, 0x40), 0x5a);
  assert.equal(read(rtc, 4), 0x11);
  assert.equal(read(rtc, 0x0b), 0x02);
});
