// A folder of this host that a guest shares, kept inside: no symbolic link is followed on any path.
// On Linux each directory is opened relative to its parent's descriptor, by way of /proc/self/fd, which is openat(2)
// in all but name: nobody who renames or replaces directories meanwhile can lead a path outside.
// Node has no openat elsewhere. There each directory is checked (lstat, then realpath) before its path is used, and a
// program of the host that swaps a directory for a link between check and use wins that race; the guest alone cannot.
// All is done during the call: the worker has no event loop while its guest runs.

import {
  chmodSync,
  closeSync,
  constants,
  existsSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  lchmodSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  opendirSync,
  openSync,
  readlinkSync,
  readSync,
  realpathSync,
  renameSync,
  rmdirSync,
  symlinkSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { join, sep } from 'node:path';
import { platform } from 'node:process';
import { AssertionError, assert } from '@mimic/base';
import {
  type AttributeChange,
  type FileKind,
  type FileStatus,
  FOLDER_ERRNO,
  type FolderDone,
  type FolderEntry,
  type FolderErrorCode,
  type FolderPath,
  type HostFolder,
  type OpenFile,
  type OpenOptions,
  type ShareAttachment,
} from '@mimic/machine';
import { fileError, HostError } from '../errors.ts';

/** A directory with more entries is not listed: the guest sees an I/O error. */
export const LISTED_ENTRIES_MAX = 1 << 18;
/** Descriptors are the whole process's: a guest gets no more of them per share, then ENFILE. */
export const OPEN_FILES_MAX = 1024;
/** Linux, open(2); Node does not name it. Enough to walk through a directory that may not be listed. */
const O_PATH = 0o10000000;
const { O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_NONBLOCK, O_TRUNC } = constants;
const { O_RDONLY, O_RDWR, O_WRONLY } = constants;
/** Deviation: a guest sets no set-user-id, set-group-id or sticky bits, which would be the host's. */
const MODE_BITS = 0o777;
const DESCRIPTOR_FOLDER = '/proc/self/fd';
/** Bits of an inode number left for the file's own: the device's index stands above, 53 bits in all. */
const INODE_BITS = 44n;
const DEVICE_COUNT_MAX = 512;
const TIME_MAX_MS = 8.64e15;

export interface ShareOptions {
  /** What the guest mounts. */
  readonly tag: string;
  /** The guest may not change anything. */
  readonly readOnly?: boolean;
}

/** What the worker needs to work in a shared folder. File descriptors belong to the whole process. */
export interface SharedFolder {
  /** Without symbolic links. */
  readonly path: string;
  /** Held for the share's life; undefined where directories cannot be opened relative to it. */
  readonly fd: number | undefined;
  readonly readOnly: boolean;
}

/** Fails with a `HostError`. `path` itself may be or go through links: it is the user's. */
export function openSharedFolder(path: string, options: ShareOptions): ShareAttachment {
  const { tag, readOnly = false } = options;
  const byDescriptor = platform === 'linux' && existsSync(DESCRIPTOR_FOLDER);
  const real = realPath(path);
  const fd = openSync(real, byDescriptor ? O_PATH | O_DIRECTORY : O_RDONLY | O_DIRECTORY);
  const folder: SharedFolder = { path: real, fd: byDescriptor ? fd : undefined, readOnly };
  return { tag, readOnly, descriptor: folder, close: () => closeSync(fd) };
}

function realPath(path: string): string {
  try {
    const real = realpathSync(path);
    opendirSync(real).closeSync(); // Readable, not only there.
    return real;
  } catch (error) {
    const code = codeOf(error);
    if (code === 'ENOENT') {
      throw new HostError('FILE_MISSING', `${path}: there is no such folder`, {
        hint: `make it with "mkdir ${path}", or check the path`,
        cause: error,
      });
    }
    if (code !== 'ENOTDIR') throw fileError(path, error);
    throw new HostError('FILE_UNREADABLE', `${path} is a file, not a folder`, {
      hint: 'name the folder that it is in',
      cause: error,
    });
  }
}

export class NodeHostFolder implements HostFolder {
  readonly readOnly: boolean;
  readonly #root: SharedFolder;
  readonly #listedMax: number;
  #openCount = 0;
  /** Numbers of the host's file systems below the root, in the order they were met; the root's own is first. */
  readonly #devices = new Map<bigint, bigint>();

  /** `listedMax` is for tests. */
  constructor(root: SharedFolder, listedMax = LISTED_ENTRIES_MAX) {
    this.#root = root;
    this.readOnly = root.readOnly;
    this.#listedMax = listedMax;
  }

  status(path: FolderPath, done: FolderDone<FileStatus>): void {
    answer(done, () => this.#at(path, (at) => this.#status(at)));
  }

  list(path: FolderPath, done: FolderDone<FolderEntry[]>): void {
    answer(done, () => this.#inDirectory(path, (directory) => this.#list(directory)));
  }

  open(path: FolderPath, options: OpenOptions, done: FolderDone<OpenFile>): void {
    answer(done, () => {
      if (options.write || options.truncate || options.create) this.#mustBeWritable();
      if (this.#openCount >= OPEN_FILES_MAX) throw new Refusal('ENFILE');
      const fd = this.#at(path, (at) => openPlain(at, options));
      this.#openCount += 1;
      return new NodeOpenFile(fd, () => {
        this.#openCount -= 1;
      });
    });
  }

  makeDirectory(path: FolderPath, mode: number, done: FolderDone<void>): void {
    this.#change(path, done, (at) => mkdirSync(at, mode & MODE_BITS));
  }

  removeFile(path: FolderPath, done: FolderDone<void>): void {
    this.#change(path, done, unlinkSync);
  }

  removeDirectory(path: FolderPath, done: FolderDone<void>): void {
    this.#change(path, done, (at) => rmdirSync(at));
  }

  rename(from: FolderPath, to: FolderPath, done: FolderDone<void>): void {
    this.#change(from, done, (source) => {
      if (to.length === 0) throw new Refusal('EBUSY');
      this.#at(to, (target) => renameSync(source, target));
    });
  }

  readLink(path: FolderPath, done: FolderDone<string>): void {
    answer(done, () => this.#at(path, (at) => readlinkSync(at)));
  }

  /** The target is text for the guest. A program of the host that follows the link does so at its own risk. */
  makeSymlink(path: FolderPath, target: string, done: FolderDone<void>): void {
    this.#change(path, done, (at) => symlinkSync(target, at));
  }

  setAttributes(path: FolderPath, change: AttributeChange, done: FolderDone<void>): void {
    answer(done, () => {
      this.#mustBeWritable();
      this.#at(path, (at) => setAttributes(at, change));
    });
  }

  /** Work that makes, moves or removes an entry, which the root is not. */
  #change(path: FolderPath, done: FolderDone<void>, work: (at: string) => void): void {
    answer(done, () => {
      this.#mustBeWritable();
      if (path.length === 0) throw new Refusal('EBUSY');
      this.#at(path, work);
    });
  }

  #mustBeWritable(): void {
    if (this.readOnly) throw new Refusal('EROFS');
  }

  /** `work` gets a path whose last name alone is still to be looked up; it must not follow that one. */
  #at<Result>(path: FolderPath, work: (at: string) => Result): Result {
    const last = path.at(-1);
    if (last !== undefined) checkName(last);
    const name = last ?? '.';
    return this.#inDirectory(path.slice(0, -1), (directory) => work(`${directory}/${name}`));
  }

  /** `work` gets a path that leads to this directory for as long as it runs. */
  #inDirectory<Result>(path: FolderPath, work: (directory: string) => Result): Result {
    for (const name of path) checkName(name);
    if (this.#root.fd === undefined) return work(checkedDirectory(this.#root.path, path));
    return insideDescriptor(this.#root.fd, path, work);
  }

  #status(at: string): FileStatus {
    const stat = lstatSync(at, { bigint: true });
    return {
      kind: kindOf(stat),
      inode: this.#inode(stat),
      mode: Number(stat.mode & 0o7777n),
      uid: Number(stat.uid),
      gid: Number(stat.gid),
      linkCount: Number(stat.nlink),
      sizeBytes: Number(stat.size),
      accessedMs: Number(stat.atimeNs) / 1e6,
      modifiedMs: Number(stat.mtimeNs) / 1e6,
      changedMs: Number(stat.ctimeNs) / 1e6,
    };
  }

  /** What has gone meanwhile is left out, and so are names that are not UTF-8, which nobody could ask for. */
  #list(directory: string): FolderEntry[] {
    const entries: FolderEntry[] = [];
    const open = opendirSync(`${directory}/.`);
    try {
      for (let entry = open.readSync(); entry !== null; entry = open.readSync()) {
        if (entries.length >= this.#listedMax) throw new Refusal('EIO');
        const { name } = entry;
        const stat = lstatSync(`${directory}/${name}`, { bigint: true, throwIfNoEntry: false });
        if (stat !== undefined)
          entries.push({ name, kind: kindOf(stat), inode: this.#inode(stat) });
      }
    } finally {
      open.closeSync();
    }
    return entries;
  }

  /** Files of different file systems below the root may have the same number. */
  #inode({ dev, ino }: { dev: bigint; ino: bigint }): number {
    if (this.#devices.size === 0) {
      const root =
        this.#root.fd === undefined ? lstatSync(this.#root.path) : fstatSync(this.#root.fd);
      this.#devices.set(BigInt(root.dev), 0n);
    }
    let index = this.#devices.get(dev);
    if (index === undefined) {
      index = BigInt(this.#devices.size % DEVICE_COUNT_MAX);
      if (this.#devices.size < DEVICE_COUNT_MAX) this.#devices.set(dev, index);
    }
    return Number(BigInt.asUintN(53, ino ^ (index << INODE_BITS)));
  }
}

class NodeOpenFile implements OpenFile {
  readonly #fd: number;
  readonly #closed: () => void;

  constructor(fd: number, closed: () => void) {
    this.#fd = fd;
    this.#closed = closed;
  }

  read(offset: number, lengthBytes: number, done: FolderDone<Uint8Array>): void {
    answer(done, () => {
      const bytes = new Uint8Array(lengthBytes);
      return bytes.subarray(0, readSync(this.#fd, bytes, 0, lengthBytes, offset));
    });
  }

  write(offset: number, bytes: Uint8Array, done: FolderDone<number>): void {
    answer(done, () => writeSync(this.#fd, bytes, 0, bytes.length, offset));
  }

  sync(done: FolderDone<void>): void {
    answer(done, () => fsyncSync(this.#fd));
  }

  close(): void {
    this.#closed();
    answer(
      () => undefined, // The guest is not told: whoever cares has called `sync`.
      () => closeSync(this.#fd),
    );
  }
}

function checkName(name: string): void {
  assert(!/^\.{0,2}$|[/\0]/.test(name), 'the device lets only single names pass');
}

/** Walks down by descriptors. A link, or anything else that is no directory, is ENOTDIR. */
function insideDescriptor<Result>(
  root: number,
  path: FolderPath,
  work: (directory: string) => Result,
): Result {
  let fd = root;
  try {
    for (const name of path) {
      const parent = fd;
      fd = openSync(`${DESCRIPTOR_FOLDER}/${parent}/${name}`, O_PATH | O_DIRECTORY | O_NOFOLLOW);
      if (parent !== root) closeSync(parent);
    }
    return work(`${DESCRIPTOR_FOLDER}/${fd}`);
  } finally {
    if (fd !== root) closeSync(fd);
  }
}

function checkedDirectory(root: string, path: FolderPath): string {
  let at = root;
  for (const name of path) {
    at = join(at, name);
    if (!lstatSync(at).isDirectory()) throw new Refusal('ENOTDIR');
  }
  const real = realpathSync(at);
  const prefix = root.endsWith(sep) ? root : root + sep;
  if (real !== root && !real.startsWith(prefix)) throw new Refusal('ENOTDIR');
  return at;
}

/** A descriptor of a plain file. What is none is not opened: a pipe would block, a device would act. */
function openPlain(at: string, { read, write, truncate, create }: OpenOptions): number {
  const access = write ? (read ? O_RDWR : O_WRONLY) : O_RDONLY;
  const flags = access | O_NOFOLLOW | O_NONBLOCK;
  if (create) {
    try {
      return openSync(at, flags | O_CREAT | O_EXCL, create.mode & MODE_BITS);
    } catch (error) {
      if (create.exclusive || codeOf(error) !== 'EEXIST') throw error;
    }
  }
  mustBePlain(kindOf(lstatSync(at)));
  const fd = openSync(at, flags | (truncate ? O_TRUNC : 0));
  try {
    mustBePlain(kindOf(fstatSync(fd)));
    return fd;
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

function mustBePlain(kind: FileKind): void {
  if (kind === 'symlink') throw new Refusal('ELOOP');
  if (kind === 'directory') throw new Refusal('EISDIR');
  if (kind === 'other') throw new Refusal('EACCES');
}

function setAttributes(at: string, change: AttributeChange): void {
  const { sizeBytes, mode, accessedMs, modifiedMs } = change;
  if (sizeBytes !== undefined) {
    const fd = openPlain(at, { read: false, write: true, truncate: false });
    try {
      ftruncateSync(fd, sizeBytes);
    } finally {
      closeSync(fd);
    }
  }
  if (mode !== undefined) setMode(at, mode & MODE_BITS);
  if (accessedMs === undefined && modifiedMs === undefined) return;
  const now = lstatSync(at);
  const seconds = [accessedMs ?? now.atimeMs, modifiedMs ?? now.mtimeMs].map((ms) => ms / 1000);
  if (!seconds.every((time) => Math.abs(time) <= TIME_MAX_MS / 1000)) throw new Refusal('EINVAL');
  lutimesSync(at, seconds[0]!, seconds[1]!);
}

/** Linux has no chmod that leaves links alone; a descriptor's entry leads to the very file that was opened. */
function setMode(at: string, mode: number): void {
  if (platform !== 'linux') {
    lchmodSync(at, mode);
    return;
  }
  const fd = openSync(at, O_PATH | O_NOFOLLOW);
  try {
    if (fstatSync(fd).isSymbolicLink()) throw new Refusal('EOPNOTSUPP');
    chmodSync(`${DESCRIPTOR_FOLDER}/${fd}`, mode);
  } finally {
    closeSync(fd);
  }
}

function kindOf(stat: {
  isFile(): boolean;
  isDirectory(): boolean;
  isSymbolicLink(): boolean;
}): FileKind {
  if (stat.isFile()) return 'file';
  if (stat.isDirectory()) return 'directory';
  return stat.isSymbolicLink() ? 'symlink' : 'other';
}

/** An error that the guest gets though the host had none. */
class Refusal extends Error {
  readonly code: FolderErrorCode;

  constructor(code: FolderErrorCode) {
    super(code);
    this.code = code;
  }
}

function answer<Result>(done: FolderDone<Result>, work: () => Result): void {
  let outcome: Result | { error: FolderErrorCode };
  try {
    outcome = work();
  } catch (error) {
    if (error instanceof AssertionError) throw error;
    outcome = { error: folderErrorOf(codeOf(error)) };
  }
  done(outcome);
}

/** Host errors that guests know by another name; the others keep theirs, or are EIO. */
const RENAMED: Readonly<Record<string, FolderErrorCode>> = {
  EMFILE: 'ENFILE',
  EDQUOT: 'ENOSPC',
  ENOTSUP: 'EOPNOTSUPP',
  ENOSYS: 'EOPNOTSUPP',
  // Node's own, for numbers that the system call could not even be told.
  ERR_OUT_OF_RANGE: 'EINVAL',
};

function folderErrorOf(code: string): FolderErrorCode {
  if (Object.hasOwn(FOLDER_ERRNO, code)) return code as FolderErrorCode;
  return RENAMED[code] ?? 'EIO';
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : '';
}
