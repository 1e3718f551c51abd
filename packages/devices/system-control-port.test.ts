import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '@mimic/base';
import { RecordingLine } from './contract-cases.ts';
import { Pit8254 } from './pit8254.ts';
import { SystemControlPort } from './system-control-port.ts';

function bench(): { clock: ManualClock; pit: Pit8254; port: SystemControlPort } {
  const clock = new ManualClock();
  const pit = new Pit8254({ irq: new RecordingLine(), clock });
  return { clock, pit, port: new SystemControlPort({ timer: pit, clock }) };
}

test('bit 5 shows that counter 2 has run out: the loop of Linux calibrating the TSC', () => {
  const { clock, pit, port } = bench();
  port.write(0, 1, (port.read(0, 1) & ~0x02) | 0x01);
  pit.write(3, 1, 0xb0);
  pit.write(2, 1, 0xff);
  pit.write(2, 1, 0x10);
  assert.equal(port.read(0, 1) & 0x20, 0);
  clock.advance(5e6);
  assert.equal(port.read(0, 1) & 0x20, 0x20);
});

test('the refresh bit toggles with time', () => {
  const { clock, port } = bench();
  const first = port.read(0, 1) & 0x10;
  clock.advance(15_085);
  assert.notEqual(port.read(0, 1) & 0x10, first);
});

test('only the low four bits are written', () => {
  const { port } = bench();
  port.write(0, 1, 0xff);
  assert.equal(port.read(0, 1) & 0xcf, 0x0f);
});
