// Assertions: a failed one is a bug in Mimic, never something a guest or a user did.
// The machine that trips one stops with a report; other machines go on.

/** Thrown by `assert`; whoever runs a machine turns it into a crash report. */
export class AssertionError extends Error {
  override readonly name = 'AssertionError';
}

/** Throws when an invariant of ours does not hold. Never call it on what a guest or user supplied. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new AssertionError(message);
}

/** Marks a branch that the types say cannot be reached. */
export function unreachable(value: never): never {
  throw new AssertionError(`unreachable value: ${String(value)}`);
}
