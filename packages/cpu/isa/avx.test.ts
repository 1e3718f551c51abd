// What user mode on a host cannot show of VEX-encoded instructions: when they are #UD or #NM, what happens at the ends
// of memory, and registers that a mode does not reach. Results and flags: tests/silicon.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DATA_ADDRESS, TestCpu } from '../testing/check.ts';

const bytes = (hex: string) => Buffer.from(hex.replaceAll(' ', ''), 'hex');
const VPADDD = bytes('c5 f1 fe c2'); // vpaddd xmm0, xmm1, xmm2
const ANDN = bytes('c4 e2 78 f2 c0'); // andn eax, eax, eax
const ONES = (1n << 128n) - 1n;
/** The end of memory: what is beyond is not mapped. */
const END = 16 << 20;

const CR0 = { pe: 1n, em: 4n, ts: 8n } as const;
const OSXSAVE = 1n << 18n;

test('CR4.OSXSAVE, XCR0 and CR0.TS decide whether AVX runs, real mode takes all of VEX away', () => {
  const cpu = new TestCpu();
  const check = (
    code: Uint8Array,
    state: { cr0?: bigint; cr4?: bigint; xcr0?: bigint; rflags?: number; bits?: 16 | 32 },
    vector: number | undefined,
  ) => {
    cpu.reset(state.bits ?? 32);
    cpu.set('cr0', state.cr0 ?? 0x31n);
    cpu.set('cr4', state.cr4 ?? OSXSAVE);
    cpu.set('xcr0', state.xcr0 ?? 7n);
    cpu.call('updateMode');
    cpu.set('stopOnFault', 1);
    const { fault } = cpu.run(code, { rflags: state.rflags ?? 2 });
    assert.equal(
      fault?.vector,
      vector,
      JSON.stringify(state, (_, v) => String(v)),
    );
  };
  check(VPADDD, {}, undefined);
  check(VPADDD, { cr4: 0n }, 6);
  for (const xcr0 of [1n, 3n, 5n]) check(VPADDD, { xcr0 }, 6);
  check(VPADDD, { cr0: 0x31n | CR0.ts }, 7);
  check(VPADDD, { cr0: 0x31n | CR0.ts, xcr0: 3n }, 6);
  // CR0.EM and CR4.OSFXSR are for SSE.
  check(VPADDD, { cr0: 0x31n | CR0.em }, undefined);
  check(VPADDD, { bits: 16 }, undefined);
  check(VPADDD, { bits: 16, cr0: 0x30n }, 6);
  // BMI's need nothing but protected mode.
  for (const state of [{ cr4: 0n }, { xcr0: 1n }, { cr0: 0x31n | CR0.ts }])
    check(ANDN, state, undefined);
  check(ANDN, { bits: 16, cr0: 0x30n }, 6);
});

/** Sets all YMM registers to the same bytes. */
function fill(cpu: TestCpu, low: bigint, high: bigint): void {
  for (let n = 0; n < 16; n++) {
    cpu.setXmm(n, low);
    cpu.setYmmHigh(n, high);
  }
}

test('128-bit VEX forms clear the upper half of their destination, SSE forms keep it', () => {
  const cpu = new TestCpu();
  cpu.reset(64);
  for (const [hex, kept] of [
    ['c5 f1 fe c2', false], // vpaddd xmm0, xmm1, xmm2
    ['66 0f fe c2', true], // paddd xmm0, xmm2
    ['c5 f2 58 c2', false], // vaddss xmm0, xmm1, xmm2
    ['f3 0f 58 c2', true], // addss xmm0, xmm2
    ['c5 f9 6e c0', false], // vmovd xmm0, eax
    ['66 0f 6e c0', true], // movd xmm0, eax
    ['c5 f5 fe c2', true], // vpaddd ymm0, ymm1, ymm2
  ] as const) {
    fill(cpu, 0x1234n, ONES);
    cpu.run(bytes(hex), {});
    assert.equal(cpu.ymmHigh(0) !== 0n, kept, hex);
    assert.equal(cpu.ymmHigh(1), ONES);
  }
});

