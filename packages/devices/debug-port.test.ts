import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Recorder } from './contract-cases.ts';
import { DebugPort } from './debug-port.ts';

test('firmware finds the port by its value, and what it writes arrives', () => {
  const out = new Recorder();
  const port = new DebugPort({ out });
  assert.equal(port.read(0, 1), 0xe9);
  port.write(0, 1, 0x41);
  port.write(0, 1, 0x0a);
  assert.deepEqual(out.entries(), [0x41, 0x0a]);
});
