// Files of a machine between its boots.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BootFiles } from './boot-files.ts';

const config = () => ({
  kernel: Uint8Array.of(1, 2, 3),
  initrd: Uint8Array.of(4, 5),
  append: 'quiet',
});
/** What a boot sees of them. */
const see = (files: BootFiles) =>
  files.use(({ kernel, initrd, commandLine }) => [[...kernel], [...(initrd ?? [])], commandLine]);
const WHOLE = [[1, 2, 3], [4, 5], 'quiet'];

test('each boot sees the same files, which are not in memory between two', () => {
  const kept: number[][] = [];
  const lent: Uint8Array[] = [];
  const setAside = (bytes: Uint8Array) => {
    const copy = [...bytes];
    kept.push(copy);
    return () => {
      const read = Uint8Array.from(copy);
      lent.push(read);
      return read;
    };
  };
  const start = config();
  const files = new BootFiles(start, { setAside });
  for (let boot = 0; boot < 3; boot++) assert.deepEqual(see(files), WHOLE);
  assert.deepEqual(kept, [
    [1, 2, 3],
    [4, 5],
  ]);
  assert.equal(lent.length, 4);
  for (const { buffer } of [start.kernel, start.initrd, ...lent])
    assert.equal(buffer.byteLength, 0);
});

test('where there is no place for them they stay in memory', () => {
  for (const host of [{}, { setAside: () => undefined }]) {
    const files = new BootFiles(config(), host);
    for (let boot = 0; boot < 3; boot++) assert.deepEqual(see(files), WHOLE);
  }
});

test('a boot that fails leaves the files as they are', () => {
  const files = new BootFiles(config(), { setAside: () => () => Uint8Array.of() });
  const fail = () => {
    throw new Error('no kernel');
  };
  assert.throws(() => files.use(fail), /no kernel/);
  assert.deepEqual(see(files), WHOLE);
});
