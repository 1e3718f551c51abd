// What can go wrong with a machine for reasons outside Mimic: a closed list of codes, with text for people.

import { OperatingError } from '@mimic/base';

export type MachineErrorCode =
  | 'BAD_OPTION' // An option has a value that no machine can have.
  | 'BAD_RECORDING' // Not a recording, or one of another machine.
  | 'BAD_KERNEL' // The kernel image is not one that this machine can start.
  | 'BAD_STATE' // The machine is not in a state that allows the call (stopped, not started).
  | 'BAD_ADDRESS' // An address outside RAM, or not mapped by the guest's page tables.
  | 'BAD_REGISTER' // The processor has no register of that name.
  | 'BAD_COMMAND' // Not a monitor command, or wrong arguments.
  | 'EXPECT_TIMEOUT' // The text did not come in time.
  | 'MACHINE_ENDED' // The machine ended while something was expected of it.
  | 'CRASHED'; // A bug in Mimic stopped the machine.

export class MachineError extends OperatingError<MachineErrorCode> {
  override readonly name = 'MachineError';
}
