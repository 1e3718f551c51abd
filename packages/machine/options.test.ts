import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  checkOptions,
  formatSize,
  type MachineOptions,
  parseSize,
  parseTraceKinds,
} from './options.ts';

const KERNEL = { kernel: new Uint8Array() };

test('sizes are binary and take the usual ways to write a unit', () => {
  for (const [text, bytes] of [
    ['4096', 4096],
    ['64k', 65536],
    ['512M', 512 << 20],
    ['1.5G', 1.5 * 2 ** 30],
    ['2GiB', 2 ** 31],
    ['10MB', 10 << 20],
  ] as const) {
    assert.equal(parseSize(text), bytes, text);
  }
  for (const text of ['', 'M', '12X', '-5M', '1e9', '0.3K', '5 5', '99999999999T']) {
    assert.throws(() => parseSize(text), { code: 'BAD_OPTION' }, text);
  }
});

test('sizes are printed in the largest unit that leaves a whole number', () => {
  assert.deepEqual(
    [2 ** 30, 3584 * 2 ** 20, 65536, 1000].map((bytes) => formatSize(bytes)),
    ['1G', '3584M', '64K', '1000 bytes'],
  );
});

test('kernel and initrd are copies with memory of their own, as they are now', () => {
  const kernel = Uint8Array.of(1, 2, 3);
  const initrd = Uint8Array.of(4, 5, 6, 7).subarray(1);
  const config = checkOptions({ kernel, initrd });
  kernel.fill(0);
  initrd.fill(0);
  assert.deepEqual([...config.kernel, ...(config.initrd ?? [])], [1, 2, 3, 5, 6, 7]);
  const sizes = [config.kernel, config.initrd].map((bytes) => bytes?.buffer.byteLength);
  assert.deepEqual(sizes, [3, 3]);
});

function refused(options: Partial<MachineOptions>, message: RegExp): void {
  assert.throws(() => checkOptions({ ...KERNEL, ...options }), { code: 'BAD_OPTION', message });
}

test('memory is 16 MiB to 3584 MiB in whole mebibytes', () => {
  assert.equal(checkOptions({ ...KERNEL, memory: '16M' }).ramBytes, 2 ** 24);
  assert.equal(checkOptions({ ...KERNEL, memory: '3584M' }).ramBytes, 3584 * 2 ** 20);
  assert.equal(checkOptions(KERNEL).ramBytes, 2 ** 29);
  refused({ memory: '15M' }, /15M of memory is out of range/);
  refused({ memory: '3585M' }, /out of range/);
  refused({ memory: Number.NaN }, /out of range/);
  refused({ memory: 2 ** 24 + 1 }, /whole mebibytes/);
});

test('what no machine can have is refused', () => {
  for (const cpus of [0, 9, 1.5, Number.NaN]) refused({ cpus }, / processors/);
  refused({ cpu: 'haswell' as 'v2' }, /no processor model "haswell"/);
  refused({ rng: { seed: 0.5 } }, /whole number/);
  const disk = { sizeBytes: 512, readOnly: false, descriptor: null, close() {} };
  refused({ disks: Array(17).fill(disk) }, /17 disks/);
});

test('consoles are few, and their names are words, each used once', () => {
  assert.deepEqual(
    checkOptions({ ...KERNEL, consoles: [{}, { name: 'org.example.a' }] }).consoles,
    [{}, { name: 'org.example.a' }],
  );
  refused({ consoles: Array(17).fill({}) }, /17 consoles/);
  refused({ consoles: [{ name: '' }] }, /not a name/);
  refused({ consoles: [{ name: 'a/b' }] }, /not a name/);
  refused({ consoles: [{ name: 'a' }, { name: 'a' }] }, /two consoles/);
});

test('a network card has an address of its own', () => {
  assert.equal(checkOptions(KERNEL).network, undefined);
  const { network } = checkOptions({ ...KERNEL, network: { mac: '02:00:5E:10:00:ff' } });
  assert.deepEqual(network, {
    mac: Uint8Array.of(0x02, 0x00, 0x5e, 0x10, 0x00, 0xff),
    link: 'down',
  });
  for (const mac of ['', '02:00:00:00:00', '01:00:5e:00:00:01', '00:00:00:00:00:00', '0x:1']) {
    refused({ network: { mac } }, /not the address of a network card/);
  }
});

test('shared folders have distinct tags that a command line can hold', () => {
  const share = (tag: string) => ({ tag, readOnly: false, descriptor: tag, close() {} });
  const config = checkOptions({ ...KERNEL, shares: [share('share'), share('2.a-b_c')] });
  assert.deepEqual(
    config.shares.map((kept) => ({ ...kept })),
    ['share', '2.a-b_c'].map((tag) => ({ tag, readOnly: false, descriptor: tag })),
  );
  for (const tag of ['', 'a b', '.a', '..', 'a/b', 'a,b', 'ä', 'x'.repeat(32)]) {
    refused({ shares: [share(tag)] }, /is not a tag/);
  }
  refused({ shares: [share('a'), share('b'), share('a')] }, /two shared folders .* "a"/);
  refused({ shares: Array.from({ length: 9 }, (_, index) => share(`s${index}`)) }, /9 shared/);
});

test('a deterministic machine refuses what would not be the same each time', () => {
  const share = { tag: 's', readOnly: false, descriptor: 's', close() {} };
  refused({ deterministic: {}, cpus: 2 }, /has one processor/);
  refused({ deterministic: {}, shares: [share] }, /no shared folders/);
  refused({ deterministic: { seed: 0.5 } }, /no seed/);
  for (const nsPerInstruction of [0, 1.5, 1001, Number.NaN]) {
    refused({ deterministic: { nsPerInstruction } }, /cannot take/);
  }
  refused({ deterministic: { startMs: Number.NaN } }, /no date/);
  refused({ deterministic: { instructionsMax: -1 } }, /no limit/);
  assert.equal(checkOptions(KERNEL).deterministic, undefined);
  const config = checkOptions({ ...KERNEL, rng: { seed: 5 }, onRecord: () => undefined });
  assert.equal(config.deterministic?.seed, 5);
  assert.equal(config.deterministic?.records, true);
  assert.deepEqual(checkOptions({ ...KERNEL, deterministic: { seed: 9 } }).rng, { seed: 9 });
});

test('a list of things to trace names each of them', () => {
  assert.deepEqual(parseTraceKinds('ports, mmio'), ['ports', 'mmio']);
  assert.throws(() => parseTraceKinds('ports,color'), { code: 'BAD_OPTION', message: /"color"/ });
});
