// How errors and endings are told: one sentence, one hint, one exit code.

import { OperatingError } from '@mimic/base';
import type { MachineEnd } from 'mimic';
import { EXIT } from './exit-codes.ts';

/** Codes of errors that are not about what the user asked for. */
const NOT_USAGE: ReadonlySet<string> = new Set([
  'CRASHED',
  'DISK_IO',
  'MACHINE_ENDED',
  'BAD_STATE',
]);

/** Prints the error on standard error and returns the exit code that goes with it. */
export function reportError(error: unknown): number {
  if (error instanceof OperatingError) {
    printError(error.message, error.hint);
    return NOT_USAGE.has(error.code) ? EXIT.failed : EXIT.usage;
  }
  const stack = error instanceof Error ? (error.stack ?? error.message) : String(error);
  printError(`Mimic failed, which is a bug: ${stack}`, 'please report it with the lines above');
  return EXIT.failed;
}

export function printError(message: string, hint?: string): void {
  process.stderr.write(`error: ${message}\n`);
  if (hint !== undefined) process.stderr.write(`hint: ${hint}\n`);
}

/** What ended the run from our side. */
export type RunEnd = 'quit' | 'timeout' | 'output-gone' | 'SIGINT' | 'SIGTERM' | 'SIGHUP';

/** Says how the run ended where that is news, and returns the exit code. */
export function reportEnd(end: MachineEnd, ours: RunEnd | undefined): number {
  switch (end.reason) {
    case 'power-off':
    case 'reset':
    case 'instruction-limit':
      return EXIT.ok;
    case 'diverged':
      printError(
        `the replay is not what was recorded: ${end.message}`,
        'disks must be as they were then; use a copy, or snapshot=on when recording',
      );
      return EXIT.failed;
    case 'panic':
      printError(
        `the guest's kernel panicked: ${end.message}`,
        'its last lines above say why; often the root file system or init was not found',
      );
      return EXIT.panic;
    case 'triple-fault':
      printError(
        `triple fault ${tripleFaultPlace(end.registers)}: ` +
          'the processor could not deliver a fault and shut down',
        '"--trace exceptions" shows what came before; "--triple-fault reset" boots again, as hardware does',
      );
      return EXIT.tripleFault;
    case 'crashed':
      return reportError(end.stack === '' ? end.message : end.stack);
    case 'stopped':
      // Nobody else asked: it was "quit" in the monitor.
      return endedByUs(ours ?? 'quit');
  }
}

function tripleFaultPlace(registers: Record<string, bigint>): string {
  const show = (name: string) => `${name} 0x${(registers[name] ?? 0n).toString(16)}`;
  const known = ['cs', 'rsp', 'cr0', 'cr2', 'cr3', 'cr4', 'efer'].filter(
    (name) => name in registers,
  );
  return `at ${show('rip')} (${known.map(show).join(', ')})`;
}

function endedByUs(ours: RunEnd): number {
  switch (ours) {
    case 'quit':
      return EXIT.ok;
    case 'timeout':
      printError('the time of --timeout is over; the guest was still running');
      return EXIT.timeout;
    case 'output-gone':
      return EXIT.outputGone;
    case 'SIGINT':
      return EXIT.interrupted;
    case 'SIGHUP':
      return 129;
    case 'SIGTERM':
      return EXIT.terminated;
  }
}
