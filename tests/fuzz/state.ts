// The state around a random program: registers that point into the data pages, numbers in memory, where the code lies.

import type { Aim, Poke } from '../silicon/encode.ts';
import { fillFx, fillSegments, vectorHalf } from '../silicon/generate.ts';
import { CODE, DATA, type Layout, layoutOf, PAGE, STACK, TEST } from '../silicon/layout.ts';
import type { Random } from '../silicon/random.ts';
import { ARITHMETIC_FLAGS } from '../silicon/undefined.ts';
import { isStackBig, segmentBase, WORLDS, type World, type WorldName } from '../silicon/worlds.ts';
import type { Translation } from './engines.ts';
import { assembleItems, type Item } from './item.ts';
import { GUARD, GUARD_REGISTER } from './templates.ts';

/** All pages that exist are compared: a program may write to each, its own code too. */
export const FUZZ_LAYOUT: Layout = layoutOf([
  { address: CODE, bytes: 2 * PAGE },
  { address: DATA, bytes: 2 * PAGE },
  { address: STACK, bytes: PAGE },
]);
/** Bytes that a program can have wherever it begins. */
export const CODE_MAX: number = PAGE - 256;
/** A program retires at most this many instructions; repeated string instructions count once for each element. */
export const INSTRUCTIONS_MAX = 20_000;
const RUNS_FREELY = 1 << 30;
const TRANSLATIONS: readonly Translation[] = ['counting', 'free', 'shared', 'kept'];

/** Index in a case's memory of a linear address, if there is a page. */
export function memoryIndex(linear: number): number | undefined {
  let at = 0;
  for (const part of FUZZ_LAYOUT.parts) {
    if (linear >= part.address && linear < part.address + part.bytes)
      return at + linear - part.address;
    at += part.bytes;
  }
  return undefined;
}

/** Where memory operands lie: mostly inside the data pages, sometimes across their border, seldom outside. */
export function aimOf(random: Random, name: WorldName): Aim {
  const world: World = WORLDS[name];
  const isFlat = name === 'long' || name === 'flat';
  const places = [
    DATA + 0x80,
    DATA + PAGE - 0x40,
    DATA + PAGE + 0x200,
    DATA + 2 * PAGE - 0x180,
    STACK + PAGE / 2 + 0x100,
  ];
  const registers = name === 'long' ? [5, 8, 9, 12, 13] : isFlat ? [3, 5] : [];
  const pointers = registers.map((n) => [n, random.pick(places) + 8 * random.below(4)] as const);
  const indices = name === 'long' ? [10, 14].map((n) => [n, random.below(16)] as const) : [];
  return {
    pointers,
    indices,
    target(r, segment) {
      const isStack = segment === 'ss' && world.bits !== 64 && segmentBase(world, 'ss') !== 0;
      if (isStack) return STACK + PAGE / 2 + 64 + 8 * r.below(32);
      const odd = r.chance(12) ? r.below(16) : 0;
      const roll = r.below(100);
      if (roll < 2) return r.pick([DATA, DATA + 2 * PAGE]) - 12 + r.below(24);
      if (roll < 14) return DATA + PAGE - 32 + 16 * r.below(4) + odd;
      if (roll < 20 && isFlat) return STACK + PAGE / 2 + 0x80 + 16 * r.below(8) + odd;
      return r.pick(places.slice(0, 4)) + 16 * r.below(8) + odd;
    },
  };
}

export function initialState(
  random: Random,
  o: {
    readonly world: WorldName;
    readonly items: readonly Item[];
    readonly aim: Aim;
    readonly pokes: readonly Poke[];
  },
): { start: number; state: Uint8Array; slice: number; translation: Translation } {
  const world: World = WORLDS[o.world];
  const state = new Uint8Array(FUZZ_LAYOUT.testBytes);
  const view = new DataView(state.buffer);
  const { code } = assembleItems(
    o.items,
    o.items.map(({ gapTo }) => gapTo === undefined),
    CODE,
  );
  const crosses = random.chance(30) && code.length > 8;
  const start =
    CODE + (crosses ? PAGE - 1 - random.below(code.length) : 64 + random.below(PAGE - 512));
  fillSegments(view, world);
  const width = world.bits === 64 ? 64 : 32;
  for (let n = 0; n < (width === 64 ? 16 : 8); n++)
    view.setBigUint64(TEST.gpr + 8 * n, BigInt.asUintN(width, random.integer()), true);
  const set = (n: number, value: number) =>
    view.setBigUint64(TEST.gpr + 8 * n, BigInt(value), true);
  for (const [n, value] of [...o.aim.pointers, ...o.aim.indices]) set(n, value);
  set(
    4,
    STACK +
      PAGE / 2 +
      8 * random.below(8) -
      (isStackBig(world) ? segmentBase(world, 'ss') : STACK - 0x4000),
  );
  const turns = 2 + random.below(random.chance(20) ? 200 : 30);
  if (world.bits === 64) set(GUARD_REGISTER, turns);
  view.setUint32(
    TEST.rflags,
    (random.u32() & ARITHMETIC_FLAGS) | 0x202 | (random.chance(5) ? 0x400 : 0),
    true,
  );
  fillFx(
    random,
    view,
    o.items.flatMap((item) => (item.table ? [item.table] : [])),
  );
  fillMemory(random, view);
  for (const poke of o.pokes) {
    poke.bytes.forEach((byte, n) => {
      const index = memoryIndex(poke.address + n);
      if (index !== undefined) state[TEST.memory + index] = byte;
    });
  }
  view.setUint32(TEST.memory + memoryIndex(GUARD)!, turns, true);
  const slice = random.chance(60) ? RUNS_FREELY : random.pick([1, 3, 17, 50, 200, 1000]);
  // Only what counts ends with a slice.
  const translation = slice < RUNS_FREELY ? 'counting' : random.pick(TRANSLATIONS);
  return { start, state, slice, translation };
}

function fillMemory(random: Random, view: DataView): void {
  const fill = random.below(4);
  const from = TEST.memory + memoryIndex(DATA)!;
  const to = TEST.memory + FUZZ_LAYOUT.memoryBytes;
  for (let at = from; at < to; at += 4) view.setUint32(at, random.u32(), true);
  if (fill === 3) return;
  for (let at = from; at < from + 2 * PAGE; at += 8)
    if (at % 512 < 256) view.setBigUint64(at, vectorHalf(random, fill), true);
}

/** The struct test of a program with those of its items that are kept, and where they came to lie. */
export function assembleCase(
  program: {
    readonly items: readonly Item[];
    readonly start: number;
    readonly state: Uint8Array;
    readonly world: WorldName;
  },
  kept: readonly boolean[],
): { bytes: Uint8Array; addresses: readonly number[] } {
  const { code, addresses } = assembleItems(program.items, kept, program.start);
  const bytes = program.state.slice();
  const view = new DataView(bytes.buffer);
  bytes.fill(0xcc, TEST.memory, TEST.memory + 2 * PAGE);
  bytes.set(code, TEST.memory + program.start - CODE);
  const rip = program.start - segmentBase(WORLDS[program.world], 'cs');
  view.setBigUint64(TEST.rip, BigInt(rip), true);
  return { bytes, addresses };
}
