import assert from 'node:assert/strict';
import { test } from 'node:test';
import { oscillator } from './oscillator.ts';

const PIT = oscillator({ ticks: 715_909, ns: 600_000_000 });

test('the first nanosecond of a tick is in that tick, the one before is not', () => {
  for (const tick of [1, 2, 3, 715_908, 715_909, 715_910, 123_456_789, 10_000_000_000_001]) {
    const ns = PIT.nsAt(tick);
    assert.equal(PIT.ticksAt(ns), tick);
    assert.equal(PIT.ticksAt(ns - 1), tick - 1);
  }
});

test('there is no drift: a day has exactly its number of ticks', () => {
  assert.equal(PIT.ticksAt(86_400e9), Math.floor((86_400 * 14_318_180) / 12));
});

test('fractions of a nanosecond are allowed', () => {
  assert.equal(oscillator({ ticks: 1, ns: 10 }).ticksAt(19.999), 1);
});
