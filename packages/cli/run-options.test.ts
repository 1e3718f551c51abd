import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  parseConsole,
  parseDisk,
  parseDuration,
  parseNet,
  parseRng,
  parseSerial,
  parseShare,
  parseTrace,
} from './run-options.ts';

test('a disk is a path with flags; a comma in the path is doubled', () => {
  assert.deepEqual(parseDisk('a.img'), { path: 'a.img', readOnly: false, snapshot: false });
  assert.deepEqual(parseDisk('a.img,ro'), { path: 'a.img', readOnly: true, snapshot: false });
  assert.deepEqual(parseDisk('a,,b.img,snapshot=on'), {
    path: 'a,b.img',
    readOnly: false,
    snapshot: true,
  });
  assert.throws(() => parseDisk('a.img,'), /no option ""/);
  assert.throws(() => parseDisk(',ro'), /file is missing/);
});

test('a share is a folder, with a tag behind the last colon unless a slash follows that', () => {
  for (const [text, path, tag, readOnly] of [
    ['docs', 'docs', 'share', false],
    ['docs:d', 'docs', 'd', false],
    ['/a:b/c,ro', '/a:b/c', 'share', true],
    ['/a:b/c:tag,ro=on', '/a:b/c', 'tag', true],
    ['a:b:c', 'a:b', 'c', false],
    ['a,,b,ro=off', 'a,b', 'share', false],
    // Refused later, by the machine, which knows what a tag is.
    ['docs:', 'docs', '', false],
  ] as const) {
    assert.deepEqual(parseShare(text), { path, tag, readOnly }, text);
  }
  assert.throws(() => parseShare('a,rw'), /no option "rw"/);
  assert.throws(() => parseShare(':tag'), /folder is missing/);
});

test('serial targets keep colons of paths and addresses', () => {
  assert.deepEqual(parseSerial('stdio'), { to: 'stdio' });
  assert.deepEqual(parseSerial('file:a:b'), { to: 'file', path: 'a:b' });
  assert.deepEqual(parseSerial('tcp:[::1]:99'), { to: 'tcp', address: '[::1]:99' });
  assert.throws(() => parseSerial('file:'));
});

test('a console is a target with a name', () => {
  assert.deepEqual(parseConsole('file:a:b'), { target: { to: 'file', path: 'a:b' } });
  assert.deepEqual(parseConsole('tcp:[::1]:99,name=org.example.x'), {
    target: { to: 'tcp', address: '[::1]:99' },
    name: 'org.example.x',
  });
  assert.throws(() => parseConsole('stdio'), /file:FILE or tcp/);
  assert.throws(() => parseConsole('file:a,nmae=x'), /no option "nmae=x"/);
});

test('a network is none, or a card without its cable', () => {
  assert.equal(parseNet('none'), 'none');
  assert.deepEqual(parseNet('unplugged'), {});
  assert.deepEqual(parseNet('unplugged,mac=02:00:00:00:00:01'), { mac: '02:00:00:00:00:01' });
  for (const text of ['user', 'unplugged,', 'unplugged,mac=', 'none,mac=x']) {
    assert.throws(() => parseNet(text), /no network to plug into yet/, text);
  }
});

test('a trace names what and where', () => {
  assert.deepEqual(parseTrace('ports,mmio'), { kinds: 'ports,mmio', path: undefined });
  assert.deepEqual(parseTrace('ports:a:b'), { kinds: 'ports', path: 'a:b' });
});

test('random numbers come from the host or from a seed', () => {
  assert.equal(parseRng('host'), 'host');
  assert.deepEqual(parseRng('seed:42'), { seed: 42 });
  for (const text of ['seed:', 'seed:-1', 'seed:1e3', 'seed:99999999999999999', '42']) {
    assert.throws(() => parseRng(text), text);
  }
});

test('durations have units, seconds by default', () => {
  assert.deepEqual(
    ['1500ms', '60s', '1.5', '5m', '1h'].map(parseDuration),
    [1500, 60_000, 1500, 300_000, 3_600_000],
  );
  for (const text of ['0', '-1s', '1d', '', '9999h'])
    assert.throws(() => parseDuration(text), text);
});
