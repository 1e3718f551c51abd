// Loads and stores through the TLB: rights that change, accesses that cross pages, MMIO, canonical addresses, wrapping,
// alignment checks. SDM vol 3A §4.6, §4.10, §5.3.1, §6.15. The walk itself: page-walk.test.ts.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PAGE, PAGE_FLAGS_BASE } from '../state/memory-map.ts';
import { BusLog, patternByte } from '../testing/bus-log.ts';
import { type CpuState, type RunResult, TestCpu } from '../testing/check.ts';
import { ENTRY, OPEN, PageTables } from '../testing/paging.ts';

const CODE = 0x10_0000;
const PAGE_A = 0x20_0000;
const PAGE_B = 0x21_0000;
/** Linear addresses of two neighbouring pages that the tests map as they like. */
const LINEAR = 0x7f00_0000_0000n;
const NEXT = LINEAR + 0x1000n;
const { present: P, write: W, user: U, noExecute: NX } = ENTRY;
const AC = 0x4_0000;

/** Instructions on [rdi]; the value is in rax or xmm0. */
const LOADS: Readonly<Record<number, readonly number[]>> = {
  1: [0x8a, 0x07],
  2: [0x66, 0x8b, 0x07],
  4: [0x8b, 0x07],
  8: [0x48, 0x8b, 0x07],
  10: [0xdb, 0x2f],
  16: [0x0f, 0x10, 0x07],
};
const STORES: Readonly<Record<number, readonly number[]>> = {
  1: [0x88, 0x07],
  2: [0x66, 0x89, 0x07],
  4: [0x89, 0x07],
  8: [0x48, 0x89, 0x07],
  10: [0xdb, 0x3f],
  16: [0x0f, 0x11, 0x07],
};
const ADDS: Readonly<Record<number, readonly number[]>> = {
  2: [0x66, 0x01, 0x07],
  4: [0x01, 0x07],
  8: [0x48, 0x01, 0x07],
};
const VALUE = 0x8877_6655_4433_2211n;
const WIDE = 0xffee_ddcc_bbaa_9988_7766_5544_3322_1101n;

class Machine {
  readonly bus = new BusLog();
  readonly cpu = new TestCpu(this.bus.host);
  readonly tables: PageTables;

  constructor(cpl = 0) {
    this.cpu.reset(64, cpl);
    this.tables = new PageTables(this.cpu);
    this.tables.identity(CODE, 1);
    this.tables.activate();
  }
  /** Bits of CR0 and CR4 to set besides those of a flat 64-bit mode. */
  control(bits: { cr0?: bigint; cr4?: bigint }): this {
    this.cpu.set('cr0', (this.cpu.get('cr0') as bigint) | (bits.cr0 ?? 0n));
    this.cpu.set('cr4', (this.cpu.get('cr4') as bigint) | (bits.cr4 ?? 0n));
    this.cpu.call('flushTlb');
    this.cpu.call('updateMode');
    return this;
  }
  privilege(cpl: number): this {
    this.cpu.set('cpl', cpl);
    this.cpu.call('updateMode');
    return this;
  }
  run(code: readonly number[], rdi: bigint, state: CpuState = {}): RunResult {
    const registers = { rax: VALUE, rdi, rsp: rdi, rbp: rdi, ...state.registers };
    return this.cpu.run(code, { xmm: [WIDE], ...state, registers });
  }
  /** Runs and gives the page fault's error code, undefined without a fault. */
  pageFault(code: readonly number[], rdi: bigint, state: CpuState = {}): number | undefined {
    const { fault } = this.run(code, rdi, state);
    if (!fault) return undefined;
    assert.equal(fault.vector, 14);
    return fault.code;
  }
  invlpg(linear: bigint): void {
    assert.equal(this.run([0x0f, 0x01, 0x3f], linear).fault, undefined);
  }
  flags(gpa: number): number {
    return this.cpu.bytes[PAGE_FLAGS_BASE + gpa / 4096]!;
  }
}

/** Little-endian bytes of a value. */
function bytesOf(value: bigint, count: number): number[] {
  return Array.from({ length: count }, (_, n) => Number((value >> BigInt(8 * n)) & 0xffn));
}

// --- rights in the TLB ---

test('a page that was read is not writable for that: the write asks again', () => {
  const m = new Machine(3);
  m.tables.map(LINEAR, PAGE_A, P | U);
  assert.equal(m.pageFault(LOADS[8]!, LINEAR), undefined);
  assert.equal(m.pageFault(STORES[8]!, LINEAR), 7);
  assert.equal(m.pageFault(LOADS[8]!, LINEAR), undefined);
  assert.equal(m.pageFault(ADDS[8]!, LINEAR), 7);
});

