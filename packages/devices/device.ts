// The contract of a device: all that a bus, a snapshot or an inspector needs to know of it.

/** Bytes of one register access. Buses split 8-byte accesses into two of 4, low half first. */
export type AccessSize = 1 | 2 | 4;

/**
 * A device keeps all its state in one plain object (numbers, strings, booleans, arrays, typed
 * arrays, nested plain objects); wires (lines, sinks, guest memory, clock, timers, host back ends)
 * are not state and come in through the constructor. A device never knows its address or its
 * interrupt number: the board does. Guest input never throws, never trips an assertion and never
 * allocates without a bound.
 */
export interface Device<State extends object = object> {
  /** Part name, also the snapshot tag: 'uart16550'. */
  readonly kind: string;
  /**
   * Offsets are relative to where the board mapped the device. An unknown register reads as all
   * ones. Returns an unsigned number of `size` bytes.
   */
  read(offset: number, size: AccessSize): number;
  /**
   * `value` is unsigned and has at most `size` bytes. Returns at once: work with the host is
   * queued.
   */
  write(offset: number, size: AccessSize, value: number): void;
  /** Cold-start state. */
  reset(): void;
  /** A copy of the state which shares nothing with the device. */
  save(): State;
  /** Takes over a saved state (copying it) and drives lines and timers to match it. */
  restore(state: State): void;
}

/** All ones of the given size: what an access that nobody answers reads. */
export function allOnes(size: AccessSize): number {
  return size === 4 ? 0xffff_ffff : size === 2 ? 0xffff : 0xff;
}
