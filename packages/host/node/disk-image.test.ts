import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { type DiskOptions, type OpenImage, openDiskImage } from './disk-image.ts';
import { FileStore } from './file-store.ts';

const folder = mkdtempSync(join(tmpdir(), 'mimic-disk-'));
after(() => rmSync(folder, { recursive: true }));

function makeImage(name: string, sizeBytes: number): string {
  const path = join(folder, name);
  writeFileSync(path, new Uint8Array(sizeBytes).fill(0xaa));
  return path;
}

function openStore(path: string, options?: DiskOptions): { store: FileStore; close: () => void } {
  const attachment = openDiskImage(path, options);
  return {
    store: new FileStore(attachment.descriptor as OpenImage),
    close: () => attachment.close(),
  };
}

/** The error that the request ended with, or undefined; fails if it has not ended. */
function outcome(
  request: (done: (error?: { message: string }) => void) => void,
): string | undefined {
  const ends: (string | undefined)[] = [];
  request((error) => ends.push(error?.message));
  assert.equal(ends.length, 1);
  return ends[0];
}

test('what is written is read back, also by others after a flush', () => {
  const path = makeImage('plain', 1 << 18);
  const { store, close } = openStore(path);
  const bytes = Uint8Array.from({ length: 70_000 }, (_, index) => index);
  assert.equal(
    outcome((done) => store.write(1000, [bytes], done)),
    undefined,
  );
  assert.equal(
    outcome((done) => store.flush(done)),
    undefined,
  );
  const back = new Uint8Array(bytes.length);
  assert.equal(
    outcome((done) => store.read(1000, [back], done)),
    undefined,
  );
  assert.deepEqual(back, bytes);
  close();
  assert.deepEqual(new Uint8Array(readFileSync(path).subarray(1000, 71_000)), bytes);
});

test('a snapshot is written in memory and leaves the image as it was', () => {
  const path = makeImage('snapshot', (1 << 17) + 512);
  const { store, close } = openStore(path, { snapshot: true });
  const bytes = new Uint8Array(70_000).fill(1);
  assert.equal(
    outcome((done) => store.write((1 << 17) + 512 - 70_000, [bytes], done)),
    undefined,
  );
  const back = new Uint8Array((1 << 17) + 512);
  assert.equal(
    outcome((done) => store.read(0, [back], done)),
    undefined,
  );
  assert.equal(back.indexOf(1), (1 << 17) + 512 - 70_000);
  assert.equal(back.lastIndexOf(0xaa), (1 << 17) + 512 - 70_001);
  assert.equal(
    outcome((done) => store.flush(done)),
    undefined,
  );
  close();
  assert.ok(readFileSync(path).every((byte) => byte === 0xaa));
});

test('a read-only disk refuses writes', () => {
  const { store, close } = openStore(makeImage('readonly', 512), { readOnly: true });
  assert.match(outcome((done) => store.write(0, [new Uint8Array(512)], done)) ?? '', /\w/);
  assert.equal(
    outcome((done) => store.flush(done)),
    undefined,
  );
  close();
});

test('an image is written by one machine at a time, read by several', () => {
  const path = makeImage('locked', 512);
  const writer = openDiskImage(path);
  assert.throws(() => openDiskImage(path), { code: 'DISK_IN_USE' });
  assert.throws(() => openDiskImage(path, { readOnly: true }), { code: 'DISK_IN_USE' });
  writer.close();
  const readers = [
    openDiskImage(path, { readOnly: true }),
    openDiskImage(path, { snapshot: true }),
  ];
  assert.throws(() => openDiskImage(path), { code: 'DISK_IN_USE' });
  for (const reader of readers) reader.close();
  openDiskImage(path).close();
});

test('the lock holds against other processes', () => {
  const path = makeImage('other-process', 512);
  const held = spawnSync('flock', ['--exclusive', path, 'true']);
  assert.equal(held.status, 0);
  const attachment = openDiskImage(path);
  assert.equal(spawnSync('flock', ['--nonblock', '--exclusive', path, 'true']).status, 1);
  attachment.close();
  assert.equal(spawnSync('flock', ['--nonblock', '--exclusive', path, 'true']).status, 0);
});

test('what is no raw disk is refused with a reason', () => {
  assert.throws(() => openDiskImage(join(folder, 'none')), { code: 'FILE_MISSING' });
  assert.throws(() => openDiskImage(folder, { readOnly: true }), { code: 'FILE_UNREADABLE' });
  assert.throws(() => openDiskImage(folder), { code: 'FILE_UNREADABLE' });
  assert.throws(() => openDiskImage(makeImage('odd', 1000)), { code: 'DISK_BAD_SIZE' });
  assert.throws(() => openDiskImage(makeImage('empty', 0)), { code: 'DISK_BAD_SIZE' });
});

test('an image that becomes shorter is an I/O error, not an exception', () => {
  const path = makeImage('shrinks', 1 << 20);
  const { store, close } = openStore(path);
  writeFileSync(path, new Uint8Array(512));
  assert.match(outcome((done) => store.read(1 << 19, [new Uint8Array(512)], done)) ?? '', /\w/);
  close();
});
