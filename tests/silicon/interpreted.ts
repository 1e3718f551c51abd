// The same cases on the interpreter: ring 3 in 64-bit mode, with exactly the pages that runner.c maps.

import { TestCpu } from '../../packages/cpu/testing/check.ts';
import { RAM_BASE } from '../../packages/cpu/state/memory-map.ts';
import { CODE, DATA, FX, MEMORY_PARTS, PAGE, RESULT, STACK, TEST } from './layout.ts';

/** Page tables at 4 KiB steps: PML4, PDPT, PD, and one page table for each 2 MiB that has a page. */
const TABLES = 0x8000;
const USER = 7n;
const NX = 1n << 63n;

export class InterpretedRunner {
  readonly #cpu = new TestCpu();

  constructor() {
    const cpu = this.#cpu;
    cpu.reset(64, 3);
    cpu.bytes.fill(0, RAM_BASE, RAM_BASE + 0x10_0000);
    const entry = (table: number, index: number, value: bigint) =>
      cpu.view.setBigUint64(RAM_BASE + table + index * 8, value, true);
    entry(TABLES, 0, BigInt(TABLES + PAGE) | USER);
    entry(TABLES + PAGE, 0, BigInt(TABLES + 2 * PAGE) | USER);
    const pages = [CODE, CODE + PAGE, DATA, DATA + PAGE, STACK];
    for (const page of pages) {
      const directoryIndex = page >> 21;
      const table = TABLES + (3 + directoryIndex) * PAGE;
      entry(TABLES + 2 * PAGE, directoryIndex, BigInt(table) | USER);
      entry(table, (page >> 12) & 511, BigInt(page) | USER | (page >= DATA ? NX : 0n));
    }
    cpu.set('cr3', BigInt(TABLES));
    cpu.set('cr4', 0x620n);
    cpu.set('cr0', 0x8005_0033n);
    cpu.call('flushTlb');
  }

  /** Runs one struct test and gives its struct result. `count`: how many instructions at most. */
  run(test: Uint8Array, instructionsMax: number): Uint8Array {
    const cpu = this.#cpu;
    const t = new DataView(test.buffer, test.byteOffset);
    cpu.write(CODE, new Uint8Array(2 * PAGE).fill(0xcc));
    const length = t.getUint32(TEST.codeLength, true);
    const offset = t.getUint32(TEST.codeOffset, true);
    cpu.write(CODE + offset, test.subarray(TEST.code, TEST.code + length));
    let at = TEST.memory;
    for (const part of MEMORY_PARTS) {
      cpu.write(part.address, test.subarray(at, at + part.bytes));
      at += part.bytes;
    }
    for (let n = 0; n < 16; n++) cpu.set('gpr', t.getBigUint64(TEST.gpr + 8 * n, true), n);
    cpu.call('writeRflags', Number(t.getBigUint64(TEST.rflags, true)));
    this.#loadFx(t);
    for (const name of ['fault', 'faultCode', 'interruptShadow', 'activity', 'runOne'] as const) cpu.set(name, 0);
    cpu.set('faultAddress', 0n);
    cpu.set('rip', BigInt(CODE + offset));
    cpu.runFreely(instructionsMax);
    return this.#result();
  }

  #loadFx(t: DataView): void {
    const cpu = this.#cpu;
    const fx = TEST.fx;
    const status = t.getUint16(fx + FX.status, true);
    const top = (status >> 11) & 7;
    cpu.set('x87Control', t.getUint16(fx + FX.control, true));
    cpu.set('x87Status', status & ~0x3800);
    cpu.set('x87Top', top);
    cpu.set('x87Tags', t.getUint8(fx + FX.tag));
    cpu.set('fpuTrap', 0);
    for (let n = 0; n < 8; n++) {
      const low = t.getBigUint64(fx + FX.st + 16 * n, true);
      cpu.setX87((n + top) & 7, (BigInt(t.getUint16(fx + FX.st + 16 * n + 8, true)) << 64n) | low);
    }
    cpu.set('mxcsr', t.getUint32(fx + FX.mxcsr, true));
    for (let n = 0; n < 16; n++) {
      const low = t.getBigUint64(fx + FX.xmm + 16 * n, true);
      cpu.setXmm(n, (t.getBigUint64(fx + FX.xmm + 16 * n + 8, true) << 64n) | low);
    }
  }

  #result(): Uint8Array {
    const cpu = this.#cpu;
    const out = new Uint8Array(RESULT.size);
    const r = new DataView(out.buffer);
    const fault = cpu.get('fault') as number;
    const atBreakpoint = (fault & 0xff) === 6 && cpu.bytes[RAM_BASE + Number((cpu.get('rip') as bigint) & 0xff_ffffn)] === 0xcc;
    r.setUint32(RESULT.vector, atBreakpoint ? 3 : fault ? fault & 0xff : 0xffff_ffff, true);
    r.setUint32(RESULT.error, fault & 0x200 ? (cpu.get('faultCode') as number) : 0, true);
    r.setBigUint64(RESULT.cr2, cpu.get('faultAddress') as bigint, true);
    r.setBigUint64(RESULT.rip, cpu.get('rip') as bigint, true);
    for (let n = 0; n < 16; n++) r.setBigUint64(RESULT.gpr + 8 * n, cpu.get('gpr', n) as bigint, true);
    r.setBigUint64(RESULT.rflags, BigInt(cpu.call('readRflags') as number), true);
    const top = cpu.get('x87Top') as number;
    r.setUint16(RESULT.fx + FX.control, cpu.get('x87Control') as number, true);
    r.setUint16(RESULT.fx + FX.status, (cpu.get('x87Status') as number) | (top << 11), true);
    r.setUint8(RESULT.fx + FX.tag, cpu.get('x87Tags') as number);
    r.setUint32(RESULT.fx + FX.mxcsr, cpu.get('mxcsr') as number, true);
    for (let n = 0; n < 8; n++) {
      const value = cpu.x87((n + top) & 7);
      r.setBigUint64(RESULT.fx + FX.st + 16 * n, value & 0xffff_ffff_ffff_ffffn, true);
      r.setUint16(RESULT.fx + FX.st + 16 * n + 8, Number(value >> 64n), true);
    }
    for (let n = 0; n < 16; n++) {
      const value = cpu.xmm(n);
      r.setBigUint64(RESULT.fx + FX.xmm + 16 * n, value & 0xffff_ffff_ffff_ffffn, true);
      r.setBigUint64(RESULT.fx + FX.xmm + 16 * n + 8, value >> 64n, true);
    }
    let at = RESULT.memory;
    for (const part of MEMORY_PARTS) {
      out.set(cpu.read(part.address, part.bytes), at);
      at += part.bytes;
    }
    return out;
  }
}
