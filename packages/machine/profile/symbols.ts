// Names of code addresses, for profiles: from the output of nm, a System.map or /proc/kallsyms, or from an ELF file's
// symbol table. ELF: System V ABI, chapter 4 ("Symbol Table").

import { MachineError } from '../errors.ts';

export interface CodeSymbol {
  readonly name: string;
  readonly start: bigint;
}

/** Code without a symbol of its own this far behind one is not its. */
const REACH_BYTES = 1n << 20n;
/** Where Linux takes system calls, 64-bit and 32-bit: what a kernel that moved itself is found by. */
const SYSTEM_CALL_ENTRIES = ['entry_SYSCALL_64', 'entry_SYSENTER_32'];
const PAGE_BYTES = 4096n;

export class SymbolTable {
  readonly #symbols: readonly CodeSymbol[];
  readonly #entry: bigint | undefined;

  private constructor(symbols: readonly CodeSymbol[]) {
    // The first of several at one address.
    const sorted = symbols.toSorted((a, b) => (a.start < b.start ? -1 : a.start > b.start ? 1 : 0));
    this.#symbols = sorted.filter(({ start }, n) => start !== sorted[n - 1]?.start);
    this.#entry = symbols.find(({ name }) => SYSTEM_CALL_ENTRIES.includes(name))?.start;
  }

  /** Of a file's contents. Fails with code `BAD_OPTION` where no code has a name; `source` says what was read. */
  static parse(bytes: Uint8Array, source: string): SymbolTable {
    const symbols = isElf(bytes) ? elfSymbols(bytes) : listedSymbols(bytes);
    if (symbols.length > 0) return new SymbolTable(symbols);
    throw new MachineError('BAD_OPTION', `${source} names no code`, {
      hint:
        'symbols come from a System.map, the output of nm, an ELF file that is not stripped, or ' +
        "the guest's /proc/kallsyms, read by root with kernel.kptr_restrict=0",
    });
  }

  /** The same for a file that may well have none. */
  static parseElf(bytes: Uint8Array): SymbolTable | undefined {
    const symbols = isElf(bytes) ? elfSymbols(bytes) : [];
    return symbols.length > 0 ? new SymbolTable(symbols) : undefined;
  }

  get size(): number {
    return this.#symbols.length;
  }

  /** How far the kernel has moved itself (KASLR), by where it really takes system calls; 0 if that is not known. */
  slide(systemCallEntry: bigint): bigint {
    if (this.#entry === undefined || systemCallEntry === 0n) return 0n;
    const slide = BigInt.asIntN(64, systemCallEntry - this.#entry);
    return slide % PAGE_BYTES === 0n ? slide : 0n;
  }

  /** What an address belongs to, if the code was loaded where the file says. */
  find(address: bigint): CodeSymbol | undefined {
    let low = 0;
    let high = this.#symbols.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#symbols[middle]!.start <= address) low = middle + 1;
      else high = middle;
    }
    const symbol = this.#symbols[low - 1];
    return symbol !== undefined && address - symbol.start < REACH_BYTES ? symbol : undefined;
  }
}

/** 'ffffffff81000000 T startup_64', with a size before the type (nm -S) or a module behind the name (kallsyms). */
function listedSymbols(bytes: Uint8Array): CodeSymbol[] {
  const line =
    /^([\da-f]{1,16})(?:[ \t]+[\da-f]+)?[ \t]+[tTwWi][ \t]+(\S+)(?:[ \t]+(\[\S+\]))?\s*?$/gm;
  const symbols: CodeSymbol[] = [];
  for (const [, address, name = '', module] of new TextDecoder().decode(bytes).matchAll(line)) {
    const start = BigInt(`0x${address}`);
    if (start !== 0n)
      symbols.push({ name: module === undefined ? name : `${name} ${module}`, start });
  }
  return symbols;
}

const SECTION = { symbols: 2, dynamicSymbols: 11 } as const;
const SHF_EXECINSTR = 4n;
const STT_NOTYPE = 0;
const STT_FUNC = 2;

interface Section {
  readonly type: number;
  readonly flags: bigint;
  readonly offset: number;
  readonly size: number;
  readonly link: number;
}

function isElf(bytes: Uint8Array): boolean {
  const [a, b, c, d, , order] = bytes;
  return a === 0x7f && b === 0x45 && c === 0x4c && d === 0x46 && order === 1;
}

/** Functions, and labels in executable sections. Nothing of what lies outside of the file. */
function elfSymbols(bytes: Uint8Array): CodeSymbol[] {
  try {
    const is64 = bytes[4] === 2;
    const sections = elfSections(bytes, is64);
    const table =
      sections.find(({ type }) => type === SECTION.symbols) ??
      sections.find(({ type }) => type === SECTION.dynamicSymbols);
    if (table === undefined) return [];
    return [...tableSymbols(bytes, is64, sections, table)];
  } catch (error) {
    if (error instanceof RangeError) return [];
    throw error;
  }
}

function elfSections(bytes: Uint8Array, is64: boolean): Section[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const word = (at: number) =>
    is64 ? view.getBigUint64(at, true) : BigInt(view.getUint32(at, true));
  const first = Number(word(is64 ? 0x28 : 0x20));
  const size = view.getUint16(is64 ? 0x3a : 0x2e, true);
  const count = view.getUint16(is64 ? 0x3c : 0x30, true);
  return Array.from({ length: count }, (_, n) => {
    const at = first + n * size;
    const step = is64 ? 8 : 4;
    return {
      type: view.getUint32(at + 4, true),
      flags: word(at + 8),
      offset: Number(word(at + 8 + 2 * step)),
      size: Number(word(at + 8 + 3 * step)),
      link: view.getUint32(at + 8 + 4 * step, true),
    };
  });
}

function* tableSymbols(
  bytes: Uint8Array,
  is64: boolean,
  sections: readonly Section[],
  table: Section,
): Generator<CodeSymbol> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const strings = sections[table.link];
  if (strings === undefined) return;
  const entryBytes = is64 ? 24 : 16;
  const end = Math.min(table.offset + table.size, bytes.length);
  for (let at = table.offset; at + entryBytes <= end; at += entryBytes) {
    const type = view.getUint8(at + (is64 ? 4 : 12)) & 0xf;
    const section = sections[view.getUint16(at + (is64 ? 6 : 14), true)];
    const isCode = ((section?.flags ?? 0n) & SHF_EXECINSTR) !== 0n;
    if (!isCode || (type !== STT_FUNC && type !== STT_NOTYPE)) continue;
    const start = is64 ? view.getBigUint64(at + 8, true) : BigInt(view.getUint32(at + 4, true));
    const nameAt = strings.offset + view.getUint32(at, true);
    const nameEnd = bytes.indexOf(0, nameAt);
    if (nameEnd <= nameAt) continue;
    yield { name: new TextDecoder().decode(bytes.slice(nameAt, nameEnd)), start };
  }
}
