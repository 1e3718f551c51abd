// One processor from outside: registers, snapshots, reset, translation, disassembly, the APIC's MSRs, the bus.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '@mimic/base';
import type { SharedGuestMemory } from './guest-memory.ts';
import { cpuModel } from './model/cpu-model.ts';
import { REGISTER_NAMES, registerPlace } from './state/register-names.ts';
import { makeLoneVcpu } from './testing/lone-vcpu.ts';
import type { Bus, Vcpu, VcpuState } from './vcpu.ts';

const CODE = 0x10_0000;
const TABLES = 0x1000;
/** CPUID's family, model and stepping. SDM vol 3A table 9-1. */
const RDX_AT_RESET = 0x106a3n;

interface Setup {
  readonly vcpu: Vcpu;
  readonly ram: SharedGuestMemory;
  readonly clock: ManualClock;
  readonly log: string[];
}

/** A processor whose bus writes down what reaches it and answers with the address. */
function setup(): Setup {
  const log: string[] = [];
  const bus: Bus = {
    portRead: (port, size) => {
      log.push(`in${size} ${port.toString(16)}`);
      return 0xffff_ffff;
    },
    portWrite: (port, size, value) =>
      void log.push(`out${size} ${port.toString(16)}=${value.toString(16)}`),
    memoryRead: (gpa, size) => {
      log.push(`r${size} ${gpa.toString(16)}`);
      return gpa & (size === 4 ? 0xffff_ffff : 2 ** (8 * size) - 1);
    },
    memoryWrite: (gpa, size, value) =>
      void log.push(`w${size} ${gpa.toString(16)}=${value.toString(16)}`),
    acknowledgeInterrupt: () => 0x20,
    endOfInterrupt: () => undefined,
  };
  const clock = new ManualClock();
  const random = () => 0x1234_5678_9abc_def0n;
  const { vcpu, ram } = makeLoneVcpu({ bus, clock, model: cpuModel('v2'), random });
  return { vcpu, ram, clock, log };
}

const FLAT_DATA = { selector: 0x10, base: 0, limit: 0xffff_ffff, attributes: 0xc093 };
const FLAT_CODE64 = { selector: 8, base: 0, limit: 0xffff_ffff, attributes: 0xa09b };
const UNUSABLE = { selector: 0, base: 0, limit: 0, attributes: 0 };

/** Starts 64-bit code at CODE with RAM mapped one to one in 2 MiB pages, and 0xC0000000 to the bus. */
function start64(s: Setup, code: readonly number[]): void {
  s.ram.writeU64(TABLES, BigInt(TABLES + 0x1000) | 3n);
  for (let n = 0; n < 4; n++) s.ram.writeU64(TABLES + 0x1000 + n * 8, BigInt(TABLES + 0x2000) | 3n);
  s.ram.writeU64(TABLES + 0x1000 + 3 * 8, 0xc000_0083n);
  for (let n = 0; n < 8; n++) s.ram.writeU64(TABLES + 0x2000 + n * 8, BigInt(n << 21) | 0x83n);
  s.ram.write(CODE, Uint8Array.from(code));
  s.vcpu.start({
    rip: CODE,
    rsp: 0x30_0000,
    rbx: 0,
    rsi: 0,
    rflags: 2,
    cr0: 0x8000_0031,
    cr3: TABLES,
    cr4: 0x620,
    efer: 0xd00,
    cs: FLAT_CODE64,
    ds: FLAT_DATA,
    es: FLAT_DATA,
    fs: FLAT_DATA,
    gs: FLAT_DATA,
    ss: FLAT_DATA,
    tr: { selector: 0x18, base: 0, limit: 0x67, attributes: 0x8b },
    ldtr: UNUSABLE,
    gdtr: { base: 0x8000, limit: 0xff },
    idtr: { base: 0x9000, limit: 0xfff },
  });
}
const all = (vcpu: Vcpu) =>
  Object.fromEntries(REGISTER_NAMES.map((name) => [name, vcpu.readRegister(name)]));

// --- registers ---

/** Written values that mean something else in the register (reserved bits, modes) are left out of the round trip. */
const SPECIAL = new Set([
  'rflags',
  'cr0',
  'cr4',
  'efer',
  'cpl',
  'cs.attributes',
  'ss.attributes',
  'dr7',
]);

