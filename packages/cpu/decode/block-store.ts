// Blocks of decoded instructions in shared memory: filled on demand, found through the hash that the loop probes,
// listed by physical page so that a write to code drops exactly the blocks it overlaps. When full, it starts anew.
//
// A block is a header, its records, and a record that looks up what follows. Dropping a block turns all its records
// into look-ups, so that even the block that runs at that moment ends behind the instruction that wrote.
//
// All workers of a machine share it. Every change is made under the lock of `World`; the first code of a page, and
// emptying, while all other vCPUs stand between two blocks (docs/design/smp.md).

import { assert } from '@mimic/base';
import { blockSet } from '../interpreter/block-cache.ts';
import type { HandlerNumbers } from '../interpreter/handlers.ts';
import { ENTRY_POINT, PSEUDO_HANDLERS, R, RECORD_BYTES } from '../interpreter/record.ts';
import { type CpuModel, cpuModel } from '../model/cpu-model.ts';
import { SHARED } from '../smp/shared-words.ts';
import { World } from '../smp/world.ts';
import { codeBitsOf, MODE_SINGLE_STEP } from '../state/decoding-mode.ts';
import {
  S,
  TLB_EMPTY_DISTANCE,
  TLB_ENTRIES,
  TLB_ENTRY,
  TLB_MODES,
  TLB_OFFSET,
  TLB_PAGE,
} from '../state/layout.ts';
import {
  PAGE, PAGE_BLOCKS_BASE, PAGE_BYTES, PAGE_FLAGS_BASE,
  PAGE_VERSIONS_BASE, RAM_BASE, RECORDS_BASE, RECORDS_BYTES, TRANSLATED_RECORDS_BASE, vcpuBase,
} from '../state/memory-map.ts'; // biome-ignore format: one import
import { BlockTable } from './block-table.ts';
import { decodeInstruction, INSTRUCTION_LENGTH_MAX } from './decoder.ts';
import { RecordWriter } from './record-writer.ts';

/** Instructions of one block at most. */
export const BLOCK_LENGTH_MAX = 64;

/** u32 words of a block header. */
const HEADER = {
  next: 0, gpa: 1, bytes: 2, mode: 3, records: 4, first: 5, keyGpa: 6,
  /** Of a translated block: a bit for each vCPU that has its function. */
  loadedBy: 7,
} as const; // biome-ignore format: words in order

/** What looking for a block comes to besides its address: there is none, or it crosses into a page not yet known. */
const NONE = 0;
const CROSSES = -1;
/** Room for the longest block: header, records, look-up, and a page crossing's second header. */
const BLOCK_ROOM_BYTES = (BLOCK_LENGTH_MAX + 4) * RECORD_BYTES;

/** Finds where the page behind an instruction that crosses lies: guest-physical address, or undefined after a fault. */
export type NextPage = () => number | undefined;

/** A translated region: a block for each place where it is entered. */
export interface TranslatedBlocks {
  /** Where it is entered, guest-physical, all in one page. */
  readonly entries: readonly number[];
  readonly mode: number;
  readonly handler: number;
  /** Place of its function in the table. */
  readonly slot: number;
  /** The bytes that it was made from: first, and behind the last. Within the entries' page. */
  readonly start: number;
  readonly end: number;
  /** Address of the memory for its headers and records, TRANSLATED_BLOCK_BYTES for each entry. */
  readonly records: number;
}
/** A write to a page of code dropped decoded blocks; `translated` of them were regions. */
export interface DroppedCode {
  readonly gpa: number;
  readonly sizeBytes: number;
  readonly blocks: number;
  readonly translated: number;
}
/** Bytes that a block of a translated region needs for its header and records. */
export const TRANSLATED_BLOCK_BYTES: number = 3 * RECORD_BYTES;

/** A list that another vCPU changes meanwhile may lead anywhere; it is not followed further than this. */
const LIST_MAX = 4096;

/** Addresses of a page where code has been entered, in a mode, and those of them where translated code is; for the
 *  translator, which only reads. */
