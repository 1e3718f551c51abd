// Random and boundary cases for x87 instructions, the same for the same seed.

import { buildImage, MEMORY_BYTES, type Register, type X87Case } from './case.ts';
import type { Target } from './run.ts';

/** A small generator with 64 bits of state (splitmix64). */
export class Random {
  #state: bigint;
  constructor(seed: number) {
    this.#state = BigInt(seed);
  }
  u64(): bigint {
    this.#state = BigInt.asUintN(64, this.#state + 0x9e37_79b9_7f4a_7c15n);
    let z = this.#state;
    z = BigInt.asUintN(64, (z ^ (z >> 30n)) * 0xbf58_476d_1ce4_e5b9n);
    z = BigInt.asUintN(64, (z ^ (z >> 27n)) * 0x94d0_49bb_1331_11ebn);
    return z ^ (z >> 31n);
  }
  below(limit: number): number {
    return Number(this.u64() % BigInt(limit));
  }
  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!;
  }
}

const TOP = 1n << 63n;
const ALL = (1n << 64n) - 1n;
const SIGNIFICANDS = [
  TOP,
  TOP | 1n,
  ALL,
  ALL - 1n,
  TOP | (1n << 62n),
  0xffff_ff00_0000_0000n,
  0xffff_ffff_ffff_f800n,
  0xffff_ff80_0000_0000n,
  0x8000_0080_0000_0000n,
  0x8000_0000_0000_0400n,
  0x8000_0000_0000_0c00n,
  0xffff_ff7f_ffff_ffffn,
];
const EXPONENTS = [
  1,
  2,
  3,
  60,
  64,
  0x3fff - 1074,
  0x3fff - 1022,
  0x3fff - 149,
  0x3fff - 126,
  0x3ffe,
  0x3fff,
  0x4000,
  0x401d,
  0x401e,
  0x403c,
  0x403d,
  0x403e,
  0x403f,
  0x3fff + 127,
  0x3fff + 128,
  0x3fff + 1023,
  0x3fff + 1024,
  0x7ffd,
  0x7ffe,
];

const SPECIAL: readonly Register[] = [
  [0, 0n],
  [0, 1n],
  [0, TOP - 1n],
  [0, TOP],
  [0, TOP | 5n],
  [0, ALL],
  [0x7fff, TOP],
  [0x7fff, TOP | (1n << 62n)],
  [0x7fff, TOP | (1n << 62n) | 7n],
  [0x7fff, TOP | 1n],
  [0x7fff, ALL],
  [0x7fff, 0n],
  [0x7fff, 5n],
  [0x7fff, TOP - 1n],
  [0x3fff, 1n << 62n],
  [1, 0n],
  [0x3fff, TOP],
  [0x4000, TOP],
  [0x7ffe, ALL],
].map(([signExponent, significand]) => ({
  signExponent: signExponent as number,
  significand: significand as bigint,
}));

export function randomExtended(r: Random): Register {
  const sign = r.below(2) << 15;
  const kind = r.below(10);
  if (kind < 3) {
    const s = r.pick(SPECIAL);
    return { significand: s.significand, signExponent: s.signExponent | sign };
  }
  if (kind < 4) return { significand: r.u64() >> BigInt(1 + r.below(63)), signExponent: sign };
  if (kind < 6)
    return { significand: r.pick(SIGNIFICANDS), signExponent: r.pick(EXPONENTS) | sign };
  const exponent = kind < 9 ? 0x3fff - 40 + r.below(80) : 1 + r.below(0x7ffe);
  return { significand: r.u64() | TOP, signExponent: exponent | sign };
}

/** Close to another number: equal, a few units away, or of a near exponent. */
function near(r: Random, x: Register): Register {
  const sign = (x.signExponent & 0x8000) ^ (r.below(2) << 15);
  const exponent = Math.min(0x7fff, Math.max(0, (x.signExponent & 0x7fff) + r.below(5) - 2));
  const significand = BigInt.asUintN(64, x.significand + BigInt(r.below(9) - 4));
  return { significand, signExponent: sign | (r.below(2) ? exponent : x.signExponent & 0x7fff) };
}

function randomMemory(r: Random): Uint8Array {
  const memory = new Uint8Array(MEMORY_BYTES);
  const v = new DataView(memory.buffer);
  for (let n = 0; n < MEMORY_BYTES; n += 8) v.setBigUint64(n, r.u64(), true);
  const sign = r.below(2);
  switch (r.below(10)) {
    case 0:
      v.setUint32(
        0,
        (r.pick([
          0, 1, 0x7fffff, 0x800000, 0x7f800000, 0x7f800001, 0x7fc00001, 0x7fffffff, 0x3f800000,
          0x7f7fffff,
        ]) |
          (sign << 31)) >>>
          0,
        true,
      );
      break;
    case 1:
      v.setBigUint64(
        0,
        r.pick([
          0n,
          1n,
          (1n << 52n) - 1n,
          1n << 52n,
          0x7ffn << 52n,
          (0x7ffn << 52n) + 1n,
          0x7ff8n << 48n,
          0x3ffn << 52n,
        ]) |
          (BigInt(sign) << 63n),
        true,
      );
      break;
    case 2: {
      const x = randomExtended(r);
      v.setBigUint64(0, x.significand, true);
      v.setUint16(8, x.signExponent, true);
      break;
    }
    case 3:
      v.setFloat32(0, r.below(2000) - 1000, true);
      break;
    case 4:
      v.setFloat64(0, r.below(2000) / 8 - 100, true);
      break;
    case 5:
      for (let n = 0; n < 9; n++) memory[n] = r.below(10) | (r.below(10) << 4);
      memory[9] = sign << 7;
      break;
    default:
      break;
  }
  return memory;
}

export interface GenerateOptions {
  readonly target: Target;
  readonly count: number;
  readonly random: Random;
}

/** How many of a hundred cases have unmasked exceptions. */
const UNMASKED_PERCENT = 30;

function one(r: Random, { name, opcode, modrm }: Target): X87Case {
  const masks = r.below(100) < UNMASKED_PERCENT ? r.below(64) : 0x3f;
  const control = masks | 0x40 | (r.pick([0, 2, 3, 3, 3]) << 8) | (r.below(4) << 10);
  // Exceptions from before must be masked: no instruction would run.
  const sticky = r.below(16) === 0 ? masks & r.below(64) : 0;
  const conditions = r.below(2) ? 0x4700 & r.below(65536) : 0;
  const top = r.below(8);
  const registers = Array.from({ length: 8 }, () => randomExtended(r));
  const i = modrm >= 0xc0 ? modrm & 7 : 0;
  if (r.below(3) === 0) registers[i || 1] = near(r, registers[0]!);
  // Mostly the operands are there and there is room for one more.
  let tags = 0;
  for (let n = 0; n < 8; n++) if (r.below(2)) tags |= 3 << (2 * n);
  const place = (index: number) => 2 * ((top + index) & 7);
  const kind = r.below(8);
  if (kind > 0) for (const index of [0, 1, i]) tags &= ~(3 << place(index));
  if (kind > 3) tags |= 3 << place(7);
  return {
    name,
    opcode,
    modrm,
    rflags: 2 | (r.below(4096) & 0x8d5),
    image: buildImage({ control, status: (top << 11) | sticky | conditions, tags, registers }),
    memory: randomMemory(r),
  };
}

export function generate({ target, count, random }: GenerateOptions): X87Case[] {
  return Array.from({ length: count }, () => one(random, target));
}
