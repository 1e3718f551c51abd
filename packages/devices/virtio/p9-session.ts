// A 9P2000.L server over one host folder. A fid is a list of names below the shared root, made by
// walking name by name through directories only, so no request can name anything outside and no
// symbolic link is followed: links are returned to the guest, which resolves them in its own tree.
// Left out: extended attributes, hard links, device nodes, ownership changes, authentication.

import { ask, attempt } from './folder-steps.ts';
import {
  type AttributeChange,
  ERRNO,
  type FileStatus,
  type FolderEntry,
  type FolderError,
  type FolderPath,
  type HostFolder,
  type OpenFile,
} from './host-folder.ts';
import { type FidState, FidTable, NO_FID, NOT_OPEN } from './p9-fids.ts';
import {
  Fault,
  MessageReader,
  MessageWriter,
  P9,
  P9_HEADER_BYTES,
  P9_MSIZE_MAX,
  P9_MSIZE_MIN,
  P9_NAME_BYTES_MAX,
} from './p9-messages.ts';
import type { Steps } from './steps.ts';

const WALK_NAMES_MAX = 16; // Plan 9 manual, walk(5).
const PATH_NAMES_MAX = 256;
/** count u32 before the data of Rread and Rreaddir. */
const DATA_HEADER_BYTES = P9_HEADER_BYTES + 4;
/** Bytes of a directory entry besides its name: qid, offset u64, type u8, length u16. */
const ENTRY_FIXED_BYTES = 13 + 8 + 1 + 2;

/** Open flags, as Linux on x86 numbers them. */
const OPEN = { accessMode: 3, exclusive: 0x80, truncate: 0x200 };
const [READ_ONLY, WRITE_ONLY] = [0, 1];
const UNLINK_DIRECTORY = 0x200; // AT_REMOVEDIR
const FILE_TYPE = { file: 0o100000, directory: 0o040000, symlink: 0o120000, other: 0 } as const;
const ENTRY_TYPE = { file: 8, directory: 4, symlink: 10, other: 0 } as const;
const GETATTR_BASIC = 0x7ff;
const SETATTR = { mode: 1, size: 8, atime: 0x10, mtime: 0x20, atimeSet: 0x80, mtimeSet: 0x100 };
const STATFS_MAGIC = 0x0102_1997; // V9FS_MAGIC
const BLOCK_BYTES = 4096;
const LOCK_SUCCESS = 0;
const UNLOCKED = 2; // F_UNLCK

export interface P9State {
  msize: number;
  fids: FidState[];
}

type Reply = Steps<unknown, MessageWriter>;
type Handler = (reader: MessageReader) => Reply | MessageWriter;

export class P9Session {
  readonly #folder: HostFolder;
  readonly #nowMs: () => number;
  #msize = P9_MSIZE_MIN;
  readonly #fids = new FidTable();
  readonly #handlers: ReadonlyMap<number, Handler>;

