// The profile's sums and its file format.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type CpuProfile, formatHottest, Profile } from './profile.ts';
import { SymbolTable } from './symbols.ts';

const SYMBOLS = SymbolTable.parse(
  new TextEncoder().encode(
    'ffffffff81000000 T work\nffffffff81001000 T entry_SYSCALL_64\nffffffff81002000 T rest\n',
  ),
  'System.map',
);
const PLACES = [
  { space: 'idle', address: 0n },
  { space: 'kernel', address: 0xffff_ffff_9100_0010n },
  { space: 'kernel', address: 0xffff_ffff_9100_0020n },
  { space: 'user', address: 0x40_1000n },
] as const;

function profile(cpuCount: number, durations: number[], seen: number[]): Profile {
  const systemCallEntry = 0xffff_ffff_9100_1000n;
  return new Profile({ places: PLACES, durations, seen, cpuCount, systemCallEntry });
}

/** What the format asks for, beyond its types. */
function check({ nodes, samples, timeDeltas, startTime, endTime }: CpuProfile): void {
  const ids = new Set(nodes.map(({ id }) => id));
  assert.equal(ids.size, nodes.length);
  const children = nodes.flatMap((node) => node.children);
  assert.equal(children.length, nodes.length - 1, 'each but the root has one parent');
  assert.equal(new Set(children).size, children.length);
  assert.ok(children.every((id) => ids.has(id) && id !== nodes[0]!.id));
  assert.equal(nodes[0]!.callFrame.functionName, '(root)');
  assert.ok(samples.every((id) => ids.has(id)));
  assert.equal(samples.length, timeDeltas.length);
  assert.ok(timeDeltas.every((delta) => Number.isInteger(delta) && delta >= 0));
  assert.equal(
    timeDeltas.reduce((sum, delta) => sum + delta, startTime),
    endTime,
  );
  for (const { id, hitCount } of nodes)
    assert.equal(hitCount, samples.filter((sample) => sample === id).length);
}

test('time is summed by function, moved with the kernel; user code without symbols by address', () => {
  const found = profile(1, [1, 2, 3, 4], [1, 2, 3, 0]);
  assert.deepEqual(found.hottest([SYMBOLS]), [
    { space: 'idle', name: '(idle)', share: 0.4 },
    // Of the same length: in the order in which they were seen.
    { space: 'kernel', name: 'work', share: 0.3 },
    { space: 'user', name: '0x401000', share: 0.3 },
  ]);
  assert.equal(found.milliseconds, 10);
  assert.equal(found.hottest().length, 4);
  assert.deepEqual(formatHottest(found, [SYMBOLS], 1).split('\n'), [
    'profile: 0.0 s, 4 samples; kernel 30.0%, user 30.0%, idle 40.0%',
    '   30.0%  kernel  work',
  ]);
});

test('a .cpuprofile has kernel and user below its root, and all time', () => {
  const file = profile(1, [1.0004, 2.0004, 3.0004, 4], [1, 2, 3, 0]).cpuProfile([SYMBOLS]);
  check(file);
  const name = (id: number) => file.nodes.find((node) => node.id === id)!.callFrame.functionName;
  assert.deepEqual(file.nodes[0]!.children.map(name), ['kernel', 'user', '(idle)']);
  assert.deepEqual(file.samples.map(name), ['work', 'work', '0x401000', '(idle)']);
  assert.deepEqual(file.timeDeltas, [1000, 2001, 3000, 4000]);
  assert.equal(file.nodes.find(({ callFrame }) => callFrame.functionName === 'work')!.hitCount, 2);
});

test('several processors have a part of each moment', () => {
  const found = profile(2, [2, 4], [1, 0, 3, 0]);
  const file = found.cpuProfile();
  check(file);
  assert.equal(file.endTime, 6000);
  assert.deepEqual(file.timeDeltas, [1000, 1000, 2000, 2000]);
  const roots = file.nodes[0]!.children.map((id) => file.nodes[id - 1]!.callFrame.functionName);
  assert.deepEqual(roots, ['processor 0', 'processor 1']);
  assert.equal(found.hottest()[0]!.share, 0.5);
  assert.match(formatHottest(found, [], 5), /^profile: 0\.0 s of 2 processors, 2 samples; /);
});

test('a profile of nothing is a file all the same', () => {
  const found = profile(1, [], []);
  check(found.cpuProfile());
  assert.deepEqual(found.hottest(), []);
  assert.match(formatHottest(found, [], 5), /^profile: 0\.0 s, 0 samples; kernel 0\.0%/);
});
