// A request that needs the host several times, written as one generator: it yields what the host
// shall do and is resumed with the outcome. The host may answer within the call or later, and
// neither way recurses.

import { assert } from '@mimic/base';

/** Something for the host to do; `done` is called exactly once, during the call or later. */
export type HostCall<Outcome> = (done: (outcome: Outcome) => void) => void;

export type Steps<Outcome, Result> = Generator<HostCall<Outcome>, Result, Outcome>;

/**
 * Runs a request until it is finished or waits for the host. `finished` gets the result, or
 * undefined if the request was no longer `wanted` when the host answered. `later` tells whether the
 * caller has returned already.
 */
export function runSteps<Outcome, Result>(
  steps: Steps<Outcome, Result>,
  options: {
    wanted: () => boolean;
    finished: (result: Result | undefined, when: { later: boolean }) => void;
  },
): void {
  advance(steps.next(), false);

  function advance(first: IteratorResult<HostCall<Outcome>, Result>, later: boolean): void {
    let next = first;
    while (!next.done) {
      const answer = ask(next.value);
      if (!answer) return;
      next = steps.next(answer.outcome);
    }
    options.finished(next.value, { later });
  }

  /** The outcome, if the host gives it at once; else the request goes on when it comes. */
  function ask(call: HostCall<Outcome>): { outcome: Outcome } | undefined {
    let within = true;
    let answer: { outcome: Outcome } | undefined;
    call((outcome) => {
      assert(answer === undefined, 'the host answers a call once');
      answer = { outcome };
      if (within) return;
      if (options.wanted()) {
        advance(steps.next(outcome), true);
      } else {
        steps.return(undefined as never);
        options.finished(undefined, { later: true });
      }
    });
    within = false;
    return answer;
  }
}
