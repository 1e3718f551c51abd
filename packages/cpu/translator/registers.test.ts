// Registers in locals where an instruction reaches them by address.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CODE_ADDRESS, DATA_ADDRESS, TestCpu } from '../testing/check.ts';

/** OSXSAVE, OSXMMEXCPT, OSFXSR, PAE; x87, SSE and AVX state. */
const CR4_WITH_AVX = 0x4_0620n;
const XCR0_WITH_AVX = 7n;

/** Runs a program to its end by a fault or HLT: a loop that is translated, then what comes behind it. */
function run(hotThreshold: number, code: readonly number[], xmm: ReadonlyMap<number, bigint>) {
  const cpu = new TestCpu({}, { hotThreshold });
  cpu.reset(64);
  cpu.set('cr4', CR4_WITH_AVX);
  cpu.set('xcr0', XCR0_WITH_AVX);
  cpu.call('updateMode');
  cpu.write(CODE_ADDRESS, code);
  cpu.write(DATA_ADDRESS, [1, 2, 3, 4, 5, 6, 7, 8]);
  cpu.set('gpr', BigInt(DATA_ADDRESS), 1);
  cpu.set('gpr', 10n, 7);
  for (const [n, value] of xmm) cpu.setXmm(n, value);
  cpu.set('rip', BigInt(CODE_ADDRESS));
  return {
    reason: cpu.runToEnd(1000),
    rip: cpu.get('rip'),
    fault: cpu.get('fault'),
    xmm: Array.from({ length: 16 }, (_, n) => cpu.xmm(n)),
    regions: cpu.loader.counters.regions,
  };
}
function compare(code: readonly number[], xmm: ReadonlyMap<number, bigint>) {
  const { regions: none, ...interpreted } = run(0, code, xmm);
  const { regions, ...translated } = run(2, code, xmm);
  assert.equal(none, 0);
  assert.ok(regions > 0, 'nothing was translated');
  assert.deepEqual(translated, interpreted);
  return translated;
}

test('a gather that faults has cleared the masks before', () => {
  // l: dec edi; jnz l; vgatherqps xmm5, [rcx+xmm6-14], xmm7; hlt
  const code = [0xff, 0xcf, 0x75, 0xfc, 0xc4, 0xe2, 0x41, 0x93, 0x6c, 0x31, 0xf2, 0xf4];
  const { xmm } = compare(
    code,
    new Map([
      [7, 0xffff_ffff_6dcd_f4b2n],
      [6, 1n << 126n],
    ]),
  );
  assert.equal(xmm[7], 0xffff_ffff_0000_0000n);
});

test('what a gather loads is there for the next instruction', () => {
  // l: paddd xmm5, xmm5; dec edi; jnz l; vgatherqps xmm5, [rcx+xmm6], xmm7; paddd xmm5, xmm5; hlt
  const code = [
    0x66, 0x0f, 0xfe, 0xed, 0xff, 0xcf, 0x75, 0xf8, 0xc4, 0xe2, 0x41, 0x93, 0x2c, 0x31, 0x66, 0x0f,
    0xfe, 0xed, 0xf4,
  ];
  const { xmm } = compare(
    code,
    new Map([
      [7, 0xffff_ffff_ffff_ffffn],
      [6, 4n << 64n],
      [5, 9n],
    ]),
  );
  assert.equal(xmm[5], 0x100e_0c0a_0806_0402n);
});
