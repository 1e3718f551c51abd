// Debian on two processors: both come up, go down and come up again, and what they promise each other holds for a
// moment. tests/long/smp.test.ts gives it minutes, with more of them.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TORTURE_TESTS, tortureGuest } from './torture.ts';

const TIMEOUT = { timeoutMs: 280_000 };
const SCRIPT = `
echo "nproc $(nproc)"
/torture 0.1 2
echo 0 >/sys/devices/system/cpu/cpu1/online
echo "nproc $(nproc)"
echo 1 >/sys/devices/system/cpu/cpu1/online
echo "nproc $(nproc)"
dmesg -r | grep -E "^<[0-3]>|TSC warp|BUG:|WARNING:" && echo complaints
echo the end
poweroff -f
`;

test('Debian runs on two processors, and they keep their promises', async (t) => {
  await using guest = await tortureGuest(SCRIPT, { cpus: 2 });
  await guest.expect('the end', TIMEOUT);
  assert.equal(await guest.exited, 'power-off');
  const lines = guest.output.split('\n').map((line) => line.trim());
  assert.deepEqual(
    lines.filter((line) => line.startsWith('nproc ')),
    ['nproc 2', 'nproc 1', 'nproc 2'],
  );
  const results = lines.filter((line) => /^(?:ok|FAIL) /.test(line));
  t.diagnostic(results.join(', '));
  assert.equal(results.length, TORTURE_TESTS, guest.output);
  assert.deepEqual(
    results.filter((line) => line.startsWith('FAIL')),
    [],
  );
  assert.ok(!lines.includes('complaints'), guest.output);
});
