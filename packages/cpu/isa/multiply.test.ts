// 64-bit products and quotients against BigInt, and the exact border of #DE.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RFLAGS } from '../lift/flags.ts';
import { TestCpu } from '../testing/check.ts';
import { Random } from './testing/general/inputs.ts';

const cpu = new TestCpu();
cpu.reset(64);
const u64 = (value: bigint) => BigInt.asUintN(64, value);
const s64 = (value: bigint) => BigInt.asIntN(64, value);
const MUL_RBX = [0x48, 0xf7, 0xe3];
const IMUL_RBX = [0x48, 0xf7, 0xeb];
const DIV_RBX = [0x48, 0xf7, 0xf3];
const IDIV_RBX = [0x48, 0xf7, 0xfb];
const ROUNDS = 2000;

test('MUL and IMUL of 64 bits give the 128-bit product and tell whether the upper half counts', () => {
  const random = new Random(1);
  for (let n = 0; n < ROUNDS; n++) {
    const [rax, rbx] = [random.operand(), random.operand()];
    for (const [code, convert] of [
      [MUL_RBX, u64],
      [IMUL_RBX, s64],
    ] as const) {
      const product = convert(rax) * convert(rbx);
      const r = cpu.run(code, { registers: { rax, rbx } });
      assert.equal(r.registers.rax, u64(product), `${rax} * ${rbx}`);
      assert.equal(r.registers.rdx, u64(product >> 64n), `${rax} * ${rbx}`);
      const overflows = convert(product) !== product;
      assert.equal(r.rflags & (RFLAGS.cf | RFLAGS.of), overflows ? RFLAGS.cf | RFLAGS.of : 0);
    }
  }
});

/** Dividends that make quotients of all lengths, and some that overflow. */
function* divisions(): Generator<readonly [high: bigint, low: bigint, divisor: bigint]> {
  const random = new Random(2);
  for (let n = 0; n < ROUNDS; n++) {
    const divisor = random.operand() >> BigInt(random.below(64));
    const high = random.below(4) ? random.u64() % (divisor || 1n) : random.operand();
    yield [high, random.operand(), divisor];
  }
}

test('DIV of 128 by 64 bits is exact, and #DE where the quotient does not fit', () => {
  for (const [rdx, rax, rbx] of divisions()) {
    const r = cpu.run(DIV_RBX, { registers: { rax, rdx, rbx } });
    const dividend = (rdx << 64n) | rax;
    const fits = rbx !== 0n && dividend / rbx < 1n << 64n;
    assert.equal(r.fault?.vector, fits ? undefined : 0, `${dividend} / ${rbx}`);
    const expected = fits ? [dividend / rbx, dividend % rbx] : [rax, rdx];
    assert.deepEqual([r.registers.rax, r.registers.rdx], expected, `${dividend} / ${rbx}`);
  }
});

test('IDIV of 128 by 64 bits truncates towards zero, and #DE where the quotient does not fit', () => {
  for (const [high, rax, rbx] of divisions()) {
    for (const rdx of [high, u64(~high), high >> 1n, u64(~(high >> 1n))]) {
      const r = cpu.run(IDIV_RBX, { registers: { rax, rdx, rbx } });
      const dividend = (s64(rdx) << 64n) | rax;
      const divisor = s64(rbx);
      const quotient = divisor === 0n ? 1n << 64n : dividend / divisor;
      const fits = s64(quotient) === quotient;
      assert.equal(r.fault?.vector, fits ? undefined : 0, `${dividend} / ${divisor}`);
      const expected = fits ? [u64(quotient), u64(dividend % divisor)] : [rax, rdx];
      assert.deepEqual([r.registers.rax, r.registers.rdx], expected, `${dividend} / ${divisor}`);
    }
  }
});

const BORDERS: readonly [string, readonly number[], bigint, bigint, bigint, number | undefined][] =
  [
    ['idiv bl: -128', [0xf6, 0xfb], 0xff80n, 0n, 1n, undefined],
    ['idiv bl: 128', [0xf6, 0xfb], 0x0080n, 0n, 1n, 0],
    ['idiv bl: -32768 / -1', [0xf6, 0xfb], 0x8000n, 0n, 0xffn, 0],
    ['idiv bx: -32768', [0x66, 0xf7, 0xfb], 0x8000n, 0xffffn, 1n, undefined],
    ['idiv bx: 32768', [0x66, 0xf7, 0xfb], 0x8000n, 0n, 1n, 0],
    ['idiv ebx: -2^31', [0xf7, 0xfb], 0x8000_0000n, 0xffff_ffffn, 1n, undefined],
    ['idiv ebx: -2^63 / -1', [0xf7, 0xfb], 0n, 0x8000_0000n, 0xffff_ffffn, 0],
    ['idiv rbx: -2^63', IDIV_RBX, 1n << 63n, u64(-1n), 1n, undefined],
    ['idiv rbx: -2^63 / -1', IDIV_RBX, 1n << 63n, u64(-1n), u64(-1n), 0],
    ['div bl: 255', [0xf6, 0xf3], 0xffn, 0n, 1n, undefined],
    ['div bl: 256', [0xf6, 0xf3], 0x100n, 0n, 1n, 0],
    ['div ebx: 2^32', [0xf7, 0xf3], 0n, 1n, 1n, 0],
  ];
for (const [name, code, rax, rdx, rbx, fault] of BORDERS) {
  test(`${name} ${fault === undefined ? 'fits' : 'is #DE'}`, () => {
    assert.equal(cpu.run(code, { registers: { rax, rdx, rbx } }).fault?.vector, fault);
  });
}
