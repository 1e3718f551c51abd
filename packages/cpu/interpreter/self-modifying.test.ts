// Code that changes: by its own stores, by devices, through other mappings of its page. SDM vol 3A §8.1.3, §11.6.
// On the processor that stores, the very next instruction must be the new one.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SharedGuestMemory } from '../guest-memory.ts';
import { planMemory } from '../state/memory-map.ts';
import { TestCpu } from '../testing/check.ts';
import { PageTables } from '../testing/paging.ts';
import { EXIT_REASON } from './service.ts';

const HLT = 0xf4;
const NOP = 0x90;
/** A page of its own, the page behind it, and a page elsewhere. */
const CODE = 0x10_0000;
const NEXT = CODE + 0x1000;
const OTHER = 0x18_0000;
/** Enough different blocks to fill the store of decoded code. */
const FILLER = 0x80_0000;
const FILLER_BYTES = 0x8000;
const RAX = 0;
const RCX = 1;
const RSI = 6;
const RDI = 7;
/** More than any of the programs runs: a test that loops for ever ends here. */
const BUDGET = 10_000;

const le32 = (value: number) => [
  value & 0xff,
  (value >> 8) & 0xff,
  (value >> 16) & 0xff,
  value >>> 24,
];
const movEax = (value: number) => [0xb8, ...le32(value)];
/** mov byte [target], value at an address: seven bytes. */
const storeByte = (at: number, target: number, value: number) => [
  0xc6,
  0x05,
  ...le32(target - at - 7),
  value,
];
const jump = (at: number, target: number) => [0xe9, ...le32(target - at - 5)];

/** Runs from an address to the HLT and gives EAX. */
function go(cpu: TestCpu, rip: number | bigint): number {
  cpu.set('rip', BigInt(rip));
  cpu.set('activity', 0);
  cpu.set('fault', 0);
  assert.equal(
    cpu.runFreely(BUDGET),
    EXIT_REASON.halted,
    `did not halt, rip ${cpu.get('rip').toString(16)}`,
  );
  return Number(cpu.get('gpr', RAX));
}

function fresh(bits: 16 | 32 | 64 = 64): TestCpu {
  const cpu = new TestCpu();
  cpu.reset(bits);
  return cpu;
}

test('a store that rewrites the next instruction of its block takes effect at once', () => {
  const cpu = fresh();
  cpu.write(CODE, [...storeByte(CODE, CODE + 8, 0x42), ...movEax(1), HLT]);
  assert.equal(go(cpu, CODE), 0x42);
  // The block is decoded anew each time, and stays right when nothing changes any more.
  assert.equal(go(cpu, CODE), 0x42);
});

test('a store may turn the rest of its block into instructions of other lengths', () => {
  const cpu = fresh();
  // add eax, imm32 becomes inc eax and NOPs.
  const store = [0xc7, 0x05, ...le32(0), 0xff, 0xc0, NOP, NOP];
  // The last byte of the immediate stays, and is a NOP.
  cpu.write(CODE, [...store, 0x05, ...le32(0x9000_0000), HLT]);
  cpu.set('gpr', 7n, RAX);
  assert.equal(go(cpu, CODE), 8);
});

test('a store that rewrites an instruction of the next block, decoded before, takes effect', () => {
  const cpu = fresh();
  const target = CODE + 0x40;
  cpu.write(target, [...movEax(1), HLT]);
  assert.equal(go(cpu, target), 1);
  const store = storeByte(CODE, target + 1, 0x43);
  cpu.write(CODE, [...store, ...jump(CODE + store.length, target)]);
  assert.equal(go(cpu, CODE), 0x43);
});

test('a store that rewrites code on the next page, decoded before, takes effect', () => {
  const cpu = fresh();
  cpu.write(NEXT, [...movEax(1), HLT]);
  assert.equal(go(cpu, NEXT), 1);
  const start = NEXT - 7;
  cpu.write(start, storeByte(start, NEXT + 1, 0x44));
  assert.equal(go(cpu, start), 0x44);
});