test('a read sets A, the first write D, and neither is set again without need', () => {
  const m = new Machine(3);
  m.tables.map(LINEAR, PAGE_A);
  const pte = m.tables.entryAddress(LINEAR, 1);
  const bits = () => m.tables.read(pte) & (ENTRY.accessed | ENTRY.dirty);
  m.run(LOADS[4]!, LINEAR);
  assert.equal(bits(), ENTRY.accessed);
  m.run(STORES[4]!, LINEAR);
  assert.equal(bits(), ENTRY.accessed | ENTRY.dirty);
  m.tables.map(LINEAR, PAGE_A);
  m.run(STORES[4]!, LINEAR);
  assert.equal(bits(), 0n, 'the TLB holds the page as dirty');
  m.privilege(0).invlpg(LINEAR);
  m.privilege(3).run(STORES[4]!, LINEAR);
  assert.equal(bits(), ENTRY.accessed | ENTRY.dirty);
});

test("what the supervisor has read is not the user's", () => {
  const m = new Machine();
  m.tables.map(LINEAR, PAGE_A, P | W);
  assert.equal(m.pageFault(LOADS[4]!, LINEAR), undefined);
  m.privilege(3);
  assert.equal(m.pageFault(LOADS[4]!, LINEAR), 5);
  assert.equal(m.pageFault(STORES[4]!, LINEAR), 7);
  m.privilege(0);
  assert.equal(m.pageFault(STORES[4]!, LINEAR), undefined);
});

test('SMAP: STAC and CLAC open and close user pages at once', () => {
  const m = new Machine().control({ cr4: 1n << 21n });
  m.tables.map(CODE, CODE, P | W);
  m.tables.map(LINEAR, PAGE_A);
  m.cpu.call('flushTlb');
  const [CLAC, STAC] = [
    [0x0f, 0x01, 0xca],
    [0x0f, 0x01, 0xcb],
  ] as const;
  const inside = (first: readonly number[], rflags: number) =>
    m.cpu.run([...first, ...LOADS[4]!], { registers: { rdi: LINEAR }, rflags }, { count: 2 }).fault
      ?.code;
  assert.equal(inside(CLAC, 2), 1);
  assert.equal(inside(STAC, 2), undefined);
  assert.equal(inside(CLAC, 2), 1);
  assert.equal(m.pageFault(STORES[4]!, LINEAR), 3);
  // Supervisor pages are open all the time.
  m.tables.map(NEXT, PAGE_B, P | W);
  assert.equal(m.pageFault(STORES[4]!, NEXT), undefined);
});

test('CR0.WP, cleared and set by MOV CR0, is in force at once', () => {
  const m = new Machine().control({ cr0: 0x1_0000n });
  m.tables.map(LINEAR, PAGE_A, P);
  const setCr0 = (value: bigint) => m.run([0x0f, 0x22, 0xc0], 0n, { registers: { rax: value } });
  const cr0 = m.cpu.get('cr0') as bigint;
  assert.equal(m.pageFault(STORES[4]!, LINEAR), 3);
  setCr0(cr0 & ~0x1_0000n);
  assert.equal(m.pageFault(STORES[4]!, LINEAR), undefined);
  setCr0(cr0);
  assert.equal(m.pageFault(STORES[4]!, LINEAR), 3);
});

test('a right that is taken away is gone after INVLPG', () => {
  const m = new Machine();
  m.control({ cr0: 0x1_0000n }).tables.map(LINEAR, PAGE_A);
  assert.equal(m.pageFault(STORES[4]!, LINEAR), undefined);
  m.tables.map(LINEAR, PAGE_A, P | U);
  m.invlpg(LINEAR);
  assert.equal(m.pageFault(STORES[4]!, LINEAR), 3);
  m.tables.map(LINEAR, PAGE_A, 0n);
  m.invlpg(LINEAR + 0xfffn);
  assert.equal(m.pageFault(LOADS[4]!, LINEAR), 0);
});

