// What tests of machines wait for: other threads come to things in their own time. Imported by tests only.

/** Between two looks. */
const LOOK_MS = 20;
/** Over which processor time is measured, and how often that is tried. */
const WINDOW_MS = 500;
const WINDOWS = 40;

/** Looks until it is as wanted, and gives what was seen then; a test's own timeout ends what never comes. */
export async function until<T>(
  look: () => T | Promise<T>,
  isWanted: (value: T) => boolean,
): Promise<T> {
  for (;;) {
    const value = await look();
    if (isWanted(value)) return value;
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
}

/**
 * Processor time in µs that this process takes for 500 ms while nothing is to do. What workers and V8 still have to do
 * for their start comes to an end, and waking for nothing does not: so it is measured until it is less than `enoughUs`.
 */
export async function idleProcessorUs(enoughUs: number): Promise<number> {
  let lowestUs = Number.POSITIVE_INFINITY;
  for (let window = 0; window < WINDOWS && lowestUs >= enoughUs; window++) {
    const before = process.cpuUsage();
    await new Promise((resolve) => setTimeout(resolve, WINDOW_MS));
    const { user, system } = process.cpuUsage(before);
    lowestUs = Math.min(lowestUs, user + system);
  }
  return lowestUs;
}
