// Places of a region's code as numbers: offsets in its page, and behind them, each in a space of its own, offsets in
// the pages of the functions that it links to (links.ts).

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
