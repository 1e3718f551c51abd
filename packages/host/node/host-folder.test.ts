// The shared folder against what a guest may try. Each test runs by descriptors, as on Linux, and by checked paths, as
// elsewhere.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import type {
  FileStatus,
  FolderDone,
  FolderEntry,
  FolderError,
  OpenFile,
  OpenOptions,
} from '@mimic/machine';
import { HostError } from '../errors.ts';
import {
  NodeHostFolder,
  OPEN_FILES_MAX,
  openSharedFolder,
  type SharedFolder,
} from './host-folder.ts';

const base = mkdtempSync(join(tmpdir(), 'mimic-folder-'));
const closers: (() => void)[] = [];
after(() => {
  for (const close of closers) close();
  rmSync(base, { recursive: true });
});
let folderCount = 0;

type Way = 'descriptors' | 'paths';

/** `outside` beside the shared `inside`, which has file, folder, links to both outside and inside, and a pipe. */
function start(way: Way, options: { readOnly?: boolean; listedMax?: number } = {}) {
  folderCount += 1;
  const outer = join(base, `${folderCount}`);
  const root = join(outer, 'inside');
  mkdirSync(join(root, 'sub'), { recursive: true });
  mkdirSync(join(outer, 'outside'));
  writeFileSync(join(outer, 'outside', 'secret'), 'secret');
  writeFileSync(join(root, 'a.txt'), 'hello world');
  writeFileSync(join(root, 'sub', 'b.txt'), 'below');
  symlinkSync('../outside', join(root, 'out'));
  symlinkSync('../outside/secret', join(root, 'leak'));
  symlinkSync('sub', join(root, 'alias'));
  const { readOnly = false, listedMax } = options;
  const attachment = openSharedFolder(root, { tag: 'share', readOnly });
  closers.push(() => attachment.close());
  const opened = attachment.descriptor as SharedFolder;
  const folder = new NodeHostFolder(
    way === 'paths' ? { ...opened, fd: undefined } : opened,
    listedMax,
  );
  return { outer, root, folder };
}

/** The result, or the error's code; fails unless the answer came once, during the call. */
function result<Result>(operation: (done: FolderDone<Result>) => void): Result | string {
  const answers: (Result | FolderError)[] = [];
  operation((outcome) => answers.push(outcome));
  assert.equal(answers.length, 1);
  const [outcome] = answers;
  const failed = typeof outcome === 'object' && outcome !== null && 'error' in outcome;
  return failed ? outcome.error : (outcome as Result);
}

const READ: OpenOptions = { read: true, write: false, truncate: false };
const WRITE: OpenOptions = { read: false, write: true, truncate: false };
const CREATE: OpenOptions = { ...WRITE, create: { mode: 0o640, exclusive: false } };

function open(folder: NodeHostFolder, path: string, options = READ): OpenFile | string {
  return result((done) => folder.open(path.split('/'), options, done));
}

function opened(folder: NodeHostFolder, path: string, options = READ): OpenFile {
  const file = open(folder, path, options);
  if (typeof file === 'string') throw new Error(`${path}: ${file}`);
  return file;
}

function text(folder: NodeHostFolder, path: string): string {
  const file = opened(folder, path);
  const bytes = result<Uint8Array>((done) => file.read(0, 4096, done));
  file.close();
  return typeof bytes === 'string' ? bytes : Buffer.from(bytes).toString();
}

