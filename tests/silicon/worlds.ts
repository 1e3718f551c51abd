// The surroundings in which a case runs: code size and segments. Each is what a user program under Linux can have.

import { DATA, LDT_SEGMENTS, selector } from './layout.ts';

/** Segment registers in the manual's encoding order. */
export const SEGMENT_NAMES = ['es', 'cs', 'ss', 'ds', 'fs', 'gs'] as const;
export type SegmentName = (typeof SEGMENT_NAMES)[number];

export interface World {
  readonly name: string;
  readonly bits: 64 | 32 | 16;
  readonly selectors: Readonly<Record<SegmentName, number>>;
  /** Bases of FS and GS in 64-bit mode. */
  readonly fsBase?: number;
  readonly gsBase?: number;
}

const flat = selector('data32Flat');

export const WORLDS = {
  long: {
    name: '64-bit',
    bits: 64,
    selectors: { es: 0, cs: selector('code64'), ss: flat, ds: 0, fs: 0, gs: 0 },
    fsBase: DATA - 0x3000,
    gsBase: 0x7000,
  },
  flat: {
    name: '32-bit flat',
    bits: 32,
    selectors: {
      es: flat,
      cs: selector('code32Flat'),
      ss: flat,
      ds: flat,
      fs: selector('wrapping'),
      gs: selector('data32'),
    },
  },
  segmented: {
    name: '32-bit segments',
    bits: 32,
    selectors: {
      es: selector('down32'), cs: selector('code32'), ss: selector('down16'),
      ds: selector('data32'), fs: selector('readOnly'), gs: 0,
    }, // biome-ignore format: a table
  },
  small: {
    name: '16-bit',
    bits: 16,
    selectors: {
      es: selector('data16'), cs: selector('code16'), ss: selector('stack16'),
      ds: selector('data16'), fs: selector('wrapping'), gs: selector('down16'),
    }, // biome-ignore format: a table
  },
  mixed: {
    name: '16-bit, 32-bit stack',
    bits: 16,
    selectors: {
      es: selector('readOnly'), cs: selector('code16'), ss: flat,
      ds: selector('data16'), fs: selector('data32'), gs: selector('available'),
    }, // biome-ignore format: a table
  },
} as const satisfies Readonly<Record<string, World>>;
export type WorldName = keyof typeof WORLDS;
export const WORLD_NAMES = Object.keys(WORLDS) as readonly WorldName[];

/** Linear address of offset 0 in a segment. */
export function segmentBase(world: World, segment: SegmentName): number {
  if (world.bits === 64) {
    return segment === 'fs' ? (world.fsBase ?? 0) : segment === 'gs' ? (world.gsBase ?? 0) : 0;
  }
  const value = world.selectors[segment];
  return value & 4 ? LDT_SEGMENTS[value >> 3]!.base : 0;
}
export function isStackBig(world: World): boolean {
  const value = world.selectors.ss;
  return !(value & 4) || !!LDT_SEGMENTS[value >> 3]!.isBig;
}

/** Selectors that a recorded case may load: all kinds of segments, absent ones, null, and some that do not exist. */
export const SELECTORS: readonly number[] = [
  ...LDT_SEGMENTS.flatMap((s, n) => (s.isForPrograms ? [] : [(n << 3) | 7])),
  selector('code32Flat'), selector('data32Flat'), selector('code64'),
  0, 0, 1, 3, flat & ~3, 0x2c, 0x9f, 0xffff, 0x08, selector('data32') & ~3,
]; // biome-ignore format: a list
