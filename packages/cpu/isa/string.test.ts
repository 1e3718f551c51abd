// String instructions where a recorded vector cannot reach: long runs, page borders, faults half-way, segments.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RFLAGS } from '../lift/flags.ts';
import { STRING_STEPS_MAX } from '../microcode/string.ts';
import { EVENT, SEGMENT } from '../state/layout.ts';
import { CODE_ADDRESS, type CpuState, TestCpu } from '../testing/check.ts';

const cpu = new TestCpu();
const SOURCE = 0x20_0000;
const TARGET = 0x28_0000;
/** RAM, and with it the mapping, ends here. */
const END = 0x100_0000;
const REP_MOVSB = [0xf3, 0xa4];
const REP_MOVSQ = [0xf3, 0x48, 0xa5];
const REP_STOSB = [0xf3, 0xaa];
const REP_STOSW = [0x66, 0xf3, 0xab];
const REP_STOSD = [0xf3, 0xab];
const REPE_CMPSB = [0xf3, 0xa6];
const REPNE_SCASB = [0xf2, 0xae];

const RUNS_MAX = 1000;

const noise = (length: number) =>
  Uint8Array.from({ length }, (_, n) => (n * 167 + (n >> 8) * 31) & 0xff);

/** Runs one string instruction to its end or fault. */
function finish(code: readonly number[], state: CpuState, bits: 16 | 32 | 64 = 64) {
  cpu.reset(bits);
  let r = cpu.run(code, state);
  for (let n = 0; n < RUNS_MAX && !r.fault && Number(r.rip) === CODE_ADDRESS; n++) {
    r = cpu.run(code, { registers: r.registers, rflags: r.rflags });
  }
  return r;
}

for (const [code, width] of [
  [REP_MOVSB, 1],
  [REP_MOVSQ, 8],
] as const) {
  for (const [name, offset] of [
    ['aligned', 0],
    ['not aligned', 3],
  ] as const) {
    test(`REP MOVS of ${width} bytes copies over page borders, ${name}`, () => {
      const bytes = noise(20_000);
      cpu.write(SOURCE + offset, bytes);
      cpu.write(TARGET, new Uint8Array(20_016));
      const count = 20_000 / width;
      const registers = {
        rcx: BigInt(count),
        rsi: BigInt(SOURCE + offset),
        rdi: BigInt(TARGET + 5),
      };
      const r = finish(code, { registers });
      assert.deepEqual(cpu.read(TARGET + 5, 20_000), bytes);
      assert.deepEqual(
        [...cpu.read(TARGET, 5), ...cpu.read(TARGET + 20_005, 8)],
        Array(13).fill(0),
      );
      assert.equal(r.registers.rcx, 0n);
      assert.equal(r.registers.rsi, BigInt(SOURCE + offset + 20_000));
      assert.equal(r.registers.rdi, BigInt(TARGET + 20_005));
      assert.equal(Number(r.rip), CODE_ADDRESS + code.length);
    });
  }
}

for (const distance of [0, 1, 3, 8, 13, 4096]) {
  test(`REP MOVSB upwards onto itself ${distance} bytes on repeats what lies between`, () => {
    const bytes = noise(9000);
    cpu.write(SOURCE, bytes);
    const expected = bytes.slice();
    for (let n = 0; n + distance < 9000; n++) expected[n + distance] = expected[n]!;
    const registers = {
      rcx: BigInt(9000 - distance),
      rsi: BigInt(SOURCE),
      rdi: BigInt(SOURCE + distance),
    };
    finish(REP_MOVSB, { registers });
    assert.deepEqual(cpu.read(SOURCE, 9000), expected);
  });
}

test('REP MOVSQ with a distance that is no multiple of 8 copies element by element', () => {
  const bytes = noise(4000);
  cpu.write(SOURCE, bytes);
  const expected = bytes.slice();
  for (let n = 0; n < 400; n++) expected.copyWithin(n * 8 + 12, n * 8, n * 8 + 8);
  finish(REP_MOVSQ, { registers: { rcx: 400n, rsi: BigInt(SOURCE), rdi: BigInt(SOURCE + 12) } });
  assert.deepEqual(cpu.read(SOURCE, 4000), expected);
});

