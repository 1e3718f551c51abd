// Which blocks a vCPU's table keeps: as many of a set as it has places, the newest ones, each once.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BLOCK_SET_BYTES, blockSet } from '../interpreter/block-cache.ts';
import { DECODING_MODE } from '../state/decoding-mode.ts';
import {
  BLOCK_HASH_ENTRY_BYTES,
  RECORDS_BASE,
  TRANSLATED_RECORDS_BASE,
} from '../state/memory-map.ts';
import { BlockTable } from './block-table.ts';

const WAYS = BLOCK_SET_BYTES / BLOCK_HASH_ENTRY_BYTES;

/** An empty table, and addresses of blocks that share a set, one more than it has places. */
function setup() {
  const memory = new WebAssembly.Memory({ initial: 64, maximum: 64, shared: true });
  const table = new BlockTable(memory, 0);
  table.clear();
  const counts = new Int32Array(memory.buffer);
  const rivals: number[] = [];
  for (let gpa = 0x10_0000; rivals.length <= WAYS; gpa++)
    if (blockSet(gpa, DECODING_MODE.code64) === blockSet(0x10_0000, DECODING_MODE.code64))
      rivals.push(gpa);
  const known = () =>
    rivals.filter((gpa) => table.countWord(gpa, DECODING_MODE.code64) !== undefined);
  const insert = (gpa: number) => table.insert(gpa, DECODING_MODE.code64, RECORDS_BASE);
  return { table, counts, rivals, known, insert };
}

test('blocks of one set stay in the table side by side, with their counts', () => {
  const { table, counts, rivals, known, insert } = setup();
  const fitting = rivals.slice(0, WAYS);
  for (const gpa of fitting) {
    insert(gpa);
    counts[table.countWord(gpa, DECODING_MODE.code64)!] = gpa;
  }
  assert.deepEqual(known(), fitting);
  for (const gpa of fitting) assert.equal(counts[table.countWord(gpa, DECODING_MODE.code64)!], gpa);
});

test('where a set is full the oldest block goes', () => {
  const { rivals, known, insert } = setup();
  rivals.forEach(insert);
  assert.deepEqual(known(), rivals.slice(1));
});

test('a block that comes again takes its own place, not that of another', () => {
  const { table, counts, rivals, known, insert } = setup();
  const fitting = rivals.slice(0, WAYS);
  fitting.forEach(insert);
  table.insert(fitting[1]!, DECODING_MODE.code64, TRANSLATED_RECORDS_BASE);
  assert.deepEqual(known(), fitting);
  assert.ok(counts[table.countWord(fitting[1]!, DECODING_MODE.code64)!]! < 0);
  table.recount(fitting[1]!, DECODING_MODE.code64);
  assert.equal(counts[table.countWord(fitting[1]!, DECODING_MODE.code64)!], 0);
});

test('a place that was given up is taken before another block goes', () => {
  const { table, rivals, known, insert } = setup();
  rivals.slice(0, WAYS).forEach(insert);
  table.forget(rivals[2]!, DECODING_MODE.code64, RECORDS_BASE + 32);
  assert.equal(known().length, WAYS);
  table.forget(rivals[2]!, DECODING_MODE.code64, RECORDS_BASE);
  insert(rivals[WAYS]!);
  assert.deepEqual(known(), rivals.toSpliced(2, 1));
});

test('the last address of memory is not found in an empty place', () => {
  const { table, insert } = setup();
  assert.equal(table.countWord(0xffff_ffff, DECODING_MODE.code64), undefined);
  insert(0xffff_ffff);
  table.forget(0xffff_ffff, DECODING_MODE.code64, RECORDS_BASE);
  assert.equal(table.countWord(0xffff_ffff, DECODING_MODE.code64), undefined);
});
