// MMX and SSE against the host's processor: every form, register and memory, random and boundary
// operands, any MXCSR. Hosts without gcc or x86-64 compare with digests that were recorded on one.
// MIMIC_RECORD=1 records them anew.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import {
  describe,
  makeCase,
  needsRex,
  patternOf,
  random,
  type Target,
  targets,
} from '../microcode/sse/testing/cases.ts';
import { CASE, explain, Guest, hostOracle, RESULT } from '../microcode/sse/testing/oracle.ts';
import { DATA_ADDRESS, TestCpu } from '../testing/check.ts';
import { INSTRUCTIONS_SSE } from './sse.ts';

const RECORDED = join(import.meta.dirname, '../microcode/sse/testing/recorded.json');
const SEED = 20240607;

interface Batch {
  readonly target: Target;
  readonly name: string;
  readonly cases: readonly Uint8Array[];
}

const isApproximate = (t: Target) => /^(RCP|RSQRT)/.test(t.instruction.name);
/** Forms of which the recording processor (an AMD) has another opinion than Intel's manual. */
const IS_DIFFERENT = new Set(['PREFETCHW 0F 0D /1 register', 'CVTPI2PS NP 0F 2A /r memory']);

function makeBatches(): Batch[] {
  return targets(INSTRUCTIONS_SSE).map((target, n) => {
    const pattern = patternOf(target.instruction.name);
    const next = random(SEED + n);
    const count = pattern === 'bytes' ? 12 : 40;
    const make = (_: unknown, k: number) =>
      makeCase(target, pattern === 'text' && k % 2 ? 'bytes' : pattern, next);
    return { target, name: describe(target), cases: Array.from({ length: count }, make) };
  });
}
const batches = makeBatches();
const exact = batches.filter((b) => !isApproximate(b.target) && !IS_DIFFERENT.has(b.name));

const digest = (results: readonly Uint8Array[]) =>
  createHash('sha256').update(Buffer.concat(results)).digest('hex').slice(0, 12);

let guest: Guest;
const results = new Map<string, readonly Uint8Array[]>();
before(() => {
  guest = new Guest();
  for (const b of batches)
    results.set(
      b.name,
      b.cases.map((c) => guest.run(c)),
    );
});

test('every form gives what the host processor gives', () => {
  using oracle = hostOracle();
  if (!oracle) return;
  const expected = oracle.run(exact.flatMap((b) => b.cases));
  const digests: Record<string, string> = {};
  const failures: string[] = [];
  let position = 0;
  for (const b of exact) {
    const want = expected.slice(position, position + b.cases.length);
    position += b.cases.length;
    digests[b.name] = digest(want);
    const wrong = want.findIndex((w, n) => Buffer.compare(w, results.get(b.name)![n]!) !== 0);
    if (wrong >= 0)
      failures.push(
        `${b.name}\n${explain(b.cases[wrong]!, want[wrong]!, results.get(b.name)![wrong]!)}`,
      );
  }
  if (process.env.MIMIC_RECORD) writeFileSync(RECORDED, `${JSON.stringify(digests, null, 2)}\n`);
  assert.equal(failures.join('\n'), '');
});

test('every form gives what was recorded', () => {
  const recorded = JSON.parse(readFileSync(RECORDED, 'utf8')) as Record<string, string>;
  for (const b of exact) assert.equal(digest(results.get(b.name)!), recorded[b.name], b.name);
  assert.equal(Object.keys(recorded).length, exact.length);
});

test('32-bit code gives what 64-bit code gives', () => {
  const legacy = new Guest(32);
  const low = (result: Uint8Array) => {
    const copy = result.slice();
    for (const at of [RESULT.rax, RESULT.rcx, RESULT.rdx]) copy.fill(0, at + 4, at + 8);
    return copy;
  };
  for (const b of batches) {
    if (needsRex(b.target)) continue;
    for (const [n, c] of b.cases.slice(0, 4).entries()) {
      const actual = low(legacy.run(c));
      const expected = low(results.get(b.name)![n]!);
      assert.ok(
        Buffer.compare(actual, expected) === 0,
        `${b.name}\n${explain(c, expected, actual)}`,
      );
    }
  }
});

