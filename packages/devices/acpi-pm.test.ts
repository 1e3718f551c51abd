import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '@mimic/base';
import { ACPI_DISABLE, ACPI_ENABLE, ACPI_PM, AcpiPm } from './acpi-pm.ts';
import { RecordingLine } from './contract-cases.ts';

const STATUS = 0;
const ENABLE = 2;
const CONTROL = 4;
const TIMER = 8;
const GPE_STATUS = 0x0c;
const GPE_ENABLE = 0x0e;
const POWER_BUTTON = 1 << 8;

interface Bench {
  clock: ManualClock;
  sci: RecordingLine;
  slept: number[];
  pm: AcpiPm;
}

function bench(options: { timerBits?: 24 | 32 } = {}): Bench {
  const clock = new ManualClock();
  const sci = new RecordingLine();
  const slept: number[] = [];
  const sleep = (type: number): void => void slept.push(type);
  return { clock, sci, slept, pm: new AcpiPm({ sci, clock, sleep }, options) };
}

test('the SMI command port switches ACPI mode on and off', () => {
  const { pm } = bench();
  assert.equal(pm.read(CONTROL, 2) & 1, 0);
  pm.write(ACPI_PM.apm, 1, ACPI_ENABLE);
  assert.equal(pm.read(CONTROL, 2) & 1, 1);
  pm.write(ACPI_PM.apm, 1, ACPI_DISABLE);
  assert.equal(pm.read(CONTROL, 2) & 1, 0);
  assert.equal(pm.read(ACPI_PM.apm, 1), ACPI_DISABLE);
});

test('the power button raises SCI until its status is cleared, if the guest listens', () => {
  const { pm, sci } = bench();
  assert.equal(pm.pressPowerButton(), false);
  assert.equal(sci.high, false);
  pm.write(STATUS, 2, POWER_BUTTON);
  pm.write(ACPI_PM.apm, 1, ACPI_ENABLE);
  pm.write(ENABLE, 2, POWER_BUTTON);
  assert.equal(pm.pressPowerButton(), true);
  assert.equal(sci.high, true);
  assert.equal(pm.read(STATUS, 2), POWER_BUTTON);
  pm.write(STATUS, 2, 0x21);
  assert.equal(sci.high, true);
  pm.write(STATUS, 2, POWER_BUTTON);
  assert.equal(sci.high, false);
});

test('SLP_EN enters the sleep type and reads as zero', () => {
  const { pm, slept } = bench();
  pm.write(CONTROL, 2, (5 << 10) | 1);
  assert.deepEqual(slept, []);
  pm.write(CONTROL, 2, (5 << 10) | (1 << 13) | 1);
  assert.deepEqual(slept, [5]);
  assert.equal(pm.read(CONTROL, 2), (5 << 10) | 1);
});

test('the PM timer runs at 3.579545 MHz and wraps at 24 bits', () => {
  const { pm, clock } = bench();
  clock.advance(1e9);
  assert.equal(pm.read(TIMER, 4), 3_579_545);
  clock.advance(4e9);
  assert.equal(pm.read(TIMER, 4), (5 * 3_579_545) % 2 ** 24);
  assert.equal(pm.read(TIMER + 3, 1), 0);
});

test('a 32-bit PM timer wraps later', () => {
  const { pm, clock } = bench({ timerBits: 32 });
  clock.advance(5e9);
  assert.equal(pm.read(TIMER, 4), 5 * 3_579_545);
});

test('the timer event comes whenever the highest bit changes', () => {
  const { pm, clock, sci } = bench();
  pm.write(ACPI_PM.apm, 1, ACPI_ENABLE);
  pm.write(ENABLE, 2, 1);
  const half = (2 ** 23 / 3_579_545) * 1e9;
  clock.advance(half - 1000);
  assert.equal(sci.high, false);
  clock.advance(2000);
  assert.equal(sci.high, true);
  pm.write(STATUS, 2, 1);
  assert.equal(sci.high, false);
  clock.advance(half);
  assert.equal(sci.high, true);
});

test('the timer status is set without being enabled', () => {
  const { pm, clock } = bench();
  clock.advance(3e9);
  assert.equal(pm.read(STATUS, 2) & 1, 1);
});

test('a general purpose event raises SCI while enabled', () => {
  const { pm, sci } = bench();
  pm.write(ACPI_PM.apm, 1, ACPI_ENABLE);
  pm.raiseGpe(9);
  assert.equal(sci.high, false);
  pm.write(GPE_ENABLE + 1, 1, 0x02);
  assert.equal(sci.high, true);
  assert.equal(pm.read(GPE_STATUS, 4), 0x0200_0200);
  pm.write(GPE_STATUS, 2, 0x0200);
  assert.equal(sci.high, false);
});

test('waking sets WAK_STS', () => {
  const { pm } = bench();
  pm.wake();
  assert.equal(pm.read(STATUS, 2), 0x8000);
});
