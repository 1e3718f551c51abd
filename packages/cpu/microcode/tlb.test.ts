// What the TLB and the jump cache keep over loads of CR3, INVLPG and INVPCID: global pages, large pages, code.
// SDM vol 3A §4.10.2.4, §4.10.4.1. A stale translation shows that something was kept, the new one that it was dropped.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { JUMP_CACHE_BYTES, JUMP_CACHE_OFFSET } from '../state/layout.ts';
import { vcpuBase } from '../state/memory-map.ts';
import { CODE_ADDRESS, TestCpu } from '../testing/check.ts';
import { ENTRY, OPEN, PageTables } from '../testing/paging.ts';

const CR4_PGE = 0x80n;
const GLOBAL = 0x100n;
const LINEAR = 0xffff_8000_0000_0000n;
const LARGE = 0x7f00_4000_0000n;
const [OLD, NEW] = [0x20_0000, 0x60_0000];
const MIB_2 = 1 << 21;
const { large, present, write } = ENTRY;

/** Instructions, and how many they are. */
type Code = readonly [bytes: readonly number[], count: number];
const NOTHING: Code = [[], 0];
/** mov rax, cr3; mov cr3, rax */
const LOAD_CR3: Code = [[0x0f, 0x20, 0xd8, 0x0f, 0x22, 0xd8], 2];
const XOR_CR4 = [0x34, 0x80, 0x0f, 0x22, 0xe0];
/** mov rax, cr4; twice: xor al, 80h; mov cr4, rax */
const TOGGLE_PGE: Code = [[0x0f, 0x20, 0xe0, ...XOR_CR4, ...XOR_CR4], 5];
/** invlpg [rdi] */
const INVLPG: Code = [[0x0f, 0x01, 0x3f], 1];
/** mov ecx, type; invpcid rcx, [rsp], whose descriptor is zeros */
const invpcid = (type: number): Code => [
  [0xb9, type, 0, 0, 0, 0x66, 0x0f, 0x38, 0x82, 0x0c, 0x24],
  2,
];
/** mov ebx, [rsi]; jmp $: a change of CR4 ends single steps */
const LOAD = [0x8b, 0x1e, 0xeb, 0xfe];
const STACK = 0x30_0000n;

function setup(options: { pge?: boolean } = {}) {
  const cpu = new TestCpu();
  cpu.reset(64);
  if (options.pge !== false) cpu.set('cr4', (cpu.get('cr4') as bigint) | CR4_PGE);
  const tables = new PageTables(cpu);
  tables.identity(CODE_ADDRESS, 1);
  tables.identity(Number(STACK), 1);
  tables.activate();
  cpu.write(OLD, [1]);
  cpu.write(NEW, [2]);
  const large2MiB = (linear: bigint, gpa: number, flags: bigint) =>
    tables.write(tables.entryAddress(linear, 2), BigInt(gpa) | OPEN | large | flags);
  /** Runs code, then reads a byte there. */
  const read = ([code, count]: Code, rsi: bigint, rdi = 0n): bigint => {
    const state = { registers: { rsi, rdi, rsp: STACK } };
    const { fault } = cpu.run([...code, ...LOAD], state, { count: count + 1 });
    assert.equal(fault, undefined);
    return cpu.get('gpr', 3) as bigint;
  };
  return { cpu, tables, large2MiB, read };
}

for (const [name, code, keepsGlobal] of [
  ['a load of CR3', LOAD_CR3, true],
  ['INVPCID of one address', invpcid(0), true],
  ['INVPCID of one context', invpcid(1), true],
  ['INVPCID of all contexts', invpcid(2), false],
  ['INVPCID of all contexts but global pages', invpcid(3), true],
  ['a change of CR4.PGE', TOGGLE_PGE, false],
] as const) {
  test(`${name} ${keepsGlobal ? 'keeps' : 'drops'} global pages and drops others`, () => {
    const { tables, read } = setup();
    const other = LINEAR + 0x1000n;
    tables.map(LINEAR, OLD, present | write | GLOBAL);
    tables.map(other, OLD, present | write);
    assert.equal(read(NOTHING, LINEAR), 1n);
    assert.equal(read(NOTHING, other), 1n);
    tables.map(LINEAR, NEW, present | write | GLOBAL);
    tables.map(other, NEW, present | write);
    assert.equal(read(code, LINEAR), keepsGlobal ? 1n : 2n);
    assert.equal(read(code, other), 2n);
  });
}

test('without CR4.PGE no page is global', () => {
  const { tables, read } = setup({ pge: false });
  tables.map(LINEAR, OLD, present | write | GLOBAL);
  assert.equal(read(NOTHING, LINEAR), 1n);
  tables.map(LINEAR, NEW, present | write | GLOBAL);
  assert.equal(read(LOAD_CR3, LINEAR), 2n);
});