test('RCP and RSQRT are within 1.5 * 2^-12 and note no exceptions', () => {
  const value = (bytes: Uint8Array, at: number) =>
    new DataView(bytes.buffer, bytes.byteOffset).getFloat32(at, true);
  let compared = 0;
  for (const b of batches.filter((x) => isApproximate(x.target))) {
    for (const [n, c] of b.cases.entries()) {
      const result = results.get(b.name)![n]!;
      const view = new DataView(result.buffer);
      assert.equal(
        view.getUint32(RESULT.mxcsr, true),
        new DataView(c.buffer).getUint32(CASE.mxcsr, true),
      );
      if (view.getUint32(RESULT.signal, true)) continue;
      const isSame =
        !b.target.isMemory && (c[b.target.form.encoding.startsWith('F3') ? 3 : 2]! & 7) === 1;
      const displacement = c[b.target.form.encoding.startsWith('F3') ? 4 : 3]!;
      const x = value(
        c,
        b.target.isMemory ? CASE.mem + displacement : CASE.xmm + (isSame ? 16 : 32),
      );
      const r = value(result, RESULT.xmm + 16);
      const wanted = b.target.instruction.name.startsWith('RCP') ? 1 / x : 1 / Math.sqrt(x);
      if (!Number.isFinite(wanted) || Math.abs(x) < 2 ** -126 || Math.abs(wanted) < 2 ** -125)
        continue;
      if (Math.abs(wanted) > 3.4e38) continue;
      assert.ok(Math.abs(r / wanted - 1) <= 1.5 * 2 ** -12, `${b.name} of ${x}: ${r}`);
      compared++;
    }
  }
  assert.ok(compared > 100);
});

test('RCP and RSQRT of zeros, denormals, infinities and NaNs', () => {
  const cpu = new TestCpu();
  cpu.reset(64);
  const table: readonly [rcp: boolean, x: number, result: number][] = [
    [true, 0, 0x7f80_0000], [true, 0x8000_0001, 0xff80_0000], [true, 0xff80_0000, 0x8000_0000], [true, 0x7f80_0001, 0x7fc0_0001],
    [true, 0x7f7f_ffff, 0], [false, 0x8000_0000, 0xff80_0000], [false, 0xbf80_0000, 0xffc0_0000], [false, 0x7f80_0000, 0],
    [false, 0x8000_0005, 0xff80_0000], [false, 0xffc0_1234, 0xffc0_1234],
  ]; // biome-ignore format: a table
  for (const [rcp, x, result] of table) {
    const r = cpu.run([0xf3, 0x0f, rcp ? 0x53 : 0x52, 0xca], { xmm: [0n, 0n, BigInt(x)] });
    assert.equal(r.xmm[1], BigInt(result), `${rcp} ${x.toString(16)}`);
  }
});

test('REX reaches XMM8 to XMM15 on both sides and in addresses', () => {
  const cpu = new TestCpu();
  cpu.reset(64);
  const xmm = Array.from({ length: 16 }, (_, n) => BigInt(n) << 8n);
  // PADDB xmm9, xmm10
  assert.equal(cpu.run([0x66, 0x45, 0x0f, 0xfc, 0xca], { xmm }).xmm[9], 0x1300n);
  // MOVQ [r8 + r9], xmm15
  const registers = { r8: BigInt(DATA_ADDRESS), r9: 16n };
  cpu.run([0x66, 0x47, 0x0f, 0xd6, 0x3c, 0x08], { xmm, registers });
  assert.deepEqual([...cpu.read(DATA_ADDRESS + 16, 8)], [0, 15, 0, 0, 0, 0, 0, 0]);
});

const PADDB_MMX = [0x0f, 0xfc, 0xca];
const PADDB_XMM = [0x66, 0x0f, 0xfc, 0xca];
const MOVQ2DQ = [0xf3, 0x0f, 0xd6, 0xca];
const MFENCE = [0x0f, 0xae, 0xf0];

