// Page tables as a person wants to see them: every entry on the way to an address, and the map of an address space.
// SDM vol 3A §4.3 (32-bit), §4.4 (PAE), §4.5 (4-level). It reads entries for display and decides nothing:
// the processor's own walk is the one that counts.

import { MachineError } from './errors.ts';

/** What the walk reads; `Machine` is one. */
export interface WalkSource {
  readMemory(gpa: number, lengthBytes: number): Promise<Uint8Array>;
  readRegisters(names: readonly string[]): Promise<Record<string, bigint>>;
}

interface Level {
  readonly name: string;
  /** The lowest bit of the address that this level's index is made of. */
  readonly shift: number;
  readonly indexBits: number;
  /** A set PS bit ends the walk here. */
  readonly large: boolean;
}

/** One way to walk: which tables, entries of how many bytes, from where. */
interface Mode {
  readonly name: string;
  readonly levels: readonly Level[];
  readonly entryBytes: 4 | 8;
  readonly root: number;
}

export interface WalkStep {
  readonly table: string;
  readonly entryAt: number;
  readonly entry: bigint;
  readonly flags: string;
}

export interface Walk {
  readonly mode: string;
  readonly steps: readonly WalkStep[];
  /** Undefined where an entry is not present. */
  readonly gpa: number | undefined;
  readonly pageBytes: number | undefined;
}

const PRESENT = 1n;
const WRITABLE = 2n;
const USER = 4n;
const PAGE_SIZE = 0x80n;
const GLOBAL = 0x100n;
const NO_EXECUTE = 1n << 63n;
const FRAME_64 = 0x000f_ffff_ffff_f000n;
const FRAME_32 = 0xffff_f000n;
const CR0_PG = 1n << 31n;
const CR4_PSE = 1n << 4n;
const CR4_PAE = 1n << 5n;
const EFER_LMA = 1n << 10n;
/** A map of an address space looks at no more tables than this. */
const TABLE_COUNT_MAX = 8192;

async function currentMode(source: WalkSource): Promise<Mode | undefined> {
  const { cr0, cr3, cr4, efer } = await source.readRegisters(['cr0', 'cr3', 'cr4', 'efer']);
  if (((cr0 ?? 0n) & CR0_PG) === 0n) return undefined;
  const level = (name: string, shift: number, indexBits: number, large = false): Level => ({
    name,
    shift,
    indexBits,
    large,
  });
  if (((cr4 ?? 0n) & CR4_PAE) === 0n) {
    const large = ((cr4 ?? 0n) & CR4_PSE) !== 0n;
    const levels = [level('PD', 22, 10, large), level('PT', 12, 10)];
    return { name: '32-bit', levels, entryBytes: 4, root: Number((cr3 ?? 0n) & FRAME_32) };
  }
  const lower = [level('PD', 21, 9, true), level('PT', 12, 9)];
  if (((efer ?? 0n) & EFER_LMA) === 0n) {
    const levels = [level('PDPT', 30, 2), ...lower];
    return { name: 'PAE', levels, entryBytes: 8, root: Number((cr3 ?? 0n) & 0xffff_ffe0n) };
  }
  const levels = [level('PML4', 39, 9), level('PDPT', 30, 9, true), ...lower];
  return { name: '4-level', levels, entryBytes: 8, root: Number((cr3 ?? 0n) & FRAME_64) };
}

export async function walkPages(source: WalkSource, gva: bigint): Promise<Walk> {
  const mode = await currentMode(source);
  if (mode === undefined) {
    return { mode: 'paging is off', steps: [], gpa: Number(gva), pageBytes: undefined };
  }
  const steps: WalkStep[] = [];
  let table = mode.root;
  for (const level of mode.levels) {
    const index = Number((gva >> BigInt(level.shift)) & ((1n << BigInt(level.indexBits)) - 1n));
    const entryAt = table + index * mode.entryBytes;
    const entry = littleEndian(await source.readMemory(entryAt, mode.entryBytes));
    steps.push({ table: level.name, entryAt, entry, flags: flagText(mode, entry) });
    if ((entry & PRESENT) === 0n) break;
    if (isLeaf(level, entry)) {
      const pageBytes = 2 ** level.shift;
      const offset = Number(gva & (BigInt(pageBytes) - 1n));
      return { mode: mode.name, steps, gpa: frame(mode, level, entry) + offset, pageBytes };
    }
    table = Number(entry & FRAME_64);
  }
  return { mode: mode.name, steps, gpa: undefined, pageBytes: undefined };
}

