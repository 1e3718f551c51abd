import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AssertionError } from '@mimic/base';
import { ArrayMemory } from '@mimic/testing';
import { VirtioFilesystem9p } from './filesystem-9p.ts';
import {
  decode,
  EVENT_IDX,
  encode,
  INDIRECT_DESC,
  Rig,
  randomFrom,
  TestDriver,
} from './test-driver.ts';
import { TestFolder } from './test-folder.ts';

const [STATFS, LOPEN, LCREATE, SYMLINK, READLINK, GETATTR, SETATTR] = [8, 12, 14, 16, 22, 24, 26];
const [READDIR, LOCK, MKDIR, RENAMEAT, UNLINKAT, VERSION, ATTACH] = [40, 52, 72, 74, 76, 100, 104];
const [FLUSH, WALK, READ, WRITE, CLUNK, REMOVE] = [108, 110, 116, 118, 120, 122];
const [ENOENT, EBADF, EEXIST, ENOTDIR, EINVAL, EROFS, ENOTEMPTY, ELOOP] = [
  2, 9, 17, 20, 22, 30, 39, 40,
];
const NO_FID = 0xffff_ffff;
const ROOT = 1;

/** Fields: numbers are [size, value], strings get their length, bytes stay. */
type Field = readonly [1 | 2 | 4 | 8, number] | string | Uint8Array;

function message(type: number, tag: number, fields: readonly Field[]): Uint8Array {
  const body = fields.flatMap((field) => {
    if (field instanceof Uint8Array) return [...field];
    if (typeof field !== 'string') return [...encode(field)];
    const bytes = new TextEncoder().encode(field);
    return [...encode([2, bytes.length]), ...bytes];
  });
  return Uint8Array.of(...encode([4, 7 + body.length], [1, type], [2, tag]), ...body);
}

/** A guest's 9P client with the root attached as fid 1. */
function start(folder = new TestFolder()) {
  const device = new VirtioFilesystem9p({ folder, tag: 'share', nowMs: () => 5000 });
  const rig = new Rig(new ArrayMemory(0x80_0000), device);
  const driver = new TestDriver(rig).start({ features: [0, INDIRECT_DESC, EVENT_IDX] });
  const queue = driver.queues[0]!;
  let tag = 0;
  const call = (type: number, ...fields: Field[]): Uint8Array => {
    tag += 1;
    const reply = queue.request([{ out: message(type, tag, fields) }, { in: 9000 }]);
    assert.equal(decode(reply, 0, 4), reply.length);
    assert.equal(decode(reply, 5, 2), tag);
    assert.ok([type + 1, 7].includes(reply[4]!), 'the reply to this request, or an error');
    return reply[4] === 7 ? Uint8Array.of(0xee, reply[7]!) : reply.slice(7);
  };
  call(VERSION, [4, 8192], '9P2000.L');
  call(ATTACH, [4, ROOT], [4, NO_FID], 'root', '', [4, 0]);
  const walk = (fid: number, ...names: string[]) =>
    call(WALK, [4, ROOT], [4, fid], [2, names.length], ...names);
  const open = (fid: number, flags = 0) => call(LOPEN, [4, fid], [4, flags]);
  const read = (fid: number, offset = 0, count = 4096) => {
    const reply = call(READ, [4, fid], [8, offset], [4, count]);
    return reply[0] === 0xee ? errnoOf(reply) : new TextDecoder().decode(reply.slice(4));
  };
  const write = (fid: number, offset: number, text: string) => {
    const data = new TextEncoder().encode(text);
    return call(WRITE, [4, fid], [8, offset], [4, data.length], data);
  };
  return { folder, device, rig, driver, queue, call, walk, open, read, write };
}

function errnoOf(reply: Uint8Array): number | undefined {
  return reply[0] === 0xee && reply.length === 2 ? reply[1] : undefined;
}

/** Names, types and offsets of a directory listing. */
function entries(reply: Uint8Array): { name: string; type: number; offset: number }[] {
  const found = [];
  for (let at = 4; at < reply.length; ) {
    const length = decode(reply, at + 22, 2);
    const name = new TextDecoder().decode(reply.slice(at + 24, at + 24 + length));
    found.push({ name, type: reply[at + 21]!, offset: decode(reply, at + 13, 4) });
    at += 24 + length;
  }
  return found;
}

