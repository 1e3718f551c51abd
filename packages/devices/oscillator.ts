// A crystal: turns clock nanoseconds into ticks of a fixed frequency and back, exactly and without
// drift. The ratio is a fraction small enough that every product below fits the 53 bits of a
// number.

export interface Oscillator {
  /** Whole ticks since time zero. */
  ticksAt(ns: number): number;
  /** The first nanosecond at which `ticksAt` is `ticks`. */
  nsAt(ticks: number): number;
}

/** `ticks` ticks take exactly `ns` nanoseconds; the product must stay below 2^53. */
export function oscillator(options: { ticks: number; ns: number }): Oscillator {
  const { ticks: cycleTicks, ns: cycleNs } = options;
  return {
    ticksAt(ns) {
      const cycles = Math.floor(ns / cycleNs);
      const rest = Math.floor(ns - cycles * cycleNs);
      return cycles * cycleTicks + Math.floor((rest * cycleTicks) / cycleNs);
    },
    nsAt(ticks) {
      const cycles = Math.floor(ticks / cycleTicks);
      const rest = ticks - cycles * cycleTicks;
      return cycles * cycleNs + Math.ceil((rest * cycleNs) / cycleTicks);
    },
  };
}
