// What can be wrong with a kernel image, a command line or the memory for them: a closed list of codes.

import { OperatingError } from '@mimic/base';

export type BootErrorCode =
  | 'BOOT_NOT_A_KERNEL' // No kernel format that we know.
  | 'BOOT_TRUNCATED' // The file ends before what its header promises.
  | 'BOOT_WRONG_ARCHITECTURE' // A kernel, but not for x86.
  | 'BOOT_UNSUPPORTED_KERNEL' // For x86, but too old or without an entry that we can use.
  | 'BOOT_NOT_ENOUGH_MEMORY' // Kernel and initrd do not fit into the machine's RAM.
  | 'BOOT_BAD_COMMAND_LINE'; // Too long, or not bytes that a kernel takes.

export class BootError extends OperatingError<BootErrorCode> {
  override readonly name = 'BootError';
}
