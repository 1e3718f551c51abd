// Runs one instruction on the interpreter and the same one on the host's processor. A case and its
// result are byte records that oracle.c shares; comparing results is comparing bytes.

import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { arch, platform, tmpdir } from 'node:os';
import { join } from 'node:path';
import { ARITHMETIC_FLAGS } from '../../../lift/flags.ts';
import { at, GPR, S, X87_SIGN_EXPONENT } from '../../../state/layout.ts';
import { vcpuBase } from '../../../state/memory-map.ts';
import { CODE_ADDRESS, DATA_ADDRESS, TestCpu } from '../../../testing/check.ts';

/** Layout of a case. */
export const CASE = {
  code: 0,
  xmm: 16,
  mem: 64,
  mm: 96,
  rax: 112,
  rcx: 120,
  rdx: 128,
  mxcsr: 136,
  rflags: 140,
  size: 144,
} as const;
/** Layout of a result. */
export const RESULT = {
  xmm: 0, mem: 48, mm: 80, rax: 96, rcx: 104, rdx: 112, mxcsr: 120, rflags: 124, signal: 128, x87: 132, exponent: 136, size: 144,
} as const; // biome-ignore format: a layout

const CODE_BYTES = 16;
/** Signals that a user program sees for our faults: SIGFPE, SIGSEGV, SIGILL. */
const SIGNAL: Readonly<Record<number, number>> = { 19: 8, 16: 8, 13: 11, 14: 11, 6: 4, 7: 4 };
const NOP = 0x90;

export function setCode(record: Uint8Array, code: readonly number[]): void {
  record.fill(NOP, CASE.code, CASE.code + CODE_BYTES);
  record.set(code, CASE.code);
}

/** Runs cases on the interpreter. */
export class Guest {
  readonly #cpu = new TestCpu();
  readonly #base = vcpuBase(0);

  /**
   * In the mode with that code size; 64-bit and 32-bit code finds its memory operand by the same
   * bytes.
   */
  constructor(bits: 32 | 64 = 64) {
    this.#cpu.reset(bits, 3);
  }
  run(record: Uint8Array): Uint8Array {
    const cpu = this.#cpu;
    const { view, bytes } = cpu;
    const base = this.#base;
    const input = new DataView(record.buffer, record.byteOffset, record.length);
    cpu.write(CODE_ADDRESS, record.subarray(CASE.code, CASE.code + CODE_BYTES));
    cpu.write(DATA_ADDRESS, record.subarray(CASE.mem, CASE.mem + 32));
    cpu.set('fault', 0);
    cpu.set('rip', BigInt(CODE_ADDRESS));
    for (let n = 0; n < 3; n++)
      bytes.set(record.subarray(CASE.xmm + 16 * n, CASE.xmm + 16 * n + 16), base + at(S.xmm, n));
    for (const n of [1, 2]) {
      view.setBigUint64(
        base + at(S.x87Significand, n),
        input.getBigUint64(CASE.mm + 8 * (n - 1), true),
        true,
      );
      view.setUint16(base + at(X87_SIGN_EXPONENT, n), 0, true);
    }
    cpu.set('x87Top', 3);
    cpu.set('x87Tags', 5);
    for (const name of ['rax', 'rcx', 'rdx'] as const)
      cpu.set('gpr', input.getBigUint64(CASE[name], true), GPR[name]);
    cpu.set('gpr', BigInt(DATA_ADDRESS), GPR.rdi);
    cpu.set('mxcsr', input.getUint32(CASE.mxcsr, true));
    cpu.call('writeRflags', input.getUint32(CASE.rflags, true));
    cpu.step(1);
    return this.#result();
  }
  #result(): Uint8Array {
    const cpu = this.#cpu;
    const base = this.#base;
    const result = new Uint8Array(RESULT.size);
    const out = new DataView(result.buffer);
    for (let n = 0; n < 3; n++)
      result.set(
        cpu.bytes.subarray(base + at(S.xmm, n), base + at(S.xmm, n) + 16),
        RESULT.xmm + 16 * n,
      );
    result.set(cpu.read(DATA_ADDRESS, 32), RESULT.mem);
    for (const n of [1, 2]) {
      out.setBigUint64(RESULT.mm + 8 * (n - 1), cpu.get('x87Significand', n) as bigint, true);
      out.setUint16(
        RESULT.exponent + 2 * (n - 1),
        cpu.view.getUint16(base + at(X87_SIGN_EXPONENT, n), true),
        true,
      );
    }
    for (const name of ['rax', 'rcx', 'rdx'] as const)
      out.setBigUint64(RESULT[name], cpu.get('gpr', GPR[name]) as bigint, true);
    out.setUint32(RESULT.mxcsr, cpu.get('mxcsr') as number, true);
    out.setUint32(RESULT.rflags, cpu.call('readRflags') as number, true);
    const fault = cpu.get('fault') as number;
    out.setUint32(RESULT.signal, fault ? (SIGNAL[fault & 0xff] ?? 99) : 0, true);
    out.setUint32(
      RESULT.x87,
      (cpu.get('x87Tags') as number) | ((cpu.get('x87Top') as number) << 8),
      true,
    );
    return normalized(result);
  }
}

