// Kept translations: what one process left another has, with its code; and nothing that happens to the file does harm.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { MadeModule } from '@mimic/machine/translator';
import type { SmallModule } from './testing/small-modules.ts';
import { addOf, hotModule, MEMORY, makeHot, quickModule } from './testing/small-modules.ts';
import type { Finding } from './testing/translations-reader.ts';
import { TRANSLATION_FILES_MAX } from './translation-file.ts';
import { KeptTranslations, translationPath } from './translation-store.ts';

const READER = fileURLToPath(new URL('./testing/translations-reader.ts', import.meta.url));
const root = mkdtempSync(join(tmpdir(), 'mimic-translations-'));
after(() => rmSync(root, { recursive: true }));

const pathOf = (name: string) => translationPath(join(root, name), { sources: 's', key: 'k' });
const open = (path: string, bytesMax?: number) =>
  new KeptTranslations(path, { memory: MEMORY, ...(bytesMax !== undefined && { bytesMax }) });
const made = (n: number, small: SmallModule): MadeModule => ({ ...small, regions: [region(n)] });
/** As the translator has them; the store looks at nothing of it. */
function region(n: number): MadeModule['regions'][number] {
  const lists = { entries: [n], inner: [], pieces: [0, 2], moved: [], links: [], handled: [] };
  const where = { page: 0x1000, mode: 3, start: 0, end: 2, ...lists };
  const code = Uint8Array.of(n, 1);
  return { name: 'add', number: n, code, ...where, instructions: 1, bytes: 7 };
}
const NONE = { used: new Set<number>(), made: [] };

/** What is kept and can be loaded: what each adds to 0. */
function sums(path: string, bytesMax?: number): number[] {
  const store = open(path, bytesMax);
  const all = store.kept.map((_, n) => store.load(n));
  return all.filter((module) => module !== undefined).map((module) => addOf(module)(0));
}

async function readInProcess(
  path: string,
  { flags = [], improve = false }: { flags?: string[]; improve?: boolean } = {},
): Promise<Finding[]> {
  const args = [...flags, READER, path, ...(improve ? ['improve'] : [])];
  const { stdout } = await promisify(execFile)(process.execPath, args);
  return JSON.parse(stdout) as Finding[];
}

test('another process has the modules, what is known of them, and their code', async () => {
  const path = pathOf('round');
  open(path).save({ ...NONE, made: [made(1, hotModule(1)), made(2, quickModule(2))] });
  const [one, two] = await readInProcess(path);
  assert.deepEqual(one, {
    regions: [{ ...region(1), code: { 0: 1, 1: 1 } }],
    ...{ sum: 101, optimised: 1 },
  });
  assert.deepEqual([two?.sum, two?.optimised], [102, 0]);
  assert.equal(statSync(path).mode & 0o777, 0o600);
  assert.equal(statSync(dirname(path)).mode & 0o777, 0o700);
});

test('what is known of a module is in memory of its own, so that sending it does not send the index', () => {
  const path = pathOf('own');
  const modules = Array.from({ length: 50 }, (_, n) => made(n, quickModule(n)));
  open(path).save({ ...NONE, made: modules });
  const sizes = open(path).kept.map(({ regions }) => regions[0]!.code.buffer.byteLength);
  assert.equal(sizes.length, modules.length);
  assert.ok(Math.max(...sizes) < 2000, `${sizes}`);
});

test('code that became better later is kept too, of modules made and loaded', async () => {
  const path = pathOf('better');
  const store = open(path);
  const later = made(3, quickModule(3));
  store.save({ ...NONE, made: [later, made(4, quickModule(4))] });
  makeHot(later.module);
  store.save({ ...NONE, made: [later] });
  assert.deepEqual(
    (await readInProcess(path, { improve: true })).map(({ sum, optimised }) => [sum, optimised]),
    [
      [103, 1],
      [104, 0],
    ],
  );
  const improved = await readInProcess(path);
  assert.deepEqual(
    improved.map(({ optimised }) => optimised),
    [1, 1],
  );
});

test('a V8 that has no use for the code compiles the module, and replaces it', async () => {
  const path = pathOf('flags');
  open(path).save({ ...NONE, made: [made(1, hotModule(1))] });
  const flags = ['--wasm-lazy-validation'];
  const optimised = async (options: { improve?: boolean } = {}) =>
    (await readInProcess(path, { flags, ...options })).map((found) => found.optimised);
  assert.deepEqual(await optimised({ improve: true }), [0]);
  assert.deepEqual(await optimised(), [1]);
  assert.deepEqual(sums(path), [1]);
});

test("without V8's test functions all goes on with WebAssembly alone", async () => {
  const path = pathOf('natives');
  open(path).save({ ...NONE, made: [made(1, hotModule(1))] });
  // They are made from a string.
  const flags = ['--disallow-code-generation-from-strings'];
  const [found] = await readInProcess(path, { flags });
  assert.deepEqual([found?.sum, found?.optimised], [101, 0]);
});

