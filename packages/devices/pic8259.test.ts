import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RecordingLine } from './contract-cases.ts';
import { Pic8259 } from './pic8259.ts';

const MASTER = 0;
const SLAVE = 2;
const EOI = 0x20;

/** A pair initialised as Linux does: vectors 0x30 and 0x38, all unmasked. */
function bench(options: { icw4?: number } = {}): { pic: Pic8259; intr: RecordingLine } {
  const intr = new RecordingLine();
  const pic = new Pic8259({ intr });
  const icw4 = options.icw4 ?? 1;
  for (const [chip, base, icw3] of [
    [MASTER, 0x30, 4],
    [SLAVE, 0x38, 2],
  ] as const) {
    pic.write(chip, 1, 0x11);
    pic.write(chip + 1, 1, base);
    pic.write(chip + 1, 1, icw3);
    pic.write(chip + 1, 1, icw4);
    pic.write(chip + 1, 1, 0);
  }
  return { pic, intr };
}

function isr(pic: Pic8259, chip: number): number {
  pic.write(chip, 1, 0x0b);
  return pic.read(chip, 1);
}

test('before initialisation nothing interrupts', () => {
  const intr = new RecordingLine();
  const pic = new Pic8259({ intr });
  pic.line(1).set(true);
  assert.equal(intr.high, false);
});

test('the mask register reads back what was written: the probe of Linux', () => {
  const { pic } = bench();
  pic.write(SLAVE + 1, 1, 0xff);
  pic.write(MASTER + 1, 1, 0xfb);
  assert.equal(pic.read(MASTER + 1, 1), 0xfb);
});

test('an edge interrupts once, goes in service, and a lower level waits for its EOI', () => {
  const { pic, intr } = bench();
  pic.line(1).set(true);
  pic.line(4).set(true);
  assert.equal(intr.high, true);
  assert.equal(pic.acknowledge(), 0x31);
  assert.equal(isr(pic, MASTER), 0x02);
  assert.equal(intr.high, false);
  pic.write(MASTER, 1, EOI);
  assert.equal(pic.acknowledge(), 0x34);
  pic.write(MASTER, 1, EOI);
  assert.equal(intr.high, false, 'the lines are still high, but rose only once');
});

test('a higher level interrupts one in service', () => {
  const { pic, intr } = bench();
  pic.line(4).set(true);
  pic.acknowledge();
  pic.line(0).set(true);
  assert.equal(intr.high, true);
  assert.equal(pic.acknowledge(), 0x30);
  assert.equal(isr(pic, MASTER), 0x11);
});

test('the slave comes through input 2 and needs both EOIs', () => {
  const { pic, intr } = bench();
  pic.line(12).set(true);
  assert.equal(pic.acknowledge(), 0x3c);
  assert.equal(isr(pic, SLAVE), 0x10);
  assert.equal(isr(pic, MASTER), 0x04);
  pic.line(14).set(true);
  pic.write(SLAVE, 1, EOI);
  assert.equal(intr.high, false);
  pic.write(MASTER, 1, EOI);
  assert.equal(intr.high, true);
  assert.equal(pic.acknowledge(), 0x3e);
});

test('with automatic EOI the next slave request follows at once', () => {
  const { pic, intr } = bench({ icw4: 3 });
  pic.line(9).set(true);
  pic.line(10).set(true);
  assert.equal(pic.acknowledge(), 0x39);
  assert.equal(intr.high, true);
  assert.equal(pic.acknowledge(), 0x3a);
  assert.equal(intr.high, false);
  assert.equal(isr(pic, MASTER) | isr(pic, SLAVE), 0);
});

test('a request that is gone at INTA is spurious: 7 with no bit in service', () => {
  const { pic } = bench();
  pic.line(3).set(true);
  pic.line(3).set(false);
  assert.equal(pic.acknowledge(), 0x37);
  assert.equal(isr(pic, MASTER), 0);
});

test('a request masked or gone at the slave is withdrawn from the master', () => {
  const { pic, intr } = bench();
  pic.line(10).set(true);
  assert.equal(intr.high, true);
  pic.write(SLAVE + 1, 1, 0xff);
  assert.equal(intr.high, false);
  assert.equal(pic.acknowledge(), 0x37);
  assert.equal(isr(pic, SLAVE), 0);
});

test('a level-triggered line interrupts again until it falls', () => {
  const { pic, intr } = bench();
  pic.write(5, 1, 0xff);
  assert.equal(pic.read(5, 1), 0xde);
  pic.line(11).set(true);
  for (let round = 0; round < 2; round += 1) {
    assert.equal(pic.acknowledge(), 0x3b);
    pic.write(SLAVE, 1, EOI);
    pic.write(MASTER, 1, EOI);
    assert.equal(intr.high, true);
  }
  pic.line(11).set(false);
  assert.equal(intr.high, false);
});

test('a masked edge is remembered while the line stays high', () => {
  const { pic, intr } = bench();
  pic.write(MASTER + 1, 1, 0xff);
  pic.line(5).set(true);
  assert.equal(intr.high, false);
  pic.write(MASTER, 1, 0x0a);
  assert.equal(pic.read(MASTER, 1), 0x20);
  pic.write(MASTER + 1, 1, 0);
  assert.equal(pic.acknowledge(), 0x35);
});

test('special mask mode lets lower levels pass a masked one in service', () => {
  const { pic, intr } = bench();
  pic.line(1).set(true);
  pic.acknowledge();
  pic.line(6).set(true);
  assert.equal(intr.high, false);
  pic.write(MASTER + 1, 1, 0x02);
  pic.write(MASTER, 1, 0x68);
  assert.equal(intr.high, true);
  assert.equal(pic.acknowledge(), 0x36);
});

test('rotation on EOI makes the ended level the least urgent', () => {
  const { pic } = bench();
  pic.line(0).set(true);
  pic.acknowledge();
  pic.write(MASTER, 1, 0xa0);
  pic.line(0).set(false);
  pic.line(0).set(true);
  pic.line(7).set(true);
  assert.equal(pic.acknowledge(), 0x37);
});

test('set priority names the least urgent level', () => {
  const { pic } = bench();
  pic.write(MASTER, 1, 0xc0 | 3);
  pic.line(3).set(true);
  pic.line(4).set(true);
  assert.equal(pic.acknowledge(), 0x34);
});

test('a specific EOI ends the level it names', () => {
  const { pic } = bench();
  pic.line(5).set(true);
  pic.acknowledge();
  pic.line(1).set(true);
  pic.acknowledge();
  pic.write(MASTER, 1, 0x65);
  assert.equal(isr(pic, MASTER), 0x02);
});

test('polling acknowledges without INTA', () => {
  const { pic, intr } = bench();
  pic.line(6).set(true);
  pic.write(MASTER, 1, 0x0c);
  assert.equal(pic.read(MASTER, 1), 0x86);
  assert.equal(intr.high, false);
  assert.equal(isr(pic, MASTER), 0x40);
});

test('special fully nested mode lets a more urgent slave request pass', () => {
  const { pic, intr } = bench({ icw4: 0x11 });
  pic.line(12).set(true);
  pic.acknowledge();
  pic.line(8).set(true);
  assert.equal(intr.high, true);
  assert.equal(pic.acknowledge(), 0x38);
});