for (const way of ['descriptors', 'paths'] as const) {
  describe(`a shared folder by ${way}`, () => {
    test('files are read, written at offsets, created, truncated and removed', () => {
      const { root, folder } = start(way);
      assert.equal(text(folder, 'a.txt'), 'hello world');
      assert.equal(text(folder, 'sub/b.txt'), 'below');
      const file = opened(folder, 'a.txt', { ...READ, write: true });
      assert.equal(
        result<number>((done) => file.write(6, Buffer.from('there'), done)),
        5,
      );
      assert.equal(
        result<void>((done) => file.sync(done)),
        undefined,
      );
      assert.equal((result<Uint8Array>((done) => file.read(100, 9, done)) as Uint8Array).length, 0);
      file.close();
      assert.equal(readFileSync(join(root, 'a.txt'), 'utf8'), 'hello there');
      opened(folder, 'sub/new', CREATE).close();
      assert.equal(lstatSync(join(root, 'sub/new')).mode & 0o777, 0o640);
      const exclusive = { ...CREATE, create: { mode: 0o600, exclusive: true } };
      assert.equal(open(folder, 'sub/new', exclusive), 'EEXIST');
      opened(folder, 'a.txt', { ...WRITE, truncate: true }).close();
      assert.equal(readFileSync(join(root, 'a.txt'), 'utf8'), '');
      assert.equal(
        result<void>((done) => folder.removeFile(['sub', 'new'], done)),
        undefined,
      );
      assert.equal(existsSync(join(root, 'sub/new')), false);
    });

    test('directories are made, listed, renamed and removed', () => {
      const { root, folder } = start(way);
      assert.equal(
        result<void>((done) => folder.makeDirectory(['d'], 0o700, done)),
        undefined,
      );
      assert.equal(
        result<void>((done) => folder.makeDirectory(['d'], 0o700, done)),
        'EEXIST',
      );
      const listed = result<FolderEntry[]>((done) => folder.list([], done));
      assert.ok(typeof listed !== 'string');
      assert.deepEqual(listed.map(({ name, kind }) => `${name} ${kind}`).sort(), [
        'a.txt file',
        'alias symlink',
        'd directory',
        'leak symlink',
        'out symlink',
        'sub directory',
      ]);
      for (const { name, inode } of listed) {
        const status = result<FileStatus>((done) => folder.status([name], done));
        assert.ok(typeof status !== 'string' && status.inode === inode);
      }
      const move = (from: string, to: string) =>
        result<void>((done) => folder.rename(from.split('/'), to.split('/'), done));
      assert.equal(move('a.txt', 'd/moved'), undefined);
      assert.equal(readFileSync(join(root, 'd/moved'), 'utf8'), 'hello world');
      assert.equal(move('none', 'd/none'), 'ENOENT');
      const remove = (name: string) =>
        result<void>((done) => folder.removeDirectory(name.split('/'), done));
      assert.equal(remove('d'), 'ENOTEMPTY');
      assert.equal(move('d/moved', 'back'), undefined);
      assert.equal(remove('d'), undefined);
      assert.equal(remove('back'), 'ENOTDIR');
    });

    test('status and changes of attributes', () => {
      const { root, folder } = start(way);
      const set = (change: object) =>
        result<void>((done) => folder.setAttributes(['a.txt'], change, done));
      assert.equal(set({ sizeBytes: 5, accessedMs: 1000, modifiedMs: 2500 }), undefined);
      const status = result<FileStatus>((done) => folder.status(['a.txt'], done));
      assert.ok(typeof status !== 'string');
      const { kind, sizeBytes, accessedMs, modifiedMs } = status;
      assert.deepEqual([kind, sizeBytes, accessedMs, modifiedMs], ['file', 5, 1000, 2500]);
      assert.equal(set({ modifiedMs: 1e300 }), 'EINVAL');
      if (process.platform === 'linux') {
        assert.equal(set({ mode: 0o4751 }), undefined);
        assert.equal(lstatSync(join(root, 'a.txt')).mode & 0o7777, 0o751, 'no set-user-id bit');
      }
    });

    test('links are told, never followed, neither on the way nor at the end', () => {
      const { outer, root, folder } = start(way);
      assert.equal(
        result((done) => folder.readLink(['leak'], done)),
        '../outside/secret',
      );
      for (const options of [READ, WRITE, CREATE, { ...WRITE, truncate: true }]) {
        assert.equal(open(folder, 'leak', options), 'ELOOP');
        assert.equal(open(folder, 'out/secret', options), 'ENOTDIR');
        assert.equal(open(folder, 'alias/b.txt', options), 'ENOTDIR');
      }
      const status = result<FileStatus>((done) => folder.status(['leak'], done));
      assert.ok(typeof status !== 'string' && status.kind === 'symlink');
      const path = ['out', 'secret'];
      const attempts: ((done: FolderDone<unknown>) => void)[] = [
        (done) => folder.status(path, done),
        (done) => folder.list(['out'], done),
        (done) => folder.list(['alias'], done),
        (done) => folder.makeDirectory(['out', 'd'], 0o777, done),
        (done) => folder.removeFile(path, done),
        (done) => folder.removeDirectory(path, done),
        (done) => folder.rename(path, ['stolen'], done),
        (done) => folder.rename(['a.txt'], ['out', 'a.txt'], done),
        (done) => folder.readLink(path, done),
        (done) => folder.makeSymlink(['out', 'link'], 'x', done),
        (done) => folder.setAttributes(path, { mode: 0o777 }, done),
      ];
      for (const attempt of attempts) assert.equal(result(attempt), 'ENOTDIR', String(attempt));
      assert.notEqual(
        result<void>((done) => folder.setAttributes(['leak'], { sizeBytes: 0 }, done)),
        undefined,
      );
      assert.equal(readFileSync(join(outer, 'outside/secret'), 'utf8'), 'secret');
      assert.deepEqual(readdirSync(join(outer, 'outside')), ['secret']);
      // Those that name the link itself act on it alone.
      assert.equal(
        result<void>((done) => folder.makeSymlink(['mine'], '/etc', done)),
        undefined,
      );
      assert.equal(readlinkSync(join(root, 'mine')), '/etc');
      assert.equal(
        result<void>((done) => folder.rename(['mine'], ['leak'], done)),
        undefined,
      );
      assert.equal(
        result<void>((done) => folder.removeFile(['leak'], done)),
        undefined,
      );
      assert.deepEqual(readdirSync(join(outer, 'outside')), ['secret']);
    });

    test('the mode and times of a link are not those of what it leads to', () => {
      const { outer, folder } = start(way);
      const secret = join(outer, 'outside', 'secret');
      const before = lstatSync(secret);
      if (process.platform === 'linux') {
        const change = (done: FolderDone<void>) =>
          folder.setAttributes(['leak'], { mode: 0o777 }, done);
        assert.equal(result(change), 'EOPNOTSUPP');
      }
      const touch = (done: FolderDone<void>) =>
        folder.setAttributes(['leak'], { modifiedMs: 7000 }, done);
      assert.equal(result(touch), undefined);
      assert.equal(lstatSync(secret).mode, before.mode);
      assert.equal(lstatSync(secret).mtimeMs, before.mtimeMs);
    });

    test('the root stays, and a name that is no single name is a bug of the device', () => {
      const { folder } = start(way);
      assert.equal(
        result<void>((done) => folder.removeDirectory([], done)),
        'EBUSY',
      );
      assert.equal(
        result<void>((done) => folder.rename([], ['x'], done)),
        'EBUSY',
      );
      assert.equal(
        result<void>((done) => folder.rename(['sub'], [], done)),
        'EBUSY',
      );
      const status = result<FileStatus>((done) => folder.status([], done));
      assert.ok(typeof status !== 'string' && status.kind === 'directory');
      for (const name of ['..', '.', '', 'a/b', 'a\0']) {
        assert.throws(() => folder.status([name, 'x'], () => undefined), {
          name: 'AssertionError',
        });
        assert.throws(() => folder.status([name], () => undefined), { name: 'AssertionError' });
      }
    });

    test('pipes are not opened, which would hold the guest', () => {
      const { root, folder } = start(way);
      assert.equal(spawnSync('mkfifo', [join(root, 'pipe')]).status, 0);
      assert.equal(open(folder, 'pipe'), 'EACCES');
      assert.equal(open(folder, 'pipe', CREATE), 'EACCES');
      assert.equal(open(folder, 'sub'), 'EISDIR');
    });

    test('nothing changes in a folder that is shared for reading', () => {
      const { root, folder } = start(way, { readOnly: true });
      assert.equal(text(folder, 'a.txt'), 'hello world');
      for (const options of [WRITE, CREATE, { ...READ, truncate: true }]) {
        assert.equal(open(folder, 'a.txt', options), 'EROFS');
      }
      const attempts: ((done: FolderDone<void>) => void)[] = [
        (done) => folder.makeDirectory(['d'], 0o777, done),
        (done) => folder.removeFile(['a.txt'], done),
        (done) => folder.removeDirectory(['sub'], done),
        (done) => folder.rename(['a.txt'], ['b.txt'], done),
        (done) => folder.makeSymlink(['l'], 'a.txt', done),
        (done) => folder.setAttributes(['a.txt'], { mode: 0 }, done),
      ];
      for (const attempt of attempts) assert.equal(result(attempt), 'EROFS', String(attempt));
      assert.deepEqual(readdirSync(root).sort(), ['a.txt', 'alias', 'leak', 'out', 'sub']);
    });

    test('open files and listed entries have a limit', () => {
      const { folder } = start(way, { listedMax: 3 });
      assert.equal(
        result<FolderEntry[]>((done) => folder.list([], done)),
        'EIO',
      );
      const files = Array.from({ length: OPEN_FILES_MAX }, () => opened(folder, 'a.txt'));
      assert.equal(open(folder, 'a.txt'), 'ENFILE');
      for (const file of files) file.close();
      assert.equal(text(folder, 'a.txt'), 'hello world');
    });
  });
}

