// Code of modules as bytes: V8 goes on with what it made, and nothing else comes near it.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  compiledCode,
  digest,
  moduleFunctions,
  moduleOf,
  optimisedCount,
} from './compiled-code.ts';
import { hotModule, MEMORY, quickModule } from './testing/small-modules.ts';

const functionsOf = (module: WebAssembly.Module) => moduleFunctions(module, MEMORY);

test('code that TurboFan made is taken over by a module of the same bytes', () => {
  const { module, bytes } = hotModule(3);
  assert.equal(optimisedCount(functionsOf(module)), 1);
  const code = compiledCode(module, digest(bytes), functionsOf(module));
  assert.ok(code && code.length > bytes.length);
  const taken = moduleOf(bytes, code);
  assert.equal(taken?.hasCode, true);
  assert.equal(optimisedCount(functionsOf(taken.module)), 1);
});

test('a module that never ran has no code, and asking does no harm', () => {
  const { module, bytes } = quickModule(4);
  assert.equal(optimisedCount(functionsOf(module)), 0);
  assert.equal(compiledCode(module, digest(bytes), functionsOf(module)), undefined);
  assert.equal(compiledCode(module, digest(bytes), []), undefined);
});

test('code that is of another module, cut off or changed is left alone', () => {
  const [one, other] = [hotModule(5), hotModule(6)];
  const code = compiledCode(one.module, digest(one.bytes), functionsOf(one.module))!;
  const wrong = [code.subarray(0, 40), code.subarray(0, -1), new Uint8Array(), code.slice(1)];
  for (const at of [0, 31, 32, 40, code.length >> 1, code.length - 1]) {
    const changed = code.slice();
    changed[at]! ^= 4;
    wrong.push(changed);
  }
  for (const bad of wrong) assert.equal(moduleOf(one.bytes, bad)?.hasCode, false);
  assert.equal(moduleOf(other.bytes, code)?.hasCode, false);
});

test('bytes that are no module give none', () => {
  const { bytes } = quickModule(7);
  assert.equal(moduleOf(bytes.slice(0, -3), undefined), undefined);
  assert.equal(moduleOf(new Uint8Array(), new Uint8Array(100)), undefined);
});

test('functions that a module exports of its imports are not asked about', () => {
  const { module } = quickModule(8);
  assert.deepEqual(
    WebAssembly.Module.imports(module).map(({ name }) => name),
    ['memory', 'host'],
  );
  assert.equal(functionsOf(module).length, 1);
});