export function enteredAt(
  memory: Uint32Array,
  page: number,
  mode: number,
): { readonly all: ReadonlySet<number>; readonly translated: ReadonlySet<number> } {
  const all = new Set<number>();
  const translated = new Set<number>();
  let block = memory[PAGE_BLOCKS_BASE / 4 + (page >>> 12)]!;
  for (let n = 0; block && n < LIST_MAX; n++) {
    const word = block / 4;
    if (memory[word + HEADER.mode] === mode) {
      all.add(memory[word + HEADER.keyGpa]!);
      if (block >= TRANSLATED_RECORDS_BASE) translated.add(memory[word + HEADER.keyGpa]!);
    }
    block = memory[word + HEADER.next]!;
  }
  return { all, translated };
}

export class BlockStore {
  /** Whose instructions are decoded; others raise #UD. */
  readonly model: CpuModel;
  readonly #lacking: ReadonlySet<string> | undefined;
  readonly #u8: Uint8Array;
  readonly #u16: Uint16Array;
  readonly #u32: Uint32Array;
  readonly #i64: BigInt64Array;
  readonly #handlers: HandlerNumbers;
  readonly #ramBytes: number;
  readonly #vcpuCount: number;
  readonly #writer: RecordWriter;
  readonly #crossing = new Uint8Array(INSTRUCTION_LENGTH_MAX);
  readonly #world: World;
  /** The vCPU whose table finds what is inserted. */
  readonly #index: number;
  readonly #table: BlockTable;
  readonly #tables: readonly BlockTable[];
  /** Blocks decoded, dropped by writes (and how many were regions), and times the store was emptied. */
  readonly counters = { decoded: 0, dropped: 0, droppedTranslated: 0, emptied: 0 };
  /** Called behind each write that dropped something, with the lock free. */
  onDrop: ((dropped: DroppedCode) => void) | undefined;
  /** Pages with code of the write that is under way; `counters` when it began. */
  readonly #beingWritten: number[] = [];
  #droppedBefore = 0;
  #regionsBefore = 0;

  constructor(options: {
    memory: WebAssembly.Memory;
    handlers: HandlerNumbers;
    ramBytes: number;
    vcpuCount: number;
    /** With several workers: whose store this is. Only the first worker's makes the store anew. */
    world?: World;
    index?: number;
    shares?: boolean;
    /** Default: the largest, and besides it the instructions that no model claims yet. */
    model?: CpuModel;
  }) {
    this.model = options.model ?? cpuModel('max');
    this.#lacking = options.model?.lacking;
    const { buffer } = options.memory;
    this.#u8 = new Uint8Array(buffer);
    this.#u16 = new Uint16Array(buffer);
    this.#u32 = new Uint32Array(buffer);
    this.#i64 = new BigInt64Array(buffer);
    this.#handlers = options.handlers;
    this.#writer = new RecordWriter(buffer, options.handlers);
    this.#ramBytes = options.ramBytes;
    this.#vcpuCount = options.vcpuCount;
    this.#index = options.index ?? 0;
    const { memory, vcpuCount } = options;
    this.#world = options.world ?? new World({ memory, index: this.#index, vcpuCount: 1 });
    this.#tables = Array.from({ length: vcpuCount }, (_, vcpu) => new BlockTable(memory, vcpu));
    this.#table = this.#tables[this.#index]!;
    if (!options.shares) this.#clear();
    assert(vcpuCount === 1 || options.world !== undefined, 'several processors need a world');
  }