test('INVLPG of one page drops no other right and no other page of the same slot gains one', () => {
  const m = new Machine();
  const alias = LINEAR + (1024n << 12n);
  m.tables.map(LINEAR, PAGE_A);
  m.tables.map(alias, PAGE_B);
  m.cpu.write(PAGE_A, bytesOf(1n, 8));
  m.cpu.write(PAGE_B, bytesOf(2n, 8));
  for (const [linear, value] of [
    [LINEAR, 1n],
    [alias, 2n],
    [LINEAR, 1n],
    [alias, 2n],
  ] as const) {
    assert.equal(m.run(LOADS[8]!, linear).registers.rax, value);
  }
});

test('code pages: NX, and SMEP for user pages', () => {
  const m = new Machine();
  const jump = [0xff, 0xe7];
  const go = (linear: bigint) =>
    m.cpu.run(jump, { registers: { rdi: linear } }, { count: 2 }).fault;
  m.cpu.write(PAGE_A, [0x90]);
  m.tables.map(LINEAR, PAGE_A, OPEN | NX);
  assert.deepEqual(go(LINEAR), { vector: 14, code: 0x11, address: LINEAR });
  // Reading it first does not make it executable.
  m.run(LOADS[4]!, LINEAR);
  assert.equal(go(LINEAR)?.code, 0x11);
  m.tables.map(LINEAR, PAGE_A);
  m.cpu.call('flushTlb');
  assert.equal(go(LINEAR), undefined);
  m.tables.map(CODE, CODE, P | W);
  m.control({ cr4: 1n << 20n });
  assert.equal(go(LINEAR)?.code, 0x11);
  m.tables.map(LINEAR, 0, 0n);
  m.cpu.call('flushTlb');
  assert.equal(go(LINEAR + 5n)?.code, 0x10);
});

// --- accesses that cross pages ---

for (const bytes of [2, 4, 8, 10, 16]) {
  test(`${bytes} bytes across two pages are loaded and stored whole`, () => {
    for (let first = 1; first < bytes; first++) {
      const m = new Machine();
      m.tables.map(LINEAR, PAGE_A);
      m.tables.map(NEXT, PAGE_B);
      const linear = NEXT - BigInt(first);
      m.cpu.setX87(0, WIDE & ((1n << 80n) - 1n));
      m.cpu.set('x87Tags', 1);
      assert.equal(m.run(STORES[bytes]!, linear).fault, undefined);
      const want = bytesOf(bytes > 8 ? WIDE : VALUE, bytes);
      assert.deepEqual([...m.cpu.read(PAGE_A + 4096 - first, first)], want.slice(0, first));
      assert.deepEqual([...m.cpu.read(PAGE_B, bytes - first)], want.slice(first));
      assert.equal(m.cpu.read(PAGE_B + bytes - first, 1)[0], 0);
      assert.equal(m.cpu.read(PAGE_A + 4096 - first - 1, 1)[0], 0);
      const loaded = m.run(LOADS[bytes]!, linear, { xmm: [0n], registers: { rax: 0n } });
      if (bytes <= 8) assert.deepEqual(bytesOf(loaded.registers.rax, bytes), want);
      else if (bytes === 16) assert.equal(loaded.xmm[0], WIDE);
      else assert.equal(m.cpu.x87(m.cpu.get('x87Top') as number), WIDE & ((1n << 80n) - 1n));
    }
  });

  test(`${bytes} bytes across two pages fault as a whole, at the first byte that is not allowed`, () => {
    const cases = [
      { a: 0n, b: OPEN, faultsFirst: true },
      { a: OPEN, b: 0n, faultsFirst: false },
      { a: 0n, b: 0n, faultsFirst: true },
      { a: OPEN, b: P | U, faultsFirst: false, onlyWrites: true },
      { a: P | U, b: OPEN, faultsFirst: true, onlyWrites: true },
    ];
    for (const { a, b, faultsFirst, onlyWrites } of cases) {
      for (const first of [1, bytes >> 1, bytes - 1]) {
        const m = new Machine(3);
        m.tables.map(LINEAR, PAGE_A, a);
        m.tables.map(NEXT, PAGE_B, b);
        const linear = NEXT - BigInt(first);
        const address = faultsFirst ? linear : NEXT;
        const code = 4 | (onlyWrites ? 1 : 0);
        m.cpu.set('x87Tags', 1);
        const before = m.cpu.read(PAGE_A, 4096);
        assert.deepEqual(m.run(STORES[bytes]!, linear).fault, {
          vector: 14,
          code: code | 2,
          address,
        });
        if (ADDS[bytes])
          assert.deepEqual(m.run(ADDS[bytes], linear).fault, {
            vector: 14,
            code: code | 2,
            address,
          });
        assert.deepEqual(m.cpu.read(PAGE_A, 4096), before);
        assert.deepEqual(m.cpu.read(PAGE_B, 64), new Uint8Array(64));
        m.cpu.set('x87Tags', 0);
        const load = m.run(LOADS[bytes]!, linear, { xmm: [5n] });
        if (onlyWrites) assert.equal(load.fault, undefined);
        else {
          assert.deepEqual(load.fault, { vector: 14, code, address });
          assert.deepEqual([load.registers.rax, load.xmm[0], m.cpu.get('x87Tags')], [VALUE, 5n, 0]);
        }
      }
    }
  });
}

