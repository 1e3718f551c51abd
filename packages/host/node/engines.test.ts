// Engines of a process whose cache is empty.

import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { buildEngine } from '@mimic/machine/engine';
import { moduleFunctions } from './compiled-code.ts';

const folder = await mkdtemp(join(tmpdir(), 'mimic-engines-'));
process.env.XDG_CACHE_HOME = folder;
const { engineImage } = await import('./engines.ts');
after(() => rm(folder, { recursive: true }));

test('an engine of a process of its own is the one that would be built here', async () => {
  const [image, again] = await Promise.all([engineImage('one'), engineImage('one')]);
  assert.equal(again, image);
  const { bytes, ...rest } = buildEngine('one');
  const { module, ...packed } = image!;
  assert.deepEqual(packed, rest);
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 65536, shared: true });
  const count = (of: WebAssembly.Module) => moduleFunctions(of, memory).length;
  assert.ok(count(module) > 100);
  assert.equal(count(module), count(new WebAssembly.Module(bytes)));
});

test('where no process can be started there is none', async () => {
  const { execPath } = process;
  process.execPath = join(folder, 'missing');
  try {
    assert.equal(await engineImage('several'), undefined);
  } finally {
    process.execPath = execPath;
  }
});
