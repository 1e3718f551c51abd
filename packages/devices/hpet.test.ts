import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '@mimic/base';
import { RecordingLine } from './contract-cases.ts';
import { Hpet } from './hpet.ts';
import { Pic8259 } from './pic8259.ts';
import { Pit8254 } from './pit8254.ts';

const GEN_CONF = 0x10;
const STATUS = 0x20;
const COUNTER = 0xf0;
const ENABLE = 1;
const LEGACY = 2;
const LEVEL = 1 << 1;
const INTERRUPT = 1 << 2;
const PERIODIC = 1 << 3;
const VALUE_SET = 1 << 6;
const MODE32 = 1 << 8;
const ROUTE_20 = 20 << 9;

interface Bench {
  clock: ManualClock;
  hpet: Hpet;
  irq0: RecordingLine;
  irq8: RecordingLine;
  pins: Map<number, RecordingLine>;
}

function bench(): Bench {
  const clock = new ManualClock();
  const irq0 = new RecordingLine();
  const irq8 = new RecordingLine();
  const pins = new Map<number, RecordingLine>();
  const pin = (index: number): RecordingLine => {
    const line = new RecordingLine();
    pins.set(index, line);
    return line;
  };
  return { clock, hpet: new Hpet({ clock, irq0, irq8, pin }), irq0, irq8, pins };
}

function conf(timer: number): number {
  return 0x100 + 0x20 * timer;
}

function comparator(timer: number): number {
  return conf(timer) + 8;
}

test('capabilities: 64 bits, legacy replacement, three timers, 10 ns', () => {
  const { hpet } = bench();
  assert.equal(hpet.read(0, 4), 0x8086_a201);
  assert.equal(hpet.read(4, 4), 10_000_000);
  assert.equal(hpet.read(conf(0), 4), 0x30);
  assert.equal(hpet.read(conf(0) + 4, 4), 0x00f0_0000);
  assert.equal(hpet.read(conf(3), 4), 0, 'there is no fourth timer');
});

test('the main counter runs while enabled, carries into its high half and can be set', () => {
  const { hpet, clock } = bench();
  clock.advance(1000);
  assert.equal(hpet.read(COUNTER, 4), 0);
  hpet.write(COUNTER, 4, 0xffff_ff00);
  hpet.write(COUNTER + 4, 4, 5);
  hpet.write(GEN_CONF, 4, ENABLE);
  clock.advance(10 * 0x110);
  assert.equal(hpet.read(COUNTER, 4), 0x10);
  assert.equal(hpet.read(COUNTER + 4, 4), 6);
  hpet.write(GEN_CONF, 4, 0);
  clock.advance(1000);
  assert.equal(hpet.read(COUNTER, 4), 0x10);
});

test('legacy replacement: a one-shot of timer 0 takes ISA 0 from the PIT', () => {
  const { hpet, clock, irq0 } = bench();
  hpet.pitInput.set(true);
  assert.equal(irq0.high, true);
  hpet.write(GEN_CONF, 4, ENABLE | LEGACY);
  assert.equal(irq0.high, false);
  hpet.write(conf(0), 4, INTERRUPT | MODE32);
  hpet.write(comparator(0), 4, hpet.read(COUNTER, 4) + 1000);
  hpet.pitInput.set(false);
  hpet.pitInput.set(true);
  const before = irq0.rises;
  clock.advance(9_999);
  assert.equal(irq0.rises, before);
  clock.advance(1);
  assert.equal(irq0.rises, before + 1);
  clock.advance(1e9);
  assert.equal(irq0.rises, before + 1);
});

test('a periodic timer as Linux starts it: first match, then the period', () => {
  const { hpet, clock, irq0 } = bench();
  hpet.write(GEN_CONF, 4, ENABLE | LEGACY);
  hpet.write(conf(0), 4, INTERRUPT | MODE32 | PERIODIC | VALUE_SET);
  hpet.write(comparator(0), 4, 5000);
  assert.equal(hpet.read(conf(0), 4) & VALUE_SET, 0, 'VAL_SET clears itself');
  hpet.write(comparator(0), 4, 4000);
  const before = irq0.rises;
  clock.advance(50_000);
  assert.equal(irq0.rises, before + 1);
  assert.equal(hpet.read(comparator(0), 4), 9000);
  clock.advance(400_000);
  assert.equal(irq0.rises, before + 11);
});

test('late periodic matches merge and the comparator stays in phase', () => {
  const { hpet, clock, irq0 } = bench();
  hpet.write(GEN_CONF, 4, ENABLE | LEGACY);
  hpet.write(conf(0), 4, INTERRUPT | MODE32 | PERIODIC | VALUE_SET);
  hpet.write(comparator(0), 4, 5000);
  clock.jump(50_000 * 100 + 70);
  assert.equal(irq0.rises, 1);
  assert.equal(hpet.read(comparator(0), 4), 5000 * 101);
});