test('configuration tells the mount tag', () => {
  const { driver } = start();
  assert.equal(driver.config(0, 2), 5);
  assert.equal(String.fromCharCode(driver.config(2, 1), driver.config(6, 1)), 'se');
});

test('the version and message size are negotiated', () => {
  const { call } = start();
  const reply = call(VERSION, [4, 0x7fff_ffff], '9P2000.L');
  assert.equal(decode(reply, 0, 4), 512 * 1024);
  assert.equal(new TextDecoder().decode(call(VERSION, [4, 8192], '9P2000').slice(6)), 'unknown');
  assert.equal(errnoOf(call(VERSION, [4, 100], '9P2000.L')), EINVAL);
});

test('a file is walked to, opened, read in parts and closed', () => {
  const { folder, walk, open, read, call } = start();
  folder.put('docs', 'directory');
  folder.put('docs/a.txt', 'hello world');
  assert.equal(decode(walk(2, 'docs', 'a.txt'), 0, 2), 2);
  assert.equal(read(2), EBADF, 'not open');
  assert.equal(errnoOf(open(2)), undefined);
  assert.equal(read(2), 'hello world');
  assert.equal(read(2, 6, 3), 'wor');
  assert.equal(read(2, 100), '');
  assert.equal(folder.openFiles, 1);
  call(CLUNK, [4, 2]);
  assert.equal(folder.openFiles, 0);
  assert.equal(read(2), EBADF);
});

test('files are created, written, truncated, renamed and removed', () => {
  const { folder, walk, open, write, call } = start();
  walk(2);
  const created = call(LCREATE, [4, 2], 'new.txt', [4, 2 | 0x80], [4, 0o600], [4, 0]);
  assert.equal(created[0], 0, 'the qid of a file');
  assert.equal(decode(write(2, 0, 'some text'), 0, 4), 9);
  assert.equal(folder.text('new.txt'), 'some text');
  walk(3);
  const again = call(LCREATE, [4, 3], 'new.txt', [4, 2 | 0x80], [4, 0o600], [4, 0]);
  assert.equal(errnoOf(again), EEXIST);
  walk(4, 'new.txt');
  call(SETATTR, [4, 4], [4, 8], [4, 0], [8, 0], [8, 4], ...new Array(4).fill([8, 0]));
  assert.equal(folder.text('new.txt'), 'some');
  call(MKDIR, [4, ROOT], 'dir', [4, 0o755], [4, 0]);
  walk(5, 'dir');
  call(RENAMEAT, [4, ROOT], 'new.txt', [4, 5], 'moved');
  assert.equal(folder.text('dir/moved'), 'some');
  assert.equal(errnoOf(open(4)), undefined, 'fids follow the file');
  assert.equal(errnoOf(call(UNLINKAT, [4, ROOT], 'dir', [4, 0x200])), ENOTEMPTY);
  call(UNLINKAT, [4, 5], 'moved', [4, 0]);
  call(REMOVE, [4, 5]);
  assert.deepEqual([...folder.root.children.keys()], []);
});

test('attributes carry type, size and times; "now" is the clock of the host', () => {
  const { folder, walk, call } = start();
  const node = folder.put('f', 'xyz');
  walk(2, 'f');
  const reply = call(GETATTR, [4, 2], [8, 0x7ff]);
  assert.equal(reply.length, 8 + 13 + 4 + 4 + 4 + 8 * 5 + 16 * 4 + 16);
  assert.equal(decode(reply, 21, 4), 0o100644);
  assert.equal(decode(reply, 49, 4), 3);
  assert.deepEqual([decode(reply, 89, 4), decode(reply, 97, 4)], [1, 500_000_000]);
  call(SETATTR, [4, 2], [4, 0x21], [4, 0o400], [8, 0], [8, 0], ...new Array(4).fill([8, 0]));
  assert.deepEqual([node.mode, node.modifiedMs], [0o400, 5000]);
});

