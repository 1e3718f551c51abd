// The memory that a region has for itself: numbers that its code is not to contain, the blocks that lead to it, records of
// instructions that handlers run. Its code finds it through a constant of its instance, so that it can lie anywhere.

import { TRANSLATED_BLOCK_BYTES } from '../decode/block-store.ts';
import { RECORD_BYTES } from '../interpreter/record.ts';
import { MOVED_BYTES } from './moved-numbers.ts';

/** Bytes from its beginning. */
export interface RegionMemory {
  readonly blocks: number;
  readonly records: number;
  readonly bytes: number;
}

/** `moved`: numbers that it reads; `handled`: instructions that handlers run. */
export function regionMemory(counts: {
  readonly moved: number;
  readonly entries: number;
  readonly handled: number;
}): RegionMemory {
  const blocks = Math.ceil((counts.moved * MOVED_BYTES) / RECORD_BYTES) * RECORD_BYTES;
  const records = blocks + counts.entries * TRANSLATED_BLOCK_BYTES;
  return { blocks, records, bytes: records + counts.handled * RECORD_BYTES };
}

/** Name under which a module imports the address of one of its regions' memory. */
export function memoryName(number: number): string {
  return `region${number}`;
}
