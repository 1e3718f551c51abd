// The store of decoded code as two vCPUs share it: what one decodes the other finds, what one drops is gone for both,
// and translated code is there only for those who have loaded it, and only while it is what it was made from.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { engine } from '../interpreter/engine.ts';
import { PSEUDO_HANDLERS, R } from '../interpreter/record.ts';
import { SHARED } from '../smp/shared-words.ts';
import { World } from '../smp/world.ts';
import { DECODING_MODE } from '../state/decoding-mode.ts';
import {
  PAGE,
  PAGE_FLAGS_BASE,
  planMemory,
  RAM_BASE,
  TRANSLATED_RECORDS_BASE,
} from '../state/memory-map.ts';
import { BlockStore, TRANSLATED_BLOCK_BYTES } from './block-store.ts';

const RAM_BYTES = 16 << 20;
const CODE = 0x10_0000;
const NOP = 0x90;
const RET = 0xc3;
const noNextPage = () => undefined;

function setup() {
  const { wasmPages } = planMemory({ ramBytes: RAM_BYTES, vcpuCount: 2 });
  const memory = new WebAssembly.Memory({ initial: wasmPages, maximum: wasmPages, shared: true });
  const { handlers, firstFunction } = engine('several');
  const stores = [0, 1].map((index) => {
    const world = new World({ memory, index, vcpuCount: 2 });
    const parts = { memory, handlers, ramBytes: RAM_BYTES, vcpuCount: 2, world, index };
    return new BlockStore({ ...parts, shares: index > 0 });
  });
  const [a, b] = stores as [BlockStore, BlockStore];
  const bytes = new Uint8Array(memory.buffer);
  const write = (gpa: number, code: readonly number[]) => bytes.set(code, RAM_BASE + gpa);
  const handlerOf = (record: number) =>
    new DataView(memory.buffer).getUint16(record + R.handler, true);
  const hasCode = () => (bytes[PAGE_FLAGS_BASE + CODE / 4096]! & PAGE.hasCode) !== 0;
  const region = (version: number) => ({
    entries: [CODE, CODE + 1],
    mode: DECODING_MODE.code64,
    handler: firstFunction + 5000,
    slot: 5000,
    start: CODE,
    end: CODE + 2,
    records: TRANSLATED_RECORDS_BASE,
    version,
  });
  write(CODE, [NOP, RET]);
  const isLocked = () => new Int32Array(memory.buffer)[SHARED.storeLock] !== 0;
  return { a, b, write, handlerOf, hasCode, region, isLocked };
}

test('what one vCPU has decoded the other finds, and what one drops is gone for both', () => {
  const { a, b, handlerOf, hasCode } = setup();
  assert.ok(!hasCode());
  const block = a.find(CODE, DECODING_MODE.code64, noNextPage);
  assert.ok(hasCode());
  assert.equal(b.find(CODE, DECODING_MODE.code64, noNextPage), block);
  assert.equal(b.counters.decoded, 0);
  b.invalidate(CODE + 1, 1);
  assert.equal(handlerOf(block), PSEUDO_HANDLERS.lookUp);
  assert.ok(!hasCode());
  assert.notEqual(a.find(CODE, DECODING_MODE.code64, noNextPage), block);
});

test('an instruction that crosses has a block for each page that lies behind', () => {
  const { a, write } = setup();
  const at = CODE + 4096 - 1;
  // mov al, imm8, its immediate on one page or another.
  write(at, [0xb0]);
  write(0x20_0000, [1]);
  write(0x30_0000, [2]);
  const one = a.find(at, DECODING_MODE.code64, () => 0x20_0000);
  const two = a.find(at, DECODING_MODE.code64, () => 0x30_0000);
  assert.notEqual(one, two);
  assert.equal(
    a.find(at, DECODING_MODE.code64, () => 0x20_0000),
    one,
  );
  assert.equal(
    a.find(at, DECODING_MODE.code64, () => 0x30_0000),
    two,
  );
  a.invalidate(0x20_0000, 1);
  assert.notEqual(
    a.find(at, DECODING_MODE.code64, () => 0x20_0000),
    one,
  );
  assert.equal(
    a.find(at, DECODING_MODE.code64, () => 0x30_0000),
    two,
  );
});

test('a translated block is there for those who have loaded it', () => {
  const { a, b, handlerOf, region } = setup();
  const interpreted = a.find(CODE, DECODING_MODE.code64, noNextPage);
  const translated = region(a.pageVersion(CODE));
  assert.ok(a.install(translated));
  const found = a.find(CODE, DECODING_MODE.code64, noNextPage);
  assert.ok(found > TRANSLATED_RECORDS_BASE);
  assert.equal(b.find(CODE, DECODING_MODE.code64, noNextPage), interpreted);
  assert.ok(b.install(translated));
  assert.equal(b.find(CODE, DECODING_MODE.code64, noNextPage), found);
  const second = a.find(CODE + 1, DECODING_MODE.code64, noNextPage);
  assert.equal(second, found + TRANSLATED_BLOCK_BYTES);
  assert.equal(handlerOf(second), handlerOf(found));
  assert.equal(b.find(CODE + 1, DECODING_MODE.code64, noNextPage), second);
  a.invalidate(CODE, 1);
  assert.equal(a.counters.droppedTranslated, 1);
  for (const store of [a, b])
    for (const at of [CODE, CODE + 1])
      assert.ok(store.find(at, DECODING_MODE.code64, noNextPage) < TRANSLATED_RECORDS_BASE);
});

test('a translation of what the page is no longer is not taken', () => {
  const { a, b, region } = setup();
  a.find(CODE, DECODING_MODE.code64, noNextPage);
  const version = a.pageVersion(CODE);
  b.invalidate(CODE + 1, 1);
  assert.ok(!a.install(region(version)), 'written since');
  // Nobody notices writes to a page without code: a version from then says nothing.
  const without = a.pageVersion(CODE);
  assert.ok(!a.install(region(without)), 'no code on the page');
  a.find(CODE, DECODING_MODE.code64, noNextPage);
  assert.ok(!a.install(region(without)), 'code since');
  assert.ok(a.install(region(a.pageVersion(CODE))));
});

test('while a vCPU writes nobody decodes, and what is translated meanwhile is not taken', () => {
  const { a, b, handlerOf, region, isLocked } = setup();
  const block = a.find(CODE, DECODING_MODE.code64, noNextPage);
  // A second one, so that the page keeps code.
  a.find(CODE + 1, DECODING_MODE.code64, noNextPage);
  const dropped: number[] = [];
  b.onDrop = ({ blocks }) => {
    assert.ok(!isLocked());
    dropped.push(blocks);
  };
  const before = a.pageVersion(CODE);
  b.beginWrite(CODE, 1);
  assert.equal(handlerOf(block), PSEUDO_HANDLERS.lookUp);
  assert.ok(isLocked());
  const meanwhile = a.pageVersion(CODE);
  b.endWrite(CODE, 1);
  assert.ok(!isLocked());
  assert.deepEqual(dropped, [1]);
  assert.ok(!a.install(region(before)), 'asked for before the write');
  assert.ok(!a.install(region(meanwhile)), 'asked for while it was made');
  assert.ok(a.install(region(a.pageVersion(CODE))));
});
