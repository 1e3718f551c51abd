// Random numbers that repeat by seed, with the boundary values that find bugs.

/** sfc32 (Chris Doty-Humphrey's small fast counting generator): quick in 32-bit arithmetic. */
export class Random {
  #a = 0;
  #b = 0;
  #c = 0;
  #counter = 1;
  /** A number, or a text that is hashed (FNV-1a). */
  constructor(seed: number | string) {
    let hash = 0x811c9dc5;
    for (const char of String(seed)) hash = Math.imul(hash ^ char.charCodeAt(0), 0x01000193);
    this.#a = hash;
    this.#b = ~hash;
    for (let n = 0; n < 12; n++) this.u32();
  }
  /** 32 bits, unsigned. */
  u32(): number {
    const value = (this.#a + this.#b + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = ((this.#c << 21) | (this.#c >>> 11)) + value;
    return value >>> 0;
  }
  u64(): bigint {
    return (BigInt(this.u32()) << 32n) | BigInt(this.u32());
  }
  /** 0 to count - 1. */
  below(count: number): number {
    return this.u32() % count;
  }
  chance(percent: number): boolean {
    return this.below(100) < percent;
  }
  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!;
  }
  /** An integer of 64 bits, often a boundary of some width. */
  integer(): bigint {
    if (this.chance(40)) return this.u64();
    const width = BigInt(this.pick([8, 16, 32, 64]));
    const edge = this.pick([
      0n,
      1n,
      2n,
      (1n << width) - 1n,
      (1n << width) - 2n,
      1n << (width - 1n),
      (1n << (width - 1n)) - 1n,
    ]);
    const value = this.chance(30) ? edge : BigInt.asUintN(Number(width), this.u64());
    return BigInt.asUintN(64, this.chance(20) ? -value : value);
  }
  /** Bits of a double with special values, denormals and halfway cases over-represented. */
  double(): bigint {
    const sign = this.u64() & (1n << 63n);
    switch (this.below(10)) {
      case 0:
        return sign;
      case 1:
        return sign | (0x7ffn << 52n);
      case 2:
        return sign | (0x7ffn << 52n) | (this.u64() >> 12n) | 1n;
      case 3:
        return sign | (this.u64() >> 12n);
      case 4:
        return (
          sign |
          (BigInt(1023 + this.below(70)) << 52n) |
          ((this.u64() >> 12n) & ~((1n << BigInt(this.below(52))) - 1n))
        );
      case 5:
        return (
          sign | (BigInt(this.pick([1, 2, 0x7fe, 0x7fd, 970, 1075])) << 52n) | (this.u64() >> 12n)
        );
      case 6:
        return sign | (BigInt(1000 + this.below(50)) << 52n);
      default:
        return sign | (BigInt(900 + this.below(250)) << 52n) | (this.u64() >> 12n);
    }
  }
  /** Bits of a float, likewise. */
  single(): bigint {
    const sign = this.u64() & (1n << 31n);
    const fraction = this.u64() >> 41n;
    switch (this.below(9)) {
      case 0:
        return sign;
      case 1:
        return sign | (0xffn << 23n);
      case 2:
        return sign | (0xffn << 23n) | fraction | 1n;
      case 3:
        return sign | fraction;
      case 4:
        return (
          sign |
          (BigInt(127 + this.below(40)) << 23n) |
          (fraction & ~((1n << BigInt(this.below(23))) - 1n))
        );
      case 5:
        return sign | (BigInt(this.pick([1, 2, 0xfe, 0xfd, 150])) << 23n) | fraction;
      default:
        return sign | (BigInt(90 + this.below(80)) << 23n) | fraction;
    }
  }
  /** An x87 register: sign and exponent above a 64-bit significand, now and then an encoding that no operation makes. */
  extended(): bigint {
    const sign = this.u64() & 0x8000n;
    const integerBit = 1n << 63n;
    const exponent = (e: number, significand: bigint) => ((sign | BigInt(e)) << 64n) | significand;
    switch (this.below(12)) {
      case 0:
        return exponent(0, 0n);
      case 1:
        return exponent(0x7fff, integerBit);
      case 2:
        return exponent(0x7fff, integerBit | this.u64() | 1n);
      case 3:
        return exponent(0, this.u64() >> 1n);
      case 4:
        return exponent(this.pick([0, 1, 0x7ffe, 0x3fff, 0x7fff]), this.u64());
      case 5:
        return exponent(this.below(0x8000), this.u64());
      case 6:
        return exponent(
          16383 + this.below(70),
          integerBit | (this.u64() & ~((1n << BigInt(this.below(63))) - 1n)),
        );
      case 7:
        return exponent(16383 + this.below(64), integerBit);
      default:
        return exponent(16383 - 40 + this.below(80), integerBit | this.u64());
    }
  }
}
