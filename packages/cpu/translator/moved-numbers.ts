// Numbers in the code that a Linux kernel changes at each boot. Its image goes to a random place of the first gigabyte of
// the last two (KASLR), and with it move 32-bit numbers that are addresses, and those relative to rip that are not: offsets
// of variables of a processor, which do not move while rip does. Regions that are kept do not contain them; they read
// them from memory of their own (region-memory.ts).

import type { Local } from '../lift/ir.ts';

/** In a region's memory: sign-extended. */
export const MOVED_BYTES = 8;
/** In the code. */
const CODE_BYTES = 4;

export interface MovedNumber {
  /** Offset in the page. */
  readonly at: number;
  /** What the meaning of the instruction adds to it: 0, or the offset of what it is relative to. */
  readonly plus: number;
}

/** Those that a region reads. */
export interface MovedNumbers {
  /** Holds the address of the region's memory: MOVED_BYTES for each number, in this order. */
  readonly base: Local;
  readonly numbers: MovedNumber[];
}

/** Whether a number is one that moves: an address in the last two gigabytes but one; or the way from there to the first. */
export function mayMove(value: number | bigint, isRelative: boolean): boolean {
  return BigInt(value) >> 30n === (isRelative ? 1n : -2n);
}

/** Whether moved numbers that are made of the bytes of a page are such numbers. */
export function areMoved(page: Uint8Array, numbers: readonly MovedNumber[]): boolean {
  return numbers.every(({ at, plus }) => mayMove(readInt32(page, at), plus !== 0));
}
export function isInMoved(numbers: readonly MovedNumber[], offset: number): boolean {
  return numbers.some(({ at }) => offset >= at && offset < at + CODE_BYTES);
}

/** What a region's memory has of a number. */
export function movedNumber(page: Uint8Array, { at, plus }: MovedNumber): bigint {
  return BigInt(readInt32(page, at) + plus);
}

function readInt32(page: Uint8Array, at: number): number {
  return page[at]! | (page[at + 1]! << 8) | (page[at + 2]! << 16) | (page[at + 3]! << 24);
}