test('a page that is global above its leaf only is not global', () => {
  const { tables, read } = setup();
  tables.map(LINEAR, OLD, present | write);
  const above = tables.entryAddress(LINEAR, 2);
  tables.write(above, tables.read(above) | GLOBAL);
  assert.equal(read(NOTHING, LINEAR), 1n);
  tables.map(LINEAR, NEW, present | write);
  assert.equal(read(LOAD_CR3, LINEAR), 2n);
});

test('INVLPG drops a global page', () => {
  const { tables, read } = setup();
  tables.map(LINEAR, OLD, present | write | GLOBAL);
  assert.equal(read(NOTHING, LINEAR), 1n);
  tables.map(LINEAR, NEW, present | write | GLOBAL);
  assert.equal(read(INVLPG, LINEAR, LINEAR), 2n);
});

for (const [name, linear, flags] of [
  ['a large page', LARGE, 0n],
  ['a global large page', LINEAR + 0x4000_0000n, GLOBAL],
] as const) {
  test(`INVLPG anywhere in ${name} drops all of it, and nothing of others`, () => {
    const { tables, large2MiB, read } = setup();
    const far = linear + 0x1f_f000n;
    const small = linear + BigInt(MIB_2);
    large2MiB(linear, OLD, flags);
    tables.map(small, OLD, OPEN | flags);
    assert.equal(read(NOTHING, linear), 1n);
    read(NOTHING, far);
    assert.equal(read(NOTHING, small), 1n);
    large2MiB(linear, NEW, flags);
    tables.map(small, NEW, OPEN | flags);
    assert.equal(read(INVLPG, linear, far), 2n);
    assert.equal(read(NOTHING, small), 1n, 'a page of its own');
  });
}

test('a global large page outlasts a load of CR3 in all its parts', () => {
  const { large2MiB, read } = setup();
  large2MiB(LARGE, OLD, GLOBAL);
  assert.equal(read(NOTHING, LARGE), 1n);
  read(NOTHING, LARGE + 0x1000n);
  large2MiB(LARGE, NEW, GLOBAL);
  assert.equal(read(LOAD_CR3, LARGE), 1n);
  assert.equal(read(INVLPG, LARGE, LARGE + 0x3000n), 2n);
});

test('the jump cache is emptied by INVLPG of code and of parts of large pages, not of data', () => {
  const { cpu, tables, large2MiB } = setup();
  const CODE_PAGE = BigInt(CODE_ADDRESS);
  tables.map(LINEAR, OLD);
  const generation = () => cpu.get('generation') as number;
  /** Whether INVLPG of an address, behind code that went to the jump cache, empties it. */
  const empties = (linear: bigint): boolean => {
    cpu.call('rememberJump', CODE_PAGE + 0x10n, 1);
    const before = generation();
    cpu.call('flushPage', linear);
    return generation() !== before;
  };
  cpu.call('flushTlb');
  assert.ok(!empties(LINEAR));
  assert.ok(empties(CODE_PAGE + 0x800n));
  assert.ok(!empties(LARGE));
  large2MiB(LARGE, OLD, 0n);
  cpu.run(LOAD, { registers: { rsi: LARGE } });
  assert.ok(empties(LARGE + 0x5000n));
  assert.ok(!empties(LINEAR), 'there is no large page near');
});

test('jumps of the supervisor outlast a load of CR3 as long as its code is in global pages', () => {
  const { cpu } = setup();
  const contexts = (codePageGlobal: number) => {
    cpu.set('codePageGlobal', codePageGlobal);
    cpu.call('updateMode');
    const before = [cpu.get('userGeneration'), cpu.get('supervisorGeneration')];
    cpu.call('rememberJump', 0x1234n, 1);
    cpu.call('flushNotGlobal');
    return [cpu.get('userGeneration') === before[0], cpu.get('supervisorGeneration') === before[1]];
  };
  assert.deepEqual(contexts(1), [false, true]);
  assert.deepEqual(contexts(0), [false, false]);
  assert.deepEqual(contexts(1), [false, true]);
});

test('when generations run out the jump cache is cleared, since old ones come again', () => {
  const { cpu } = setup();
  const entry = () => {
    const bytes = cpu.bytes.subarray(vcpuBase(0) + JUMP_CACHE_OFFSET);
    return bytes.subarray(0, JUMP_CACHE_BYTES).some((byte) => byte !== 0);
  };
  cpu.set('generation', 0x7ff_fffe);
  cpu.call('flushTlb');
  cpu.call('rememberJump', 0x1234n, 7);
  assert.ok(entry());
  cpu.set('jumpsNotGlobal', 0);
  cpu.call('flushNotGlobal');
  assert.equal(cpu.get('generation'), 1);
  assert.equal(cpu.get('userGeneration'), 1);
  assert.equal(cpu.get('supervisorGeneration'), 1);
  assert.ok(!entry());
});
