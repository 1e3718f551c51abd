// Numbers in the code that a Linux kernel changes at each boot. Its image goes to a random place (KASLR), and with it move
// 32-bit numbers that are addresses, and those relative to rip that are not: offsets of variables of a processor, which do
// not move while rip does. Regions that are kept do not contain them; they read them from memory of their own
// (region-memory.ts).

import type { Local } from '../lift/ir.ts';
import { linkOf, offsetOf } from './places.ts';

/** In a region's memory. */
export const MOVED_BYTES = 8;
/** In the code. */
const CODE_BYTES = 4;

/**
 * What moves: addresses in the first gigabyte of the last two, where a 64-bit kernel goes; the way to the first pages
 * from there, relative to rip; and in 32-bit code addresses in the first half of the last gigabyte.
 */
export type MovedKind = 'address64' | 'relative' | 'address32';
const FIRST: Readonly<Record<MovedKind, number>> = {
  address64: -(2 ** 31),
  relative: 2 ** 30,
  address32: -(2 ** 30),
};
const LENGTH: Readonly<Record<MovedKind, number>> = {
  address64: 2 ** 30,
  relative: 2 ** 30,
  address32: 2 ** 29,
};

export interface MovedNumber {
  readonly kind: MovedKind;
  /** Place in the region (places.ts). */
  readonly at: number;
  /** What the meaning of the instruction adds to it: 0, or the offset of what it is relative to. */
  readonly plus: number;
  /** Extended to 64 bits with zeros, not with its sign. */
  readonly isUnsigned: boolean;
}

/** A number by the offset in its page, and its place among those of the region. */
export interface IndexedNumber extends MovedNumber {
  readonly n: number;
}
/** The numbers in the code of a region's page (0) or of a link. */
export function movedIn(moved: readonly MovedNumber[], link: number): IndexedNumber[] {
  const all = moved.map((number, n) => ({ ...number, at: offsetOf(number.at), n }));
  return all.filter((_, n) => linkOf(moved[n]!.at) === link);
}

/** Those that a region reads. */
export interface MovedNumbers {
  /** Holds the address of the region's memory: MOVED_BYTES for each number, in this order. */
  readonly base: Local;
  readonly numbers: MovedNumber[];
}

/** The number of an instruction's field, if it is one that moves. `value`: what the field comes to. */
export function movedNumberOf(
  value: bigint,
  { kind, at, plus = 0 }: { kind: MovedKind; at: number; plus?: number },
): MovedNumber | undefined {
  const inCode = Number(BigInt.asIntN(32, value)) - plus;
  const isUnsigned = value >= 2n ** 31n;
  const known = { kind, at, plus, isUnsigned };
  return mayMove(inCode, kind) && extended(inCode, known) === value ? known : undefined;
}

function mayMove(value: number, kind: MovedKind): boolean {
  return value >= FIRST[kind] && value < FIRST[kind] + LENGTH[kind];
}

/** Whether numbers of these kinds are at these places of a page. */
export function areMoved(page: Uint8Array, numbers: readonly MovedNumber[]): boolean {
  return numbers.every(({ at, kind }) => mayMove(readInt32(page, at), kind));
}
export function isInMoved(numbers: readonly MovedNumber[], offset: number): boolean {
  return numbers.some(({ at }) => offset >= at && offset < at + CODE_BYTES);
}

/** What a region's memory has of a number. */
export function movedNumber(page: Uint8Array, number: MovedNumber): bigint {
  return extended(readInt32(page, number.at), number);
}

function extended(inCode: number, { plus, isUnsigned }: MovedNumber): bigint {
  return BigInt((isUnsigned ? inCode >>> 0 : inCode) + plus);
}

function readInt32(page: Uint8Array, at: number): number {
  return page[at]! | (page[at + 1]! << 8) | (page[at + 2]! << 16) | (page[at + 3]! << 24);
}
