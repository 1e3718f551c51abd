// How long a page that keeps changing stays in the interpreter.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ChangingPages } from './changing-pages.ts';

const GPA = 0x1234_5678;

test('a page that changes before each request is translated ever less often, but never given up', () => {
  const pages = new ChangingPages();
  const allowed: number[] = [];
  for (let version = 0; version < 400; version++)
    if (pages.allows(GPA, version)) allowed.push(version);
  const distances = allowed.slice(1).map((version, n) => version - allowed[n]!);
  assert.deepEqual(distances.slice(0, 4), [1, 1, 1, 1]);
  assert.ok(distances.every((distance, n) => n === 0 || distance >= distances[n - 1]!));
  assert.equal(distances.at(-1), 64);
});

test('a page that has come to rest is translated as before, and others always', () => {
  const pages = new ChangingPages();
  for (let version = 0; version < 400; version++) pages.allows(GPA, version);
  assert.ok(pages.allows(GPA + 0x1000, 7));
  let putOff = 0;
  assert.ok(pages.rests(GPA) && !pages.rests(GPA + 0x1000));
  while (!pages.allows(GPA, 400)) putOff++;
  assert.ok(!pages.rests(GPA));
  assert.ok(putOff <= 64);
  for (let n = 0; n < 20; n++) assert.ok(pages.allows(GPA, 400));
  assert.ok(pages.allows(GPA, 401), 'the changes of long ago are forgotten');
});

test('many pages cost a bounded amount of memory, and are all allowed', () => {
  const pages = new ChangingPages();
  for (let page = 0; page < 20_000; page++) assert.ok(pages.allows(page << 12, 1));
});