test('a directory is listed, over several reads', () => {
  const { folder, walk, open, call } = start();
  for (const name of ['one', 'two', 'three']) folder.put(name, name);
  folder.put('sub', 'directory');
  folder.put('link', { link: 'one' });
  walk(2);
  open(2);
  const all = entries(call(READDIR, [4, 2], [8, 0], [4, 4096]));
  assert.deepEqual(
    all.map(({ name, type }) => `${name}:${type}`),
    ['.:4', '..:4', 'one:8', 'two:8', 'three:8', 'sub:4', 'link:10'],
  );
  const names: string[] = [];
  for (let offset = 0; ; ) {
    const part = entries(call(READDIR, [4, 2], [8, offset], [4, 60]));
    if (part.length === 0) break;
    names.push(...part.map((entry) => entry.name));
    offset = part.at(-1)!.offset;
  }
  assert.deepEqual(
    names,
    all.map((entry) => entry.name),
  );
});

test('no walk leads out of the shared folder', () => {
  const { folder, walk, call } = start();
  folder.put('dir', 'directory');
  folder.put('file', 'x');
  folder.put('out', { link: '/etc' });
  const root = decode(call(GETATTR, [4, ROOT], [8, 0]), 13, 4);
  const up = walk(2, 'dir', '..', '..', '..');
  assert.equal(decode(up, 0, 2), 4);
  assert.equal(decode(up, 2 + 3 * 13 + 5, 4), root, 'the root is its own parent');
  for (const name of ['../..', '/etc', 'a/b', '', '.', 'dir\0x']) {
    assert.equal(errnoOf(walk(3, name)), ENOENT, JSON.stringify(name));
    const created = call(MKDIR, [4, ROOT], name, [4, 0o777], [4, 0]);
    assert.equal(errnoOf(created), EINVAL, JSON.stringify(name));
  }
  assert.equal(errnoOf(call(MKDIR, [4, ROOT], '..', [4, 0o777], [4, 0])), EINVAL);
  assert.equal(errnoOf(call(RENAMEAT, [4, ROOT], 'file', [4, ROOT], '../f')), EINVAL);
  const through = walk(3, 'out', 'passwd');
  assert.equal(decode(through, 0, 2), 1, 'the link itself, and nothing behind it');
  assert.equal(errnoOf(call(GETATTR, [4, 3], [8, 0])), EBADF, 'so the fid was not made');
  assert.equal(errnoOf(walk(3, 'file', 'x')), undefined);
  walk(4, 'file');
  assert.equal(errnoOf(call(WALK, [4, 4], [4, 5], [2, 1], 'x')), ENOTDIR);
});

test('symbolic links are made and returned, never opened', () => {
  const { walk, open, call } = start();
  call(SYMLINK, [4, ROOT], 'link', '../../etc/passwd', [4, 0]);
  assert.equal(walk(2, 'link')[2], 0x02, 'the qid of a link');
  assert.equal(new TextDecoder().decode(call(READLINK, [4, 2]).slice(2)), '../../etc/passwd');
  assert.equal(errnoOf(open(2)), ELOOP);
});

test('a read-only folder refuses every change', () => {
  const { folder, walk, open, call } = start();
  folder.put('f', 'x');
  folder.readOnly = true;
  walk(2, 'f');
  const changes = [
    open(2, 1),
    open(2, 0x200),
    call(LCREATE, [4, ROOT], 'n', [4, 2], [4, 0o600], [4, 0]),
    call(MKDIR, [4, ROOT], 'n', [4, 0o600], [4, 0]),
    call(SYMLINK, [4, ROOT], 'n', 't', [4, 0]),
    call(RENAMEAT, [4, ROOT], 'f', [4, ROOT], 'g'),
    call(UNLINKAT, [4, ROOT], 'f', [4, 0]),
    call(SETATTR, [4, 2], [4, 8], [4, 0], [8, 0], [8, 0], ...new Array(4).fill([8, 0])),
    call(REMOVE, [4, 2]),
  ];
  assert.deepEqual(
    changes.map(errnoOf),
    changes.map(() => EROFS),
  );
  assert.equal(folder.text('f'), 'x');
});

test('file system status and locks have answers', () => {
  const { call } = start();
  assert.equal(decode(call(STATFS, [4, ROOT]), 0, 4), 0x0102_1997);
  const lock = call(LOCK, [4, ROOT], [1, 1], [4, 0], [8, 0], [8, 0], [4, 1], 'client');
  assert.deepEqual([...lock], [0]);
});