for (const [half, offset] of [
  ['first', 0],
  ['second', 3],
] as const) {
  test(`a store into the ${half} half of an instruction that crosses pages takes effect`, () => {
    const cpu = fresh();
    const crossing = NEXT - 2;
    cpu.write(crossing, [...movEax(0x1111_1111), HLT]);
    assert.equal(go(cpu, crossing), 0x1111_1111);
    assert.equal(go(cpu, crossing), 0x1111_1111);
    const value = offset ? 0x22 : 0xbb;
    cpu.write(OTHER, [...storeByte(OTHER, crossing + offset, value), ...jump(OTHER + 7, crossing)]);
    const result = go(cpu, OTHER);
    // The first half is the opcode: B8 becomes BB, mov ebx, so eax stays.
    assert.equal(result, offset ? 0x1122_1111 : 0x1111_1111);
    assert.equal(cpu.get('gpr', 3), offset ? 0n : 0x1111_1111n);
    assert.equal(go(cpu, crossing), result);
  });
}

test('a store into the crossing instruction right behind it takes effect', () => {
  const cpu = fresh();
  const start = NEXT - 9;
  cpu.write(start, [...storeByte(start, NEXT + 1, 0x55), ...movEax(0x1111_1111), HLT]);
  assert.equal(go(cpu, start), 0x1155_1111);
});

test('REP MOVSB over itself and what follows: the next instruction is the new one', () => {
  const cpu = fresh();
  const code = [0xf3, 0xa4, ...movEax(1), HLT];
  cpu.write(CODE, code);
  cpu.write(OTHER, [0xf3, 0xa4, ...movEax(2), HLT]);
  cpu.set('gpr', BigInt(OTHER), RSI);
  cpu.set('gpr', BigInt(CODE), RDI);
  cpu.set('gpr', BigInt(code.length), RCX);
  assert.equal(go(cpu, CODE), 2);
  assert.equal(cpu.get('gpr', RCX), 0n);
});

test('writes of a device drop the code decoded from what they overwrite', () => {
  const cpu = fresh();
  const layout = planMemory({ ramBytes: 16 << 20, vcpuCount: 1 });
  const memory = new SharedGuestMemory({ memory: cpu.memory, layout, blocks: cpu.blocks });
  cpu.write(CODE, [...movEax(1), HLT]);
  assert.equal(go(cpu, CODE), 1);
  assert.ok(memory.write(CODE + 1, Uint8Array.of(2)));
  assert.equal(go(cpu, CODE), 2);
  memory.view(CODE, 8)![1] = 3;
  memory.written(CODE + 1, 1);
  assert.equal(go(cpu, CODE), 3);
  assert.ok(memory.writeU32(CODE + 1, 4));
  assert.equal(go(cpu, CODE), 4);
  // A write that ends right before the code drops nothing.
  const { dropped } = cpu.blocks.counters;
  assert.ok(memory.write(CODE - 4, Uint8Array.of(0, 0, 0, 0)));
  assert.equal(cpu.blocks.counters.dropped, dropped);
});

test('a device that writes into the running block, asked by an MMIO store in it, is seen at once', () => {
  let memory: SharedGuestMemory | undefined;
  const busWrite = (): undefined => {
    memory!.write(CODE + 8, Uint8Array.of(0x66));
  };
  // The interpreter is stricter than real processors, whose stores to devices are posted; translated code is not.
  const cpu = new TestCpu({ busWrite }, { hotThreshold: 0 });
  cpu.reset(64);
  const layout = planMemory({ ramBytes: 16 << 20, vcpuCount: 1 });
  memory = new SharedGuestMemory({ memory: cpu.memory, layout, blocks: cpu.blocks });
  memory.exclude(0xa_0000, 0x1000);
  cpu.write(CODE, [...storeByte(CODE, 0xa_0000, 0), ...movEax(1), HLT]);
  assert.equal(go(cpu, CODE), 0x66);
});

test('a store through another mapping of the code page takes effect', () => {
  const cpu = fresh();
  const alias = 0x4000_0000_0000n - 0x20_0000n;
  const tables = new PageTables(cpu);
  tables.identity(CODE, 2);
  tables.identity(OTHER, 1);
  tables.map(alias, CODE);
  tables.activate();
  // The alias is in the TLB, writable, before there is code on the page.
  const movRdi = [0x48, 0xbf, ...le32(Number(alias & 0xffff_ffffn)), ...le32(Number(alias >> 32n))];
  cpu.write(OTHER, [...movRdi, 0xc6, 0x47, 0x01, 0x77, HLT]);
  go(cpu, OTHER);
  cpu.write(CODE, [...movEax(1), HLT]);
  assert.equal(go(cpu, CODE), 1);
  go(cpu, OTHER);
  assert.equal(go(cpu, CODE), 0x77);
  assert.equal(go(cpu, alias), 0x77);
});

