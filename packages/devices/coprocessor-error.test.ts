// IRQ 13 and port 0xF0.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CoprocessorError } from './coprocessor-error.ts';

function build(): { device: CoprocessorError; isHigh: () => boolean } {
  let level = false;
  const device = new CoprocessorError({ irq: { set: (high) => (level = high) } });
  return { device, isHigh: () => level };
}

test('IRQ 13 rises with FERR# and falls on a write to port 0xF0, although FERR# stays', () => {
  const { device, isHigh } = build();
  device.input.set(true);
  assert.equal(isHigh(), true);
  device.write();
  assert.equal(isHigh(), false);
  device.input.set(true);
  assert.equal(isHigh(), false, 'only an edge of FERR# latches');
  device.input.set(false);
  device.input.set(true);
  assert.equal(isHigh(), true);
});

test('IRQ 13 falls with FERR#, and a restored latch drives it', () => {
  const { device, isHigh } = build();
  device.input.set(true);
  const saved = device.save();
  device.input.set(false);
  assert.equal(isHigh(), false);
  device.restore(saved);
  assert.equal(isHigh(), true);
  device.reset();
  assert.equal(isHigh(), false);
});