test('VZEROUPPER and VZEROALL clear the registers that the mode has', () => {
  const cpu = new TestCpu();
  for (const [bits, count] of [
    [64, 16],
    [32, 8],
  ] as const) {
    for (const isWhole of [false, true]) {
      cpu.reset(bits);
      fill(cpu, ONES, ONES);
      cpu.run(bytes(isWhole ? 'c5 fc 77' : 'c5 f8 77'), {});
      for (let n = 0; n < 16; n++) {
        assert.equal(cpu.ymmHigh(n), n < count ? 0n : ONES);
        assert.equal(cpu.xmm(n), n < count && isWhole ? 0n : ONES);
      }
    }
  }
});

test('a store of 32 bytes that faults in its second page has written nothing', () => {
  const cpu = new TestCpu();
  cpu.reset(64);
  fill(cpu, ONES, ONES);
  for (let inside = 1; inside < 32; inside++) {
    cpu.write(END - 32, new Uint8Array(32));
    const { fault } = cpu.run(bytes('c5 fd 11 07'), {
      registers: { rdi: BigInt(END - inside) },
    });
    assert.deepEqual([fault?.vector, fault?.code, fault?.address], [14, 2, BigInt(END)]);
    assert.deepEqual(cpu.read(END - 32, 32), new Uint8Array(32), `${inside} bytes inside`);
  }
  const { fault } = cpu.run(bytes('c5 fd 11 07'), { registers: { rdi: BigInt(END - 32) } });
  assert.equal(fault, undefined);
  assert.deepEqual(cpu.read(END - 32, 32), new Uint8Array(32).fill(255));
});

test('aligned moves raise #GP by the length of the vector, others take any address', () => {
  const cpu = new TestCpu();
  cpu.reset(64);
  for (const [hex, alignment] of [
    ['c5 f8 28 07', 16], // vmovaps xmm0, [rdi]
    ['c5 fc 28 07', 32], // vmovaps ymm0, [rdi]
    ['c5 fc 29 07', 32], // vmovaps [rdi], ymm0
    ['c5 fd e7 07', 32], // vmovntdq [rdi], ymm0
    ['c4 e2 7d 2a 07', 32], // vmovntdqa ymm0, [rdi]
    ['c5 fc 10 07', 1], // vmovups ymm0, [rdi]
    ['c5 f4 58 07', 1], // vaddps ymm0, ymm1, [rdi]
    ['c5 f0 58 07', 1], // vaddps xmm0, xmm1, [rdi]
  ] as const) {
    for (const offset of [1, 4, 8, 16, 32]) {
      const { fault } = cpu.run(bytes(hex), { registers: { rdi: BigInt(DATA_ADDRESS + offset) } });
      assert.equal(fault?.vector, offset % alignment ? 13 : undefined, `${hex} at +${offset}`);
    }
  }
});

test('masked moves access selected elements only, and all of them or none', () => {
  const cpu = new TestCpu();
  cpu.reset(64);
  /** VPMASKMOVD with ymm1 as mask: load into ymm0, store of ymm2; `count` elements lie in memory. */
  const run = (hex: string, elements: number, count: number) => {
    const mask: bigint[] = Array.from({ length: 8 }, (_, n) =>
      elements & (1 << n) ? 0x8000_0000n : 0n,
    );
    const half = (from: number) =>
      mask.slice(from, from + 4).reduce((sum, m, n) => sum | (m << BigInt(32 * n)), 0n);
    fill(cpu, ONES, ONES);
    cpu.setXmm(1, half(0));
    cpu.setYmmHigh(1, half(4));
    cpu.write(END - 32, new Uint8Array(32).fill(0x55));
    return cpu.run(bytes(hex), { registers: { rdi: BigInt(END - 4 * count) } }).fault;
  };
  const [load, store] = ['c4 e2 75 8c 07', 'c4 e2 75 8e 17'];
  for (const hex of [load, store]) {
    assert.equal(run(hex, 0b0000_0111, 3), undefined);
    assert.deepEqual([run(hex, 0b0000_1111, 3)?.address, run(hex, 0, 3)], [BigInt(END), undefined]);
  }
  run(load, 0b0000_0101, 3);
  assert.equal(cpu.xmm(0), 0x5555_5555_0000_0000_5555_5555n);
  assert.equal(cpu.ymmHigh(0), 0n);
  run(store, 0b1000_0001, 3);
  assert.deepEqual(cpu.read(END - 12, 12), new Uint8Array(12).fill(0x55), 'nothing is stored');
  run(store, 0b0000_0101, 3);
  assert.deepEqual(Buffer.from(cpu.read(END - 12, 12)).toString('hex'), 'ffffffff55555555ffffffff');
});

