// busybox's applets print in an amd64 and in two i386 guests what the same programs print on the host.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import {
  type CheckResult,
  collectChecks,
  type Programs,
  runOnHost,
  startGuest,
} from '@mimic/testing';
import { checksInitramfs } from '../../tools/guests/initramfs.ts';
import { debianBusybox, debianKernel, type KernelFlavour } from '../../tools/guests/kernels.ts';
import { debianMawk } from '../../tools/guests/programs.ts';
import { APPLET_CHECKS } from './applet-checks.ts';

const TIMEOUTS = { bootMs: 240_000, checkMs: 240_000 };
/** Each flavour pages in another way. */
const FLAVOURS: readonly KernelFlavour[] = ['amd64', '686', '686-pae'];

for (const flavour of FLAVOURS) {
  describe(`busybox on Debian's ${flavour} kernel`, () => {
    let results = new Map<string, CheckResult>();
    let busybox = '';
    let programs: Programs = {};

    before(async () => {
      const kernel = await debianKernel(flavour);
      busybox = await debianBusybox(kernel.architecture);
      const mawk = await debianMawk(kernel.architecture);
      programs = { MAWK: mawk.hostCommand };
      const initrd = checksInitramfs({
        busybox,
        checks: APPLET_CHECKS,
        files: mawk.files,
        programs: { MAWK: mawk.guestCommand },
      });
      await using guest = await startGuest({
        kernel: kernel.image,
        initrd,
        append: 'quiet',
      });
      results = await collectChecks(guest, APPLET_CHECKS, TIMEOUTS);
      assert.equal(await guest.exited, 'power-off');
    });
    after(() => results.clear());

    for (const check of APPLET_CHECKS) {
      test(`${check.name} prints what it prints on the host`, () => {
        const expected = runOnHost(check, busybox, programs);
        assert.notEqual(expected.output, '', 'the host prints something');
        assert.deepEqual(results.get(check.name), expected);
      });
    }
  });
}
