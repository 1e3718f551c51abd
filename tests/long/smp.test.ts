// Several processors for minutes: Debian boots on two, four and eight of them, on both engines, and torture.c hammers
// what they promise each other. MIMIC_TORTURE_SECONDS is how long each of its tests takes.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TORTURE_TESTS, tortureGuest } from '../smp/torture.ts';

const SECONDS = Number(process.env.MIMIC_TORTURE_SECONDS ?? 6);
const TIMEOUT = { timeoutMs: 600_000 + SECONDS * TORTURE_TESTS * 3000 };

for (const accel of ['jit', 'interpreter'] as const) {
  for (const cpus of [2, 4, 8]) {
    test(`${cpus} processors, ${accel}`, async (t) => {
      const script = `
echo "nproc $(nproc)"
/torture ${SECONDS} ${cpus}
dmesg -r | grep -E "^<[0-3]>|BUG:|WARNING:"
echo the end
poweroff -f
`;
      await using guest = await tortureGuest(script, { cpus, accel });
      await guest.expect('the end', TIMEOUT);
      assert.equal(await guest.exited, 'power-off');
      assert.match(guest.output, new RegExp(`^nproc ${cpus}\\s*$`, 'm'));
      const results = guest.output.split('\n').filter((line) => /^(?:ok|FAIL) /.test(line));
      t.diagnostic(results.join(', '));
      assert.equal(results.length, TORTURE_TESTS, guest.output);
      assert.ok(!guest.output.includes('FAIL'), guest.output);
    });
  }
}
