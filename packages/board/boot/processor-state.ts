// Processor states that boot protocols ask for: flat segments, a GDT and, for 64 bits, identity page tables.
// SDM vol 3A §3.4.5 (descriptors), §4.5 (4-level paging).

import type { Piece, ProcessorState, SegmentState } from './image.ts';
import { LAYOUT } from './layout.ts';

/** Selectors of __BOOT_CS and __BOOT_DS in the Linux boot protocol; PVH leaves them open. */
const CODE_SELECTOR = 0x10;
const DATA_SELECTOR = 0x18;
const TSS_SELECTOR = 0x20;

const LIMIT_4G = 0xffff_ffff;
/** Access rights as in `SegmentState`. Accessed, present, DPL 0. */
const CODE_64 = 0xa09b;
const CODE_32 = 0xc09b;
const DATA_32 = 0xc093;
const BUSY_TSS_32 = 0x008b;
const UNUSABLE_LDT = 0x0082;
const TSS_LIMIT = 0x67;

const CR0 = { pe: 1, et: 1 << 4, pg: 2 ** 31 } as const;
const CR4_PAE = 1 << 5;
const EFER = { lme: 1 << 8, lma: 1 << 10 } as const;
/** Bit 1 is always set; interrupts are off. */
const RFLAGS = 0x2;

const PAGE = { present: 1n, writable: 2n, large: 1n << 7n } as const;
const ENTRY_COUNT = 512;
const LARGE_PAGE_SIZE = 0x20_0000;
const PAGE_SIZE = 0x1000;
/** Page directories of 1 GiB each: the identity mapping covers all of 32-bit space. */
const DIRECTORY_COUNT = 4;

/** An 8-byte descriptor from what a segment register holds of it. */
function descriptor(segment: SegmentState): bigint {
  const granular = segment.attributes & 0x8000;
  const limit = granular ? segment.limit >>> 12 : segment.limit;
  const base = BigInt(segment.base);
  return (
    BigInt(limit & 0xffff) |
    ((base & 0xff_ffffn) << 16n) |
    (BigInt(segment.attributes & 0xff) << 40n) |
    (BigInt(limit >>> 16) << 48n) |
    (BigInt(segment.attributes >>> 12) << 52n) |
    ((base >> 24n) << 56n)
  );
}

function quads(values: readonly bigint[]): Uint8Array {
  return new Uint8Array(BigUint64Array.from(values).buffer);
}

/** PML4, page directory pointers and four page directories: 4 GiB in 2 MiB pages, one to one. */
function identityTables(): Uint8Array {
  const tables = new BigUint64Array((2 + DIRECTORY_COUNT) * ENTRY_COUNT);
  const below = PAGE.present | PAGE.writable;
  const tableAt = (index: number): bigint => BigInt(LAYOUT.pageTables + index * PAGE_SIZE);
  tables[0] = tableAt(1) | below;
  for (let directory = 0; directory < DIRECTORY_COUNT; directory++) {
    tables[ENTRY_COUNT + directory] = tableAt(2 + directory) | below;
  }
  for (let page = 0; page < DIRECTORY_COUNT * ENTRY_COUNT; page++) {
    tables[2 * ENTRY_COUNT + page] = BigInt(page * LARGE_PAGE_SIZE) | below | PAGE.large;
  }
  return new Uint8Array(tables.buffer);
}

interface Entry {
  readonly rip: number;
  readonly rsi?: number;
  readonly rbx?: number;
}

function state(mode: ProcessorState['mode'], entry: Entry): ProcessorState {
  const long = mode === 'long64';
  const flat = { base: 0, limit: LIMIT_4G };
  const data = { selector: DATA_SELECTOR, ...flat, attributes: DATA_32 };
  return {
    mode,
    rip: entry.rip,
    rsp: LAYOUT.stackEnd,
    rbx: entry.rbx ?? 0,
    rsi: entry.rsi ?? 0,
    rflags: RFLAGS,
    cr0: long ? CR0.pe + CR0.et + CR0.pg : CR0.pe + CR0.et,
    cr3: long ? LAYOUT.pageTables : 0,
    cr4: long ? CR4_PAE : 0,
    efer: long ? EFER.lme | EFER.lma : 0,
    cs: { selector: CODE_SELECTOR, ...flat, attributes: long ? CODE_64 : CODE_32 },
    ds: data,
    es: data,
    fs: data,
    gs: data,
    ss: data,
    tr: { selector: TSS_SELECTOR, base: 0, limit: TSS_LIMIT, attributes: BUSY_TSS_32 },
    ldtr: { selector: 0, base: 0, limit: 0, attributes: UNUSABLE_LDT },
    gdtr: { base: LAYOUT.gdt, limit: 6 * 8 - 1 },
    idtr: { base: 0, limit: 0 },
  };
}

/** State and tables for an entry in 64-bit mode with an identity mapping of the first 4 GiB. */
export function longMode(entry: Entry): { processor: ProcessorState; pieces: Piece[] } {
  const processor = state('long64', entry);
  return {
    processor,
    pieces: [gdtPiece(processor), { gpa: LAYOUT.pageTables, bytes: identityTables() }],
  };
}

/** State and GDT for an entry in flat 32-bit protected mode, paging off. */
export function protectedMode(entry: Entry): { processor: ProcessorState; pieces: Piece[] } {
  const processor = state('protected32', entry);
  return { processor, pieces: [gdtPiece(processor)] };
}

/** The TSS descriptor takes two entries in long mode; its upper half is zero, as its base is. */
function gdtPiece(processor: ProcessorState): Piece {
  const { cs, ds, tr } = processor;
  const entries = [0n, 0n, descriptor(cs), descriptor(ds), descriptor(tr), 0n];
  return { gpa: LAYOUT.gdt, bytes: quads(entries) };
}
