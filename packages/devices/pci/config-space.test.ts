import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type BarRegion, ConfigSpace } from './config-space.ts';

const registers = { read: () => 0, write: () => {} };

function fixture() {
  const moves: string[] = [];
  const regions: BarRegion[] = [
    { index: 0, space: 'memory32', sizeBytes: 0x1000, name: 'm32', registers },
    { index: 1, space: 'io', sizeBytes: 0x20, name: 'io', registers },
    { index: 2, space: 'memory64', sizeBytes: 0x4000, prefetchable: true, name: 'm64', registers },
  ];
  const config = new ConfigSpace({
    identity: {
      vendorId: 0x1af4,
      deviceId: 0x1042,
      revisionId: 1,
      classCode: 0x010203,
      subsystemVendorId: 0x1111,
      subsystemId: 0x2222,
      interruptPin: 1,
    },
    regions,
    mappingChanged: (region, address) => moves.push(`${region.name}=${address?.toString(16)}`),
  });
  return { config, moves };
}

test('the header shows the identity and ignores writes to it', () => {
  const { config } = fixture();
  for (let offset = 0; offset < 0x40; offset += 4) {
    if (offset === 4 || offset === 0xc || (offset >= 0x10 && offset < 0x28)) continue;
    config.write(offset, 4, 0xffff_ffff);
  }
  assert.equal(config.read(0, 4), 0x1042_1af4);
  assert.equal(config.read(8, 4), 0x0102_0301);
  assert.equal(config.read(0x2c, 4), 0x2222_1111);
  assert.equal(config.read(0x3c, 4), 0x0000_01ff, 'only the interrupt line is writable');
});

test('writing all ones to a BAR tells its size and type', () => {
  const { config } = fixture();
  for (let offset = 0x10; offset < 0x28; offset += 4) config.write(offset, 4, 0xffff_ffff);
  assert.equal(config.read(0x10, 4), 0xffff_f000);
  assert.equal(config.read(0x14, 4), 0xffff_ffe1);
  assert.equal(config.read(0x18, 4), 0xffff_c00c);
  assert.equal(config.read(0x1c, 4), 0xffff_ffff);
  assert.equal(config.read(0x20, 4), 0, 'a BAR that is not there');
});

test('regions are mapped while decoding is on, and follow their BARs', () => {
  const { config, moves } = fixture();
  config.write(0x10, 4, 0xfebf_0000);
  config.write(0x14, 4, 0xc000);
  config.write(0x18, 4, 0x8000);
  config.write(0x1c, 4, 0x0000_0001);
  assert.deepEqual(moves, []);
  config.write(4, 2, 0x3);
  assert.deepEqual(moves.splice(0), ['m32=febf0000', 'io=c000', 'm64=100008000']);
  config.write(0x12, 2, 0xfec0);
  assert.deepEqual(moves.splice(0), ['m32=fec00000']);
  config.write(4, 1, 0x1);
  assert.deepEqual(moves.splice(0), ['m32=undefined', 'm64=undefined']);
  config.reset();
  assert.deepEqual(moves.splice(0), ['io=undefined']);
});

test('sizing with decoding on maps nothing at the top of the space', () => {
  const { config, moves } = fixture();
  config.write(4, 2, 0x7);
  config.write(0x10, 4, 0xffff_ffff);
  config.write(0x14, 4, 0xffff_ffff);
  config.write(0x18, 4, 0xffff_ffff);
  assert.deepEqual(moves.splice(0), ['m64=ffffc000'], 'low half of a 64-bit BAR, for a moment');
  config.write(0x1c, 4, 0xffff_ffff);
  assert.deepEqual(moves.splice(0), ['m64=undefined']);
});

test('the command register keeps only the bits that exist', () => {
  const { config } = fixture();
  config.write(4, 4, 0xffff_ffff);
  assert.equal(config.read(4, 2), 0x0547);
  assert.equal(config.read(6, 2), 0);
  config.setInterruptStatus(true);
  assert.equal(config.read(6, 2), 0x0008);
});

test('capabilities form a list, with their own write masks', () => {
  const { config } = fixture();
  assert.equal(config.read(6, 2) & 0x10, 0);
  const first = config.addCapability(0x09, Uint8Array.of(6, 7, 8));
  const second = config.addCapability(0x11, Uint8Array.of(0, 0), Uint8Array.of(0x0f, 0));
  assert.equal(config.read(6, 2) & 0x10, 0x10);
  assert.equal(config.read(0x34, 1), first);
  assert.equal(config.read(first, 4), 0x0706_0009 | (second << 8));
  config.write(second, 4, 0xffff_ffff);
  assert.equal(config.read(second, 4), 0x000f_0011);
});

test('save and restore bring registers and mappings back', () => {
  const one = fixture();
  one.config.write(0x10, 4, 0xfebf_0000);
  one.config.write(4, 2, 2);
  const state = one.config.save();
  const two = fixture();
  two.config.restore(state);
  assert.deepEqual(two.moves, ['m32=febf0000']);
  assert.deepEqual(two.config.save(), state);
  one.config.write(4, 2, 0);
  assert.equal(two.config.read(4, 2), 2, 'the states share nothing');
});

test('accesses beyond the 256 bytes read all ones and write nothing', () => {
  const { config } = fixture();
  assert.equal(config.read(254, 4), 0xffff_ffff);
  config.write(254, 4, 0);
});
