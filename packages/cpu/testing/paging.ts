// 4-level page tables for tests: maps single 4 KiB pages of a TestCpu in 64-bit mode, and changes them again.

import type { TestCpu } from './check.ts';

const PAGE_BYTES = 4096;
/** Where new tables are taken from; tests keep away from here. */
const TABLES_ADDRESS = 0x50_0000;

/** Bits of a paging-structure entry. SDM vol 3A table 4-20. */
export const ENTRY = {
  present: 1n,
  write: 2n,
  user: 4n,
  accessed: 0x20n,
  dirty: 0x40n,
  large: 0x80n,
  noExecute: 1n << 63n,
} as const;

/** Present, writable, for user and supervisor. */
export const OPEN: bigint = ENTRY.present | ENTRY.write | ENTRY.user;

export class PageTables {
  readonly #cpu: TestCpu;
  #free: number;
  readonly root: number;

  constructor(cpu: TestCpu, options: { tables?: number } = {}) {
    this.#cpu = cpu;
    this.#free = options.tables ?? TABLES_ADDRESS;
    this.root = this.#allocate();
  }
  #allocate(): number {
    const table = this.#free;
    this.#free += PAGE_BYTES;
    this.#cpu.write(table, new Uint8Array(PAGE_BYTES));
    return table;
  }
  /** Makes these tables the ones in force. */
  activate(): this {
    this.#cpu.set('cr3', BigInt(this.root));
    this.#cpu.call('flushTlb');
    return this;
  }

  read(entryAddress: number): bigint {
    return new DataView(this.#cpu.read(entryAddress, 8).buffer).getBigUint64(0, true);
  }
  write(entryAddress: number, value: bigint): void {
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setBigUint64(0, BigInt.asUintN(64, value), true);
    this.#cpu.write(entryAddress, bytes);
  }
  /** Guest-physical address of the entry for a linear address, at level 4 (PML4E) to 1 (PTE); makes the tables above it. */
  entryAddress(linear: bigint, level: 1 | 2 | 3 | 4): number {
    let table = this.root;
    for (let at = 4; ; at--) {
      const index = Number((linear >> BigInt(12 + 9 * (at - 1))) & 0x1ffn);
      const address = table + index * 8;
      if (at === level) return address;
      if (!(this.read(address) & ENTRY.present))
        this.write(address, BigInt(this.#allocate()) | OPEN);
      table = Number(this.read(address) & 0xff_ffff_f000n);
    }
  }
  /** Maps one 4 KiB page; the TLB is not told. */
  map(linear: bigint | number, gpa: number | bigint, flags: bigint = OPEN): void {
    this.write(this.entryAddress(BigInt(linear), 1), BigInt(gpa) | flags);
  }
  /** Maps `count` pages one to one. */
  identity(first: number, count: number, flags: bigint = OPEN): void {
    for (let n = 0; n < count; n++) this.map(first + n * PAGE_BYTES, first + n * PAGE_BYTES, flags);
  }
}