/** Of descriptors, which only Linux has. */
function linuxTest(name: string, body: () => void): void {
  if (process.platform === 'linux') test(name, body);
}

linuxTest('no descriptor is left behind by what fails or ends', () => {
  const { folder } = start('descriptors');
  const count = () => readdirSync('/proc/self/fd').length;
  const before = count();
  for (const path of ['sub/none', 'out/secret', 'leak', 'sub/b.txt/x', 'none/x', 'sub']) {
    assert.equal(typeof open(folder, path), 'string');
  }
  text(folder, 'sub/b.txt');
  result<FolderEntry[]>((done) => folder.list(['sub'], done));
  result((done) => folder.rename(['sub', 'b.txt'], ['sub', 'c'], done));
  result((done) => folder.setAttributes(['sub', 'c'], { mode: 0o600, sizeBytes: 1 }, done));
  assert.equal(count(), before);
});

linuxTest('a folder that another program moves away stays the shared one', () => {
  const { outer, root, folder } = start('descriptors');
  renameSync(root, join(outer, 'elsewhere'));
  symlinkSync('outside', root);
  assert.equal(text(folder, 'a.txt'), 'hello world');
  assert.equal(open(folder, 'secret'), 'ENOENT');
});

test('what cannot be shared is told in a sentence with a hint', () => {
  const { root } = start('descriptors');
  const refused: [path: string, code: string, message: RegExp][] = [
    [join(root, 'none'), 'FILE_MISSING', /there is no such folder$/],
    [join(root, 'a.txt'), 'FILE_UNREADABLE', /a\.txt is a file, not a folder$/],
  ];
  for (const [path, code, message] of refused) {
    assert.throws(
      () => openSharedFolder(path, { tag: 'share' }),
      (error) => {
        assert.ok(error instanceof HostError && error.hint !== undefined);
        assert.equal(error.code, code);
        assert.match(error.message, message);
        return true;
      },
    );
  }
});