test('a bit that is wrong anywhere costs a module or all of them, and gives no wrong one', () => {
  const path = pathOf('damage');
  const kept = [5, 6].map((n) => made(n, hotModule(n)));
  open(path).save({ ...NONE, made: kept });
  const whole = readFileSync(path);
  const step = Math.max(1, Math.floor(whole.length / 300));
  let fewer = 0;
  for (let at = 0; at < whole.length; at += step) {
    const changed = Uint8Array.from(whole);
    changed[at]! ^= 1 << (at % 8);
    writeFileSync(path, changed);
    const found = sums(path);
    assert.ok(
      found.every((n) => n === 5 || n === 6),
      `byte ${at}`,
    );
    if (found.length < 2) fewer++;
  }
  assert.ok(fewer > 10);
  for (const size of [0, 1, 47, 48, 100, whole.length >> 1, whole.length - 1]) {
    writeFileSync(path, whole.subarray(0, size));
    assert.deepEqual(sums(path), []);
  }
  writeFileSync(path, whole);
  assert.deepEqual(sums(path), [5, 6]);
});

test('a file that others may write to is as good as none', () => {
  const path = pathOf('others');
  open(path).save({ ...NONE, made: [made(1, quickModule(1))] });
  assert.deepEqual(sums(path), [1]);
  chmodSync(path, 0o620);
  assert.deepEqual(sums(path), []);
});

test('what was found damaged is replaced', () => {
  const path = pathOf('mended');
  open(path).save({ ...NONE, made: [made(7, quickModule(7))] });
  const file = readFileSync(path);
  // The WebAssembly comes first.
  file[60]! ^= 1;
  writeFileSync(path, file);
  const store = open(path);
  assert.equal(store.kept.length, 1);
  assert.equal(store.load(0), undefined);
  store.save({ ...NONE, made: [made(7, quickModule(7))] });
  assert.deepEqual(sums(path), [7]);
});

test('what was not used for the longest time goes first when there is no room', () => {
  const path = pathOf('bound');
  const size = 3000;
  const save = (used: number[], ...ns: number[]) =>
    open(path, size).save({
      used: new Set(used),
      made: ns.map((n) => made(n, quickModule(n))),
    });
  save([], 1, 2);
  const store = open(path, size);
  store.load(0);
  store.save({ used: new Set([0]), made: [made(3, quickModule(3))] });
  for (const n of [4, 5, 6, 7, 8]) {
    const next = open(path, size);
    const first = next.kept.findIndex((_, k) => addOf(next.load(k)!)(0) === 1);
    next.save({ used: new Set([first]), made: [made(n, quickModule(n))] });
    assert.ok(statSync(path).size <= size);
  }
  const left = sums(path, size);
  assert.ok(left.includes(1) && left.includes(8), `${left}`);
  assert.ok(!left.includes(2) && !left.includes(3), `${left}`);
});

test('two that write have all of it in the file, whoever is last; the other goes on reading', () => {
  const path = pathOf('two');
  open(path).save({ ...NONE, made: [made(1, quickModule(1))] });
  const [one, other] = [open(path), open(path)];
  one.save({ ...NONE, made: [made(2, quickModule(2))] });
  other.save({ ...NONE, made: [made(3, quickModule(3))] });
  assert.equal(addOf(one.load(0)!)(0), 1);
  assert.deepEqual(sums(path).toSorted(), [1, 2, 3]);
});

test('processes that write at once leave a whole file', async () => {
  const path = pathOf('several');
  const ns = Array.from({ length: 12 }, (_, n) => n);
  open(path).save({ ...NONE, made: ns.map((n) => made(n, quickModule(n))) });
  await Promise.all([1, 2, 3].map(() => readInProcess(path, { improve: true })));
  const left = await readInProcess(path);
  assert.deepEqual(
    left.map(({ sum }) => sum! - 100).toSorted((a, b) => a - b),
    ns,
  );
  assert.deepEqual(readdirSync(dirname(path)).length, 1, 'nothing unfinished is left');
});

test('a folder that cannot be made, or written to, is no failure', () => {
  const folder = join(root, 'refused');
  writeFileSync(folder, 'a file');
  const path = translationPath(join(folder, 'below'), { sources: 's', key: 'k' });
  const store = open(path);
  store.save({ ...NONE, made: [made(1, quickModule(1))] });
  assert.deepEqual(sums(path), []);
  const closed = pathOf('closed');
  // Rights would not refuse whoever may do anything; a folder of the file's name refuses everyone.
  mkdirSync(closed, { recursive: true });
  open(closed).save({ ...NONE, made: [made(1, quickModule(1))] });
  assert.deepEqual(sums(closed), []);
  assert.deepEqual(readdirSync(dirname(closed)).length, 1, 'nothing unfinished is left');
});

test('nothing new is not written, and few files are kept', () => {
  const path = pathOf('few');
  open(path).save(NONE);
  assert.throws(() => statSync(path));
  mkdirSync(dirname(path));
  for (let n = 0; n < 20; n++) {
    const old = join(dirname(path), `old-${n}`);
    writeFileSync(old, '');
    utimesSync(old, n, n);
  }
  const module = made(1, quickModule(1));
  const store = open(path);
  store.save({ ...NONE, made: [module] });
  assert.equal(readdirSync(dirname(path)).length, TRANSLATION_FILES_MAX);
  const { ino } = statSync(path);
  store.save({ ...NONE, made: [module] });
  assert.equal(statSync(path).ino, ino);
});

test('machines that differ in what their code depends on have files of their own', () => {
  const names = [
    { sources: 'a', key: 'k' },
    { sources: 'b', key: 'k' },
    { sources: 'a', key: 'l' },
  ].map((which) => translationPath('/', which));
  assert.equal(new Set(names).size, 3);
});
