// What can go wrong with files, sockets and terminals of the host: a closed list of codes, with text for people.

import { OperatingError } from '@mimic/base';

export type HostErrorCode =
  | 'FILE_MISSING' // No such file.
  | 'FILE_UNREADABLE' // It is there, but may not be read, or is not a file.
  | 'DISK_IN_USE' // Another machine, or program, holds the image.
  | 'DISK_BAD_SIZE' // Not whole sectors, or empty.
  | 'DISK_IO' // Reading or writing an image failed.
  | 'ADDRESS_BAD' // Not HOST:PORT.
  | 'ADDRESS_IN_USE' // Something else listens there.
  | 'ADDRESS_UNAVAILABLE'; // This host may not listen there.

export class HostError extends OperatingError<HostErrorCode> {
  override readonly name = 'HostError';
}

/** The error for a file that could not be opened or read, in words. */
export function fileError(path: string, cause: unknown): HostError {
  const code = cause instanceof Error && 'code' in cause ? cause.code : undefined;
  if (code === 'ENOENT') {
    return new HostError('FILE_MISSING', `${path}: there is no such file`, {
      hint: 'check the path; it is relative to the current directory',
      cause,
    });
  }
  if (code === 'EISDIR') {
    return new HostError('FILE_UNREADABLE', `${path} is a directory, not a file`, {
      hint: 'name a file in it',
      cause,
    });
  }
  if (code === 'EACCES' || code === 'EPERM') {
    return new HostError('FILE_UNREADABLE', `${path}: permission denied`, {
      hint: 'check its owner and mode with "ls -l"',
      cause,
    });
  }
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new HostError('FILE_UNREADABLE', `${path} cannot be read: ${reason}`, { cause });
}