/** Of the flags only the arithmetic ones are compared. */
function normalized(result: Uint8Array): Uint8Array {
  const view = new DataView(result.buffer, result.byteOffset, result.length);
  view.setUint32(RESULT.rflags, view.getUint32(RESULT.rflags, true) & ARITHMETIC_FLAGS, true);
  return result;
}

/** The compiled oracle, or undefined on a host that cannot run it. */
export function hostOracle():
  | (Disposable & { run(cases: readonly Uint8Array[]): Uint8Array[] })
  | undefined {
  if (arch() !== 'x64' || platform() !== 'linux') return undefined;
  const folder = mkdtempSync(join(tmpdir(), 'mimic-sse-'));
  const program = join(folder, 'oracle');
  try {
    execFileSync('gcc', ['-O1', '-o', program, join(import.meta.dirname, 'oracle.c')], {
      stdio: 'ignore',
    });
  } catch {
    rmSync(folder, { recursive: true });
    return undefined;
  }
  return {
    run(cases) {
      const { stdout, status } = spawnSync(program, {
        input: Buffer.concat(cases),
        maxBuffer: 1 << 28,
      });
      if (status !== 0 || stdout.length !== cases.length * RESULT.size)
        throw new Error('the oracle stopped early');
      return cases.map((_, n) =>
        normalized(Uint8Array.from(stdout.subarray(n * RESULT.size, (n + 1) * RESULT.size))),
      );
    },
    [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }),
  };
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).reverse().toString('hex');

/** A case and two results that differ, for a person. */
export function explain(record: Uint8Array, expected: Uint8Array, actual: Uint8Array): string {
  const lines = [
    `code ${Buffer.from(record.subarray(0, CODE_BYTES)).toString('hex')} mxcsr ${hex(record.subarray(CASE.mxcsr, CASE.mxcsr + 4))}`,
    `xmm0 ${hex(record.subarray(16, 32))} xmm1 ${hex(record.subarray(32, 48))} xmm2 ${hex(record.subarray(48, 64))}`,
    `mem ${hex(record.subarray(64, 80))} mm1 ${hex(record.subarray(96, 104))} mm2 ${hex(record.subarray(104, 112))} rax ${hex(record.subarray(112, 120))} rcx ${hex(record.subarray(120, 128))} rdx ${hex(record.subarray(128, 136))}`,
  ];
  const parts: readonly [string, number, number][] = [
    ['xmm0', 0, 16], ['xmm1', 16, 32], ['xmm2', 32, 48], ['mem', 48, 80], ['mm1', 80, 88], ['mm2', 88, 96], ['rax', 96, 104], ['rcx', 104, 112],
    ['rdx', 112, 120], ['mxcsr', 120, 124], ['rflags', 124, 128], ['signal', 128, 132], ['x87', 132, 136], ['exponents', 136, 140],
  ]; // biome-ignore format: a table
  for (const [name, from, to] of parts) {
    const want = hex(expected.subarray(from, to));
    const got = hex(actual.subarray(from, to));
    if (want !== got) lines.push(`  ${name}: expected ${want}, got ${got}`);
  }
  return lines.join('\n');
}
