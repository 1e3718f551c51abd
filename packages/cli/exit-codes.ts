// What the process's exit code says, in one table; `mimic run --help` prints it.

export const EXIT = {
  ok: 0,
  failed: 1,
  usage: 2,
  panic: 10,
  tripleFault: 11,
  timeout: 124,
  interrupted: 130,
  outputGone: 141,
  terminated: 143,
} as const;

export const EXIT_CODE_HELP = `Exit codes:
  0    the guest turned itself off (or reset, with --no-reboot), or you quit
  1    Mimic or the host failed
  2    bad option, or a file, disk or port that cannot be used
  10   the guest's kernel panicked
  11   triple fault: the processor could not even deliver a fault
  124  --timeout is over
  130  interrupted by Ctrl-C (129 hang-up, 143 terminated)
  141  nobody reads the output any more`;