test('a gather that faults keeps what has arrived, and goes on from there', () => {
  const cpu = new TestCpu();
  cpu.reset(64);
  const table = END - 16;
  cpu.write(table, [1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0]);
  fill(cpu, ONES, ONES);
  // vpgatherdd xmm0, [rdi+xmm1*4], xmm2 at indices 3, 0, 4, 1: the third is beyond.
  cpu.setXmm(1, 0x1_0000_0004_0000_0000_0000_0003n);
  const registers = { rdi: BigInt(table) };
  const code = bytes('c4 e2 69 90 04 8f');
  const { fault } = cpu.run(code, { registers });
  assert.deepEqual([fault?.vector, fault?.address], [14, BigInt(END)]);
  assert.equal(cpu.xmm(0), ((ONES << 64n) & ONES) | 0x1_0000_0004n);
  assert.equal(cpu.xmm(2), (ONES << 64n) & ONES);
  cpu.setXmm(1, 0x1_0000_0002_0000_0007_0000_0007n);
  assert.equal(cpu.run(code, { registers }).fault, undefined);
  assert.equal(cpu.xmm(0), 0x2_0000_0003_0000_0001_0000_0004n);
  assert.deepEqual([cpu.xmm(2), cpu.ymmHigh(2), cpu.ymmHigh(0)], [0n, 0n, 0n]);
});

test('gathers with two equal registers, without SIB byte or with 16-bit addresses are #UD', () => {
  const cpu = new TestCpu();
  cpu.reset(64);
  const registers = { rdi: BigInt(DATA_ADDRESS) };
  for (const hex of [
    'c4 e2 69 90 04 87', // vpgatherdd xmm0, [rdi+xmm0*4], xmm2
    'c4 e2 79 90 04 8f', // vpgatherdd xmm0, [rdi+xmm1*4], xmm0
    'c4 e2 71 90 04 8f', // vpgatherdd xmm0, [rdi+xmm1*4], xmm1
    'c4 e2 69 90 07', // no SIB
    'c4 e2 69 90 c1', // a register
  ])
    assert.equal(cpu.run(bytes(hex), { registers }).fault?.vector, 6, hex);
  cpu.reset(32);
  assert.equal(cpu.run(bytes('67 c4 e2 69 90 04 8f'), {}).fault?.vector, 6);
  // XMM4 is an index, where SP would be none.
  cpu.reset(64);
  fill(cpu, 0n, 0n);
  cpu.setXmm(4, 2n);
  cpu.setXmm(2, 0x8000_0000n);
  cpu.write(DATA_ADDRESS + 8, [0x78, 0x56, 0x34, 0x12]);
  cpu.run(bytes('c4 e2 69 90 04 a7'), { registers });
  assert.equal(cpu.xmm(0), 0x1234_5678n);
});

test('exceptions of both halves are gathered before any is reported', () => {
  const cpu = new TestCpu();
  cpu.reset(64);
  cpu.set('cr4', 0x620n);
  // VDIVPD ymm0, ymm1, ymm2: 1/3 in the low half is inexact, 1/0 in the high half, with division by zero unmasked.
  const double = (x: number) => {
    const view = new DataView(new ArrayBuffer(8));
    view.setFloat64(0, x);
    return view.getBigUint64(0);
  };
  const twice = (x: number) => (double(x) << 64n) | double(x);
  fill(cpu, twice(1), twice(1));
  cpu.setXmm(2, twice(3));
  cpu.setYmmHigh(2, twice(0));
  const r = cpu.run(bytes('c5 f5 5e c2'), { mxcsr: 0x1d80 });
  assert.equal(r.fault?.vector, 19);
  // Division by zero is found before computing, so nothing is said of the other half.
  assert.equal(r.mxcsr, 0x1d84);
  assert.deepEqual([cpu.xmm(0), cpu.ymmHigh(0)], [twice(1), twice(1)]);
  assert.equal(cpu.run(bytes('c5 f5 5e c2'), { mxcsr: 0x1f80 }).mxcsr, 0x1fa4);
});