test('a faulting PUSH and CALL leave the stack pointer and both pages alone', () => {
  const m = new Machine();
  m.tables.map(LINEAR, PAGE_A, P | W);
  m.tables.map(NEXT, 0, 0n);
  for (const code of [[0x50], [0xe8, 0, 0, 0, 0], [0xff, 0x75, 0x00]]) {
    const rsp = NEXT + 4n;
    const result = m.run(code, rsp, { registers: { rbp: LINEAR } });
    assert.deepEqual(result.fault, { vector: 14, code: 2, address: NEXT });
    assert.equal(result.registers.rsp, rsp);
    assert.deepEqual(m.cpu.read(PAGE_A + 4096 - 8, 8), new Uint8Array(8));
  }
});

// --- addresses that are none ---

const NON_CANONICAL = 0x8000_0000_0000n;

test('non-canonical addresses raise #GP(0), through the stack segment #SS(0)', () => {
  const m = new Machine();
  const vectorOf = (code: readonly number[], rdi: bigint) => {
    const { fault, registers } = m.run(code, rdi, { registers: { rax: 1n } });
    if (fault) assert.deepEqual([fault.code, registers.rsp], [0, rdi]);
    return fault?.vector;
  };
  for (const bytes of [1, 2, 4, 8, 10, 16]) {
    m.cpu.set('x87Tags', bytes === 10 ? 1 : 0);
    assert.equal(vectorOf(STORES[bytes]!, NON_CANONICAL), 13, `store of ${bytes}`);
    m.cpu.set('x87Tags', 0);
    assert.equal(vectorOf(LOADS[bytes]!, NON_CANONICAL), 13, `load of ${bytes}`);
  }
  const stack: Readonly<Record<string, readonly number[]>> = {
    'mov eax, [rbp]': [0x8b, 0x45, 0x00],
    'mov [rsp], eax': [0x89, 0x04, 0x24],
    'mov eax, [rsp + 8]': [0x8b, 0x44, 0x24, 0x08],
    'push rax': [0x50],
    'pop rax': [0x58],
    'call +0': [0xe8, 0, 0, 0, 0],
    ret: [0xc3],
    pushfq: [0x9c],
    popfq: [0x9d],
    'enter 0, 0': [0xc8, 0, 0, 0],
    leave: [0xc9],
  };
  for (const [text, code] of Object.entries(stack))
    assert.equal(vectorOf(code, NON_CANONICAL + 64n), 12, text);
  // mov eax, ds:[rbp]: the override means nothing in 64-bit mode; fs: is no stack.
  assert.equal(vectorOf([0x64, 0x8b, 0x45, 0x00], NON_CANONICAL), 13);
});

test('an access that begins below the hole of non-canonical addresses and ends in it raises #GP(0)', () => {
  const m = new Machine();
  m.tables.map(NON_CANONICAL - 0x1000n, PAGE_A);
  for (const bytes of [2, 4, 8, 16]) {
    const linear = NON_CANONICAL - 1n;
    assert.deepEqual(m.run(STORES[bytes]!, linear).fault?.vector, 13);
    assert.deepEqual(m.run(LOADS[bytes]!, linear).fault?.vector, 13);
    assert.equal(m.cpu.read(PAGE_A + 4095, 1)[0], 0);
  }
  assert.equal(m.run(STORES[1]!, NON_CANONICAL - 1n).fault, undefined);
});

test('the highest canonical page works, in the TLB too', () => {
  const m = new Machine();
  const top = 0xffff_ffff_ffff_f000n;
  m.tables.map(top & 0xffff_ffff_ffffn, PAGE_A);
  m.cpu.write(PAGE_A + 0xff8, bytesOf(VALUE, 8));
  for (let n = 0; n < 3; n++)
    assert.equal(m.run(LOADS[8]!, top + 0xff8n, { registers: { rax: 0n } }).registers.rax, VALUE);
});

