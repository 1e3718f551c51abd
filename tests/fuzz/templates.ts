// Items that the instruction table cannot give by itself because they name other items: branches, calls, loops with
// their guard, stores into the program's own code. Encodings: SDM vol 2, the instruction's page.

import { littleEndian } from '../silicon/encode.ts';
import { DATA, PAGE, selector } from '../silicon/layout.ts';
import type { Random } from '../silicon/random.ts';
import { ARITHMETIC_FLAGS, FLAG_BITS } from '../silicon/undefined.ts';
import { SEGMENT_NAMES, type SegmentName, segmentBase, type World } from '../silicon/worlds.ts';
import { type Fixup, type FlagEffects, type Item, NO_FLAGS } from './item.ts';

/** A doubleword that every back edge counts down: a program ends when it is used up. */
export const GUARD: number = DATA + PAGE / 2 + 0x40;
/** The register that counts instead, in 64-bit code. */
export const GUARD_REGISTER = 15;
const SUB_FLAGS: FlagEffects = { reads: 0, defines: ARITHMETIC_FLAGS, undefines: 0 };
const { C, P, Z, S, O } = FLAG_BITS as Record<'C' | 'P' | 'Z' | 'S' | 'O', number>;
/** Flags that each pair of conditions looks at: O B E BE S P L LE. SDM vol 1 appendix B. */
const CONDITION_READS = [O, C, Z, C | Z, S, P, S | O, S | O | Z] as const;
export const conditionReads = (code: number): number => CONDITION_READS[code >> 1]!;

const LONG_SCRATCH = 11;
/** Near displacements follow the operand size. */
const nearWidth = (world: World): 2 | 4 => (world.bits === 16 ? 2 : 4);

function plain(bytes: readonly number[], flags: FlagEffects = NO_FLAGS): Item {
  return { bytes, fixups: [], flags, fallsThrough: true, targets: [] };
}

function branch(
  world: World,
  opcode: readonly number[],
  shortOpcode: number | undefined,
  to: number,
  rest: Pick<Item, 'flags' | 'fallsThrough'>,
): Item {
  const near = {
    at: opcode.length,
    width: nearWidth(world),
    from: 'end',
    item: to,
    offset: 0,
  } as const;
  const bytes = [...opcode, ...Array<number>(near.width).fill(0)];
  const short =
    shortOpcode === undefined
      ? {}
      : {
          short: {
            bytes: [shortOpcode, 0],
            fixups: [{ at: 1, width: 1, from: 'end', item: to, offset: 0 } as const],
          },
        };
  return { bytes, fixups: [near], ...short, targets: [to], ...rest };
}
/** Jcc; short where it can be, unless told otherwise. */
export function jumpIf(world: World, code: number, to: number, isNear = false): Item {
  return branch(world, [0x0f, 0x80 + code], isNear ? undefined : 0x70 + code, to, {
    flags: { ...NO_FLAGS, reads: conditionReads(code) },
    fallsThrough: true,
  });
}
export function jump(world: World, to: number): Item {
  return branch(world, [0xe9], 0xeb, to, { flags: NO_FLAGS, fallsThrough: false });
}
/** Jumps over which a branch of two bytes was written lead on behind them too. */
function nearJump(world: World, to: number): Item {
  return branch(world, [0xe9], undefined, to, { flags: NO_FLAGS, fallsThrough: true });
}
export function call(world: World, to: number): Item {
  return branch(world, [0xe8], undefined, to, { flags: NO_FLAGS, fallsThrough: false });
}
export const returnItem = (): Item => ({
  ...plain([0xc3]),
  fallsThrough: false,
  isReturn: true,
});
/** CMP with registers: gives all flags a value. */
export const definer = (r: Random): Item => ({
  ...plain([r.pick([0x39, 0x38, 0x3b]), 0xc0 | r.below(64)], SUB_FLAGS),
  isDefiner: true,
});

/** Loads the address of an item into a scratch register: rax or r11. */
function addressOf(world: World, register: number, to: number): Item {
  const width = nearWidth(world);
  if (world.bits === 64) {
    const bytes = [0x48 | ((register >> 3) << 2), 0x8d, 0x05 | ((register & 7) << 3), 0, 0, 0, 0];
    const fixup: Fixup = { at: 3, width: 4, from: 'end', item: to, offset: 0 };
    return { ...plain(bytes), fixups: [fixup], targets: [to] };
  }
  const base = segmentBase(world, 'cs');
  const fixup: Fixup = { at: 1, width, from: 'zero', base, item: to, offset: 0 };
  const bytes = [0xb8 | register, ...Array<number>(width).fill(0)];
  return { ...plain(bytes), fixups: [fixup], targets: [to] };
}
/** CMOVcc of one address over another, so that an indirect branch has two targets. */
export function indirect(
  world: World,
  r: Random,
  targets: readonly [number, number],
  kind: 'jump' | 'call' | 'push and return',
): Item[] {
  const [a, b] = world.bits === 64 ? [LONG_SCRATCH, 0] : [0, 1];
  const code = r.below(16);
  const rex = world.bits === 64 ? [0x4c] : [];
  const modrm = (digit: number) => 0xc0 | (digit << 3) | (a & 7);
  const prefix = a > 7 ? [0x41] : [];
  const select: Item = {
    ...plain([...rex, 0x0f, 0x40 + code, 0xc0 | ((a & 7) << 3) | b]),
    flags: { ...NO_FLAGS, reads: conditionReads(code) },
  };
  const ends = { fallsThrough: false, targets: [...targets] };
  const last: Item[] =
    kind === 'push and return'
      ? [plain([...prefix, 0x50 | (a & 7)]), { ...plain([0xc3]), ...ends }]
      : [{ ...plain([...prefix, 0xff, modrm(kind === 'jump' ? 4 : 2)]), ...ends }];
  return [addressOf(world, a, targets[0]), addressOf(world, b, targets[1]), select, ...last];
}

