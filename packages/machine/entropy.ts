// Random numbers for the guest: the host's, or a sequence that a seed repeats.

import type { EntropySource } from './options.ts';

export interface Entropy {
  /** Fills all of `bytes`, at most 64 KiB. */
  fill(bytes: Uint8Array): void;
  u64(): bigint;
}

export function entropyFrom(source: EntropySource): Entropy {
  const fill =
    source === 'host'
      ? (bytes: Uint8Array) => void crypto.getRandomValues(bytes)
      : seededFill(source.seed);
  const word = new DataView(new ArrayBuffer(8));
  return {
    fill,
    u64() {
      fill(new Uint8Array(word.buffer));
      return word.getBigUint64(0, true);
    },
  };
}

/** xoshiro128** (Blackman and Vigna 2018) over state from splitmix32. Repeatable, not secret. */
function seededFill(seed: number): (bytes: Uint8Array) => void {
  const s = new Uint32Array(4);
  let mix = seed ^ Math.floor(seed / 2 ** 32);
  for (let index = 0; index < 4; index++) {
    mix = (mix + 0x9e37_79b9) | 0;
    let value = Math.imul(mix ^ (mix >>> 16), 0x21f0_aaad);
    value = Math.imul(value ^ (value >>> 15), 0x735a_2d97);
    s[index] = value ^ (value >>> 15);
  }
  function next(): number {
    const [a, b, c, d] = s as unknown as [number, number, number, number];
    const scaled = Math.imul(b, 5);
    const result = Math.imul((scaled << 7) | (scaled >>> 25), 9) >>> 0;
    const e = d ^ b;
    s[0] = a ^ e;
    s[1] = b ^ c ^ a;
    s[2] = c ^ a ^ (b << 9);
    s[3] = (e << 11) | (e >>> 21);
    return result;
  }
  return (bytes) => {
    for (let at = 0; at < bytes.length; at += 4) {
      const value = next();
      for (let byte = 0; byte < 4 && at + byte < bytes.length; byte++) {
        bytes[at + byte] = value >>> (8 * byte);
      }
    }
  };
}
