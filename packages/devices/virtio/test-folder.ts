// A host folder in memory, for tests. It answers at once or when the test says so, and checks what
// the device promises of paths.

import assert from 'node:assert/strict';
import type {
  AttributeChange,
  FileStatus,
  FolderDone,
  FolderEntry,
  FolderError,
  FolderErrorCode,
  FolderPath,
  HostFolder,
  OpenFile,
  OpenOptions,
} from './host-folder.ts';

interface Node {
  kind: 'file' | 'directory' | 'symlink';
  inode: number;
  mode: number;
  modifiedMs: number;
  bytes: Uint8Array;
  target: string;
  children: Map<string, Node>;
}

export class TestFolder implements HostFolder {
  readOnly = false;
  /** With an array here, answers wait in it. */
  held: (() => void)[] | undefined;
  openFiles = 0;
  readonly root: Node;
  #inodes = 0;

  constructor() {
    this.root = this.#node('directory', 0o755);
  }

  /** Puts a file, directory or link there, for the test to start from. */
  put(path: string, content: string | { link: string } | 'directory'): Node {
    const names = path.split('/');
    const parent = this.#directory(names.slice(0, -1));
    if ('error' in parent) throw new Error(`no directory for ${path}`);
    const node = this.#node('file', 0o644);
    if (content === 'directory') node.kind = 'directory';
    else if (typeof content === 'object') [node.kind, node.target] = ['symlink', content.link];
    else node.bytes = new TextEncoder().encode(content);
    parent.children.set(names.at(-1)!, node);
    return node;
  }

  text(path: string): string | undefined {
    const node = this.#find(path.split('/'));
    return 'error' in node ? undefined : new TextDecoder().decode(node.bytes);
  }