for (const paging of [false, true]) {
  test(`32-bit accesses wrap around at 4 GiB, ${paging ? 'with' : 'without'} paging`, () => {
    const bus = new BusLog();
    const cpu = new TestCpu(bus.host);
    cpu.reset(32);
    if (paging) {
      // 4 MiB pages: the first and the code's are identical, the last is the second of RAM.
      cpu.write(0x40_0000, bytesOf(0x83n, 4));
      cpu.write(0x40_0ffc, bytesOf(0x80_0083n, 4));
      cpu.set('cr3', 0x40_0000n);
      cpu.set('cr4', 0x610n);
      cpu.set('cr0', 0x8000_0031n);
      cpu.call('flushTlb');
      cpu.call('updateMode');
      cpu.write(0xbf_fffe, [0x11, 0x22]);
    }
    cpu.write(0, [0x33, 0x44]);
    // mov eax, [edi + 4]: the sum wraps, too.
    const { fault, registers } = cpu.run([0x8b, 0x47, 0x04], { registers: { rdi: 0xffff_fffan } });
    assert.equal(fault, undefined);
    const low = paging ? 0x2211n : patternByte(0xffff_fffen) | (patternByte(0xffff_ffffn) << 8n);
    assert.equal(registers.rax, 0x4433_0000n | low);
    assert.deepEqual(bus.take(), paging ? [] : ['r1 fffffffe', 'r1 ffffffff']);
  });
}

// --- MMIO ---

test('MMIO accesses of every size reach the bus, with their size and value', () => {
  const m = new Machine();
  const gpa = 0xfe_d000_0000n;
  m.tables.map(LINEAR, gpa);
  const at = (offset: number) => (gpa + BigInt(offset)).toString(16);
  for (const bytes of [1, 2, 4, 8]) {
    const { registers } = m.run(LOADS[bytes]!, LINEAR + 0x10n, { registers: { rax: 0n } });
    assert.deepEqual(m.bus.take(), [`r${bytes} ${at(0x10)}`]);
    assert.deepEqual(
      bytesOf(registers.rax, bytes),
      Array.from({ length: bytes }, (_, n) => Number(patternByte(gpa + 0x10n + BigInt(n)))),
    );
    m.run(STORES[bytes]!, LINEAR + 0x20n);
    assert.deepEqual(m.bus.take(), [
      `w${bytes} ${at(0x20)}=${BigInt.asUintN(8 * bytes, VALUE).toString(16)}`,
    ]);
  }
  m.run(LOADS[16]!, LINEAR);
  assert.deepEqual(m.bus.take(), [`r8 ${at(0)}`, `r8 ${at(8)}`]);
  m.run(STORES[16]!, LINEAR);
  assert.deepEqual(m.bus.take(), [`w8 ${at(0)}=7766554433221101`, `w8 ${at(8)}=ffeeddccbbaa9988`]);
  // add [rdi], eax reads once and writes once.
  m.run(ADDS[4]!, LINEAR, { registers: { rax: 1n } });
  const sum =
    [0, 1, 2, 3].reduce((v, n) => v | (patternByte(gpa + BigInt(n)) << BigInt(8 * n)), 0n) + 1n;
  assert.deepEqual(m.bus.take(), [`r4 ${at(0)}`, `w4 ${at(0)}=${sum.toString(16)}`]);
});

test('an access that runs from RAM into MMIO touches each by the byte', () => {
  const m = new Machine();
  m.tables.map(LINEAR, PAGE_A);
  m.tables.map(NEXT, 0xfed0_0000n);
  m.cpu.write(PAGE_A + 4094, [0xaa, 0xbb]);
  const { registers } = m.run(LOADS[4]!, NEXT - 2n);
  assert.deepEqual(m.bus.take(), ['r1 fed00000', 'r1 fed00001']);
  assert.equal(
    registers.rax,
    0xbbaan | (patternByte(0xfed0_0000n) << 16n) | (patternByte(0xfed0_0001n) << 24n),
  );
  m.run(STORES[4]!, NEXT - 2n);
  assert.deepEqual(m.bus.take(), ['w1 fed00000=33', 'w1 fed00001=44']);
  assert.deepEqual([...m.cpu.read(PAGE_A + 4094, 2)], [0x11, 0x22]);
});