test('CR0, CR4 and a waiting x87 exception decide whether MMX and SSE instructions run', () => {
  const cpu = new TestCpu();
  const CR0 = { em: 4n, ts: 8n };
  const check = (
    code: readonly number[],
    state: { cr0?: bigint; cr4?: bigint; status?: number },
    vector: number | undefined,
  ) => {
    cpu.reset(32);
    cpu.set('cr0', 0x31n | (state.cr0 ?? 0n));
    cpu.set('cr4', state.cr4 ?? 0x600n);
    cpu.set('x87Status', state.status ?? 0);
    cpu.set('fpuTrap', 3);
    assert.equal(cpu.run(code, {}).fault?.vector, vector);
  };
  for (const code of [PADDB_MMX, PADDB_XMM, MOVQ2DQ]) {
    check(code, {}, undefined);
    check(code, { cr0: CR0.em }, 6);
    check(code, { cr0: CR0.ts }, 7);
    check(code, { cr0: CR0.em | CR0.ts }, 6);
  }
  for (const code of [PADDB_XMM, MOVQ2DQ]) check(code, { cr4: 0n, cr0: CR0.ts }, 6);
  check(PADDB_MMX, { cr4: 0n }, undefined);
  check(PADDB_MMX, { status: 0x80 }, 16);
  check(MOVQ2DQ, { status: 0x80 }, 16);
  check(PADDB_XMM, { status: 0x80 }, undefined);
  check(MFENCE, { cr0: CR0.em | CR0.ts, cr4: 0n }, undefined);
});

test('an unmasked exception is #XM, or #UD when the system does not expect it', () => {
  const cpu = new TestCpu();
  for (const [cr4, vector] of [
    [0x620n, 19],
    [0x220n, 6],
  ] as const) {
    cpu.reset(64);
    cpu.set('cr4', cr4);
    // DIVSD xmm1, xmm2 of 1 / 0 with division by zero unmasked.
    const r = cpu.run([0xf2, 0x0f, 0x5e, 0xca], {
      xmm: [0n, 0x3ff0_0000_0000_0000n, 0n],
      mxcsr: 0x1d80,
    });
    assert.equal(r.fault?.vector, vector);
    assert.equal(r.mxcsr, 0x1d84);
    assert.equal(r.xmm[1], 0x3ff0_0000_0000_0000n);
  }
});

test('a product that rounds up to the least normal number has underflowed', () => {
  const cpu = new TestCpu();
  cpu.reset(64);
  // MULSS: 2^-126 times the number below 1.
  const r = cpu.run([0xf3, 0x0f, 0x59, 0xca], {
    xmm: [0n, 0x80_0000n, 0x3f7f_ffffn],
    mxcsr: 0x1fa0,
  });
  assert.equal(r.xmm[1], 0x80_0000n);
  assert.equal(r.mxcsr, 0x1fb0);
});

test('LDMXCSR takes what exists and raises #GP(0) for the rest', () => {
  const cpu = new TestCpu();
  cpu.reset(64);
  const registers = { rdi: BigInt(DATA_ADDRESS) };
  for (const [value, vector] of [
    [0xffff, undefined],
    [0x1_0000, 13],
    [0x1f80, undefined],
  ] as const) {
    cpu.write(DATA_ADDRESS, [value & 0xff, (value >> 8) & 0xff, value >> 16, 0]);
    const r = cpu.run([0x0f, 0xae, 0x17], { registers, mxcsr: 0x1fa0 });
    assert.equal(r.fault?.vector, vector);
    assert.equal(r.mxcsr, vector ? 0x1fa0 : value);
  }
});

test('MASKMOVDQU touches only pages with selected bytes, and stores nothing when one of them faults', () => {
  const cpu = new TestCpu();
  cpu.reset(64);
  const end = 16 << 20;
  const store = (mask: bigint) =>
    cpu.run([0x66, 0x0f, 0xf7, 0xca], {
      registers: { rdi: BigInt(end - 8) },
      xmm: [0n, 0x1111_1111_1111_1111_2222_2222_2222_2222n, mask],
    });
  cpu.write(end - 8, [0, 0, 0, 0, 0, 0, 0, 0]);
  assert.equal(store((0x8000n << 64n) | 0x80n).fault?.vector, 14);
  assert.deepEqual([...cpu.read(end - 8, 8)], [0, 0, 0, 0, 0, 0, 0, 0]);
  assert.equal(store(0x8000_0000_0000_0080n).fault, undefined);
  assert.deepEqual([...cpu.read(end - 8, 8)], [0x22, 0, 0, 0, 0, 0, 0, 0x22]);
});

test('EMMS empties the registers, any other MMX instruction makes them valid', () => {
  const cpu = new TestCpu();
  cpu.reset(64);
  cpu.set('x87Top', 5);
  cpu.run(PADDB_MMX, {});
  assert.deepEqual([cpu.get('x87Top'), cpu.get('x87Tags')], [0, 0xff]);
  assert.equal(cpu.x87(1) >> 64n, 0xffffn);
  cpu.run([0x0f, 0x77], {});
  assert.deepEqual([cpu.get('x87Top'), cpu.get('x87Tags')], [0, 0]);
});