  status(path: FolderPath, done: FolderDone<FileStatus>): void {
    this.#answer(done, () => {
      const node = this.#find(path);
      return 'error' in node ? node : statusOf(node);
    });
  }

  list(path: FolderPath, done: FolderDone<FolderEntry[]>): void {
    this.#answer(done, () => {
      const node = this.#directory(path);
      if ('error' in node) return node;
      return [...node.children].map(([name, { kind, inode }]) => ({ name, kind, inode }));
    });
  }

  open(path: FolderPath, options: OpenOptions, done: FolderDone<OpenFile>): void {
    this.#answer(done, () => {
      let node = this.#find(path);
      if (options.create && !('error' in node) && options.create.exclusive) return fail('EEXIST');
      if (options.create && 'error' in node) {
        const parent = this.#directory(path.slice(0, -1));
        if ('error' in parent) return parent;
        node = this.#node('file', options.create.mode);
        parent.children.set(path.at(-1)!, node);
      }
      if ('error' in node) return node;
      if (node.kind === 'symlink') return fail('ELOOP');
      if (options.truncate) node.bytes = new Uint8Array(0);
      return this.#openNode(node);
    });
  }

  makeDirectory(path: FolderPath, mode: number, done: FolderDone<void>): void {
    this.#answer(done, () => this.#insert(path, this.#node('directory', mode)));
  }

  makeSymlink(path: FolderPath, target: string, done: FolderDone<void>): void {
    const node = this.#node('symlink', 0o777);
    node.target = target;
    this.#answer(done, () => this.#insert(path, node));
  }

  removeFile(path: FolderPath, done: FolderDone<void>): void {
    this.#answer(done, () =>
      this.#remove(path, (node) => (node.kind === 'directory' ? 'EISDIR' : undefined)),
    );
  }

  removeDirectory(path: FolderPath, done: FolderDone<void>): void {
    this.#answer(done, () =>
      this.#remove(path, (node) => {
        if (node.kind !== 'directory') return 'ENOTDIR';
        return node.children.size > 0 ? 'ENOTEMPTY' : undefined;
      }),
    );
  }

  rename(from: FolderPath, to: FolderPath, done: FolderDone<void>): void {
    this.#answer(done, () => {
      const node = this.#find(from);
      if ('error' in node) return node;
      const target = this.#directory(to.slice(0, -1));
      const source = this.#directory(from.slice(0, -1));
      if ('error' in target) return target;
      if ('error' in source) return source;
      source.children.delete(from.at(-1)!);
      target.children.set(to.at(-1)!, node);
    });
  }

  readLink(path: FolderPath, done: FolderDone<string>): void {
    this.#answer(done, () => {
      const node = this.#find(path);
      if ('error' in node) return node;
      return node.kind === 'symlink' ? node.target : fail('EINVAL');
    });
  }

  setAttributes(path: FolderPath, change: AttributeChange, done: FolderDone<void>): void {
    this.#answer(done, () => {
      const node = this.#find(path);
      if ('error' in node) return node;
      if (change.sizeBytes !== undefined) node.bytes = resized(node.bytes, change.sizeBytes);
      node.mode = change.mode ?? node.mode;
      node.modifiedMs = change.modifiedMs ?? node.modifiedMs;
    });
  }

  #answer<Result>(done: FolderDone<Result>, act: () => Result | FolderError): void {
    const answer = () => done(act());
    if (this.held) this.held.push(answer);
    else answer();
  }

  #openNode(node: Node): OpenFile {
    this.openFiles += 1;
    let closed = false;
    return {
      read: (offset, lengthBytes, done) =>
        this.#answer(done, () => node.bytes.slice(offset, offset + lengthBytes)),
      write: (offset, bytes, done) =>
        this.#answer(done, () => {
          if (offset + bytes.length > 2 ** 24) return fail('ENOSPC');
          node.bytes = resized(node.bytes, Math.max(node.bytes.length, offset + bytes.length));
          node.bytes.set(bytes, offset);
          return bytes.length;
        }),
      sync: (done) => this.#answer(done, () => undefined),
      close: () => {
        assert.equal(closed, false, 'a file is closed once');
        closed = true;
        this.openFiles -= 1;
      },
    };
  }

  #node(kind: Node['kind'], mode: number): Node {
    this.#inodes += 1;
    const common = { bytes: new Uint8Array(0), target: '', children: new Map(), modifiedMs: 1500 };
    return { kind, inode: this.#inodes, mode, ...common };
  }

  #find(path: FolderPath): Node | FolderError {
    let node = this.root;
    for (const name of path) {
      assert.ok(
        name !== '' && name !== '.' && name !== '..' && !/[/\0]/.test(name),
        `name '${name}'`,
      );
      if (node.kind !== 'directory') return fail('ENOTDIR');
      const child = node.children.get(name);
      if (!child) return fail('ENOENT');
      node = child;
    }
    return node;
  }

  #directory(path: FolderPath): Node | FolderError {
    const node = this.#find(path);
    return 'error' in node || node.kind === 'directory' ? node : fail('ENOTDIR');
  }

  #insert(path: FolderPath, node: Node): FolderError | undefined {
    if (!('error' in this.#find(path))) return fail('EEXIST');
    const parent = this.#directory(path.slice(0, -1));
    if ('error' in parent) return parent;
    parent.children.set(path.at(-1)!, node);
    return undefined;
  }

  #remove(
    path: FolderPath,
    refuse: (node: Node) => FolderErrorCode | undefined,
  ): FolderError | undefined {
    const node = this.#find(path);
    if ('error' in node) return node;
    const code = refuse(node);
    if (code) return fail(code);
    const parent = this.#directory(path.slice(0, -1));
    if (!('error' in parent)) parent.children.delete(path.at(-1)!);
    return undefined;
  }
}

function fail(error: FolderErrorCode): FolderError {
  return { error };
}

function statusOf(node: Node): FileStatus {
  return {
    kind: node.kind,
    inode: node.inode,
    mode: node.mode,
    uid: 0,
    gid: 0,
    linkCount: 1,
    sizeBytes: node.kind === 'symlink' ? node.target.length : node.bytes.length,
    accessedMs: 0,
    modifiedMs: node.modifiedMs,
    changedMs: 0,
  };
}

function resized(bytes: Uint8Array, sizeBytes: number): Uint8Array {
  const copy = new Uint8Array(Math.min(sizeBytes, 2 ** 24));
  copy.set(bytes.subarray(0, copy.length));
  return copy;
}