test('every register is read as it was written, cut to its width, and no other changes', () => {
  const { vcpu } = setup();
  for (const [n, name] of REGISTER_NAMES.entries()) {
    if (SPECIAL.has(name)) continue;
    const { bits } = registerPlace(name)!;
    const before = all(vcpu);
    const value = BigInt.asUintN(
      160,
      0xfedc_ba98_7654_3210_0123_4567_89ab_cdef_1122_3344n * BigInt(2 * n + 3),
    );
    assert.ok(vcpu.writeRegister(name, value), name);
    assert.deepEqual(all(vcpu), { ...before, [name]: BigInt.asUintN(bits, value) }, name);
  }
});

test('a YMM register is its XMM register and 128 bits above', () => {
  const { vcpu } = setup();
  const value = (0x1234n << 240n) | (0x5678n << 128n) | (0x9abcn << 64n) | 0xdef0n;
  assert.ok(vcpu.writeRegister('ymm15', value));
  assert.equal(vcpu.readRegister('ymm15'), value);
  assert.equal(vcpu.readRegister('xmm15'), (0x9abcn << 64n) | 0xdef0n);
  vcpu.writeRegister('xmm15', 1n);
  assert.equal(vcpu.readRegister('ymm15'), (value & ~((1n << 128n) - 1n)) | 1n);
  assert.equal(vcpu.readRegister('ymm14'), 0n);
});

test('rflags keeps its bits, bit 1 is always set', () => {
  const { vcpu } = setup();
  for (const value of [0n, 0x8d5n, 0x3f_7fd7n, 0x246n]) {
    vcpu.writeRegister('rflags', value & ~0x2_0100n);
    assert.equal(vcpu.readRegister('rflags'), (value & ~0x2_0100n) | 2n);
  }
});

test('names that are no registers are refused', () => {
  const { vcpu } = setup();
  for (const name of [
    '',
    'RAX',
    'r16',
    'eax',
    'cr1',
    'dr4',
    'xmm16',
    'ymm16',
    'st8',
    'constructor',
    '__proto__',
  ]) {
    assert.equal(vcpu.readRegister(name), undefined, name);
    assert.equal(vcpu.writeRegister(name, 1n), false, name);
  }
});

test('st0 is the top of the stack wherever that is', () => {
  const s = setup();
  // fninit; fld1; fldz
  start64(s, [0xdb, 0xe3, 0xd9, 0xe8, 0xd9, 0xee, 0xf4]);
  assert.equal(s.vcpu.run(100), 'halted');
  assert.equal(s.vcpu.readRegister('st0'), 0n);
  assert.equal(s.vcpu.readRegister('st1'), 0x3fff_8000_0000_0000_0000n);
});

test('writing a control register is in force at once', () => {
  const s = setup();
  start64(s, [0x48, 0xa1, 0, 0, 0x20, 0, 0, 0, 0, 0, 0xf4]);
  s.ram.writeU64(0x20_0000, 1n);
  s.ram.writeU64(0x40_0000, 2n);
  assert.equal(s.vcpu.run(100), 'halted');
  assert.equal(s.vcpu.readRegister('rax'), 1n);
  s.ram.writeU64(TABLES + 0x2000 + 8, 0x40_0083n);
  s.vcpu.writeRegister('cr3', BigInt(TABLES));
  s.vcpu.writeRegister('rip', BigInt(CODE));
  assert.equal(s.vcpu.translate(0x20_0000n)?.gpa, 0x40_0000);
});

test('reset state is that of the manual, whatever was before', () => {
  const fresh = setup();
  const want = all(fresh.vcpu);
  assert.deepEqual(
    [
      'rip',
      'rflags',
      'cs',
      'cs.base',
      'cr0',
      'rdx',
      'cr2',
      'rax',
      'gdtr.limit',
      'dr6',
      'dr7',
      'mxcsr',
    ].map((name) => want[name]),
    [
      0xfff0n,
      2n,
      0xf000n,
      0xffff_0000n,
      0x6000_0010n,
      RDX_AT_RESET,
      0n,
      0n,
      0xffffn,
      0xffff_0ff0n,
      0x400n,
      0x1f80n,
    ],
  );
  assert.equal(fresh.vcpu.codeBits, 16);
  const used = setup();
  start64(used, [0xff, 0xc0, 0xeb, 0xfc]);
  used.vcpu.run(1000);
  used.vcpu.nmi();
  used.vcpu.reset();
  assert.deepEqual(all(used.vcpu), want);
  assert.equal(used.vcpu.instructionCount, 0n);
  assert.equal(used.vcpu.codeBits, 16);
});