test('a level-triggered timer holds its pin until its status is cleared', () => {
  const { hpet, clock, pins } = bench();
  const pin = pins.get(20)!;
  hpet.write(conf(2), 4, LEVEL | INTERRUPT | ROUTE_20);
  hpet.write(comparator(2), 4, 100);
  hpet.write(comparator(2) + 4, 4, 0);
  hpet.write(GEN_CONF, 4, ENABLE);
  clock.advance(1000);
  assert.equal(pin.high, true);
  assert.equal(hpet.read(STATUS, 4), 4);
  hpet.write(STATUS, 4, 3);
  assert.equal(pin.high, true);
  hpet.write(STATUS, 4, 4);
  assert.equal(pin.high, false);
});

test('the status is set without the interrupt being enabled', () => {
  const { hpet, clock, pins } = bench();
  hpet.write(conf(1), 4, LEVEL | MODE32 | ROUTE_20);
  hpet.write(comparator(1), 4, 100);
  hpet.write(GEN_CONF, 4, ENABLE);
  clock.advance(1000);
  assert.equal(hpet.read(STATUS, 4), 2);
  assert.equal(pins.get(20)?.high, false);
});

test('only routes that the capabilities name are taken', () => {
  const { hpet } = bench();
  hpet.write(conf(0), 4, 5 << 9);
  assert.equal(hpet.read(conf(0), 4) & 0x3e00, 0);
  hpet.write(conf(0), 4, 23 << 9);
  assert.equal(hpet.read(conf(0), 4) & 0x3e00, 23 << 9);
});

test('an 8-byte write of a 64-bit periodic comparator keeps VAL_SET for its high half', () => {
  const { hpet } = bench();
  hpet.write(conf(0), 4, INTERRUPT | PERIODIC | VALUE_SET);
  hpet.write(comparator(0), 4, 0x10);
  hpet.write(comparator(0) + 4, 4, 0x2);
  hpet.write(comparator(0), 4, 0x500);
  hpet.write(comparator(0) + 4, 4, 0);
  assert.equal(hpet.read(comparator(0), 4), 0x10);
  assert.equal(hpet.read(comparator(0) + 4, 4), 0x2);
});

test('a comparator just behind the counter matches a whole lap later', () => {
  const { hpet, clock, irq0 } = bench();
  hpet.write(GEN_CONF, 4, ENABLE | LEGACY);
  clock.advance(10_000);
  hpet.write(conf(0), 4, INTERRUPT | MODE32);
  hpet.write(comparator(0), 4, 999);
  clock.advance(42e9);
  assert.equal(irq0.rises, 0);
  clock.advance(1e9);
  assert.equal(irq0.rises, 1);
});

test('a period shorter than a guest can serve does not flood the host', () => {
  const { hpet, clock, irq0 } = bench();
  hpet.write(GEN_CONF, 4, ENABLE | LEGACY);
  hpet.write(conf(0), 4, INTERRUPT | MODE32 | PERIODIC | VALUE_SET);
  hpet.write(comparator(0), 4, 1);
  clock.advance(100e6);
  assert.ok(irq0.rises < 5100, `${irq0.rises} edges in 0.1 s`);
});

test('the tick of the PIT passes the HPET and is a new interrupt of the PIC every period', () => {
  const clock = new ManualClock();
  const pic = new Pic8259({ intr: new RecordingLine() });
  const pin = (): RecordingLine => new RecordingLine();
  const hpet = new Hpet({ clock, irq0: pic.line(0), irq8: pic.line(8), pin });
  const pit = new Pit8254({ irq: hpet.pitInput, clock });
  for (const value of [0x30, 4, 1, 0xfe]) {
    if (value === 0x30) pic.write(0, 1, 0x11);
    pic.write(1, 1, value);
  }
  for (const [offset, value] of [
    [3, 0x34],
    [0, 0x9c],
    [0, 0x2e],
  ] as const) {
    pit.write(offset, 1, value);
  }
  let interrupts = 0;
  for (let ms = 0; ms < 1000; ms += 1) {
    clock.advance(1e6);
    pic.write(0, 1, 0x0a);
    if ((pic.read(0, 1) & 1) === 0) continue;
    assert.equal(pic.acknowledge(), 0x30);
    pic.write(0, 1, 0x20);
    interrupts += 1;
  }
  assert.ok(interrupts >= 100 && interrupts <= 101, `${interrupts} at 100 Hz`);
});
