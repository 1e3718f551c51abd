// A vCPU's table of decoded blocks by physical address and mode: what findBlock (interpreter/block-cache.ts) looks at for
// each block it enters. A block may be in any place of its set; the newest is in the first. What does not fit is found
// through the list of its page (block-store.ts).

import { BLOCK_SET_BYTES, blockSet } from '../interpreter/block-cache.ts';
import {
  BLOCK_HASH_ENTRIES,
  BLOCK_HASH_ENTRY_BYTES,
  BLOCK_HASH_OFFSET,
  TRANSLATED_RECORDS_BASE,
  vcpuBase,
} from '../state/memory-map.ts';

const ENTRY_WORDS = BLOCK_HASH_ENTRY_BYTES / 4;
const SET_WORDS = BLOCK_SET_BYTES / 4;
/** Words of an entry. */
const ENTRY = { gpa: 0, mode: 1, first: 2, count: 3 } as const;
/** Address and mode in an empty place: no mode is this. */
const EMPTY = 0xffff_ffff;
/** Count of a block that is translated already. */
const IS_TRANSLATED = 0x8000_0000;

export class BlockTable {
  readonly #words: Uint32Array;
  readonly #start: number;

  constructor(memory: WebAssembly.Memory, vcpu: number) {
    this.#words = new Uint32Array(memory.buffer);
    this.#start = (vcpuBase(vcpu) + BLOCK_HASH_OFFSET) / 4;
  }

  clear(): void {
    this.#words.fill(EMPTY, this.#start, this.#start + BLOCK_HASH_ENTRIES * ENTRY_WORDS);
  }

  #set(gpa: number, mode: number): number {
    return this.#start + blockSet(gpa, mode) / 4;
  }

  /** Index of the word that holds a block's entry, or undefined. */
  #find(gpa: number, mode: number): number | undefined {
    const set = this.#set(gpa, mode);
    for (let word = set; word < set + SET_WORDS; word += ENTRY_WORDS)
      if (this.#words[word] === gpa && this.#words[word + ENTRY.mode] === mode) return word;
    return undefined;
  }

  /** Where it is counted how often a block is entered: index of an i32; undefined when the block is not in the table. */
  countWord(gpa: number, mode: number): number | undefined {
    const word = this.#find(gpa, mode);
    return word === undefined ? undefined : word + ENTRY.count;
  }

  /** Its first free place, or else its last one. */
  #freeIn(set: number): number {
    const last = set + SET_WORDS - ENTRY_WORDS;
    for (let word = set; word < last; word += ENTRY_WORDS)
      if (this.#words[word + ENTRY.mode] === EMPTY) return word;
    return last;
  }

  /** Into the first place; what is there moves on, up to the next free place, or else the last one is gone. */
  insert(gpa: number, mode: number, first: number): void {
    const words = this.#words;
    const set = this.#set(gpa, mode);
    const free = this.#find(gpa, mode) ?? this.#freeIn(set);
    words.copyWithin(set + ENTRY_WORDS, set, free);
    words[set] = gpa;
    words[set + ENTRY.mode] = mode;
    words[set + ENTRY.first] = first;
    // Entries are counted until a block is hot; a translated one stays as it is.
    words[set + ENTRY.count] = first >= TRANSLATED_RECORDS_BASE ? IS_TRANSLATED : 0;
  }

  /** Takes a block out, unless the table knows another one for this address. */
  forget(gpa: number, mode: number, first: number): void {
    const word = this.#find(gpa, mode);
    if (word === undefined || this.#words[word + ENTRY.first] !== first) return;
    this.#words[word] = EMPTY;
    this.#words[word + ENTRY.mode] = EMPTY;
  }

  /** A block is to be counted from the start. */
  recount(gpa: number, mode: number): void {
    const word = this.countWord(gpa, mode);
    if (word !== undefined) this.#words[word] = 0;
  }
}
