// The same cases on the interpreter: ring 3, with exactly the pages that runner.c maps and the segments that it makes.

import type { Processors } from '../../packages/cpu/interpreter/engine.ts';
import { EXIT_REASON } from '../../packages/cpu/interpreter/service.ts';
import { SEGMENT } from '../../packages/cpu/state/layout.ts';
import { RAM_BASE } from '../../packages/cpu/state/memory-map.ts';
import { TestCpu } from '../../packages/cpu/testing/check.ts';
import type { TranslationStore } from '../../packages/cpu/translator/kept.ts';
import {
  CODE,
  FX,
  LAYOUT,
  type Layout,
  LDT_SEGMENTS,
  type LdtSegment,
  PAGE,
  PAGES,
  RESULT,
  TEST,
  TIMED_OUT,
} from './layout.ts';
import { SEGMENT_NAMES } from './worlds.ts';

/** Page tables at 4 KiB steps: PML4, PDPT, PD, a page table for each 2 MiB that has a page, then the kernel's. */
const TABLES = 0x8000;
const KERNEL_TABLES = 0x1_0000;
/** GDT and LDT share a page, which lies in the kernel's half of the address space. */
const DESCRIPTORS = 0x1_4000;
const DESCRIPTORS_LINEAR = 0xffff_8000_0000_0000n;
const LDT_OFFSET = 0x400;
const GDT_BYTES = 0x80;
const USER = 7n;
const SUPERVISOR = 3n;
const NX = 1n << 63n;

const VECTOR = { db: 1, bp: 3, of: 4, gp: 13 } as const;
/** The IDT is empty, so that every delivery ends in #GP with the IDT entry as error code: vector * 8 + 2, + 1 for EXT. */
const IDT_ERROR = { bp: VECTOR.bp * 8 + 2, of: VECTOR.of * 8 + 2, db: VECTOR.db * 8 + 3 } as const;
const FAULT_HAS_CODE = 0x200;

/** A raw descriptor of DPL 3, as modify_ldt makes it (accessed). SDM vol 3A §3.4.5. */
function descriptor(s: LdtSegment): bigint {
  const isCode = s.kind === 2;
  const type = (isCode ? 9 : (s.kind << 2) | 1) | (s.isRestricted ? 0 : 2);
  const access = type | 0x70 | (s.isAbsent ? 0 : 0x80);
  const flags = (s.isAvailable ? 1 : 0) | (s.isBig ? 4 : 0) | (s.inPages ? 8 : 0);
  return raw({ base: s.base, limit: s.limit, access, flags });
}
function raw(d: { base: number; limit: number; access: number; flags: number }): bigint {
  const low = ((d.base & 0xffff) << 16) | (d.limit & 0xffff);
  const high =
    (d.base & 0xff00_0000) |
    (d.flags << 20) |
    (d.limit & 0xf_0000) |
    (d.access << 8) |
    ((d.base >>> 16) & 0xff);
  return (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0);
}
const FLAT = { base: 0, limit: 0xf_ffff };
/** Linux's GDT as far as user programs can load from it or ask about it. Kernel segments: for LAR and its like. */
const GDT: Readonly<Record<number, bigint>> = {
  1: raw({ ...FLAT, access: 0x9b, flags: 0xc }),
  2: raw({ ...FLAT, access: 0x9b, flags: 0xa }),
  3: raw({ ...FLAT, access: 0x93, flags: 0xc }),
  4: raw({ ...FLAT, access: 0xfb, flags: 0xc }),
  5: raw({ ...FLAT, access: 0xf3, flags: 0xc }),
  6: raw({ ...FLAT, access: 0xfb, flags: 0xa }),
  // Its limit tells the number of the processor.
  15: raw({ base: 0, limit: 0, access: 0xf5, flags: 4 }),
};

interface Hidden {
  readonly base: number;
  readonly limit: number;
  readonly attributes: number;
}
/** What a segment register holds besides its selector. */
function hidden(value: number): Hidden {
  if (value < 4) return { base: 0, limit: 0, attributes: 0 };
  const d = value & 4 ? descriptor(LDT_SEGMENTS[value >> 3]!) : GDT[value >> 3]!;
  const high = Number(d >> 32n);
  const limit = Number(d & 0xffffn) | (high & 0xf_0000);
  const base = ((high & 0xff00_0000) | ((high & 0xff) << 16) | (Number(d >> 16n) & 0xffff)) >>> 0;
  return {
    base,
    limit: high & 0x80_0000 ? ((limit << 12) | 0xfff) >>> 0 : limit,
    attributes: high & 0xf0_ff00,
  };
}

