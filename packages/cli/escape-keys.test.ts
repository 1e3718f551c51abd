import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EscapeKeys } from './escape-keys.ts';

/** What comes of the chunks, as text: guest input as it is, our keys in angle brackets. */
function meaning(...chunks: string[]): string {
  const keys = new EscapeKeys();
  return chunks
    .flatMap((chunk) => keys.feed(new TextEncoder().encode(chunk)))
    .map((typed) =>
      typed.to === 'mimic' ? `<${typed.key}>` : new TextDecoder().decode(typed.bytes),
    )
    .join('');
}

test('keys go to the guest, but for one after Ctrl-A', () => {
  assert.equal(meaning('ls\x03'), 'ls\x03');
  assert.equal(meaning('a\x01hb\x01xc'), 'a<help>b<quit>c');
  assert.equal(meaning('\x01C\x01?'), '<monitor><help>');
});

test('Ctrl-A and its key may come apart', () => {
  assert.equal(meaning('a\x01', 'x'), 'a<quit>');
});

test('Ctrl-A a and Ctrl-A Ctrl-A send one Ctrl-A', () => {
  assert.equal(meaning('\x01ab'), '\x01b');
  assert.equal(meaning('\x01\x01b'), '\x01b');
});

test('a key that has no meaning goes to the guest with its Ctrl-A', () => {
  assert.equal(meaning('\x01q\x01x'), '\x01q<quit>');
});
