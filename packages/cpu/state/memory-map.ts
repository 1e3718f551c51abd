// Where everything lies in the machine's one shared memory. All addresses but the end are constants, so that generated
// code can hold them; what is not touched costs no host memory.

import { VCPU_BYTES } from './layout.ts';

const KIB = 1024;
const MIB = 1024 * KIB;

/** Guest RAM at most: the PCI window begins at this guest-physical address. */
export const RAM_BYTES_MAX: number = 3584 * MIB;
export const RAM_BYTES_MIN: number = 16 * MIB;
export const VCPU_COUNT_MAX = 8;
export const PAGE_BYTES = 4096;

/**
 * Each vCPU has a table that finds decoded blocks by physical address and mode (interpreter/block-cache.ts), behind its
 * state: one for all would be a cache line that every processor writes at every jump.
 */
export const BLOCK_HASH_OFFSET: number = Math.ceil(VCPU_BYTES / 4096) * 4096;
export const BLOCK_HASH_ENTRIES = 65536;
/** Entry: physical address u32, mode i32, address of the first record u32, times entered u32. */
export const BLOCK_HASH_ENTRY_BYTES = 16;

/** vCPU n's state begins here + n * VCPU_STRIDE; address 0 is never valid. */
export const VCPU_BASE: number = 64 * KIB;
/** Constant tables of microcode (microcode/tables.ts), up to VCPU_BASE; the page before stays unused. */
export const TABLES_BASE: number = 4 * KIB;
export const VCPU_STRIDE: number =
  Math.ceil((BLOCK_HASH_OFFSET + BLOCK_HASH_ENTRIES * BLOCK_HASH_ENTRY_BYTES) / (64 * KIB)) *
  64 *
  KIB;

/** What the workers of a machine tell each other: smp/shared-words.ts. */
export const SHARED_BASE: number = 14 * MIB;
export const SHARED_BYTES: number = 64 * KIB;

/** One byte for each page of RAM, a set of PAGE bits. */
export const PAGE_FLAGS_BASE: number = 15 * MIB;
export const PAGE = {
  /** The address belongs to the bus although it is below the end of RAM (video memory, ROM). */
  notRam: 1,
  /** Decoded code was made from the page: writes take the slow path. */
  hasCode: 2,
  /** Written since the flag was last cleared. */
  dirty: 4,
} as const;

/** One u32 for each page of RAM: address of the first block decoded from it, 0 for none. */
export const PAGE_BLOCKS_BASE: number = 16 * MIB;

/** Decoded instructions, filled from the front and emptied as a whole. */
export const RECORDS_BASE: number = 20 * MIB;
export const RECORDS_BYTES: number = 40 * MIB;

/** Records that belong to translated code. */
export const TRANSLATED_RECORDS_BASE: number = RECORDS_BASE + RECORDS_BYTES;
export const TRANSLATED_RECORDS_BYTES: number = 8 * MIB;

/** One u32 for each page of RAM: counts writes to it while it held code. */
export const PAGE_VERSIONS_BASE: number = TRANSLATED_RECORDS_BASE + TRANSLATED_RECORDS_BYTES;

/** Guest-physical 0. */
export const RAM_BASE: number = 96 * MIB;

/** Base address of a vCPU's state. */
export function vcpuBase(index: number): number {
  return VCPU_BASE + index * VCPU_STRIDE;
}

export interface MemoryLayout {
  readonly ramBytes: number;
  readonly vcpuCount: number;
  /** Size of the shared WebAssembly.Memory in 64 KiB pages. */
  readonly wasmPages: number;
}

/** Lays out a machine's memory. `ramBytes` is a multiple of 1 MiB within RAM_BYTES_MIN and RAM_BYTES_MAX. */
export function planMemory(options: { ramBytes: number; vcpuCount: number }): MemoryLayout {
  const { ramBytes, vcpuCount } = options;
  return { ramBytes, vcpuCount, wasmPages: Math.ceil((RAM_BASE + ramBytes) / (64 * KIB)) };
}
