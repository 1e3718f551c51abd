// A folder of the host that a guest shares, as the file system device needs it. Whoever implements
// it keeps the guest inside: a path is a list of names below the shared root, and no symbolic link
// on it is followed.

/** Errors by their POSIX name, with the numbers that Linux guests expect (asm-generic/errno.h). */
export const ERRNO = {
  EPERM: 1,
  ENOENT: 2,
  EIO: 5,
  EBADF: 9,
  EACCES: 13,
  EBUSY: 16,
  EEXIST: 17,
  EXDEV: 18,
  ENOTDIR: 20,
  EISDIR: 21,
  EINVAL: 22,
  ENFILE: 23,
  EFBIG: 27,
  ENOSPC: 28,
  EROFS: 30,
  EMLINK: 31,
  ENAMETOOLONG: 36,
  ENOTEMPTY: 39,
  ELOOP: 40,
  EOPNOTSUPP: 95,
} as const;

export type FolderErrorCode = keyof typeof ERRNO;

export interface FolderError {
  readonly error: FolderErrorCode;
}

/** Called exactly once, during the call or later, with the result or an error. */
export type FolderDone<Result> = (outcome: Result | FolderError) => void;

/**
 * Names from the root down; empty for the root itself. The device lets no name pass that is empty,
 * `.`, `..`, or holds a slash or NUL. If any but the last name is not a directory (a symbolic link
 * to one included), the implementation answers ENOTDIR; the last one is never followed either.
 */
export type FolderPath = readonly string[];

export type FileKind = 'file' | 'directory' | 'symlink' | 'other';

export interface FileStatus {
  readonly kind: FileKind;
  /** Tells files apart, and stays the same for a file's life; below 2^53. */
  readonly inode: number;
  /** Permission bits, without the type. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly linkCount: number;
  readonly sizeBytes: number;
  readonly accessedMs: number;
  readonly modifiedMs: number;
  readonly changedMs: number;
}

export interface FolderEntry {
  readonly name: string;
  readonly kind: FileKind;
  readonly inode: number;
}

export interface OpenOptions {
  readonly read: boolean;
  readonly write: boolean;
  readonly truncate: boolean;
  /** Creates the file with these permission bits; EEXIST if it is there and `exclusive`. */
  readonly create?: { readonly mode: number; readonly exclusive: boolean };
}

export interface OpenFile {
  /** Fewer bytes than asked for at the end of the file. */
  read(offset: number, lengthBytes: number, done: FolderDone<Uint8Array>): void;
  /** Returns the number of bytes written. */
  write(offset: number, bytes: Uint8Array, done: FolderDone<number>): void;
  sync(done: FolderDone<void>): void;
  /** Takes effect after the calls still under way. */
  close(): void;
}

/** What to change; the rest stays. */
export interface AttributeChange {
  readonly mode?: number;
  readonly sizeBytes?: number;
  readonly accessedMs?: number;
  readonly modifiedMs?: number;
}

export interface HostFolder {
  readonly readOnly: boolean;
  status(path: FolderPath, done: FolderDone<FileStatus>): void;
  list(path: FolderPath, done: FolderDone<FolderEntry[]>): void;
  open(path: FolderPath, options: OpenOptions, done: FolderDone<OpenFile>): void;
  makeDirectory(path: FolderPath, mode: number, done: FolderDone<void>): void;
  removeFile(path: FolderPath, done: FolderDone<void>): void;
  removeDirectory(path: FolderPath, done: FolderDone<void>): void;
  rename(from: FolderPath, to: FolderPath, done: FolderDone<void>): void;
  readLink(path: FolderPath, done: FolderDone<string>): void;
  makeSymlink(path: FolderPath, target: string, done: FolderDone<void>): void;
  setAttributes(path: FolderPath, change: AttributeChange, done: FolderDone<void>): void;
}