/** What a program counts its turns with: GUARD_REGISTER (64-bit code only) or GUARD. */
export interface Counter {
  readonly world: World;
  readonly inRegister: boolean;
}
/** SUB (5) or CMP (7) of the guard with a small number. */
function onGuard({ world, inRegister }: Counter, digit: 5 | 7, value: number): Item {
  if (inRegister) return plain([0x41, 0x83, 0xc7 | (digit << 3), value], SUB_FLAGS);
  const offset = BigInt(GUARD - segmentBase(world, 'ds'));
  const modrm = digit << 3;
  const bytes =
    world.bits === 64
      ? [0x83, modrm | 4, 0x25, ...littleEndian(offset, 4), value]
      : world.bits === 32
        ? [0x83, modrm | 5, ...littleEndian(offset, 4), value]
        : [0x66, 0x83, modrm | 6, ...littleEndian(offset & 0xffffn, 2), value];
  return plain(bytes, SUB_FLAGS);
}
/** Counts the guard down; leaves to `end` when it is used up. Flags: those of SUB, or kept. */
function guard(counter: Counter, r: Random, end: number): Item[] {
  const { world } = counter;
  if (!counter.inRegister || r.chance(60))
    return [onGuard(counter, 5, 1), jumpIf(world, 14, end, true)];
  // lea r15, [r15-1]; xchg rcx, r15; jrcxz over; jmp behind; over: jmp end; behind: xchg rcx, r15
  return [
    plain([0x4d, 0x8d, 0x7f, 0xff]),
    plain([0x4c, 0x87, 0xf9]),
    plain([0xe3, 0x02, 0xeb, 0x05]),
    nearJump(world, end),
    plain([0x4c, 0x87, 0xf9]),
  ];
}
/** Skips what follows until few turns are left: code is translated by then. */
export function onlyLate(counter: Counter, r: Random, to: number): Item[] {
  return [onGuard(counter, 7, 1 + r.below(8)), jumpIf(counter.world, r.pick([15, 5]), to)];
}
/** A back edge of any kind: guarded, so that it need not come to an end by itself. */
export function backEdge(counter: Counter, r: Random, head: number, end: number): Item[] {
  const { world } = counter;
  const kind = r.below(10);
  if (kind < 3) return [onGuard(counter, 5, 1), jumpIf(world, 15, head)];
  const guarded = guard(counter, r, end);
  if (kind < 8) return [...guarded, jumpIf(world, r.below(16), head)];
  if (kind === 8) return [...guarded, jump(world, head)];
  // LOOPNE, LOOPE and LOOP reach 127 bytes: over a near jump.
  const opcode = 0xe0 + r.below(3);
  const reads = opcode === 0xe2 ? 0 : Z;
  const over = world.bits === 16 ? 3 : 5;
  return [
    ...guarded,
    plain([opcode, 0x02, 0xeb, over], { ...NO_FLAGS, reads }),
    nearJump(world, head),
  ];
}

const LOGIC_FLAGS: FlagEffects = {
  reads: 0,
  defines: ARITHMETIC_FLAGS & ~FLAG_BITS.A!,
  undefines: FLAG_BITS.A!,
};
/** MOV, ADD, SUB, XOR of a byte in memory with an immediate or CL. */
const BYTE_STORES = [
  { opcode: 0xc6, reg: 0, flags: NO_FLAGS, isImmediate: true },
  { opcode: 0x80, reg: 0, flags: SUB_FLAGS, isImmediate: true },
  { opcode: 0x80, reg: 5, flags: SUB_FLAGS, isImmediate: true },
  { opcode: 0x88, reg: 1, flags: NO_FLAGS, isImmediate: false },
  { opcode: 0x00, reg: 1, flags: SUB_FLAGS, isImmediate: false },
] as const;
const BYTE_XOR = { opcode: 0x80, reg: 6, flags: LOGIC_FLAGS, isImmediate: true } as const;

