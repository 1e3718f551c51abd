// A set of 256 interrupt vectors, as IRR, ISR and TMR hold them: eight 32-bit registers. SDM vol 3A figure 11-20.

export type VectorSet = number[];

export function emptyVectorSet(): VectorSet {
  return [0, 0, 0, 0, 0, 0, 0, 0];
}

export function has(set: VectorSet, vector: number): boolean {
  return ((set[vector >> 5]! >>> (vector & 31)) & 1) === 1;
}

export function put(set: VectorSet, vector: number, present: boolean): void {
  const bit = 1 << (vector & 31);
  const word = set[vector >> 5]!;
  set[vector >> 5] = (present ? word | bit : word & ~bit) >>> 0;
}

/** The highest vector in the set, or -1. */
export function highest(set: VectorSet): number {
  for (let word = 7; word >= 0; word--) {
    if (set[word]) return word * 32 + 31 - Math.clz32(set[word]!);
  }
  return -1;
}