  /** `nowMs` is the wall clock, for "set to now". */
  constructor(folder: HostFolder, nowMs: () => number) {
    this.#folder = folder;
    this.#nowMs = nowMs;
    this.#handlers = new Map<number, Handler>([
      [P9.version, (reader) => this.#version(reader)],
      [P9.attach, (reader) => this.#attach(reader)],
      [P9.walk, (reader) => this.#walk(reader)],
      [P9.clunk, (reader) => this.#clunk(reader)],
      [P9.getattr, (reader) => this.#getattr(reader)],
      [P9.setattr, (reader) => this.#setattr(reader)],
      [P9.lopen, (reader) => this.#lopen(reader)],
      [P9.lcreate, (reader) => this.#lcreate(reader)],
      [P9.read, (reader) => this.#read(reader)],
      [P9.write, (reader) => this.#write(reader)],
      [P9.readdir, (reader) => this.#readdir(reader)],
      [P9.fsync, (reader) => this.#fsync(reader)],
      [P9.mkdir, (reader) => this.#mkdir(reader)],
      [P9.symlink, (reader) => this.#symlink(reader)],
      [P9.readlink, (reader) => this.#readlink(reader)],
      [P9.rename, (reader) => this.#rename(reader)],
      [P9.renameat, (reader) => this.#renameat(reader)],
      [P9.unlinkat, (reader) => this.#unlinkat(reader)],
      [P9.remove, (reader) => this.#remove(reader)],
      [P9.statfs, (reader) => this.#statfs(reader)],
      [P9.lock, (reader) => this.#lock(reader)],
      [P9.getlock, (reader) => this.#getlock(reader)],
    ]);
  }

  /** The largest message that client and server agreed on. */
  get msize(): number {
    return this.#msize;
  }

  /** Answers one message. Bad ones get an error reply like any other failure. */
  *handle(request: Uint8Array): Steps<unknown, Uint8Array> {
    const header = new MessageReader(request.length < P9_HEADER_BYTES ? NO_MESSAGE : request, 4);
    const type = header.number(1);
    const tag = header.number(2);
    try {
      const handler = this.#handlers.get(type);
      if (!handler) throw new Fault('EOPNOTSUPP');
      const answer = handler(new MessageReader(request, P9_HEADER_BYTES));
      const reply = answer instanceof MessageWriter ? answer : yield* answer;
      return reply.message(type + 1, tag);
    } catch (fault) {
      if (!(fault instanceof Fault)) throw fault;
      return new MessageWriter().number(4, ERRNO[fault.code]).message(P9.lerror + 1, tag);
    }
  }

  reset(): void {
    this.#msize = P9_MSIZE_MIN;
    this.#fids.clear();
  }

  save(): P9State {
    return { msize: this.#msize, fids: this.#fids.save() };
  }

  restore(state: P9State): void {
    this.#msize = state.msize;
    this.#fids.restore(state.fids);
  }

  #version(reader: MessageReader): MessageWriter {
    const wanted = reader.number(4);
    const version = reader.string();
    this.reset();
    if (wanted < P9_MSIZE_MIN) throw new Fault('EINVAL');
    this.#msize = Math.min(wanted, P9_MSIZE_MAX);
    const known = version === '9P2000.L' ? version : 'unknown';
    return new MessageWriter().number(4, this.#msize).string(known);
  }

  *#attach(reader: MessageReader): Reply {
    const fid = reader.number(4);
    if (reader.number(4) !== NO_FID) throw new Fault('EOPNOTSUPP');
    const status = yield* this.#status([]);
    this.#fids.remember(fid, []);
    return new MessageWriter().qid(status);
  }

  *#walk(reader: MessageReader): Reply {
    const from = this.#fids.get(reader);
    const newFid = reader.number(4);
    const count = reader.number(2);
    if (count > WALK_NAMES_MAX) throw new Fault('EINVAL');
    if (from.access !== NOT_OPEN) throw new Fault('EBADF');
    const names: string[] = [];
    for (let index = 0; index < count; index++) names.push(reader.string());
    const path = [...from.path];
    const qids = new MessageWriter();
    let walked = 0;
    for (const name of names) {
      const outcome = yield* this.#step(path, name);
      if ('error' in outcome) {
        if (walked === 0) throw new Fault(outcome.error);
        break;
      }
      qids.qid(outcome);
      walked += 1;
    }
    if (walked === count) {
      if (newFid !== from.fid && this.#fids.has(newFid)) throw new Fault('EBADF');
      this.#fids.remember(newFid, path);
    }
    return appendAll(new MessageWriter().number(2, walked), qids);
  }

  /** Moves `path` one name on, if it leads through a directory to something that exists. */
  *#step(path: string[], name: string): Steps<unknown, FileStatus | FolderError> {
    if (name === '..') {
      path.pop(); // The root is its own parent.
      return yield* attempt((done) => this.#folder.status([...path], done));
    }
    if (name === '' || name === '.' || /[/\0]/.test(name)) return { error: 'ENOENT' };
    if (path.length >= PATH_NAMES_MAX) return { error: 'ENAMETOOLONG' };
    const parent = yield* attempt<FileStatus>((done) => this.#folder.status([...path], done));
    if ('error' in parent) return parent;
    if (parent.kind !== 'directory') return { error: 'ENOTDIR' };
    const child = yield* attempt<FileStatus>((done) => this.#folder.status([...path, name], done));
    if (!('error' in child)) path.push(name);
    return child;
  }

  #clunk(reader: MessageReader): MessageWriter {
    this.#fids.forget(this.#fids.get(reader).fid);
    return new MessageWriter();
  }

  *#getattr(reader: MessageReader): Reply {
    const status = yield* this.#status(this.#fids.get(reader).path);
    return new MessageWriter()
      .u64(GETATTR_BASIC)
      .qid(status)
      .number(4, FILE_TYPE[status.kind] | (status.mode & 0o7777))
      .number(4, status.uid)
      .number(4, status.gid)
      .u64(status.linkCount)
      .u64(0)
      .u64(status.sizeBytes)
      .u64(BLOCK_BYTES)
      .u64(Math.ceil(status.sizeBytes / 512))
      .time(status.accessedMs)
      .time(status.modifiedMs)
      .time(status.changedMs)
      .bytes(new Uint8Array(32)); // Birth time, generation and data version, which are not valid.
  }

  /** Deviation: changes of owner and group are accepted and ignored: the host's owner stays. */
  *#setattr(reader: MessageReader): Reply {
    const { path } = this.#fids.get(reader);
    const valid = reader.number(4);
    const mode = reader.number(4) & 0o7777;
    reader.u64(); // uid, gid
    const sizeBytes = reader.u64();
    const accessed = reader.u64() * 1000 + reader.u64() / 1e6;
    const modified = reader.u64() * 1000 + reader.u64() / 1e6;
    this.#mustBeWritable();
    if (sizeBytes > Number.MAX_SAFE_INTEGER) throw new Fault('EFBIG');
    const now = this.#nowMs();
    const change: AttributeChange = {
      ...(valid & SETATTR.mode ? { mode } : {}),
      ...(valid & SETATTR.size ? { sizeBytes } : {}),
      ...(valid & SETATTR.atime ? { accessedMs: valid & SETATTR.atimeSet ? accessed : now } : {}),
      ...(valid & SETATTR.mtime ? { modifiedMs: valid & SETATTR.mtimeSet ? modified : now } : {}),
    };
    if (Object.keys(change).length > 0) {
      yield* ask<void>((done) => this.#folder.setAttributes(path, change, done));
    }
    return new MessageWriter();
  }

  *#lopen(reader: MessageReader): Reply {
    const entry = this.#fids.get(reader);
    const flags = reader.number(4);
    if (entry.access !== NOT_OPEN) throw new Fault('EBADF');
    const access = flags & OPEN.accessMode;
    const truncate = (flags & OPEN.truncate) !== 0;
    if (access !== READ_ONLY || truncate) this.#mustBeWritable();
    const status = yield* this.#status(entry.path);
    if (status.kind === 'symlink') throw new Fault('ELOOP');
    if (status.kind === 'other') throw new Fault('EACCES');
    if (status.kind === 'directory') {
      if (access !== READ_ONLY) throw new Fault('EISDIR');
    } else {
      yield* this.#openFile(entry, { access, truncate });
    }
    entry.access = access;
    return new MessageWriter().qid(status).number(4, 0);
  }

  *#lcreate(reader: MessageReader): Reply {
    const entry = this.#fids.get(reader);
    const path = this.#child(entry, reader.name());
    const flags = reader.number(4);
    const mode = reader.number(4) & 0o777;
    this.#mustBeWritable();
    if (entry.access !== NOT_OPEN) throw new Fault('EBADF');
    const access = flags & OPEN.accessMode;
    const create = { mode, exclusive: (flags & OPEN.exclusive) !== 0 };
    const truncate = (flags & OPEN.truncate) !== 0;
    yield* this.#openFile({ ...entry, path }, { access, truncate, create });
    entry.path = path;
    entry.access = access;
    return new MessageWriter().qid(yield* this.#status(path)).number(4, 0);
  }

  *#read(reader: MessageReader): Reply {
    const entry = this.#fids.get(reader);
    const offset = this.#offset(reader);
    const count = Math.min(reader.number(4), this.#msize - DATA_HEADER_BYTES);
    if (entry.access === NOT_OPEN || entry.access === WRITE_ONLY) throw new Fault('EBADF');
    const file = yield* this.#file(entry);
    const data = yield* ask<Uint8Array>((done) => file.read(offset, count, done));
    return new MessageWriter().number(4, data.length).bytes(data);
  }

  *#write(reader: MessageReader): Reply {
    const entry = this.#fids.get(reader);
    const offset = this.#offset(reader);
    const data = reader.bytes(reader.number(4));
    if (entry.access === NOT_OPEN || entry.access === READ_ONLY) throw new Fault('EBADF');
    const file = yield* this.#file(entry);
    const count = yield* ask<number>((done) => file.write(offset, data, done));
    return new MessageWriter().number(4, count);
  }

  /** Offsets are positions in the listing made at offset 0; `.` and `..` come first. */
  *#readdir(reader: MessageReader): Reply {
    const entry = this.#fids.get(reader);
    const offset = this.#offset(reader);
    const count = Math.min(reader.number(4), this.#msize - DATA_HEADER_BYTES);
    if (entry.access === NOT_OPEN) throw new Fault('EBADF');
    let listing = this.#fids.listings.get(entry.fid);
    if (!listing || offset === 0) {
      listing = yield* this.#list(entry.path);
      if (this.#fids.has(entry.fid)) this.#fids.listings.set(entry.fid, listing);
    }
    const data = new MessageWriter();
    for (let index = offset; index < listing.length; index++) {
      const { name, kind, inode } = listing[index]!;
      const nameBytes = new TextEncoder().encode(name).length;
      if (data.length + ENTRY_FIXED_BYTES + nameBytes > count) break;
      data
        .qid({ kind, inode })
        .u64(index + 1)
        .number(1, ENTRY_TYPE[kind])
        .string(name);
    }
    return appendAll(new MessageWriter().number(4, data.length), data);
  }

  *#list(path: FolderPath): Steps<unknown, FolderEntry[]> {
    const self = yield* this.#status(path);
    const parent = yield* this.#status(path.slice(0, -1));
    const entries = yield* ask<FolderEntry[]>((done) => this.#folder.list(path, done));
    return [
      { name: '.', kind: 'directory', inode: self.inode },
      { name: '..', kind: 'directory', inode: parent.inode },
      ...entries,
    ];
  }

  *#fsync(reader: MessageReader): Reply {
    const entry = this.#fids.get(reader);
    const file = this.#fids.file(entry.fid);
    if (file) yield* ask<void>((done) => file.sync(done));
    return new MessageWriter();
  }

  *#mkdir(reader: MessageReader): Reply {
    const path = this.#child(this.#fids.get(reader), reader.name());
    const mode = reader.number(4) & 0o777;
    this.#mustBeWritable();
    yield* ask<void>((done) => this.#folder.makeDirectory(path, mode, done));
    return new MessageWriter().qid(yield* this.#status(path));
  }

  *#symlink(reader: MessageReader): Reply {
    const path = this.#child(this.#fids.get(reader), reader.name());
    const target = reader.string();
    this.#mustBeWritable();
    if (target === '' || target.includes('\0')) throw new Fault('EINVAL');
    yield* ask<void>((done) => this.#folder.makeSymlink(path, target, done));
    return new MessageWriter().qid(yield* this.#status(path));
  }

  *#readlink(reader: MessageReader): Reply {
    const { path } = this.#fids.get(reader);
    const target = yield* ask<string>((done) => this.#folder.readLink(path, done));
    return new MessageWriter().string(target);
  }

  *#rename(reader: MessageReader): Reply {
    const { path } = this.#fids.get(reader);
    const to = this.#child(this.#fids.get(reader), reader.name());
    yield* this.#move(path, to);
    return new MessageWriter();
  }

  *#renameat(reader: MessageReader): Reply {
    const from = this.#child(this.#fids.get(reader), reader.name());
    const to = this.#child(this.#fids.get(reader), reader.name());
    yield* this.#move(from, to);
    return new MessageWriter();
  }

  /** Renames, and takes along the fids of everything below. */
  *#move(from: readonly string[], to: readonly string[]): Steps<unknown, void> {
    this.#mustBeWritable();
    if (from.length === 0) throw new Fault('EBUSY');
    yield* ask<void>((done) => this.#folder.rename(from, to, done));
    for (const entry of this.#fids.all()) {
      if (!from.every((name, index) => entry.path[index] === name)) continue;
      entry.path = [...to, ...entry.path.slice(from.length)];
    }
  }

  *#unlinkat(reader: MessageReader): Reply {
    const path = this.#child(this.#fids.get(reader), reader.name());
    const flags = reader.number(4);
    this.#mustBeWritable();
    yield* this.#unlink(path, (flags & UNLINK_DIRECTORY) !== 0);
    return new MessageWriter();
  }

  /** The fid is gone whether or not the file could be removed. Plan 9 manual, remove(5). */
  *#remove(reader: MessageReader): Reply {
    const { fid, path } = this.#fids.get(reader);
    this.#fids.forget(fid);
    this.#mustBeWritable();
    if (path.length === 0) throw new Fault('EBUSY');
    const status = yield* this.#status(path);
    yield* this.#unlink(path, status.kind === 'directory');
    return new MessageWriter();
  }

  *#unlink(path: FolderPath, directory: boolean): Steps<unknown, void> {
    const folder = this.#folder;
    if (directory) yield* ask<void>((done) => folder.removeDirectory(path, done));
    else yield* ask<void>((done) => folder.removeFile(path, done));
  }

  /** Deviation: the host's free space is not told; a plausible constant is. */
  #statfs(reader: MessageReader): MessageWriter {
    this.#fids.get(reader);
    const [blocks, files] = [2 ** 28, 2 ** 24];
    return new MessageWriter()
      .number(4, STATFS_MAGIC)
      .number(4, BLOCK_BYTES)
      .u64(blocks)
      .u64(blocks / 2)
      .u64(blocks / 2)
      .u64(files)
      .u64(files / 2)
      .u64(0)
      .number(4, P9_NAME_BYTES_MAX);
  }

  /** Deviation: locks always succeed; there is one client, which keeps its own. */
  #lock(reader: MessageReader): MessageWriter {
    this.#fids.get(reader);
    return new MessageWriter().number(1, LOCK_SUCCESS);
  }

  #getlock(reader: MessageReader): MessageWriter {
    this.#fids.get(reader);
    reader.number(1);
    const range = reader.bytes(8 + 8 + 4);
    return new MessageWriter().number(1, UNLOCKED).bytes(range).string(reader.string());
  }

  #child(directory: FidState, name: string): string[] {
    if (directory.path.length >= PATH_NAMES_MAX) throw new Fault('ENAMETOOLONG');
    return [...directory.path, name];
  }

  #offset(reader: MessageReader): number {
    const offset = reader.u64();
    if (offset > Number.MAX_SAFE_INTEGER) throw new Fault('EINVAL');
    return offset;
  }

  #mustBeWritable(): void {
    if (this.#folder.readOnly) throw new Fault('EROFS');
  }

  *#status(path: FolderPath): Steps<unknown, FileStatus> {
    return yield* ask<FileStatus>((done) => this.#folder.status(path, done));
  }

  /** The host file of an open fid, opened again if a restore lost it. */
  *#file(entry: FidState): Steps<unknown, OpenFile> {
    const file = this.#fids.file(entry.fid);
    return file ?? (yield* this.#openFile(entry, { access: entry.access, truncate: false }));
  }

  *#openFile(
    entry: FidState,
    how: { access: number; truncate: boolean; create?: { mode: number; exclusive: boolean } },
  ): Steps<unknown, OpenFile> {
    const { access, truncate, create } = how;
    const options = {
      read: access !== WRITE_ONLY,
      write: access !== READ_ONLY,
      truncate,
      ...(create ? { create } : {}),
    };
    const { life } = this.#fids;
    const file = yield* ask<OpenFile>((done) =>
      this.#folder.open(entry.path, options, (outcome) => {
        // Nobody waits for a file from before a reset.
        if (life !== this.#fids.life && !('error' in outcome)) outcome.close();
        done(outcome);
      }),
    );
    if (life !== this.#fids.life) throw new Fault('EBADF');
    if (!this.#fids.has(entry.fid)) {
      file.close(); // Another request closed the fid while the host opened the file.
      throw new Fault('EBADF');
    }
    this.#fids.setFile(entry.fid, file);
    return file;
  }
}

const NO_MESSAGE = new Uint8Array(P9_HEADER_BYTES);

function appendAll(head: MessageWriter, tail: MessageWriter): MessageWriter {
  // A message without header is the fields alone.
  return head.bytes(tail.message(0, 0).subarray(P9_HEADER_BYTES));
}
