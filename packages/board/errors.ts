// What can be wrong with a board's options or with a saved state: a closed list of codes.

import { OperatingError } from '@mimic/base';

export type BoardErrorCode =
  | 'BOARD_BAD_MEMORY_SIZE' // RAM that this board cannot hold.
  | 'BOARD_BAD_CPU_COUNT' // None, or more than APIC ids.
  | 'BOARD_TOO_MANY_PARTS' // More cards than slots, or more serial ports than there are.
  | 'BOARD_STATE_MISMATCH'; // A saved state that belongs to another set of parts.

export class BoardError extends OperatingError<BoardErrorCode> {
  override readonly name = 'BoardError';
}