test('REP MOVSB downwards', () => {
  const bytes = noise(6000);
  cpu.write(SOURCE, bytes);
  const registers = { rcx: 6000n, rsi: BigInt(SOURCE + 5999), rdi: BigInt(TARGET + 5999) };
  const r = finish(REP_MOVSB, { registers, rflags: RFLAGS.df | 2 });
  assert.deepEqual(cpu.read(TARGET, 6000), bytes);
  assert.equal(r.registers.rsi, BigInt(SOURCE - 1));
});

for (const [code, width, value] of [
  [REP_STOSB, 1, 0xa5n],
  [REP_STOSW, 2, 0x1234n],
  [REP_STOSD, 4, 0x1122_3344n],
  [REP_STOSD, 4, 0n],
] as const) {
  test(`REP STOS of ${width} bytes fills with ${value.toString(16)}`, () => {
    cpu.write(TARGET, noise(10_000));
    const before = cpu.read(TARGET, 10_000);
    const count = Math.floor(9001 / width);
    const registers = { rcx: BigInt(count), rdi: BigInt(TARGET + 7), rax: value | (0xffn << 32n) };
    const r = finish(code, { registers });
    const bytes = Array.from({ length: width }, (_, n) => Number((value >> BigInt(8 * n)) & 0xffn));
    const expected = before.slice();
    for (let n = 0; n < count * width; n++) expected[7 + n] = bytes[n % width]!;
    assert.deepEqual(cpu.read(TARGET, 10_000), expected);
    assert.equal(r.registers.rdi, BigInt(TARGET + 7 + count * width));
  });
}

test('a fault in the middle of REP MOVSB leaves the registers where a restart goes on', () => {
  const bytes = noise(100);
  cpu.write(END - 40, new Uint8Array(40));
  cpu.write(SOURCE, bytes);
  const registers = { rcx: 100n, rsi: BigInt(SOURCE), rdi: BigInt(END - 40) };
  const r = finish(REP_MOVSB, { registers });
  assert.deepEqual(r.fault && [r.fault.vector, r.fault.address, r.fault.code], [
    14,
    BigInt(END),
    2,
  ]);
  assert.equal(Number(r.rip), CODE_ADDRESS);
  assert.deepEqual(
    [r.registers.rcx, r.registers.rsi, r.registers.rdi],
    [60n, BigInt(SOURCE + 40), BigInt(END)],
  );
  assert.deepEqual(cpu.read(END - 40, 40), bytes.slice(0, 40));
});

test('a fault in the middle of REPE CMPSB leaves the flags as they were', () => {
  cpu.write(SOURCE, new Uint8Array(64));
  cpu.write(END - 10, new Uint8Array(10));
  const flags = RFLAGS.cf | RFLAGS.of | 2;
  const registers = { rcx: 64n, rsi: BigInt(SOURCE), rdi: BigInt(END - 10) };
  const r = finish(REPE_CMPSB, { registers, rflags: flags });
  assert.equal(r.fault?.vector, 14);
  assert.equal(r.registers.rcx, 54n);
  assert.equal(r.rflags, flags);
});

test('a repetition lets interrupts in after a bounded number of elements', () => {
  let looked = 0;
  const interrupted = new TestCpu({
    takeInterrupt: () => {
      looked++;
      return -1;
    },
  });
  interrupted.reset(64);
  interrupted.set('events', EVENT.interrupt);
  const count = STRING_STEPS_MAX * 3;
  const registers = { rcx: BigInt(count), rdi: BigInt(SOURCE), rax: 1n };
  let r = interrupted.run(REPNE_SCASB, { registers, rflags: RFLAGS.if | 2 });
  assert.equal(r.registers.rcx, BigInt(count - STRING_STEPS_MAX));
  for (let n = 0; n < 2; n++) r = interrupted.run(REPNE_SCASB, r);
  assert.equal(looked, 3);
  assert.equal(r.registers.rcx, 0n);
  assert.equal(r.rflags & RFLAGS.zf, 0);
});

