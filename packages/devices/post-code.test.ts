import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PostCode } from './post-code.ts';

test('the last code can be read by the guest and by the board', () => {
  const port = new PostCode();
  port.write(0, 1, 0x55);
  port.write(0, 1, 0xaa);
  assert.equal(port.read(0, 1), 0xaa);
  assert.equal(port.code, 0xaa);
});
