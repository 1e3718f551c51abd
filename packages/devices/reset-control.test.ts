import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ResetControl } from './reset-control.ts';

function bench(): { device: ResetControl; resets: string[]; a20: boolean[] } {
  const resets: string[] = [];
  const a20: boolean[] = [];
  const device = new ResetControl({
    reset: (kind) => resets.push(kind),
    a20: (enabled) => a20.push(enabled),
  });
  return { device, resets, a20 };
}

test('port 0xcf9 resets on the rising RCPU bit, hard or soft as SRST says', () => {
  const { device, resets } = bench();
  device.write(1, 1, 0x02);
  assert.deepEqual(resets, []);
  device.write(1, 1, 0x06);
  assert.deepEqual(resets, ['hard']);
  device.write(1, 1, 0x06);
  assert.deepEqual(resets, ['hard']);
  device.write(1, 1, 0x00);
  device.write(1, 1, 0x04);
  assert.deepEqual(resets, ['hard', 'soft']);
  assert.equal(device.read(1, 1), 0x04);
});

test('port 0x92 moves A20 and resets on its rising bit 0', () => {
  const { device, resets, a20 } = bench();
  device.write(0, 1, 0x02);
  assert.deepEqual(a20, [true]);
  assert.equal(device.read(0, 1), 0x02);
  device.write(0, 1, 0x03);
  assert.deepEqual(resets, ['soft']);
  device.write(0, 1, 0x00);
  assert.equal(a20.at(-1), false);
});