test('REPNE SCASB stops behind the byte it finds', () => {
  cpu.write(SOURCE, [5, 6, 7, 0, 9]);
  const r = finish(REPNE_SCASB, { registers: { rcx: -1n, rdi: BigInt(SOURCE) } });
  assert.equal(r.registers.rcx, BigInt.asUintN(64, -5n));
  assert.equal(r.registers.rdi, BigInt(SOURCE + 4));
  assert.equal(r.rflags & RFLAGS.zf, RFLAGS.zf);
});

test('a count of zero touches neither memory nor flags', () => {
  const flags = RFLAGS.cf | RFLAGS.sf | 2;
  const r = finish(REPE_CMPSB, { registers: { rsi: 1n << 62n, rdi: 1n << 62n }, rflags: flags });
  assert.equal(r.fault, undefined);
  assert.equal(r.rflags, flags);
});

test('in 64-bit mode FS is the source base and ES is not a base', () => {
  cpu.reset(64);
  cpu.write(SOURCE + 0x100, [0x77]);
  cpu.set('segBase', BigInt(SOURCE), SEGMENT.fs);
  cpu.set('segBase', 0x1000n, SEGMENT.es);
  cpu.run([0x64, 0xa4], { registers: { rsi: 0x100n, rdi: BigInt(TARGET) } });
  assert.deepEqual([...cpu.read(TARGET, 1)], [0x77]);
});

test('16-bit addresses wrap at 64 KiB and keep the upper halves', () => {
  cpu.reset(16);
  cpu.write(0, [3, 4]);
  cpu.write(0xfffe, [1, 2]);
  cpu.write(0x3000, new Uint8Array(8));
  for (const n of [SEGMENT.ds, SEGMENT.es]) cpu.set('segLimit', 0xffff, n);
  const registers = { rcx: 0xabcd_0004n, rsi: 0x1234_fffen, rdi: 0x5678_3000n };
  const code = [0xf3, 0xa4];
  let r = cpu.run(code, { registers });
  while (!r.fault && Number(r.rip) === CODE_ADDRESS) r = cpu.run(code, { registers: r.registers });
  assert.deepEqual([...cpu.read(0x3000, 4)], [1, 2, 3, 4]);
  assert.deepEqual(
    [r.registers.rcx, r.registers.rsi, r.registers.rdi],
    [0xabcd_0000n, 0x1234_0002n, 0x5678_3004n],
  );
});

test('a segment limit stops a repetition with #GP, and with #SS for an override of SS', () => {
  for (const [prefix, segment, vector] of [
    [[], SEGMENT.ds, 13],
    [[0x36], SEGMENT.ss, 12],
  ] as const) {
    cpu.reset(32);
    cpu.write(SOURCE, noise(64));
    cpu.set('segLimit', SOURCE + 15, segment);
    const code = [...prefix, 0xf3, 0xa4];
    const registers = { rcx: 64n, rsi: BigInt(SOURCE), rdi: BigInt(TARGET) };
    let r = cpu.run(code, { registers });
    while (!r.fault && Number(r.rip) === CODE_ADDRESS)
      r = cpu.run(code, { registers: r.registers });
    assert.deepEqual(r.fault && [r.fault.vector, r.fault.code], [vector, 0]);
    assert.deepEqual([r.registers.rcx, r.registers.rdi], [48n, BigInt(TARGET + 16)]);
  }
});

test('a copy over decoded code is seen by the next instruction', () => {
  cpu.reset(64);
  // mov al, 1 at CODE_ADDRESS + 0x800 is overwritten with mov al, 2.
  const at = CODE_ADDRESS + 0x800;
  assert.equal(cpu.run([0xb0, 1], {}, { address: at }).registers.rax, 1n);
  cpu.write(SOURCE, [0xb0, 2]);
  cpu.run(REP_MOVSB, { registers: { rcx: 2n, rsi: BigInt(SOURCE), rdi: BigInt(at) } });
  cpu.set('rip', BigInt(at));
  cpu.step(1);
  assert.equal(cpu.get('gpr', 0), 2n);
});
