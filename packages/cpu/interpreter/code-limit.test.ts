// Instructions at the end of the code segment. SDM vol 3A §5.3: an offset beyond the limit raises #GP(0).

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CODE_ADDRESS, TestCpu } from '../testing/check.ts';
import { EXIT_REASON } from './service.ts';

const GENERAL_PROTECTION = 13;
const CS = 1;
/** inc eax; mov ebx, 0x12345678; hlt */
const CODE = [0x40, 0xbb, 0x78, 0x56, 0x34, 0x12, 0xf4];

/** Runs CODE with its last byte but `beyond` at CS's limit. */
function run(beyond: number) {
  const cpu = new TestCpu();
  cpu.reset(32);
  cpu.write(CODE_ADDRESS, CODE);
  cpu.set('segLimit', CODE_ADDRESS + CODE.length - 1 - beyond, CS);
  cpu.call('updateMode');
  cpu.set('rip', BigInt(CODE_ADDRESS));
  const reason = cpu.runFreely(100);
  const vector = (cpu.get('fault') as number) & 0xff;
  return {
    reason,
    vector,
    rip: Number(cpu.get('rip')) - CODE_ADDRESS,
    eax: cpu.get('gpr', 0),
    ebx: cpu.get('gpr', 3),
  };
}

test('code runs up to the last byte that the limit allows', () => {
  const { reason, ebx } = run(0);
  assert.equal(reason, EXIT_REASON.halted);
  assert.equal(ebx, 0x12345678n);
});

test('an instruction that begins behind the limit raises #GP(0)', () => {
  const { reason, vector, rip, ebx } = run(1);
  assert.deepEqual(
    { reason, vector, rip, ebx },
    { reason: EXIT_REASON.fault, vector: GENERAL_PROTECTION, rip: 6, ebx: 0x12345678n },
  );
});

for (const beyond of [2, 3, 4, 5]) {
  test(`an instruction that ends ${beyond - 1} bytes behind the limit raises #GP(0) and changes nothing`, () => {
    const { reason, vector, rip, eax, ebx } = run(beyond);
    assert.deepEqual(
      { reason, vector, rip, eax, ebx },
      { reason: EXIT_REASON.fault, vector: GENERAL_PROTECTION, rip: 1, eax: 1n, ebx: 0n },
    );
  });
}
