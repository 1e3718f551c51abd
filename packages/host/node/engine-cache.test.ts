// The cache of engines: what is read is what was written, and only while the sources are the same.

import assert from 'node:assert/strict';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { buildEngine, compileEngine } from '@mimic/machine/engine';
import { EngineCache } from './engine-cache.ts';
import { sourcesName } from './sources.ts';

const root = await mkdtemp(join(tmpdir(), 'mimic-engines-'));
after(() => rm(root, { recursive: true }));

/** A cache in a folder of its own, with sources of its own. */
async function setUp(name: string) {
  const folder = join(root, name, 'cache');
  const sources = join(root, name, 'sources');
  await mkdir(join(sources, 'inner'), { recursive: true });
  await writeFile(join(sources, 'inner', 'one.ts'), '1');
  const open = async () => new EngineCache(folder, await sourcesName([sources]));
  return { folder, sources, open };
}
const engine = buildEngine('one');

test('an engine that was written is read again, and compiles', async () => {
  const { open, folder } = await setUp('whole');
  assert.equal(await (await open()).read('one'), undefined);
  await (await open()).write(engine);
  const read = await (await open()).read('one');
  assert.deepEqual(read, engine);
  const { module, handlers } = compileEngine(read!);
  assert.ok(module instanceof WebAssembly.Module);
  assert.deepEqual(handlers, engine.handlers);
  assert.equal(await (await open()).read('several'), undefined, 'another kind');
  assert.equal((await readdir(folder)).length, 1, 'nothing unfinished is left');
});

test('code is kept beside it', async () => {
  const { open } = await setUp('code');
  const code = { code: Uint8Array.of(1, 2, 3), optimised: 7 };
  await (await open()).write(engine);
  assert.equal(await (await open()).readCode('one'), undefined);
  (await open()).writeCode('one', code);
  const read = await (await open()).readCode('one');
  assert.deepEqual(read && { ...read, code: Uint8Array.from(read.code) }, code);
  assert.deepEqual(await (await open()).read('one'), engine);
});

test('sources that have changed want another engine; tests do not', async () => {
  const { open, sources } = await setUp('sources');
  await (await open()).write(engine);
  await writeFile(join(sources, 'one.test.ts'), 'test');
  assert.ok(await (await open()).read('one'));
  await writeFile(join(sources, 'inner', 'one.ts'), '2');
  assert.equal(await (await open()).read('one'), undefined);
});

test('a file that is damaged or cut off is as good as none', async () => {
  const { open, folder } = await setUp('damaged');
  await (await open()).write(engine);
  const [name] = await readdir(folder);
  const file = join(folder, name!);
  const whole = await readFile(file);
  const changed = Uint8Array.from(whole);
  changed[whole.length >> 1]! ^= 1;
  for (const content of [changed, whole.subarray(0, 1000), new Uint8Array()]) {
    await writeFile(file, content);
    assert.equal(await (await open()).read('one'), undefined);
  }
});

test('a file that others may write to is as good as none', async () => {
  const { open, folder } = await setUp('others');
  await (await open()).write(engine);
  const [name] = await readdir(folder);
  await chmod(join(folder, name!), 0o622);
  assert.equal(await (await open()).read('one'), undefined);
});

test('a folder that cannot be made is no failure', async () => {
  const { sources, folder } = await setUp('refused');
  await writeFile(folder, 'a file');
  const cache = new EngineCache(join(folder, 'below'), await sourcesName([sources]));
  await cache.write(engine);
  assert.equal(await cache.read('one'), undefined);
});

test('few are kept, the newest', async () => {
  const { open, folder } = await setUp('many');
  await mkdir(folder);
  const old = Array.from({ length: 40 }, (_, n) => `old-${n}`);
  for (const [n, name] of old.entries()) {
    await writeFile(join(folder, name), '');
    await utimes(join(folder, name), n, n);
  }
  await (await open()).write(engine);
  const names = await readdir(folder);
  assert.equal(names.length, 24);
  assert.ok(names.includes('old-39') && !names.includes('old-16'));
  assert.ok(await (await open()).read('one'));
});