// --- snapshots ---

/**
 * A loop that keeps integer, x87 and SSE state busy: rcx rounds of add, rotate, fadd, addsd, a store and a load, a
 * push and a pop, and a flag that is carried from one round to the next.
 */
const BUSY = [
  0xdb, 0xe3, 0xd9, 0xe8, // fninit; fld1
  0xf2, 0x48, 0x0f, 0x2a, 0xc1, // cvtsi2sd xmm0, rcx
  0xf9, // stc
  ...[0x48, 0x11, 0xc8], // 10: adc rax, rcx
  ...[0x48, 0xd1, 0xd2], // rcl rdx, 1
  ...[0xd9, 0xe8, 0xde, 0xc1], // fld1; faddp
  ...[0xf2, 0x0f, 0x58, 0xc0], // addsd xmm0, xmm0
  ...[0x48, 0x89, 0x04, 0xcd, 0, 0, 0x20, 0], // mov [rcx*8 + 0x200000], rax
  ...[0x48, 0x03, 0x14, 0xcd, 8, 0, 0x20, 0], // add rdx, [rcx*8 + 0x200008]
  ...[0x50, 0x5b], // push rax; pop rbx
  ...[0x48, 0xff, 0xc9], // dec rcx
  ...[0x75, 0xdb], // jnz 10
  0xf4,
]; // biome-ignore format: an instruction a line

test('a run that is saved at any point and continued elsewhere ends like one that was not', () => {
  const rounds = 40n;
  const whole = setup();
  start64(whole, BUSY);
  whole.vcpu.writeRegister('rcx', rounds);
  assert.equal(whole.vcpu.run(100_000), 'halted');
  const want = all(whole.vcpu);
  for (let steps = 1; steps < 90; steps += 4) {
    const first = setup();
    start64(first, BUSY);
    first.vcpu.writeRegister('rcx', rounds);
    for (let n = 0; n < steps; n++) assert.equal(first.vcpu.step(), 'budget');
    const saved: VcpuState = structuredClone(first.vcpu.save());
    const second = setup();
    second.ram.write(0, first.ram.view(0, 0x40_0000)!.slice());
    second.vcpu.restore(saved);
    assert.deepEqual(all(second.vcpu), all(first.vcpu), `after ${steps} steps`);
    assert.equal(second.vcpu.run(100_000), 'halted');
    assert.deepEqual(all(second.vcpu), want, `after ${steps} steps`);
    assert.equal(second.vcpu.instructionCount, whole.vcpu.instructionCount);
    assert.deepEqual(
      second.ram.view(0x20_0000, 0x1000)!.slice(),
      whole.ram.view(0x20_0000, 0x1000)!.slice(),
    );
  }
});

test('a halted processor, a waiting NMI and an interrupt shadow are saved', () => {
  const s = setup();
  start64(s, [0xfb, 0xf4, 0x90, 0xf4]);
  s.vcpu.step();
  const shadow = setup();
  shadow.vcpu.restore(s.vcpu.save());
  assert.deepEqual(shadow.vcpu.save(), s.vcpu.save());
  assert.equal(s.vcpu.run(10), 'halted');
  s.vcpu.nmi();
  const halted = setup();
  halted.vcpu.restore(s.vcpu.save());
  assert.equal(halted.vcpu.save().nmiPending, true);
  assert.deepEqual(halted.vcpu.save(), s.vcpu.save());
});

test('a state of another layout restores what it has, and power-on values for the rest', () => {
  const s = setup();
  start64(s, [0x90]);
  const { fields, ...rest } = s.vcpu.save();
  const { gpr, ...others } = fields;
  const fewer = { ...others, unknown: Uint8Array.of(1), cr2: new Uint8Array(100).fill(1) };
  s.vcpu.writeRegister('rax', 5n);
  s.vcpu.restore({ ...rest, fields: fewer });
  assert.ok(gpr);
  assert.deepEqual(
    ['rax', 'rdx', 'rip', 'cr2'].map((n) => s.vcpu.readRegister(n)),
    [0n, RDX_AT_RESET, BigInt(CODE), 0x0101_0101_0101_0101n],
  );
});