/** A store to a byte of another item. Only where data and code segments share their base. */
export function patch(world: World, r: Random, item: number, offset: number, xor?: number): Item {
  const { opcode, reg, flags, isImmediate } = xor === undefined ? r.pick(BYTE_STORES) : BYTE_XOR;
  const value = isImmediate ? [xor ?? r.below(256)] : [];
  const bytes = [opcode, 0x05 | (reg << 3), 0, 0, 0, 0, ...value];
  const from = world.bits === 64 ? 'end' : 'zero';
  return { ...plain(bytes, flags), fixups: [{ at: 2, width: 4, from, item, offset }] };
}

/** DIV or IDIV that mostly has a quotient: the upper half is cleared or the sign, the divisor seldom zero. */
export function division(world: World, r: Random): Item[] {
  const long = world.bits === 64 && r.chance(40) ? [0x48] : [];
  const isSigned = r.chance(50);
  const extend = isSigned ? [...long, 0x99] : [0x31, 0xd2];
  const divisor = r.pick([1, 3, 6, 7]);
  const or = [0x83, 0xc8 | divisor, 1 + r.below(127)];
  return [
    plain(extend, isSigned ? NO_FLAGS : LOGIC_FLAGS),
    ...(r.chance(90) ? [plain(or, LOGIC_FLAGS)] : []),
    plain([...long, 0xf7, (isSigned ? 0xf8 : 0xf0) | divisor], {
      reads: 0,
      defines: 0,
      undefines: ARITHMETIC_FLAGS,
    }),
  ];
}

/** PUSH of chosen flags and POPF: arithmetic ones, now and then DF. */
export function loadFlags(r: Random): Item[] {
  const value = (r.u32() & ARITHMETIC_FLAGS) | 0x202 | (r.chance(10) ? 0x400 : 0);
  return [plain([0x68, ...littleEndian(BigInt(value), 4)]), plain([0x9d], SUB_FLAGS)];
}

/** Moves a pointer register on by a small step: LEA keeps the flags, ADD does not. */
export function bump(world: World, r: Random, register: number): Item {
  const step = r.pick([1, 4, 8, 16, 0xf8, 0xff]);
  const low = register & 7;
  const rex = world.bits === 64 ? [0x48 | (register >> 3) | ((register >> 3) << 2)] : [];
  if (low !== 4 && r.chance(50)) return plain([...rex, 0x8d, 0x40 | (low << 3) | low, step]);
  return plain(
    [...(world.bits === 64 ? [0x48 | (register >> 3)] : []), 0x83, 0xc0 | low, step],
    SUB_FLAGS,
  );
}

/** Loads a general register with a value, by the shortest encoding or a longer one. */
export function loadRegister(world: World, r: Random, register: number, value: bigint): Item {
  const low = register & 7;
  if (world.bits !== 64) {
    const size = world.bits === 16 ? [0x66] : [];
    return plain([...size, 0xb8 | low, ...littleEndian(value & 0xffff_ffffn, 4)]);
  }
  const b = register >> 3;
  const isSmall = value < 0x1_0000_0000n;
  const isSigned = BigInt.asUintN(64, BigInt.asIntN(32, value)) === value;
  if (isSmall && r.chance(60))
    return plain([...(b ? [0x41] : []), 0xb8 | low, ...littleEndian(value, 4)]);
  if (isSigned && r.chance(60))
    return plain([0x48 | b, 0xc7, 0xc0 | low, ...littleEndian(value & 0xffff_ffffn, 4)]);
  return plain([0x48 | b, 0xb8 | low, ...littleEndian(value, 8)]);
}

const FLAT_SELECTORS = [selector('data32Flat'), selector('available')];
/** By which segment: what a program can live with for a while. */
const ODD_SELECTORS: Readonly<Record<Exclude<SegmentName, 'cs'>, readonly number[]>> = (() => {
  const stack = [selector('limited'), selector('down'), selector('shifted')];
  const data = [...stack, selector('readOnlyFlat')];
  const other = [...data, selector('wrapping'), selector('data32'), 0];
  return { es: other, ss: stack, ds: data, fs: other, gs: other };
})();

/** Loads a data segment register of a 32-bit program: with a flat segment, or one that is nearly flat. */
export function loadSegment(r: Random): Item[] {
  const name = r.pick(['es', 'ds', 'ds', 'ss', 'ss', 'fs', 'gs'] as const);
  const value = r.pick(r.chance(45) ? FLAT_SELECTORS : ODD_SELECTORS[name]);
  const register = r.below(3);
  const load = [0xb8 | register, ...littleEndian(BigInt(value), 4)];
  const popCode = { es: [0x07], ss: [0x17], ds: [0x1f], fs: [0x0f, 0xa1], gs: [0x0f, 0xa9] }[name];
  const number = SEGMENT_NAMES.indexOf(name);
  return r.chance(60)
    ? [plain(load), plain([0x8e, 0xc0 | (number << 3) | register])]
    : [plain([0x68, ...littleEndian(BigInt(value), 4)]), plain(popCode)];
}