export interface MappedRange {
  readonly gva: bigint;
  readonly sizeBytes: bigint;
  readonly flags: string;
}

/** All mapped addresses of the current address space, neighbours with the same rights joined. */
export async function mapAddressSpace(source: WalkSource): Promise<MappedRange[]> {
  const mode = await currentMode(source);
  if (mode === undefined) throw new MachineError('BAD_ADDRESS', 'the guest has paging turned off');
  const ranges: { gva: bigint; sizeBytes: bigint; flags: string }[] = [];
  let tablesLeft = TABLE_COUNT_MAX;

  async function visit(depth: number, table: number, base: bigint, rights: bigint): Promise<void> {
    const level = mode!.levels[depth];
    if (level === undefined || tablesLeft-- <= 0) return;
    const { entryBytes } = mode!;
    const bytes = await source.readMemory(table, entryBytes << level.indexBits).catch(noTable);
    if (bytes === undefined) return;
    for (let index = 0; index < 1 << level.indexBits; index++) {
      const entry = littleEndian(bytes.subarray(index * entryBytes, (index + 1) * entryBytes));
      if ((entry & PRESENT) === 0n) continue;
      const gva = canonical(base + (BigInt(index) << BigInt(level.shift)), mode!);
      const allowed = combine(rights, entry, mode!);
      if (isLeaf(level, entry)) add(gva, 1n << BigInt(level.shift), rightsText(allowed));
      else await visit(depth + 1, Number(entry & FRAME_64), gva, allowed);
    }
  }
  function add(gva: bigint, sizeBytes: bigint, flags: string): void {
    const last = ranges.at(-1);
    if (last?.flags === flags && last.gva + last.sizeBytes === gva) last.sizeBytes += sizeBytes;
    else ranges.push({ gva, sizeBytes, flags });
  }
  await visit(0, mode.root, 0n, WRITABLE | USER);
  return ranges;
}

/** An entry may lead out of RAM, where there is no table to show. All else that fails is told. */
function noTable(error: unknown): undefined {
  if (!(error instanceof MachineError) || error.code !== 'BAD_ADDRESS') throw error;
}

function isLeaf(level: Level, entry: bigint): boolean {
  return level.shift === 12 || (level.large && (entry & PAGE_SIZE) !== 0n);
}

/** The start of the page that a leaf entry maps. PSE-36 keeps address bits 39:32 in entry bits 20:13. */
function frame(mode: Mode, level: Level, entry: bigint): number {
  if (mode.entryBytes === 4 && level.shift === 22) {
    return Number((entry & 0xffc0_0000n) | (((entry >> 13n) & 0xffn) << 32n));
  }
  return Number(entry & FRAME_64 & ~((1n << BigInt(level.shift)) - 1n));
}

/** Write and user rights need every level's consent; one NX bit is enough. PAE's top level has no rights bits. */
function combine(rights: bigint, entry: bigint, mode: Mode): bigint {
  const noExecute = (rights | entry) & NO_EXECUTE;
  if (mode.name === 'PAE' && (rights & NO_EXECUTE) === 0n && (entry & (WRITABLE | USER)) === 0n) {
    return rights | noExecute;
  }
  return (rights & entry & (WRITABLE | USER)) | noExecute;
}

function rightsText(rights: bigint): string {
  return [
    (rights & USER) !== 0n ? 'u' : '-',
    'r',
    (rights & WRITABLE) !== 0n ? 'w' : '-',
    (rights & NO_EXECUTE) !== 0n ? '-' : 'x',
  ].join('');
}

function flagText(mode: Mode, entry: bigint): string {
  const names: [bigint, string][] = [
    [PRESENT, 'P'],
    [WRITABLE, 'RW'],
    [USER, 'US'],
    [0x08n, 'PWT'],
    [0x10n, 'PCD'],
    [0x20n, 'A'],
    [0x40n, 'D'],
    [PAGE_SIZE, 'PS'],
    [GLOBAL, 'G'],
  ];
  if (mode.entryBytes === 8) names.push([NO_EXECUTE, 'XD']);
  return names
    .filter(([mask]) => (entry & mask) !== 0n)
    .map(([, name]) => name)
    .join(' ');
}

function canonical(gva: bigint, mode: Mode): bigint {
  return mode.name === '4-level' ? BigInt.asUintN(64, BigInt.asIntN(48, gva)) : gva;
}

function littleEndian(bytes: Uint8Array): bigint {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return bytes.length === 4 ? BigInt(view.getUint32(0, true)) : view.getBigUint64(0, true);
}
