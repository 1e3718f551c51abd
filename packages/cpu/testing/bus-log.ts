// A bus for a TestCpu that writes down what reaches it and answers reads with a pattern made from the address.

/** One access that left the processor. */
export interface BusAccess {
  readonly kind: 'read' | 'write';
  readonly gpa: bigint;
  readonly bytes: number;
  /** What was written, cut to its size. */
  readonly value?: bigint;
}

/** The byte that a read of an address finds. */
export function patternByte(gpa: bigint): bigint {
  return (gpa * 7n + 0x31n) & 0xffn;
}

export class BusLog {
  readonly accesses: BusAccess[] = [];
  readonly host = {
    busRead: (gpa: bigint, bytes: number): bigint => {
      this.accesses.push({ kind: 'read', gpa, bytes });
      let value = 0n;
      for (let n = 0; n < bytes; n++) value |= patternByte(gpa + BigInt(n)) << BigInt(8 * n);
      return BigInt.asIntN(64, value);
    },
    busWrite: (gpa: bigint, bytes: number, value: bigint): undefined => {
      this.accesses.push({ kind: 'write', gpa, bytes, value: BigInt.asUintN(8 * bytes, value) });
    },
  };
  /** What happened since the last call, as text: 'r4 1000' or 'w2 1000=beef'. */
  take(): string[] {
    return this.accesses
      .splice(0)
      .map(
        (a) =>
          `${a.kind[0]}${a.bytes} ${a.gpa.toString(16)}${a.value === undefined ? '' : `=${a.value.toString(16)}`}`,
      );
  }
}
