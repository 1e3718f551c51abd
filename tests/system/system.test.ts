// System behaviour against QEMU: page faults by every combination of rights, segment descriptors of every kind.
// packages/cpu/testing/system has gates, tasks, virtual-8086 mode and long mode against Bochs.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compareLogs, GUESTS, runOnMimic, sourcesVersion } from './guest.ts';
import { readRecording } from './record.ts';

const REPORTED_MAX = 10;
const LINES_MIN = 500;

const recording = readRecording();

test('the recorded guests are those of the sources', () => {
  assert.equal(recording.sources, sourcesVersion(), 'record again: node tests/system/record.ts');
});

for (const [n, guest] of GUESTS.entries()) {
  test(`${guest.name} in ${guest.bits}-bit code behaves as QEMU and the manual have it`, (t) => {
    const { image, log } = recording.guests[n]!;
    const differing = compareLogs(guest, log, runOnMimic(Buffer.from(image, 'base64')));
    const count = log.split('\n').length;
    assert.ok(count > LINES_MIN && log.endsWith('end\n'), 'the recording is not whole');
    t.diagnostic(`${count} lines`);
    assert.equal(
      differing.length,
      0,
      `${differing.length} differ\n${differing.slice(0, REPORTED_MAX).join('\n')}`,
    );
  });
}