// --- translation and disassembly ---

test('translate follows the page tables, and a fault in it leaves nothing behind', () => {
  const s = setup();
  start64(s, [0x90, 0xf4]);
  const before = s.vcpu.save();
  const tables = s.ram.view(TABLES, 0x3000)!.slice();
  assert.equal(s.vcpu.translate(0x1234n)?.gpa, 0x1234);
  assert.equal(s.vcpu.translate(0xc000_0000n)?.gpa, 0xc000_0000);
  for (const linear of [
    0x8000_0000_0000n,
    0xffff_8000_0000_0000n,
    0x1_0000_0000_0000n,
    0x100_0000n,
  ]) {
    assert.equal(s.vcpu.translate(linear), undefined, linear.toString(16));
  }
  const after = s.vcpu.save();
  assert.deepEqual(after.fields, before.fields);
  assert.deepEqual(s.ram.view(TABLES, 0x3000)!.slice(), tables, 'no accessed bits');
  assert.equal(s.vcpu.run(10), 'halted');
});

test('disassembly goes over page ends and stops where memory does', () => {
  const s = setup();
  start64(s, [0x90]);
  const { sizeBytes } = s.ram;
  const last = sizeBytes - 4;
  s.ram.write(last, Uint8Array.of(0x90, 0xb8, 1, 2));
  const texts = (linear: number, count: number) =>
    s.vcpu.disassemble(BigInt(linear), count).map((i) => i.text);
  assert.deepEqual(texts(last, 1), ['nop']);
  assert.equal(texts(last, 9)[0], 'nop');
  assert.ok(texts(last, 9).length <= 4);
  assert.deepEqual(texts(sizeBytes, 4), []);
  const crossing = 0x20_0000 - 2;
  s.ram.write(crossing, Uint8Array.of(0xb8, 1, 0, 0, 0, 0xf4));
  assert.deepEqual(texts(crossing, 2), ['mov eax, 0x1', 'hlt']);
});

test('disassembly is in the mode of the processor', () => {
  const s = setup();
  s.ram.write(0x1000, Uint8Array.of(0x40, 0xb8, 0x34, 0x12));
  assert.deepEqual(
    s.vcpu.disassemble(0x1000n, 2).map((i) => i.text),
    ['inc ax', 'mov ax, 0x1234'],
  );
});

// --- the bus and the APIC ---

test('MMIO of eight and sixteen bytes is made of accesses of four, low half first', () => {
  const s = setup();
  // mov rax, [0xc0000010]; mov [0xc0000020], rax; movups xmm0, [..30]; hlt, with rdi = 0xc0000000
  start64(s, [0x48, 0x8b, 0x47, 0x10, 0x48, 0x89, 0x47, 0x20, 0x0f, 0x10, 0x47, 0x30, 0xf4]);
  s.vcpu.writeRegister('rdi', 0xc000_0000n);
  assert.equal(s.vcpu.run(100), 'halted');
  assert.deepEqual(s.log, [
    'r4 c0000010',
    'r4 c0000014',
    'w4 c0000020=c0000010',
    'w4 c0000024=c0000014',
    ...['r4 c0000030', 'r4 c0000034', 'r4 c0000038', 'r4 c000003c'],
  ]);
  assert.equal(s.vcpu.readRegister('rax'), 0xc000_0014_c000_0010n);
});

/** Runs one RDMSR or WRMSR; gives the vector of the fault, and EDX:EAX behind it. */
function msr(
  s: Setup,
  kind: 'read' | 'write',
  index: number,
  value = 0n,
): { fault: number | undefined; value: bigint } {
  s.ram.write(CODE, Uint8Array.of(0x0f, kind === 'read' ? 0x32 : 0x30, 0xf4));
  let fault: number | undefined;
  s.vcpu.setTrace({
    fault: (f) => {
      fault ??= f.vector;
    },
  });
  for (const [name, v] of [
    ['rip', BigInt(CODE)],
    ['rcx', BigInt(index)],
    ['rax', value & 0xffff_ffffn],
    ['rdx', value >> 32n],
  ] as const)
    s.vcpu.writeRegister(name, v);
  s.vcpu.step();
  s.vcpu.setTrace(undefined);
  return { fault, value: (s.vcpu.readRegister('rdx')! << 32n) | s.vcpu.readRegister('rax')! };
}
const X2APIC = 0xfee0_0d00n;
const GP = 13;

