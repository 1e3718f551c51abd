// Operating errors: what the user or the host did wrong. Each says what failed, why, and what to do.

/** An error that a person can act on. `code` is stable and listed by the package that throws it. */
export class OperatingError<Code extends string = string> extends Error {
  override readonly name: string = 'OperatingError';
  readonly code: Code;
  /** What the user can do about it, as a sentence; printed on its own line. */
  readonly hint: string | undefined;

  constructor(code: Code, message: string, options: { hint?: string; cause?: unknown } = {}) {
    super(message, { cause: options.cause });
    this.code = code;
    this.hint = options.hint;
  }
}
