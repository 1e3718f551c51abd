// The guests of tests/system, built anew and run on the QEMU of this host.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compareLogs, GUESTS, runOnMimic, runOnQemu, whyNoQemu } from '../system/guest.ts';

const why = whyNoQemu();
for (const guest of GUESTS) {
  test(`${guest.name} in ${guest.bits}-bit code behaves as on this host's QEMU`, (t) => {
    if (why) {
      t.diagnostic(`nothing to compare with: ${why}`);
      return;
    }
    const { image, log } = runOnQemu(guest.name, guest.bits);
    const differing = compareLogs(guest, log, runOnMimic(image));
    assert.equal(
      differing.length,
      0,
      `${differing.length} differ\n${differing.slice(0, 10).join('\n')}`,
    );
  });
}
