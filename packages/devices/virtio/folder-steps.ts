// Asking the host folder from within a request's steps, with the types that a plain yield would
// lose.

import type { FolderDone, FolderError } from './host-folder.ts';
import { Fault } from './p9-messages.ts';
import type { HostCall } from './steps.ts';

/** Asks the folder; an error is a result. */
export function* attempt<Result>(
  operation: (done: FolderDone<Result>) => void,
): Generator<HostCall<unknown>, Result | FolderError, unknown> {
  let outcome: Result | FolderError | undefined;
  yield (done) =>
    operation((given) => {
      outcome = given;
      done(given);
    });
  return outcome as Result | FolderError; // Set before the generator was resumed.
}

/** Asks the folder; an error ends the request. */
export function* ask<Result>(
  operation: (done: FolderDone<Result>) => void,
): Generator<HostCall<unknown>, Result, unknown> {
  const outcome = yield* attempt(operation);
  if (typeof outcome === 'object' && outcome !== null && 'error' in outcome) {
    throw new Fault(outcome.error);
  }
  return outcome as Result; // All but errors, which have been sorted out above.
}
