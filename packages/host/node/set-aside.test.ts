// Bytes that are set aside come back whatever happens to the folder.

import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { setAside } from './set-aside.ts';

const root = await mkdtemp(join(tmpdir(), 'mimic-aside-'));
after(() => rm(root, { recursive: true, force: true }));

test('bytes come back as often as they are wanted, from a file without a name', async () => {
  const folder = join(root, 'folder');
  const bytes = Uint8Array.from({ length: 100_000 }, (_, n) => n * n);
  const expected = bytes.slice();
  const read = setAside(bytes, folder);
  const other = setAside(Uint8Array.of(7), folder);
  bytes.fill(0);
  assert.deepEqual(await readdir(folder), []);
  await rm(folder, { recursive: true });
  for (let n = 0; n < 2; n++) assert.deepEqual(read?.(), expected);
  assert.deepEqual(other?.(), Uint8Array.of(7));
  assert.deepEqual(setAside(Uint8Array.of(), folder)?.(), Uint8Array.of());
});

test('where nothing can be written there is no place', async () => {
  const file = join(root, 'file');
  await writeFile(file, '');
  assert.equal(setAside(Uint8Array.of(1), join(file, 'folder')), undefined);
});
