// What a vector starts from: registers, flags and memory made from a seed, so that a recorded line need not hold
// them. Shared by the recorder and the test.

export const REGISTER_NAMES = [
  'rax', 'rcx', 'rdx', 'rbx', 'rsp', 'rbp', 'rsi', 'rdi', 'r8', 'r9', 'r10', 'r11', 'r12', 'r13', 'r14', 'r15',
] as const; // biome-ignore format: encoding order

export const DATA_WINDOW = 0x20_0400;
export const STACK_WINDOW = 0x30_0400;
export const WINDOW_BYTES = 128;

/** Operands at and around the limits of every size. */
const BOUNDARIES = [
  0n, 1n, 2n, 9n, 0x0fn, 0x7fn, 0x80n, 0x99n, 0x9an, 0xfan, 0xffn, 0x7fffn, 0x8000n, 0xffffn, 0x7fff_ffffn,
  0x8000_0000n, 0xffff_ffffn, 0x7fff_ffff_ffff_ffffn, 1n << 63n, (1n << 64n) - 1n, 0x5555_5555_5555_5555n,
]; // biome-ignore format: a list

/** A small generator (xorshift32, Marsaglia 2003): the same numbers everywhere. */
export class Random {
  #state: number;
  constructor(seed: number) {
    this.#state = (seed * 0x9e37_79b1 + 0x1234_5678) >>> 0 || 1;
    for (let n = 0; n < 8; n++) this.next();
  }
  next(): number {
    let x = this.#state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#state = x >>> 0;
    return this.#state;
  }
  below(limit: number): number {
    return this.next() % limit;
  }
  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!;
  }
  u64(): bigint {
    return (BigInt(this.next()) << 32n) | BigInt(this.next());
  }
  /** A boundary value, one shifted up, or anything of some width. */
  operand(): bigint {
    const kind = this.below(20);
    if (kind < 7) return this.pick(BOUNDARIES);
    if (kind < 10)
      return (this.pick(BOUNDARIES) << BigInt(this.pick([0, 8, 16, 32]))) & ((1n << 64n) - 1n);
    return this.u64() >> BigInt(this.pick([0, 0, 32, 48, 56]));
  }
}

export interface Inputs {
  readonly registers: bigint[];
  /** CF, PF, AF, ZF, SF and OF at random, and bit 1. */
  readonly flags: number;
  readonly data: Uint8Array;
  readonly stack: Uint8Array;
}

export function inputs(seed: number, mode: number): Inputs {
  const random = new Random(seed);
  const registers = REGISTER_NAMES.map(() => random.operand());
  registers[4] = 0x30_0440n;
  registers[13] = 0x20_0410n;
  registers[14] = BigInt(random.pick([1, 2, 4]));
  const bytes = () => Uint8Array.from({ length: WINDOW_BYTES }, () => random.below(256));
  const data = bytes();
  const view = new DataView(data.buffer);
  if (random.below(3) === 0) {
    view.setBigUint64(16, random.operand(), true);
    view.setBigUint64(24, random.operand(), true);
  }
  const stack = bytes();
  const flags = (random.next() & 0x8d5) | 2;
  const cut = (value: bigint, n: number) => (n < 8 ? value & 0xffff_ffffn : 0n);
  return { registers: mode === 64 ? registers : registers.map(cut), flags, data, stack };
}
