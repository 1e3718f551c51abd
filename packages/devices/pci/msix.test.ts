import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ConfigSpace } from './config-space.ts';
import { Msix } from './msix.ts';

const CONTROL = 0x42;

function fixture(vectorCount = 3) {
  const sent: string[] = [];
  const config = new ConfigSpace({ identity: { vendorId: 1, deviceId: 1, classCode: 0 } });
  const msix = new Msix({
    config,
    vectorCount,
    bar: 1,
    tableOffset: 0x1000,
    pendingBitsOffset: 0x2000,
    send: (address, data) => sent.push(`${address.toString(16)}:${data.toString(16)}`),
  });
  config.write(4, 2, 4);
  const setControl = (value: number) => {
    config.write(CONTROL, 2, value);
    msix.configWritten();
  };
  for (let vector = 0; vector < vectorCount; vector++) {
    msix.table.write(vector * 16, 4, 0xfee0_0000 + vector * 0x1000);
    msix.table.write(vector * 16 + 8, 4, 0x4020 + vector);
  }
  return { config, msix, sent, setControl };
}

const unmask = (msix: Msix, vector: number) => msix.table.write(vector * 16 + 12, 4, 0);
const mask = (msix: Msix, vector: number) => msix.table.write(vector * 16 + 12, 4, 1);

test('the capability names table and pending bits in the BAR', () => {
  const { config } = fixture();
  assert.equal(config.read(0x40, 4), 0x0002_0011);
  assert.equal(config.read(0x44, 4), 0x1001);
  assert.equal(config.read(0x48, 4), 0x2001);
  config.write(0x40, 4, 0xffff_ffff);
  assert.equal(config.read(0x40, 4), 0xc002_0011, 'only enable and function mask are writable');
});

test('an enabled, unmasked vector sends its message at once', () => {
  const { msix, sent, setControl } = fixture();
  unmask(msix, 1);
  msix.raise(1);
  assert.deepEqual(sent, [], 'not enabled');
  setControl(0x8000);
  assert.equal(msix.enabled, true);
  assert.deepEqual(sent, [], 'and nothing was kept');
  msix.raise(1);
  msix.raise(3);
  assert.deepEqual(sent, ['fee01000:4021']);
});

test('a masked vector is pending until unmasked, and then sent once', () => {
  const { msix, sent, setControl } = fixture();
  setControl(0x8000);
  msix.raise(2);
  msix.raise(2);
  assert.equal(msix.pendingBits.read(0, 4), 4);
  assert.deepEqual(sent, []);
  unmask(msix, 2);
  assert.deepEqual(sent, ['fee02000:4022']);
  assert.equal(msix.pendingBits.read(0, 4), 0);
  mask(msix, 2);
  unmask(msix, 2);
  assert.equal(sent.length, 1);
});

test('the function mask holds all vectors back', () => {
  const { msix, sent, setControl } = fixture();
  unmask(msix, 0);
  unmask(msix, 2);
  setControl(0xc000);
  msix.raise(0);
  msix.raise(2);
  assert.equal(msix.pendingBits.read(0, 1), 5);
  setControl(0x8000);
  assert.deepEqual(sent, ['fee00000:4020', 'fee02000:4022']);
});

test('messages wait for bus mastering', () => {
  const { config, msix, sent, setControl } = fixture();
  config.write(4, 2, 0);
  setControl(0x8000);
  unmask(msix, 0);
  msix.raise(0);
  assert.deepEqual(sent, []);
  config.write(4, 2, 4);
  msix.configWritten();
  assert.deepEqual(sent, ['fee00000:4020']);
});

test('pending bits survive save and restore; the address may be 64-bit', () => {
  const one = fixture();
  one.setControl(0x8000);
  one.msix.table.write(4, 4, 1);
  one.msix.raise(0);
  const two = fixture();
  two.setControl(0x8000);
  two.msix.restore(one.msix.save());
  assert.deepEqual(two.msix.save(), one.msix.save());
  unmask(two.msix, 0);
  assert.deepEqual(two.sent, ['1fee00000:4020']);
});

test('accesses outside table and pending bits read all ones', () => {
  const { msix } = fixture();
  assert.equal(msix.table.read(48, 4), 0xffff_ffff);
  assert.equal(msix.pendingBits.read(8, 1), 0xff);
  msix.table.write(46, 4, 0);
  msix.pendingBits.write(0, 4, 0xffff_ffff);
  assert.equal(msix.pendingBits.read(0, 4), 0);
  assert.equal(msix.table.read(12, 4), 1, 'vectors start out masked');
});