test('code pages that are remapped run the new page after INVLPG and after a load of CR3', () => {
  const cpu = fresh();
  const tables = new PageTables(cpu);
  tables.identity(OTHER, 1);
  tables.map(CODE, CODE);
  tables.activate();
  cpu.write(CODE, [...movEax(1), HLT]);
  cpu.write(NEXT, [...movEax(2), HLT]);
  assert.equal(go(cpu, CODE), 1);
  tables.map(CODE, NEXT);
  // invlpg [rdi]; jmp rdi
  cpu.write(OTHER, [0x0f, 0x01, 0x3f, 0xff, 0xe7]);
  cpu.set('gpr', BigInt(CODE), RDI);
  assert.equal(go(cpu, OTHER), 2);
  tables.map(CODE, CODE);
  // mov rax, cr3; mov cr3, rax; jmp rdi
  cpu.write(OTHER, [0x0f, 0x20, 0xd8, 0x0f, 0x22, 0xd8, 0xff, 0xe7]);
  assert.equal(go(cpu, OTHER), 1);
});

test('the second page of a crossing instruction may be remapped', () => {
  const cpu = fresh();
  const tables = new PageTables(cpu);
  tables.identity(OTHER, 1);
  tables.map(CODE, CODE);
  tables.map(NEXT, 0x20_0000);
  tables.activate();
  cpu.write(NEXT - 2, [0xb8, 0x11]);
  cpu.write(0x20_0000, [0x22, 0x22, 0x22, HLT]);
  cpu.write(0x20_1000, [0x33, 0x33, 0x33, HLT]);
  cpu.write(OTHER, [0x0f, 0x01, 0x3f, 0xff, 0xe6]);
  cpu.set('gpr', BigInt(NEXT), RDI);
  cpu.set('gpr', BigInt(NEXT - 2), RSI);
  assert.equal(go(cpu, NEXT - 2), 0x2222_2211);
  for (const [gpa, value] of [
    [0x20_1000, 0x3333_3311],
    [0x20_0000, 0x2222_2211],
    [0x20_1000, 0x3333_3311],
  ] as const) {
    tables.map(NEXT, gpa);
    assert.equal(go(cpu, OTHER), value);
  }
  // Unmapped: a fetch fault with the address of the second page, at the instruction's first byte.
  tables.map(NEXT, 0, 0n);
  cpu.set('activity', 0);
  cpu.set('rip', BigInt(OTHER));
  assert.equal(cpu.runFreely(BUDGET), EXIT_REASON.fault);
  assert.equal(cpu.get('faultAddress'), BigInt(NEXT));
  assert.equal(cpu.get('rip'), BigInt(NEXT - 2));
});

test('a crossing instruction in 16-bit code with a segment base finds its second page', () => {
  const cpu = fresh(16);
  cpu.set('segBase', 0x1_8000n, 1);
  cpu.write(0x1_9fff, [0xb8, 0x34, 0x12, HLT]);
  cpu.set('gpr', 0n, RAX);
  assert.equal(go(cpu, 0x1fff), 0x1234);
});

test('when the store of decoded code is full it is emptied, and the program runs on', () => {
  const cpu = fresh();
  const { counters } = cpu.blocks;
  cpu.write(CODE, [...movEax(5), HLT]);
  assert.equal(go(cpu, CODE), 5);
  const { emptied } = counters;
  // Blocks of 64 NOPs, one beginning at each byte.
  cpu.write(FILLER, new Uint8Array(FILLER_BYTES).fill(NOP));
  for (let n = 0; n < FILLER_BYTES && counters.emptied === emptied; n++) {
    cpu.blocks.find(FILLER + n, 2, () => undefined);
  }
  assert.equal(counters.emptied, emptied + 1);
  assert.equal(go(cpu, CODE), 5);
  // What is decoded now is noticed when it changes.
  cpu.write(OTHER, [...storeByte(OTHER, CODE + 1, 6), ...jump(OTHER + 7, CODE)]);
  assert.equal(go(cpu, OTHER), 6);
});
