import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checksum } from '../acpi/table.ts';
import { smbiosTables } from './tables.ts';

const GPA = 0xf_0000;

/** The structures of a table: type, handle, length of the formatted part, strings. */
function parse(
  table: Uint8Array,
): { type: number; handle: number; length: number; strings: string[] }[] {
  const found = [];
  let at = 0;
  while (at < table.length) {
    const length = table[at + 1]!;
    const start = at;
    at += length;
    const strings: string[] = [];
    while (table[at] !== 0 || table[at + 1] !== 0) {
      const end = table.indexOf(0, at);
      if (end > at) strings.push(String.fromCharCode(...table.subarray(at, end)));
      at = table[end + 1] === 0 ? end : end + 1;
    }
    at += 2;
    const handle = table[start + 2]! | (table[start + 3]! << 8);
    found.push({ type: table[start]!, handle, length, strings });
  }
  return found;
}

test('both anchors are valid and point to the same table', () => {
  const bytes = smbiosTables({ cpuCount: 2, ramBytes: 0x2000_0000 }, GPA);
  const view = new DataView(bytes.buffer);
  assert.equal(checksum(bytes.subarray(0, 0x1f)), 0);
  assert.equal(checksum(bytes.subarray(0x10, 0x1f)), 0);
  assert.equal(checksum(bytes.subarray(0x20, 0x38)), 0);
  const at = view.getUint32(0x18, true);
  assert.equal(at, GPA + 0x40);
  assert.equal(Number(view.getBigUint64(0x30, true)), at);
  const size = view.getUint16(0x16, true);
  assert.equal(size, bytes.length - 0x40);
  assert.equal(parse(bytes.subarray(0x40)).length, view.getUint16(0x1c, true));
});

test('each structure has the length of its version, a handle of its own, and an end', () => {
  const found = parse(smbiosTables({ cpuCount: 2, ramBytes: 0x2000_0000 }, GPA).subarray(0x40));
  assert.deepEqual(
    found.map(({ type, length }) => `${type}:${length.toString(16)}`),
    ['0:18', '1:1b', '3:16', '4:2a', '4:2a', '16:17', '17:28', '19:1f', '32:b', '127:4'],
  );
  assert.equal(new Set(found.map(({ handle }) => handle)).size, found.length);
  assert.deepEqual(found[1]!.strings, ['Mimic', 'Mimic PC (i440FX, PIIX)']);
});

test('255 processors stay within the segment', () => {
  const bytes = smbiosTables({ cpuCount: 255, ramBytes: 0xe000_0000 }, GPA);
  assert.ok(bytes.length < 0x1_0000);
});