test('x2APIC MSRs raise #GP(0) until the mode is entered, and the xAPIC page is there only before', () => {
  const s = setup();
  start64(s, [0xf4]);
  assert.deepEqual(msr(s, 'read', 0x1b), { fault: undefined, value: 0xfee0_0900n });
  for (const index of [0x800, 0x802, 0x80d, 0x83f, 0x8ff]) {
    start64(s, [0xf4]);
    assert.equal(msr(s, 'read', index).fault, GP, index.toString(16));
  }
  start64(s, [0xf4]);
  assert.equal(msr(s, 'write', 0x1b, X2APIC).fault, undefined);
  assert.deepEqual(msr(s, 'read', 0x802), { fault: undefined, value: 0n });
  assert.equal(msr(s, 'write', 0x80f, 0x1ffn).fault, undefined);
  assert.equal(msr(s, 'read', 0x80f).value, 0x1ffn);
});

test('x2APIC: reserved bits, read-only and write-only registers, and transitions that are none raise #GP(0)', () => {
  const faults = (kind: 'read' | 'write', index: number, value = 0n) => {
    const s = setup();
    start64(s, [0xf4]);
    assert.equal(msr(s, 'write', 0x1b, X2APIC).fault, undefined);
    return msr(s, kind, index, value).fault;
  };
  assert.equal(faults('write', 0x802), GP, 'the id is read-only');
  assert.equal(faults('read', 0x80b), GP, 'EOI is write-only');
  assert.equal(faults('write', 0x80b, 1n), GP, 'EOI takes zero');
  assert.equal(faults('write', 0x80b), undefined);
  assert.equal(faults('write', 0x808, 0x100n), GP, 'TPR has eight bits');
  assert.equal(faults('write', 0x808, 0x20n), undefined);
  assert.equal(faults('write', 0x808, 1n << 32n), GP);
  assert.equal(faults('read', 0x80e), GP, 'there is no destination format');
  assert.equal(faults('write', 0x1b, 0xfee0_0900n), GP, 'back to xAPIC');
  assert.equal(faults('write', 0x1b, 0xfee0_0500n), GP, 'x2APIC without being enabled');
  assert.equal(faults('write', 0x1b, 1n << 50n), GP, 'beyond the physical address');
  assert.equal(faults('write', 0x1b, 0xfee0_0100n), undefined, 'off');
});

test('the xAPIC page answers at its base, and moves with it', () => {
  const s = setup();
  // mov eax, [rdi + 0x30]; hlt
  start64(s, [0x8b, 0x47, 0x30, 0xf4]);
  s.vcpu.writeRegister('rdi', 0xfee0_0000n);
  assert.equal(s.vcpu.run(10), 'halted');
  assert.equal(s.log.length, 0);
  assert.notEqual(s.vcpu.readRegister('rax'), 0n);
  start64(s, []);
  assert.equal(msr(s, 'write', 0x1b, 0xd000_0900n).fault, undefined);
  s.ram.write(CODE, Uint8Array.of(0x8b, 0x47, 0x30, 0xf4));
  s.vcpu.writeRegister('rip', BigInt(CODE));
  s.vcpu.writeRegister('rdi', 0xfee0_0000n);
  assert.equal(s.vcpu.run(10), 'halted');
  assert.deepEqual(s.log, ['r4 fee00030']);
});

test('requestExit and the budget end a run; a shut-down processor stays so', () => {
  const s = setup();
  start64(s, [0xeb, 0xfe]);
  assert.equal(s.vcpu.run(1000), 'budget');
  s.vcpu.requestExit();
  assert.equal(s.vcpu.run(1000), 'event');
  assert.equal(s.vcpu.run(1000), 'budget');
  // No IDT: UD2 becomes a triple fault.
  start64(s, [0x0f, 0x0b]);
  s.vcpu.writeRegister('idtr.limit', 0n);
  assert.equal(s.vcpu.run(1000), 'shutdown');
  assert.equal(s.vcpu.run(1000), 'shutdown');
});