  /** Where the next record goes. */
  get #free(): number {
    return this.#u32[SHARED.recordsFree]!;
  }
  set #free(address: number) {
    this.#u32[SHARED.recordsFree] = address;
  }

  /** Drops everything. */
  #clear(): void {
    this.#free = RECORDS_BASE;
    for (const table of this.#tables) table.clear();
    const pages = this.#ramBytes / PAGE_BYTES;
    for (let page = 0; page < pages; page++) {
      if (!(this.#u8[PAGE_FLAGS_BASE + page]! & PAGE.hasCode)) continue;
      this.#keepTranslated(page);
    }
  }

  /** Takes all blocks but the translated ones out of a page's list. */
  #keepTranslated(page: number): void {
    let link = PAGE_BLOCKS_BASE / 4 + page;
    for (let block = this.#u32[link]!; block; block = this.#u32[link]!) {
      const word = block / 4;
      if (block < TRANSLATED_RECORDS_BASE) {
        this.#u32[link] = this.#u32[word + HEADER.next]!;
        continue;
      }
      const first = this.#u32[word + HEADER.first]!;
      if (!this.#isNotLoaded(word))
        this.#table.insert(this.#u32[word + HEADER.keyGpa]!, this.#u32[word + HEADER.mode]!, first);
      link = word + HEADER.next;
    }
    if (this.#u32[PAGE_BLOCKS_BASE / 4 + page]) return;
    Atomics.and(this.#u8, PAGE_FLAGS_BASE + page, ~PAGE.hasCode);
    this.#u32[PAGE_VERSIONS_BASE / 4 + page]!++;
  }

  /**
   * Address of the first record of the block at a physical address, decoding it if need be; 0 after a fault.
   * Called between two blocks.
   */
  find(gpa: number, mode: number, nextPage: NextPage): number {
    // Asked for without the lock: it walks page tables, whose accessed bits may lie in a page with code.
    let next: number | undefined;
    for (;;) {
      const found = this.#findOrDecode(gpa, mode, next);
      if (found !== CROSSES) return found;
      next = nextPage();
      if (next === undefined) return 0;
    }
  }

  #findOrDecode(gpa: number, mode: number, next: number | undefined): number {
    this.#world.lock();
    const known = this.#findListed(gpa, mode, next);
    if (known !== NONE) {
      if (known !== CROSSES) this.#table.insert(gpa, mode, known);
      this.#world.unlock();
      return known;
    }
    const protects = this.#isUnprotected(gpa) || (next !== undefined && this.#isUnprotected(next));
    if (this.#hasBlockRoom && !protects) {
      const first = this.#decode(gpa, mode, next);
      this.#world.unlock();
      return first;
    }
    this.#world.unlock();
    return this.#decodeAlone(gpa, mode, next);
  }

  /**
   * Decodes while no other vCPU runs. For the first code of a page: a store that found its page writable before the
   * page was protected has then been made, and what is read here is what it stored. And to empty the store.
   */
  #decodeAlone(gpa: number, mode: number, next: number | undefined): number {
    this.#world.stopOthers();
    this.#world.lock();
    if (!this.#hasBlockRoom) {
      this.#clear();
      this.counters.emptied++;
    }
    // Before the bytes are read: devices write them first and look at the flag then.
    for (const at of next === undefined ? [gpa] : [gpa, next])
      if (this.#isUnprotected(at)) this.#protect(at >>> 12);
    let first = this.#findListed(gpa, mode, next);
    if (first === NONE) first = this.#decode(gpa, mode, next);
    else if (first !== CROSSES) this.#table.insert(gpa, mode, first);
    this.#world.unlock();
    this.#world.resumeOthers();
    return first;
  }
  get #hasBlockRoom(): boolean {
    return this.#free + BLOCK_ROOM_BYTES <= RECORDS_BASE + RECORDS_BYTES;
  }
  /** RAM of which no code is known yet: other vCPUs may be writing to it unnoticed. */
  #isUnprotected(gpa: number): boolean {
    return this.#isRam(gpa) && !(this.#u8[PAGE_FLAGS_BASE + (gpa >>> 12)]! & PAGE.hasCode);
  }

  /**
   * Makes translated code the blocks at its entries: their first records are ones that its handler runs. The memory for
   * them is the translator's. From now on writes to the code drop them, all at once. Each vCPU does so for itself, once the
   * function is in its table. False if the page is not what it was translated from.
   */
  install(region: TranslatedBlocks & { readonly version: number }): boolean {
    const [gpa] = region.entries;
    this.#world.lock();
    // Without code on the page writes are not counted; and the first code counts as one.
    const isCurrent = this.pageVersion(gpa!) === region.version && !this.#isUnprotected(gpa!);
    if (isCurrent) for (const n of region.entries.keys()) this.#installEntry(region, n);
    this.#world.unlock();
    return isCurrent;
  }
  #installEntry({ mode, handler, slot, start, end, ...region }: TranslatedBlocks, n: number): void {
    const gpa = region.entries[n]!;
    const header = region.records + n * TRANSLATED_BLOCK_BYTES;
    const first = header + RECORD_BYTES;
    const loadedBy = header / 4 + HEADER.loadedBy;
    if (this.#u16[(first + R.handler) / 2] === handler) {
      // Another vCPU has done so.
      this.#u32[loadedBy]! |= 1 << this.#index;
      this.#table.insert(gpa, mode, first);
      return;
    }
    const offset = gpa % PAGE_BYTES;
    this.#writer.blank(first, handler, offset);
    this.#i64[(first + R.immediate) / 8] = BigInt(slot | (n << ENTRY_POINT.numberShift));
    const last = first + RECORD_BYTES;
    this.#lookUp(last, offset, 0);
    this.#finish({ header, gpa: start, mode, end, record: last, keyGpa: gpa, first });
    this.#u32[loadedBy] = 1 << this.#index;
    this.#table.insert(gpa, mode, first);
  }
  /** A translated block whose function is not in this vCPU's table yet: for it the block is not there. */
  #isNotLoaded(headerWord: number): boolean {
    if (headerWord * 4 < TRANSLATED_RECORDS_BASE) return false;
    return !(this.#u32[headerWord + HEADER.loadedBy]! & (1 << this.#index));
  }
  /** Drops a translated region. */
  uninstall({ start, records, entries }: TranslatedBlocks): void {
    this.#world.lock();
    const end = records + entries.length * TRANSLATED_BLOCK_BYTES;
    let link = PAGE_BLOCKS_BASE / 4 + (start >>> 12);
    for (let block = this.#u32[link]!; block; block = this.#u32[link]!) {
      const word = block / 4;
      if (block >= records && block < end) {
        this.#drop(word);
        this.#u32[link] = this.#u32[word + HEADER.next]!;
      } else link = word + HEADER.next;
    }
    this.#world.unlock();
  }
  /** The block at an address is to be asked for again when it has been entered often enough once more. */
  recount(gpa: number, mode: number): void {
    this.#table.recount(gpa, mode);
  }
  /** Counts the writes to a page while it held code: what was made from it before such a write is out of date. */
  pageVersion(gpa: number): number {
    return this.#u32[PAGE_VERSIONS_BASE / 4 + (gpa >>> 12)]!;
  }

  #isRam(gpa: number): boolean {
    return gpa < this.#ramBytes && !(this.#u8[PAGE_FLAGS_BASE + (gpa >>> 12)]! & PAGE.notRam);
  }

  /** A block that crosses is the right one where the page behind is the one that it was decoded from. */
  #findListed(gpa: number, mode: number, next: number | undefined): number {
    if (!this.#isRam(gpa)) return NONE;
    let link = PAGE_BLOCKS_BASE / 4 + (gpa >>> 12);
    for (let block = this.#u32[link]!; block; block = this.#u32[link]!) {
      const word = block / 4;
      const first = this.#u32[word + HEADER.first]!;
      // A block that crosses may have been dropped through its other page (or because that page is another one now).
      if (this.#u16[(first + R.handler) / 2] === PSEUDO_HANDLERS.lookUp) {
        this.#u32[link] = this.#u32[word + HEADER.next]!;
        continue;
      }
      const isWanted =
        this.#u32[word + HEADER.keyGpa] === gpa && this.#u32[word + HEADER.mode] === mode;
      if (isWanted && !this.#isNotLoaded(word)) {
        if (this.#u16[(first + R.handler) / 2] !== PSEUDO_HANDLERS.verifyNextPage) return first;
        if (next === undefined) return CROSSES;
        if (Number(this.#i64[(first + R.immediate) / 8]) === next >>> 12) return first;
      }
      link = word + HEADER.next;
    }
    return NONE;
  }

  #decode(gpa: number, mode: number, next: number | undefined): number {
    const codeBits = codeBitsOf(mode);
    const header = this.#free;
    const first = header + RECORD_BYTES;
    // Not by `& ~`, whose result is signed: RAM goes beyond 2 GiB.
    const pageEnd = gpa - (gpa & (PAGE_BYTES - 1)) + PAGE_BYTES;
    const bytes = this.#isRam(gpa) ? this.#u8 : undefined;
    const countMax = mode & MODE_SINGLE_STEP ? 1 : BLOCK_LENGTH_MAX;
    let position = gpa >>> 0;
    let record = first;
    for (let count = 0; count < countMax; count++) {
      if (position >= pageEnd) break;
      if (!bytes) {
        this.#invalid(record, position & 0xfff);
        record += RECORD_BYTES;
        break;
      }
      const decoded = decodeInstruction(
        bytes,
        RAM_BASE + position,
        RAM_BASE + pageEnd,
        codeBits,
        this.#lacking,
      );
      if (decoded.status === 'moreBytes') {
        if (count > 0) break;
        return next === undefined ? CROSSES : this.#decodeCrossing(gpa, mode, codeBits, next);
      }
      const ends = this.#writer.write(record, decoded, position & 0xfff, codeBits === 64);
      record += RECORD_BYTES;
      position += decoded.length;
      if (ends) break;
    }
    this.#lookUp(record, position & 0xfff, position >= pageEnd ? PAGE_BYTES : 0);
    this.#finish({ header, gpa, mode, end: position, record, keyGpa: gpa, first });
    this.#free = record + RECORD_BYTES;
    this.#table.insert(gpa, mode, first);
    return first;
  }

  /** A block of the one instruction that begins on this page and ends on the next. */
  #decodeCrossing(gpa: number, mode: number, codeBits: 16 | 32 | 64, next: number): number {
    const here = PAGE_BYTES - (gpa & 0xfff);
    this.#crossing.fill(0xff);
    this.#crossing.set(
      this.#u8.subarray(RAM_BASE + gpa, RAM_BASE + gpa + Math.min(here, INSTRUCTION_LENGTH_MAX)),
    );
    if (this.#isRam(next)) {
      const from = RAM_BASE + next;
      this.#crossing.set(this.#u8.subarray(from, from + INSTRUCTION_LENGTH_MAX - here), here);
    }
    const decoded = decodeInstruction(
      this.#crossing,
      0,
      INSTRUCTION_LENGTH_MAX,
      codeBits,
      this.#lacking,
    );
    const header = this.#free;
    const alias = header + RECORD_BYTES;
    const first = alias + RECORD_BYTES;
    const offset = gpa & 0xfff;
    this.#writer.blank(first, PSEUDO_HANDLERS.verifyNextPage, offset);
    this.#i64[(first + R.immediate) / 8] = BigInt(next >>> 12);
    this.#i64[(first + R.displacement) / 8] = BigInt(blockSet(gpa, mode));
    this.#writer.write(first + RECORD_BYTES, decoded, offset, codeBits === 64);
    const last = first + 2 * RECORD_BYTES;
    this.#lookUp(last, (offset + decoded.length) & 0xfff, PAGE_BYTES);
    const end = gpa - offset + PAGE_BYTES;
    this.#finish({ header, gpa, mode, end, record: last, keyGpa: gpa, first });
    if (this.#isRam(next)) {
      this.#finish({
        header: alias,
        gpa: next,
        mode,
        end: next + decoded.length - here,
        record: last,
        keyGpa: gpa,
        first,
      });
    }
    this.#free = last + RECORD_BYTES;
    this.#table.insert(gpa, mode, first);
    return first;
  }

  /** Fills the header and links the block into its page. */
  #finish(b: {
    header: number;
    gpa: number;
    mode: number;
    end: number;
    record: number;
    keyGpa: number;
    first: number;
  }): void {
    const word = b.header / 4;
    const page = b.gpa >>> 12;
    this.counters.decoded++;
    if (!this.#isRam(b.gpa)) return;
    const head = PAGE_BLOCKS_BASE / 4 + page;
    this.#u32[word + HEADER.next] = this.#u32[head]!;
    this.#u32[word + HEADER.gpa] = b.gpa;
    this.#u32[word + HEADER.bytes] = Math.max(b.end - b.gpa, 1);
    this.#u32[word + HEADER.mode] = b.mode;
    this.#u32[word + HEADER.records] = (b.record - b.first) / RECORD_BYTES;
    this.#u32[word + HEADER.first] = b.first;
    this.#u32[word + HEADER.keyGpa] = b.keyGpa;
    this.#u32[head] = b.header;
  }

  /** Takes the write tags of a page out of all TLBs, so that each write to it is noticed. */
  #protect(page: number): void {
    Atomics.or(this.#u8, PAGE_FLAGS_BASE + page, PAGE.hasCode);
    this.#u32[PAGE_VERSIONS_BASE / 4 + page]!++;
    for (let vcpu = 0; vcpu < this.#vcpuCount; vcpu++) {
      const base = vcpuBase(vcpu) + TLB_OFFSET;
      for (let entry = 0; entry < TLB_MODES * TLB_ENTRIES; entry++) {
        const address = base + entry * TLB_ENTRY.size;
        if ((this.#u32[(address + TLB_ENTRY.page) / 4]! & TLB_PAGE.number) !== page) continue;
        const empty = ((entry % TLB_ENTRIES) * PAGE_BYTES) ^ TLB_EMPTY_DISTANCE;
        this.#i64[(address + TLB_ENTRY.writeTag) / 8] = BigInt(empty);
      }
    }
  }

  /** Drops the blocks that overlap what a device has written, within one page or across several. */
  invalidate(gpa: number, bytes: number): void {
    this.beginWrite(gpa, bytes);
    this.endWrite(gpa, bytes);
  }

  /**
   * A vCPU is about to write to pages with code: drops the blocks that overlap. Nobody decodes before `endWrite`, which has
   * to follow at once: code from before and from behind the write would be there at the same time, and a vCPU that has run
   * the new could come to the old again.
   */
  beginWrite(gpa: number, bytes: number): void {
    this.#world.lock();
    this.#droppedBefore = this.counters.dropped;
    this.#regionsBefore = this.counters.droppedTranslated;
    for (let page = gpa >>> 12; page <= (gpa + bytes - 1) >>> 12; page++) {
      if (!this.#isRam(page * PAGE_BYTES)) continue;
      if (!(this.#u8[PAGE_FLAGS_BASE + page]! & PAGE.hasCode)) continue;
      this.#invalidatePage(page, gpa, bytes);
      this.#beingWritten.push(page);
    }
  }
  endWrite(gpa: number, bytes: number): void {
    // Not before: the translator reads without the lock, and what it was asked for meanwhile is of no use.
    for (const page of this.#beingWritten) this.#u32[PAGE_VERSIONS_BASE / 4 + page]!++;
    this.#beingWritten.length = 0;
    const blocks = this.counters.dropped - this.#droppedBefore;
    const translated = this.counters.droppedTranslated - this.#regionsBefore;
    this.#world.unlock();
    if (blocks > 0) this.onDrop?.({ gpa, sizeBytes: bytes, blocks, translated });
  }

  #invalidatePage(page: number, gpa: number, bytes: number): void {
    const head = PAGE_BLOCKS_BASE / 4 + page;
    let link = head;
    for (let block = this.#u32[head]!; block; block = this.#u32[link]!) {
      const word = block / 4;
      const start = this.#u32[word + HEADER.gpa]!;
      if (start < gpa + bytes && gpa < start + this.#u32[word + HEADER.bytes]!) {
        this.#drop(word);
        this.#u32[link] = this.#u32[word + HEADER.next]!;
      } else link = word + HEADER.next;
    }
    if (!this.#u32[head]) Atomics.and(this.#u8, PAGE_FLAGS_BASE + page, ~PAGE.hasCode);
  }

  #drop(headerWord: number): void {
    this.counters.dropped++;
    if (this.#isRegion(headerWord)) this.counters.droppedTranslated++;
    for (let vcpu = 0; vcpu < this.#vcpuCount; vcpu++) {
      this.#u32[(vcpuBase(vcpu) + S.codeChanged.offset) / 4] = 1;
    }
    const first = this.#u32[headerWord + HEADER.first]!;
    const count = this.#u32[headerWord + HEADER.records]!;
    for (let n = 0; n < count; n++)
      this.#u16[(first + n * RECORD_BYTES) / 2] = PSEUDO_HANDLERS.lookUp;
    const keyGpa = this.#u32[headerWord + HEADER.keyGpa]!;
    for (const table of this.#tables)
      table.forget(keyGpa, this.#u32[headerWord + HEADER.mode]!, first);
    // The block's other header, if it has one, must not find it again.
    this.#u32[headerWord + HEADER.keyGpa] = 0xffff_ffff;
  }

  /** The first of a region's blocks. */
  #isRegion(headerWord: number): boolean {
    if (headerWord * 4 < TRANSLATED_RECORDS_BASE) return false;
    const first = this.#u32[headerWord + HEADER.first]!;
    return this.#i64[(first + R.immediate) / 8]! >> BigInt(ENTRY_POINT.numberShift) === 0n;
  }

  #invalid(record: number, pageOffset: number): void {
    this.#writer.blank(record, this.#handlers.invalid, pageOffset);
  }
  /** The record behind the last instruction; behind the page's end its offset is beyond the page. */
  #lookUp(record: number, pageOffset: number, wrapBytes: number): void {
    this.#writer.blank(
      record,
      PSEUDO_HANDLERS.lookUp,
      pageOffset + (pageOffset < PAGE_BYTES ? wrapBytes : 0),
    );
  }
}
