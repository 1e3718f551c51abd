import assert from 'node:assert/strict';
import { test } from 'node:test';
import { writeCpio } from './cpio.ts';
import { appletNames, buildInitramfs } from './initramfs.ts';
import { loadOrder } from './modules.ts';

interface Member {
  readonly path: string;
  readonly mode: number;
  readonly device: string;
  readonly data: Uint8Array;
}

/** Reads an archive back by the format's description, checking what the kernel's reader checks. */
function readCpio(archive: Uint8Array): Member[] {
  const members: Member[] = [];
  const text = (from: number, to: number) => Buffer.from(archive.subarray(from, to)).toString();
  for (let at = 0; ; ) {
    assert.equal(text(at, at + 6), '070701');
    const field = (index: number) => {
      const digits = text(at + 6 + 8 * index, at + 14 + 8 * index);
      assert.match(digits, /^[0-9a-f]{8}$/);
      return Number.parseInt(digits, 16);
    };
    const nameBytes = field(11);
    const path = text(at + 110, at + 110 + nameBytes - 1);
    assert.equal(archive[at + 110 + nameBytes - 1], 0);
    const dataAt = Math.ceil((at + 110 + nameBytes) / 4) * 4;
    const data = archive.subarray(dataAt, dataAt + field(6));
    const next = Math.ceil((dataAt + data.length) / 4) * 4;
    if (path === 'TRAILER!!!') {
      assert.equal(next, archive.length);
      return members;
    }
    members.push({ path, mode: field(1), device: `${field(9)}:${field(10)}`, data });
    at = next;
  }
}

test('an archive holds folders, files of any length, links and devices', () => {
  const members = readCpio(
    writeCpio([
      { path: 'dev', folder: true },
      { path: 'dev/console', device: { major: 5, minor: 1 } },
      ...[0, 1, 2, 3, 4, 5].map((size) => ({ path: `f${size}`, contents: 'x'.repeat(size) })),
      { path: 'run', contents: '#!/bin/sh\n', executable: true },
      { path: 'link', linkTo: 'run' },
    ]),
  );
  const modes = Object.fromEntries(members.map(({ path, mode }) => [path, mode.toString(8)]));
  assert.equal(modes.dev, '40755');
  assert.equal(modes['dev/console'], '20600');
  assert.equal(modes.f3, '100644');
  assert.equal(modes.run, '100755');
  assert.equal(modes.link, '120777');
  assert.equal(members[1]?.device, '5:1');
  assert.deepEqual(
    members.slice(2, 8).map(({ data }) => data.length),
    [0, 1, 2, 3, 4, 5],
  );
  assert.equal(Buffer.from(members.at(-1)?.data ?? []).toString(), 'run');
});

/** A program with busybox's table of applets somewhere in it. */
function fakeBusybox(names: readonly string[]): Uint8Array {
  const table = names.map((name) => `${name}\0`).join('');
  return new TextEncoder().encode(`\x7fELF...strings\0${table}\0more\0strings\0`);
}

const NAMES = [
  '[',
  '[[',
  'ash',
  'cat',
  'echo',
  'ls',
  'mount',
  'poweroff',
  'run-parts',
  'sh',
  'uname',
  'xz',
];

test('the applets are read from the program, up to the end of its sorted table', () => {
  assert.deepEqual(appletNames(fakeBusybox(NAMES)), NAMES);
  assert.deepEqual(appletNames(new TextEncoder().encode('no table')), []);
});

test('the root file system has init, busybox, its applets as links, and modules in order', () => {
  const modules = [
    { fileName: 'b.ko', contents: new Uint8Array(10) },
    { fileName: 'a.ko', contents: new Uint8Array(20) },
  ];
  const members = readCpio(buildInitramfs({ busybox: fakeBusybox(NAMES), modules }));
  const find = (path: string) => members.find((member) => member.path === path);
  assert.equal(find('init')?.mode, 0o100755);
  assert.equal(Buffer.from(find('bin/sh')?.data ?? []).toString(), 'busybox');
  assert.equal(Buffer.from(find('lib/modules/order')?.data ?? []).toString(), 'b.ko\na.ko\n');
  const paths = members.map(({ path }) => path);
  assert.equal(new Set(paths).size, paths.length);
  for (const path of paths) {
    const parent = path.slice(0, Math.max(path.lastIndexOf('/'), 0));
    assert.ok(
      parent === '' || paths.indexOf(parent) < paths.indexOf(path),
      `${parent} before ${path}`,
    );
  }
});

test('modules load after what they depend on, once each, and none that is not there', () => {
  const module = (name: string, depends: string) => ({
    fileName: `${name}.ko`,
    contents: new TextEncoder().encode(`\x7fELF\0license=GPL\0depends=${depends}\0name=${name}\0`),
  });
  const available = [
    module('virtio_blk', 'virtio,virtio_ring'),
    module('virtio-rng', 'virtio'),
    module('virtio', 'virtio_ring'),
    module('virtio_ring', ''),
    module('unwanted', ''),
    module('loop_a', 'loop_b'),
    module('loop_b', 'loop_a'),
  ];
  const order = (wanted: string[]) => loadOrder(available, wanted).map(({ fileName }) => fileName);
  assert.deepEqual(order(['virtio_blk', 'virtio_rng', 'virtio_net']), [
    'virtio_ring.ko',
    'virtio.ko',
    'virtio_blk.ko',
    'virtio-rng.ko',
  ]);
  assert.deepEqual(order(['loop_a']), ['loop_b.ko', 'loop_a.ko']);
});
