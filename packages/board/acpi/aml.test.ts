import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AssertionError } from '@mimic/base';
import * as aml from './aml.ts';
import * as resources from './resources.ts';

function check(name: string, encoded: Uint8Array, expected: string): void {
  test(name, () => {
    const hex = [...encoded].map((byte) => byte.toString(16).padStart(2, '0')).join(' ');
    assert.equal(hex, expected);
  });
}

check('0 and 1 are one byte', aml.join(aml.integer(0), aml.integer(1)), '00 01');
check('an integer takes its shortest form: byte', aml.integer(0xff), '0a ff');
check('an integer takes its shortest form: word', aml.integer(0x100), '0b 00 01');
check('an integer takes its shortest form: dword', aml.integer(0xfed0_0000), '0c 00 00 d0 fe');
check(
  'an integer takes its shortest form: qword',
  aml.integer(0x1_0000_0002),
  '0e 02 00 00 00 01 00 00 00',
);
check('a string ends with a zero', aml.string('AB'), '0d 41 42 00');
check('an EISA id is compressed big-endian', aml.eisaId('PNP0A03'), '0c 41 d0 0a 03');
check('a name segment is padded', aml.path('_S5'), '5f 53 35 5f');
check('two segments have a dual prefix', aml.path('\\_SB.PCI0'), '5c 2e 5f 53 42 5f 50 43 49 30');
check('three segments have a multi prefix', aml.path('A.B.C').slice(0, 2), '2f 03');
check('the parent prefix stands before the name', aml.path('^^X'), '5e 5e 58 5f 5f 5f');
check('the root alone ends with a null name', aml.path('\\'), '5c 00');
check(
  'a package counts its elements',
  aml.packageOf(aml.integer(5), aml.integer(0)),
  '12 05 02 0a 05 00',
);
check('a buffer has its size', aml.buffer(Uint8Array.of(7, 8)), '11 05 0a 02 07 08');
check('a scope spans its terms', aml.scope('\\', aml.integer(1)), '10 04 5c 00 01');
check(
  'a serialized method has flag 8',
  aml.method('M', { arguments: 1, serialized: true }, aml.returns(aml.argument(0))),
  '14 08 4d 5f 5f 5f 09 a4 68',
);
check(
  'a region names space, offset and length',
  aml.operationRegion('R', 'pciConfig', { offset: 0x60, length: 4 }),
  '5b 80 52 5f 5f 5f 02 0a 60 0a 04',
);
check(
  'fields have their width in bits',
  aml.byteFields('R', ['F']),
  '5b 81 0b 52 5f 5f 5f 01 46 5f 5f 5f 08',
);
check(
  'an else follows its if',
  aml.join(aml.ifThen(aml.local(0), aml.returns(aml.integer(1))), aml.otherwise(aml.integer(0))),
  'a0 04 60 a4 01 a1 02 00',
);
check(
  'a subtraction without a target has a null name',
  aml.subtract(aml.local(1), aml.integer(1)),
  '74 61 01 00',
);

check('I/O ports', resources.ioPorts(0x3f8, 8), '47 01 f8 03 f8 03 01 08');
check('an ISA interrupt', resources.isaIrq(4), '22 10 00');
check('shared interrupts', resources.sharedIrqs([5, 10, 11]), '23 20 0c 18');
check(
  'fixed memory',
  resources.fixedMemory(0xfed0_0000, 0x400, false),
  '86 09 00 00 00 00 d0 fe 00 04 00 00',
);
check(
  'a word window of I/O ports',
  resources.window({ kind: 'io', min: 0, max: 0xcf7 }),
  '88 0d 00 01 0c 03 00 00 00 00 f7 0c 00 00 f8 0c',
);
check(
  'a dword window of memory',
  resources.window({ kind: 'memory', min: 0xe000_0000, max: 0xfebf_ffff }),
  '87 17 00 00 0c 01 00 00 00 00 00 00 00 e0 ff ff bf fe 00 00 00 00 00 00 c0 1e',
);
check('a template ends with an end tag', resources.resourceTemplate(), '11 05 0a 02 79 00');

test('a length field counts itself at every size', () => {
  const cases: [number, number[]][] = [
    [62, [0x3f]],
    [63, [0x41, 0x04]],
    [4093, [0x4f, 0xff]],
    [4094, [0x81, 0x00, 0x01]],
    [0xf_fffc, [0x8f, 0xff, 0xff]],
    [0xf_fffd, [0xc1, 0x00, 0x00, 0x01]],
  ];
  for (const [size, expected] of cases) {
    const encoded = aml.withLength(new Uint8Array(size));
    assert.deepEqual([...encoded.slice(0, expected.length)], expected, `${size} bytes`);
    assert.equal(encoded.length, size + expected.length);
  }
});

test('a name that AML cannot say is a bug of the tables', () => {
  for (const bad of ['toolong', 'lower', '1AB', 'A B']) {
    assert.throws(() => aml.path(bad), AssertionError, bad);
  }
  assert.throws(() => aml.eisaId('pnp0a03'), AssertionError);
  assert.throws(() => aml.integer(-1), AssertionError);
});