test('pages taken out of RAM are MMIO, for code too', () => {
  const m = new Machine();
  m.cpu.bytes[PAGE_FLAGS_BASE + PAGE_A / 4096] = PAGE.notRam;
  m.tables.map(LINEAR, PAGE_A);
  m.cpu.write(PAGE_A, [0x90, 0x90]);
  m.run(LOADS[1]!, LINEAR);
  assert.deepEqual(m.bus.take(), ['r1 200000']);
  const jumped = m.cpu.run([0xff, 0xe7], { registers: { rdi: LINEAR } }, { count: 2 });
  assert.deepEqual([jumped.fault?.vector, jumped.rip], [6, LINEAR]);
});

test('code beyond 4 GiB of physical addresses is not the RAM below', () => {
  const m = new Machine();
  m.cpu.write(PAGE_A, [0x90, 0x90]);
  m.tables.map(LINEAR, 0x1_0000_0000n + BigInt(PAGE_A));
  const { fault, rip } = m.cpu.run([0xff, 0xe7], { registers: { rdi: LINEAR } }, { count: 2 });
  assert.deepEqual([fault?.vector, rip], [6, LINEAR]);
});

// --- alignment checks, tracking of writes ---

test('#AC: unaligned user accesses with CR0.AM and RFLAGS.AC, and only those', () => {
  const vector = (m: Machine, code: readonly number[], offset: number, rflags = AC) =>
    m.run(code, LINEAR + BigInt(offset), { rflags }).fault?.vector;
  const m = new Machine(3).control({ cr0: 1n << 18n });
  m.tables.map(LINEAR, PAGE_A);
  // TestCpu.run sets RFLAGS; the mode follows from it.
  m.cpu.call('writeRflags', AC);
  m.cpu.call('updateMode');
  for (const bytes of [2, 4, 8]) {
    assert.equal(vector(m, LOADS[bytes]!, 0), undefined);
    assert.equal(vector(m, LOADS[bytes]!, bytes), undefined);
    assert.equal(vector(m, LOADS[bytes]!, 1), 17);
    assert.equal(vector(m, STORES[bytes]!, bytes / 2), 17);
    assert.equal(vector(m, ADDS[bytes]!, bytes - 1), 17);
  }
  assert.deepEqual(m.cpu.read(PAGE_A + 1, 1), Uint8Array.of(0));
  assert.equal(vector(m, LOADS[1]!, 3), undefined);
  m.privilege(0);
  assert.equal(vector(m, LOADS[4]!, 1), undefined);
  m.cpu.call('writeRflags', 2);
  m.privilege(3);
  assert.equal(vector(m, LOADS[4]!, 1, 2), undefined);
});

test('writes mark their page dirty, reads do not', () => {
  const m = new Machine();
  m.tables.map(LINEAR, PAGE_A);
  m.tables.map(NEXT, PAGE_B);
  m.run(LOADS[8]!, LINEAR);
  assert.equal(m.flags(PAGE_A) & PAGE.dirty, 0);
  m.run(STORES[8]!, LINEAR);
  assert.equal(m.flags(PAGE_A) & PAGE.dirty, PAGE.dirty);
  assert.equal(m.flags(PAGE_B) & PAGE.dirty, 0);
  m.run(STORES[8]!, NEXT - 4n);
  assert.equal(m.flags(PAGE_B) & PAGE.dirty, PAGE.dirty);
});

test('accessed and dirty bits mark the page tables dirty', () => {
  const m = new Machine();
  m.tables.map(LINEAR, PAGE_A);
  const table = Math.floor(m.tables.entryAddress(LINEAR, 1) / 4096) * 4096;
  assert.equal(m.flags(table) & PAGE.dirty, 0);
  m.run(LOADS[8]!, LINEAR);
  assert.equal(m.flags(table) & PAGE.dirty, PAGE.dirty);
});

test('a page has code from its first decoded instruction to the write over its last', () => {
  const m = new Machine();
  m.tables.map(LINEAR, PAGE_A);
  m.cpu.write(PAGE_A, [0x90, 0x90, 0xff, 0xe6]);
  assert.equal(m.flags(PAGE_A) & PAGE.hasCode, 0);
  m.cpu.run([0xff, 0xe7], { registers: { rdi: LINEAR, rsi: BigInt(CODE) } }, { count: 4 });
  assert.equal(m.flags(PAGE_A) & PAGE.hasCode, PAGE.hasCode);
  m.run(STORES[8]!, LINEAR + 8n);
  assert.equal(m.flags(PAGE_A) & PAGE.hasCode, PAGE.hasCode);
  m.run(STORES[8]!, LINEAR);
  assert.equal(m.flags(PAGE_A) & PAGE.hasCode, 0);
});