export class InterpretedRunner {
  readonly cpu: TestCpu;
  readonly #layout: Layout;
  readonly #page = new Uint8Array(PAGE);

  /** `hotThreshold`: entries after which a block is translated, 0 for never; the rest is TestCpu's. */
  constructor(
    options: {
      readonly layout?: Layout;
      readonly hotThreshold?: number;
      readonly counts?: boolean;
      readonly processors?: Processors;
      readonly store?: TranslationStore;
    } = {},
  ) {
    const { layout = LAYOUT, ...others } = options;
    this.#layout = layout;
    const cpu = new TestCpu({}, others);
    this.cpu = cpu;
    cpu.reset(64, 3);
    cpu.bytes.fill(0, RAM_BASE, RAM_BASE + 0x10_0000);
    this.#mapPages();
    for (const [index, value] of Object.entries(GDT))
      this.#poke(DESCRIPTORS + 8 * Number(index), value);
    for (const [n, s] of LDT_SEGMENTS.entries())
      this.#poke(DESCRIPTORS + LDT_OFFSET + 8 * n, descriptor(s));
    cpu.set('gdtrBase', DESCRIPTORS_LINEAR);
    cpu.set('gdtrLimit', GDT_BYTES - 1);
    cpu.set('segBase', DESCRIPTORS_LINEAR + BigInt(LDT_OFFSET), 6);
    cpu.set('segLimit', 8 * LDT_SEGMENTS.length - 1, 6);
    cpu.set('segAttributes', 0x8200, 6);
    cpu.set('cr3', BigInt(TABLES));
    // OSXSAVE, FSGSBASE, OSXMMEXCPT, OSFXSR, PAE; PG, AM, WP, NE, ET, MP, PE.
    cpu.set('cr4', 0x5_0620n);
    cpu.set('xcr0', 7n);
    cpu.set('cr0', 0x8005_0033n);
    cpu.call('flushTlb');
  }
  #poke(gpa: number, value: bigint): void {
    this.cpu.view.setBigUint64(RAM_BASE + gpa, value, true);
  }
  #mapPages(): void {
    const entry = (table: number, index: number, value: bigint) =>
      this.#poke(table + index * 8, value);
    entry(TABLES, 0, BigInt(TABLES + PAGE) | USER);
    entry(TABLES + PAGE, 0, BigInt(TABLES + 2 * PAGE) | USER);
    for (const { address, isCode } of PAGES) {
      const directoryIndex = address >> 21;
      const table = TABLES + (3 + directoryIndex) * PAGE;
      entry(TABLES + 2 * PAGE, directoryIndex, BigInt(table) | USER);
      entry(table, (address >> 12) & 511, BigInt(address) | USER | (isCode ? 0n : NX));
    }
    entry(TABLES, 256, BigInt(KERNEL_TABLES) | SUPERVISOR);
    entry(KERNEL_TABLES, 0, BigInt(KERNEL_TABLES + PAGE) | SUPERVISOR);
    entry(KERNEL_TABLES + PAGE, 0, BigInt(KERNEL_TABLES + 2 * PAGE) | SUPERVISOR);
    entry(KERNEL_TABLES + 2 * PAGE, 0, BigInt(DESCRIPTORS) | SUPERVISOR | NX);
  }

  /** Puts a case's bytes where they differ from what is there: equal code stays decoded and translated. */
  #placeMemory(test: Uint8Array, t: DataView): void {
    const length = t.getUint32(TEST.codeLength, true);
    const code = {
      address: CODE + t.getUint32(TEST.codeOffset, true),
      bytes: test.subarray(TEST.code, TEST.code + length),
    };
    let at: number = TEST.memory;
    const parts = this.#layout.parts.map((part) => {
      at += part.bytes;
      return { address: part.address, bytes: test.subarray(at - part.bytes, at) };
    });
    for (const { address, isCode } of PAGES) {
      const page = this.#page.fill(isCode ? 0xcc : 0);
      for (const part of [code, ...parts]) {
        const from = Math.max(part.address, address);
        const to = Math.min(part.address + part.bytes.length, address + PAGE);
        if (from < to)
          page.set(part.bytes.subarray(from - part.address, to - part.address), from - address);
      }
      this.#update(address, page);
    }
  }
  #update(address: number, page: Uint8Array): void {
    const now = this.cpu.read(address, PAGE);
    if (Buffer.compare(now, page) === 0) return;
    let from = 0;
    let to = PAGE;
    while (now[from] === page[from]) from++;
    while (now[to - 1] === page[to - 1]) to--;
    this.cpu.write(address + from, page.subarray(from, to));
  }

  /** Runs one struct test, at most so many instructions in slices, and gives its struct result. */
  run(test: Uint8Array, instructionsMax: number, slice: number = instructionsMax): Uint8Array {
    this.load(test);
    let reason: number = EXIT_REASON.budget;
    for (let left = instructionsMax; left > 0 && reason === EXIT_REASON.budget; left -= slice)
      reason = this.cpu.runFreely(Math.min(slice, left));
    return this.#result(reason === EXIT_REASON.fault);
  }
  /** Runs one struct test an instruction at a time: linear addresses in order, then its struct result. */
  *trace(test: Uint8Array, instructionsMax: number): Generator<number, Uint8Array> {
    this.load(test);
    let reason: number = EXIT_REASON.budget;
    for (let left = instructionsMax; left > 0 && reason === EXIT_REASON.budget; left--) {
      const base = this.cpu.get('segBase', SEGMENT.cs) as bigint;
      yield Number(BigInt.asUintN(32, base + (this.cpu.get('rip') as bigint)));
      reason = this.cpu.step(1);
    }
    return this.#result(reason === EXIT_REASON.fault);
  }
  load(test: Uint8Array): void {
    const cpu = this.cpu;
    const t = new DataView(test.buffer, test.byteOffset);
    this.#placeMemory(test, t);
    for (let n = 0; n < 16; n++) cpu.set('gpr', t.getBigUint64(TEST.gpr + 8 * n, true), n);
    this.#loadSegments(t);
    this.#loadFx(t);
    for (const name of [
      'fault',
      'faultCode',
      'interruptShadow',
      'activity',
      'runOne',
      'delivering',
      'debugPending',
      'stepping',
    ] as const)
      cpu.set(name, 0);
    cpu.set('faultAddress', 0n);
    cpu.set('cpl', 3);
    cpu.set('rip', t.getBigUint64(TEST.rip, true));
    cpu.call('writeRflags', Number(t.getBigUint64(TEST.rflags, true)));
    cpu.call('updateMode');
  }

  #loadSegments(t: DataView): void {
    const cpu = this.cpu;
    SEGMENT_NAMES.forEach((name, n) => {
      const value = t.getUint16(TEST.selectors + 2 * n, true);
      const { base, limit, attributes } = hidden(value);
      const isBased = value === 0 && (name === 'fs' || name === 'gs');
      cpu.set('segSelector', value, n);
      cpu.set(
        'segBase',
        isBased ? t.getBigUint64(name === 'fs' ? TEST.fsBase : TEST.gsBase, true) : BigInt(base),
        n,
      );
      cpu.set('segLimit', limit, n);
      cpu.set('segAttributes', attributes, n);
    });
  }

  #loadFx(t: DataView): void {
    const cpu = this.cpu;
    const fx = TEST.fx;
    const status = t.getUint16(fx + FX.status, true);
    const control = t.getUint16(fx + FX.control, true);
    const top = (status >> 11) & 7;
    const isPending = (status & ~control & 0x3f) !== 0;
    cpu.set('x87Control', control);
    cpu.set('x87Status', (status & ~0xb880) | (isPending ? 0x8080 : 0));
    cpu.set('x87Top', top);
    cpu.set('x87Tags', t.getUint8(fx + FX.tag));
    cpu.set('fpuTrap', isPending ? 4 : 0);
    for (const name of ['x87Opcode', 'x87InstructionSelector', 'x87DataSelector'] as const)
      cpu.set(name, 0);
    for (const name of ['x87InstructionPointer', 'x87DataPointer'] as const) cpu.set(name, 0n);
    for (let n = 0; n < 8; n++) {
      const low = t.getBigUint64(fx + FX.st + 16 * n, true);
      cpu.setX87((n + top) & 7, (BigInt(t.getUint16(fx + FX.st + 16 * n + 8, true)) << 64n) | low);
    }
    cpu.set('mxcsr', t.getUint32(fx + FX.mxcsr, true));
    for (let n = 0; n < 16; n++) {
      const low = t.getBigUint64(fx + FX.xmm + 16 * n, true);
      cpu.setXmm(n, (t.getBigUint64(fx + FX.xmm + 16 * n + 8, true) << 64n) | low);
      const high = TEST.ymm + 16 * n;
      cpu.setYmmHigh(n, (t.getBigUint64(high + 8, true) << 64n) | t.getBigUint64(high, true));
    }
  }

  /** What ended the run, in a host's terms, and the rip that it reports. */
  #event(): { vector: number; error: number; rip: bigint } {
    const cpu = this.cpu;
    const fault = cpu.get('fault') as number;
    const rip = cpu.get('rip') as bigint;
    const error = fault & FAULT_HAS_CODE ? (cpu.get('faultCode') as number) : 0;
    const vector = fault & 0xff;
    if (vector !== VECTOR.gp) return { vector, error, rip };
    if (error === IDT_ERROR.bp || error === IDT_ERROR.of) {
      return { vector: error >> 3, error: 0, rip: rip + this.#softwareInterruptBytes(rip) };
    }
    return error === IDT_ERROR.db ? { vector: VECTOR.db, error: 0, rip } : { vector, error, rip };
  }
  /** Length of the INT instruction at rip. */
  #softwareInterruptBytes(rip: bigint): bigint {
    const cpu = this.cpu;
    const linear = Number(BigInt.asUintN(32, (cpu.get('segBase', 1) as bigint) + rip));
    const bytes = cpu.read(linear, 16);
    const at = bytes.findIndex((byte) => byte >= 0xcc && byte <= 0xce);
    return BigInt(at + (bytes[at] === 0xcd ? 2 : 1));
  }

  #result(isFault: boolean): Uint8Array {
    const cpu = this.cpu;
    const out = new Uint8Array(this.#layout.resultBytes);
    const r = new DataView(out.buffer);
    const event = isFault
      ? this.#event()
      : { vector: TIMED_OUT, error: 0, rip: cpu.get('rip') as bigint };
    r.setUint32(RESULT.vector, event.vector, true);
    r.setUint32(RESULT.error, event.error, true);
    r.setBigUint64(RESULT.cr2, cpu.get('faultAddress') as bigint, true);
    r.setBigUint64(RESULT.rip, event.rip, true);
    r.setBigUint64(RESULT.rflags, BigInt(cpu.call('readRflags') as number), true);
    for (let n = 0; n < 16; n++)
      r.setBigUint64(RESULT.gpr + 8 * n, cpu.get('gpr', n) as bigint, true);
    for (const n of SEGMENT_NAMES.keys())
      r.setUint16(RESULT.selectors + 2 * n, cpu.get('segSelector', n) as number, true);
    r.setBigUint64(RESULT.fsBase, cpu.get('segBase', 4) as bigint, true);
    r.setBigUint64(RESULT.gsBase, cpu.get('segBase', 5) as bigint, true);
    this.#saveFx(r);
    let at: number = RESULT.memory;
    for (const part of this.#layout.parts) {
      out.set(cpu.read(part.address, part.bytes), at);
      at += part.bytes;
    }
    return out;
  }
  #saveFx(r: DataView): void {
    const cpu = this.cpu;
    const fx = RESULT.fx;
    const top = cpu.get('x87Top') as number;
    r.setUint16(fx + FX.control, cpu.get('x87Control') as number, true);
    r.setUint16(fx + FX.status, (cpu.get('x87Status') as number) | (top << 11), true);
    r.setUint8(fx + FX.tag, cpu.get('x87Tags') as number);
    r.setUint32(fx + FX.mxcsr, cpu.get('mxcsr') as number, true);
    for (let n = 0; n < 8; n++) {
      const value = cpu.x87((n + top) & 7);
      r.setBigUint64(fx + FX.st + 16 * n, value & 0xffff_ffff_ffff_ffffn, true);
      r.setUint16(fx + FX.st + 16 * n + 8, Number(value >> 64n), true);
    }
    for (let n = 0; n < 16; n++) {
      const value = cpu.xmm(n);
      r.setBigUint64(fx + FX.xmm + 16 * n, value & 0xffff_ffff_ffff_ffffn, true);
      r.setBigUint64(fx + FX.xmm + 16 * n + 8, value >> 64n, true);
      const high = cpu.ymmHigh(n);
      r.setBigUint64(RESULT.ymm + 16 * n, high & 0xffff_ffff_ffff_ffffn, true);
      r.setBigUint64(RESULT.ymm + 16 * n + 8, high >> 64n, true);
    }
  }
}
