// A program under test as items: instructions whose branches name other items, so that some can be left out and the
// rest put together anew. What is left out has no bytes; a branch to it goes to the next item that is kept.

import type { TableForm } from '../../packages/cpu/interpreter/handlers.ts';
import { type Built, littleEndian } from '../silicon/encode.ts';
import { CODE } from '../silicon/layout.ts';

/** Where InstructionBuilder is told that instructions lie; displacements from rip are moved from there. */
export const BUILT_AT: number = CODE + 0x400;

/** A place in an item's bytes that holds where another item is. */
export interface Fixup {
  readonly at: number;
  readonly width: 1 | 2 | 4;
  /** Counted from this instruction's end, or from the start of the address space less `base`. */
  readonly from: 'end' | 'zero';
  readonly base?: number;
  readonly item: number;
  /** Bytes behind that item's first one. */
  readonly offset: number;
}

/** Masks of RFLAGS bits: needed, certainly given a defined value, perhaps left undefined. */
export interface FlagEffects {
  readonly reads: number;
  readonly defines: number;
  readonly undefines: number;
}
export const NO_FLAGS: FlagEffects = { reads: 0, defines: 0, undefines: 0 };

export interface Item {
  readonly bytes: readonly number[];
  readonly fixups: readonly Fixup[];
  /** A branch's short form, taken if its target is near enough. */
  readonly short?: { readonly bytes: readonly number[]; readonly fixups: readonly Fixup[] };
  readonly table?: TableForm;
  readonly built?: Built;
  /** No instruction: what comes next lies at this linear address, or behind what was before if that is further on. */
  readonly gapTo?: number;
  readonly flags: FlagEffects;
  readonly fallsThrough: boolean;
  /** Items that may run next, besides the one behind. */
  readonly targets: readonly number[];
  readonly isReturn?: boolean;
  /** Behind a call: returns may lead here. */
  readonly isReturnPoint?: boolean;
  /** Gives flags defined values before an item that needs them; left out where they have some. */
  readonly isDefiner?: boolean;
}

export interface Assembled {
  readonly code: readonly number[];
  /** Linear address of each item, and the one behind the last. */
  readonly addresses: readonly number[];
}

/** Puts the kept items one behind the other, from a linear address on. */
export function assembleItems(
  items: readonly Item[],
  kept: readonly boolean[],
  start: number,
): Assembled {
  const isShort = items.map((item) => item.short !== undefined);
  for (;;) {
    const bodies = items.map((item, n) =>
      !kept[n] ? EMPTY : isShort[n] ? item.short! : { bytes: item.bytes, fixups: item.fixups },
    );
    const addresses = [start];
    for (const [n, body] of bodies.entries())
      addresses.push(addresses.at(-1)! + body.bytes.length + gapAt(items[n]!, kept[n]!, addresses));
    let fits = true;
    const code = bodies.flatMap((body, n) => {
      const bytes = [...body.bytes, ...filler(items[n]!, kept[n]!, addresses.slice(0, n + 1))];
      const end = addresses[n + 1]!;
      for (const fixup of body.fixups) {
        const target = addresses[fixup.item]! + fixup.offset;
        const value = target - (fixup.from === 'end' ? end : (fixup.base ?? 0));
        if (fixup.width === 1 && (value < -128 || value > 127)) {
          isShort[n] = false;
          fits = false;
        }
        const field = littleEndian(BigInt.asUintN(8 * fixup.width, BigInt(value)), fixup.width);
        bytes.splice(fixup.at, fixup.width, ...field);
      }
      moveRelative(bytes, items[n]!, addresses[n]!);
      return bytes;
    });
    if (fits) return { code, addresses };
  }
}
/** Bytes of an item that is a gap, given the addresses up to its own. */
function gapAt({ gapTo }: Item, isKept: boolean, addresses: readonly number[]): number {
  return isKept && gapTo !== undefined ? Math.max(0, gapTo - addresses.at(-1)!) : 0;
}
function filler(item: Item, isKept: boolean, addresses: readonly number[]): number[] {
  return item.gapTo === undefined ? [] : Array(gapAt(item, isKept, addresses)).fill(INT3);
}
const INT3 = 0xcc;
const EMPTY = { bytes: [], fixups: [] } as const;

function moveRelative(bytes: number[], item: Item, address: number): void {
  const at = item.built?.relativeAt;
  if (at === undefined || !bytes.length) return;
  const old = bytes.slice(at, at + 4).reduce((sum, byte, n) => sum + byte * 2 ** (8 * n), 0);
  const moved = BigInt.asUintN(32, BigInt(old - (address - BUILT_AT)));
  bytes.splice(at, 4, ...littleEndian(moved, 4));
}