test('a flush is answered after the request that it names', () => {
  const { folder, queue } = start();
  folder.held = [];
  const first = queue.add([
    {
      out: message(GETATTR, 70, [
        [4, ROOT],
        [8, 0],
      ]),
    },
    { in: 500 },
  ]);
  const flush = queue.add([{ out: message(FLUSH, 71, [[2, 70]]) }, { in: 50 }]);
  const other = queue.add([{ out: message(FLUSH, 72, [[2, 99]]) }, { in: 50 }]);
  queue.notify();
  assert.deepEqual(
    queue.used().map((entry) => entry.head),
    [other],
  );
  folder.held.pop()!();
  assert.deepEqual(
    queue.used().map((entry) => entry.head),
    [first, flush],
  );
});

test('open files go on after save and restore, drained first', () => {
  const one = start();
  one.folder.put('f', 'persistent');
  one.walk(2, 'f');
  one.open(2);
  one.folder.held = [];
  one.queue.add([
    {
      out: message(READ, 9, [
        [4, 2],
        [8, 0],
        [4, 10],
      ]),
    },
    { in: 100 },
  ]);
  one.queue.notify();
  assert.throws(() => one.rig.part.save(), AssertionError);
  let idle = false;
  one.rig.part.drain(() => {
    idle = true;
  });
  assert.equal(idle, false);
  one.folder.held.pop()!();
  assert.equal(idle, true);
  assert.equal(one.queue.used().length, 1);
  one.folder.held = undefined;
  const options = { folder: one.folder, tag: 'share', nowMs: () => 0 };
  const copy = new Rig(one.rig.memory, new VirtioFilesystem9p(options));
  copy.part.restore(one.rig.part.save());
  assert.deepEqual(copy.part.save(), one.rig.part.save());
  one.queue.add([
    {
      out: message(READ, 10, [
        [4, 2],
        [8, 0],
        [4, 10],
      ]),
    },
    { in: 100 },
  ]);
  copy.part.resume();
  assert.equal(new TextDecoder().decode(one.queue.used()[0]!.written.slice(11)), 'persistent');
});

test('a file that the host opens after a reset is closed again', () => {
  const { folder, driver, queue, walk, rig } = start();
  folder.put('f', 'x');
  walk(2, 'f');
  folder.held = [];
  queue.add([
    {
      out: message(LOPEN, 9, [
        [4, 2],
        [4, 0],
      ]),
    },
    { in: 100 },
  ]);
  queue.notify();
  folder.held.shift()!();
  assert.equal(folder.held.length, 1, 'the open itself');
  driver.status = 0;
  folder.held.shift()!();
  assert.equal(folder.openFiles, 0);
  assert.equal((rig.part.save().device as { fids: object[] }).fids.length, 0);
});

test('random messages never throw, and keep within bounds', () => {
  const types = [
    8, 12, 14, 16, 20, 22, 24, 26, 40, 50, 52, 54, 72, 74, 76, 104, 110, 116, 118, 120, 122,
  ];
  const names = ['a', 'b', '..', '.', '', 'a/b', '\0', 'long'.repeat(80)];
  for (let seed = 1; seed <= 60; seed++) {
    const random = randomFrom(seed * 99_991);
    const { folder, driver, queue } = start();
    folder.put('a', 'directory');
    folder.put('a/b', 'text');
    folder.put('b', { link: 'a' });
    for (let round = 0; round < 60; round++) {
      const fields = Array.from({ length: random(8) }, (): Field => {
        const size = ([1, 2, 4, 8] as const)[random(4)]!;
        return random(3) === 0
          ? names[random(names.length)]!
          : [size, random(2) ? random(6) : random(2 ** 32)];
      });
      const type = random(10) ? types[random(types.length)]! : random(256);
      // The first field of nearly all requests is a fid.
      const out = message(type, round, [[4, random(5)], ...fields]);
      queue.add([
        { out: random(8) ? out : out.slice(0, random(out.length)) },
        { in: 11 + random(5000) },
      ]);
      queue.notify();
      assert.equal(queue.used().length, 1);
    }
    assert.equal(driver.needsReset, false);
  }
});
