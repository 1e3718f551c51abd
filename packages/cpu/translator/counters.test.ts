// What the translator says about itself, its failures above all: they are defects, and nothing else shows them.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BlockStore, type DroppedCode } from '../decode/block-store.ts';
import { engine } from '../interpreter/engine.ts';
import { DECODING_MODE } from '../state/decoding-mode.ts';
import { PAGE_VERSIONS_BASE, planMemory, RAM_BASE } from '../state/memory-map.ts';
import { changingCode, readCounters } from './counters.ts';
import { translatorOptions } from './in-thread.ts';
import { TranslationLoader } from './loader.ts';
import { Translator } from './translator.ts';

const CODE_GPA = 0x1000;
const RAM_BYTES = 16 << 20;
/** add eax, 1; add ebx, 1; dec ecx; jnz $-10; hlt */
const LOOP = [0x83, 0xc0, 1, 0x83, 0xc3, 1, 0xff, 0xc9, 0x75, 0xf6, 0xf4];

function setUp() {
  const { wasmPages } = planMemory({ ramBytes: RAM_BYTES, vcpuCount: 1 });
  const memory = new WebAssembly.Memory({ initial: wasmPages, maximum: wasmPages, shared: true });
  new Uint8Array(memory.buffer).set(LOOP, RAM_BASE + CODE_GPA);
  const { handlers } = engine();
  const blocks = new BlockStore({ memory, handlers, ramBytes: RAM_BYTES, vcpuCount: 1 });
  return { memory, blocks, options: { ...translatorOptions(memory), counts: true } };
}
function newTable(): WebAssembly.Table {
  // What is known of WebAssembly here lacks the constructor's options (types/).
  const Table = WebAssembly.Table as unknown as new (options: object) => WebAssembly.Table;
  return new Table({ initial: 1, element: 'anyfunc' });
}
const request = { gpa: CODE_GPA, mode: DECODING_MODE.code64, version: 0 };

test('counters say what was translated and refused, from whatever thread reads them', () => {
  const { memory, options } = setUp();
  assert.equal(readCounters(memory).requests, 0);
  const translator = new Translator(options);
  const [translation] = translator.translate([request, { ...request, gpa: CODE_GPA + 10 }]);
  const { milliseconds, bytes, ...counters } = readCounters(memory);
  assert.deepEqual(counters, {
    requests: 2,
    regions: 1,
    refused: 1,
    failed: 0,
    modules: 1,
    adopted: 0,
    instructions: translation!.regions[0]!.instructions,
    lastFailure: undefined,
  });
  assert.ok(counters.instructions >= 4);
  assert.ok(bytes > translation!.regions[0]!.bytes && translation!.regions[0]!.bytes > 10);
  assert.ok(milliseconds > 0);
});

test('a translation that fails is counted, told of and traced once; others go on', () => {
  const { memory, blocks, options } = setUp();
  // Longer than there is room for, and of more than one byte a character.
  const message = `out of order ${'ä'.repeat(3000)}`;
  const broken = { ...options, get counts(): boolean { throw new Error(message); } }; // biome-ignore format: one line
  const translator = new Translator(broken);
  assert.deepEqual(translator.translate([request, request]), []);
  const { failed, requests, lastFailure = '' } = readCounters(memory);
  assert.deepEqual({ failed, requests }, { failed: 2, requests: 2 });
  assert.match(lastFailure, /^Error: out of order ä{900}/);

  const events: unknown[] = [];
  const exports = { table: newTable(), forgetJumps: () => {} };
  const source = { request: () => true, take: () => [], letGo: () => {} };
  const loader = new TranslationLoader({ source, memory, blocks, exports, index: 0 });
  loader.load();
  loader.setTrace((event) => events.push(event));
  loader.load();
  loader.load();
  assert.deepEqual(events, [{ kind: 'failed', count: 2, text: lastFailure }]);
});

test('a request that finds no room is counted as put off', () => {
  const { memory, blocks } = setUp();
  const exports = { table: newTable(), forgetJumps: () => {} };
  const source = { request: () => false, take: () => [], letGo: () => {} };
  const loader = new TranslationLoader({ source, memory, blocks, exports, index: 0 });
  loader.request(CODE_GPA, DECODING_MODE.code64);
  const { requests, putOff } = loader.counters;
  assert.deepEqual({ requests, putOff }, { requests: 1, putOff: 1 });
});

test('a write to code is told with what it dropped; one beside the block with nothing', () => {
  const { memory, blocks } = setUp();
  const dropped: DroppedCode[] = [];
  blocks.onDrop = (what) => dropped.push(what);
  blocks.find(CODE_GPA, DECODING_MODE.code64, () => undefined);
  blocks.invalidate(CODE_GPA + 0x100, 4);
  assert.deepEqual(dropped, []);
  blocks.invalidate(CODE_GPA + 2, 1);
  assert.deepEqual(dropped, [{ gpa: CODE_GPA + 2, sizeBytes: 1, blocks: 1, translated: 0 }]);
  const { pages, changes, most } = changingCode(memory, { ramBytes: RAM_BYTES, countMax: 4 });
  assert.deepEqual({ pages, changes }, { pages: 1, changes: 2 });
  assert.deepEqual(most, [{ gpa: CODE_GPA, changes: 2 }]);
});

test('the pages of code that change most come first', () => {
  const { memory } = setUp();
  const versions = new Uint32Array(memory.buffer, PAGE_VERSIONS_BASE);
  versions.set([0, 5, 0, 9, 1]);
  const { most, ...sums } = changingCode(memory, { ramBytes: RAM_BYTES, countMax: 2 });
  assert.deepEqual(sums, { pages: 3, changes: 12 });
  assert.deepEqual(most, [
    { gpa: 0x3000, changes: 8 },
    { gpa: 0x1000, changes: 4 },
  ]);
});
