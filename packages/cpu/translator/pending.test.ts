// Requests that wait for the translator: which comes first, which is answered already, and that thousands of them do not
// make each other wait.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BlockTable } from '../decode/block-table.ts';
import { DECODING_MODE } from '../state/decoding-mode.ts';
import { planMemory, RECORDS_BASE } from '../state/memory-map.ts';
import { PendingRequests } from './pending.ts';
import { RequestRing } from './requests.ts';
import type { TranslatedRegion, TranslationRequest } from './translator.ts';

const MODE = DECODING_MODE.code64;
/** Hotter than anything: takes what the rings have, and gives nothing. */
const NOTHING = Number.POSITIVE_INFINITY;

function setUp(isKept?: (request: TranslationRequest) => boolean) {
  const { wasmPages } = planMemory({ ramBytes: 64 << 20, vcpuCount: 1 });
  const memory = new WebAssembly.Memory({ initial: wasmPages, maximum: wasmPages, shared: true });
  const words = new Int32Array(memory.buffer);
  const table = new BlockTable(memory, 0);
  table.clear();
  const ring = new RequestRing(memory, 0);
  const pending = new PendingRequests(memory, 1, isKept);
  const ask = (gpa: number, o: { version?: number; isEarly?: boolean } = {}) =>
    assert.ok(ring.push({ gpa, mode: MODE, version: o.version ?? 0, isEarly: o.isEarly ?? false }));
  /** The vCPU has entered a block so often. */
  const heat = (gpa: number, count: number) => {
    if (table.countWord(gpa, MODE) === undefined) table.insert(gpa, MODE, RECORDS_BASE);
    words[table.countWord(gpa, MODE)!] = count;
  };
  const heatOf = (gpa: number) => words[table.countWord(gpa, MODE)!];
  const takeAll = () => {
    const taken: (readonly [number, number])[] = [];
    for (let next = pending.take(); next; next = pending.take())
      taken.push([next.request.gpa, next.request.version]);
    return taken;
  };
  return { pending, ask, heat, heatOf, takeAll };
}

/** Cast: the rest of a region is not looked at. */
const region = (entries: number[], inner: number[], version = 0) =>
  ({ entries, inner, mode: MODE, version }) as unknown as TranslatedRegion;

test('the hottest comes first, and none that is colder than wanted', () => {
  const { pending, ask, heat, takeAll } = setUp();
  for (const [n, count] of [2000, 9000, 4000].entries()) {
    heat(0x1000 * n, count);
    ask(0x1000 * n);
  }
  assert.equal(pending.take(5000)?.request.gpa, 0x1000);
  assert.equal(pending.take(5000), undefined);
  heat(0, 6000);
  assert.deepEqual(takeAll(), [
    [0, 0],
    [0x2000, 0],
  ]);
});

test('what a page was before is not wanted any more', () => {
  const { ask, takeAll } = setUp();
  ask(0x1000, { version: 1 });
  ask(0x1000, { version: 2 });
  assert.deepEqual(takeAll(), [[0x1000, 2]]);
});

test('what a region is entered at is answered, waiting or asked for later', () => {
  const { pending, ask, takeAll } = setUp();
  ask(0x1000);
  ask(0x2000, { version: 7 });
  assert.equal(pending.take(NOTHING), undefined);
  pending.answered([region([0x1000, 0x1010, 0x2000], [])]);
  ask(0x1000);
  ask(0x1010);
  assert.deepEqual(takeAll(), [[0x2000, 7]], 'of another version');
  pending.forget([region([0x1010], [])]);
  ask(0x1010);
  assert.deepEqual(takeAll(), [[0x1010, 0]]);
});

test('what a region reaches by itself is counted anew once, waiting or not', () => {
  const { pending, ask, heat, heatOf, takeAll } = setUp();
  for (const gpa of [0x1000, 0x1020]) heat(gpa, 3000);
  ask(0x1000);
  assert.equal(pending.take(NOTHING), undefined);
  pending.answered([region([0x1010], [0x1000, 0x1020])]);
  assert.equal(heatOf(0x1000), 0);
  ask(0x1020);
  assert.deepEqual(takeAll(), []);
  assert.equal(heatOf(0x1020), 0);
  ask(0x1000);
  ask(0x1020);
  assert.deepEqual(takeAll().length, 2);
});

// A compiler as guest has tens of thousands. When each went through all others the translator came to nothing else.
test('many requests and regions take no more each than few', { timeout: 4000 }, () => {
  let asked = 0;
  const { pending, ask } = setUp(() => {
    pending.answered([]);
    asked++;
    return false;
  });
  const rounds = 60;
  for (let round = 0; round < rounds; round++) {
    for (let n = 0; n < 500; n++) ask((round * 500 + n) * 64);
    for (let n = 0; n < 500; n++) ask((round * 500 + n) * 64 + 32, { isEarly: true });
    assert.equal(pending.take(NOTHING), undefined);
    for (let n = 0; n < 50; n++) pending.answered([region([round * 64 + n], [n])]);
  }
  assert.equal(asked, rounds * 1000);
});
