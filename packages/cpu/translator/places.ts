// Places of a region's code as numbers: offsets in its page, and behind them, each in a space of its own, offsets in
// the pages of the functions that it links to (links.ts).

import { PAGE_BYTES } from '../state/memory-map.ts';

/** From one space to the next: a place right behind a page is still its own. */
const SPACE = 0x2000;

/** The link that a place belongs to, from 1; 0: the region's own page. */
export function linkOf(place: number): number {
  return Math.floor(place / SPACE);
}
/** Offset in its page. */
export function offsetOf(place: number): number {
  return place & (SPACE - 1);
}
export function placeIn(link: number, offset: number): number {
  return link * SPACE + offset;
}

/** Where an instruction is read, if not simply in the region's page. */
export interface ReadAt {
  readonly place: number;
  /** Its address less that of the region's page. */
  readonly distance: number;
  /** Place of the region that a jump to an address leads to, given as a distance; undefined: to none. */
  readonly placeOf: (distance: number) => number | undefined;
}

/** In the region's page, where jumps lead to places of that page alone. */
export function inPage(offset: number): ReadAt {
  const placeOf = (distance: number) => (isInPage(distance) ? distance : undefined);
  return { place: offset, distance: offset, placeOf };
}

function isInPage(offset: number): boolean {
  return offset >= 0 && offset < PAGE_BYTES;
}
