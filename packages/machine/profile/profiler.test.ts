// Looks at memory that a vCPU would have written.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { S, SEGMENT } from '../../cpu/state/layout.ts';
import { vcpuBase } from '../../cpu/state/memory-map.ts';
import { Profiler } from './profiler.ts';

function setUp(cpuCount = 1) {
  const memory = new WebAssembly.Memory({ initial: 256, maximum: 256, shared: true });
  const view = new DataView(memory.buffer);
  let state: 'running' | 'waiting' | 'ended' = 'running';
  const machine = { memory, cpuCount, state: () => state };
  // The test looks itself; the timer never comes.
  const profiler = new Profiler(machine, { intervalMs: 1_000_000 });
  const be = (where: {
    index?: number;
    rip: bigint;
    cpl?: number;
    bits?: number;
    idle?: number;
  }) => {
    const base = vcpuBase(where.index ?? 0);
    view.setBigUint64(base + S.rip.offset, where.rip, true);
    view.setUint32(base + S.cpl.offset, where.cpl ?? 0, true);
    view.setUint32(base + S.codeBits.offset, where.bits ?? 64, true);
    view.setUint32(base + S.activity.offset, where.idle ?? 0, true);
    view.setBigUint64(base + S.segBase.offset + SEGMENT.cs * S.segBase.stride, 0x9000n, true);
  };
  return {
    profiler,
    be,
    setState: (now: typeof state) => {
      state = now;
    },
  };
}

test('each look counts the time since the one before, for kernel, user code or nothing', () => {
  const { profiler, be } = setUp();
  be({ rip: 0x1000n });
  profiler.look(100);
  profiler.look(101);
  be({ rip: 0x40_0000n, cpl: 3 });
  profiler.look(104);
  be({ rip: 0x12n, bits: 16, cpl: 0 });
  profiler.look(110);
  be({ rip: 0x1000n, idle: 1 });
  profiler.look(120);
  const profile = profiler.stop();
  assert.deepEqual(profile.hottest(), [
    { space: 'idle', name: '(idle)', share: 0.5 },
    { space: 'kernel', name: '0x9012', share: 0.3 },
    { space: 'user', name: '0x400000', share: 0.15 },
    { space: 'kernel', name: '0x1000', share: 0.05 },
  ]);
});

test('the time that a machine is paused counts nowhere', () => {
  const { profiler, be, setState } = setUp();
  be({ rip: 0x1000n });
  profiler.look(0);
  profiler.look(1);
  setState('waiting');
  profiler.look(2);
  profiler.look(5000);
  setState('running');
  profiler.look(9000);
  profiler.look(9002);
  assert.equal(profiler.stop().milliseconds, 3);
});

test('in a long run moments are merged, and no time is lost', () => {
  const { profiler, be } = setUp(2);
  be({ index: 0, rip: 0x1000n });
  be({ index: 1, rip: 0x2000n, cpl: 3 });
  const looks = 600_000;
  for (let ms = 0; ms <= looks; ms++) profiler.look(ms);
  const profile = profiler.stop();
  assert.equal(profile.milliseconds, looks);
  assert.ok(profile.momentCount < 400_000);
  assert.deepEqual(
    profile.hottest().map(({ space, share }) => [space, share]),
    [
      ['kernel', 0.5],
      ['user', 0.5],
    ],
  );
});
