// System behaviour against another implementation: programs that provoke exceptions, privilege changes and mode
// changes log what they see, and Bochs 2.7 logged the same (record.ts). Where it and the manual differ, the manual
// counts, and the line stands in DEVIATIONS.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import type { ExitReason } from '../../vcpu.ts';
import { runFirmware } from '../firmware.ts';

const read = (file: string) => readFileSync(join(import.meta.dirname, file), 'latin1');

/** Lines by what they begin with, and what they are here. */
const DEVIATIONS: Readonly<Record<string, string>> = {
  // SDM vol 3A §4.6.1: implicit supervisor accesses are not freed from SMAP by AC.
  'smap descriptor table':
    '#000e 00000001 0008 00000000000109e0 0000000000050002 000000000001a000 0000000000000000 0fc0 0000 0000000000040002 0000000000202000 ',
  // SDM vol 2A, IRET: in 64-bit mode SS and rSP are popped whatever the operand size.
  iretd: '0000000000000000 ok',
  // SYSCALL is not stepped when IA32_FMASK clears TF; SYSRET that sets TF is, at once.
  'syscall single step':
    '0008 0000000000000046 0000000000000102 #0001 0000eeee 002b 0000000000011cb9 0000000000000102 000000000001a000 0000000000000023 0fc0 0000 0000000000000002 ffff4ff0 ',
  // SDM vol 2A, INT n: the new SS is null, so the error code is EXT alone.
  'inner stack non-canonical':
    '#000c 00000001 002b 0000000000012482 0000000000010002 000000000001b000 0000000000000023 0fc0 0000 0000000000000002 ',
};

function check(name: string, end: ExitReason): void {
  const image = new Uint8Array(gunzipSync(Buffer.from(read(`${name}.image`), 'base64')));
  const { log, reason } = runFirmware(image);
  assert.equal(reason, end);
  const expected = read(`${name}.log`)
    .trimEnd()
    .split('\n')
    .map((line) => {
      const title = line.split(':')[0]!;
      return title in DEVIATIONS ? `${title}: ${DEVIATIONS[title]}` : line;
    });
  const lines = log.trimEnd().split('\n');
  for (const [n, line] of expected.entries()) assert.equal(lines[n]?.trimEnd(), line.trimEnd());
  assert.equal(lines.length, expected.length);
}

test('exceptions, gates, tasks, virtual-8086 and real mode behave as recorded', () =>
  check('protected', 'halted'));
test('long mode, its system calls and its way out behave as recorded', () =>
  check('long', 'halted'));
test('interrupts, NMI, shadows, HLT, string I/O and breakpoints keep the manual’s order', () =>
  check('events', 'shutdown'));
