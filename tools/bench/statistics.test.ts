// The benchmark's statistics.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { geomean, median, spread } from './statistics.ts';

test('the median is the middle, or the mean of the two in the middle', () => {
  assert.equal(median([9, 1, 5]), 5);
  assert.equal(median([4, 1, 2, 9]), 3);
  assert.ok(Number.isNaN(median([])));
});

test('the geomean of a ratio and its inverse is one', () => {
  assert.equal(geomean([4, 0.25]), 1);
  assert.ok(Math.abs(geomean([1, 10, 100]) - 10) < 1e-12);
  assert.ok(Number.isNaN(geomean([])));
});

test('a spread has the ends and the median, of nothing it has NaN', () => {
  assert.deepEqual(spread([3, 1, 2]), { least: 1, median: 2, most: 3 });
  assert.deepEqual(spread([]), { least: Number.NaN, median: Number.NaN, most: Number.NaN });
});
