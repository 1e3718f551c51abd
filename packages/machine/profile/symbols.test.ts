// Symbols in each of the forms that they come in.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SymbolTable } from './symbols.ts';

const table = (text: string) => SymbolTable.parse(new TextEncoder().encode(text), 'a file');

test('System.map: an address belongs to the last code symbol before it; data is left out', () => {
  const symbols = table(
    [
      '0000000000000000 A fixed_percpu_data',
      'ffffffff81000100 t second',
      'ffffffff81000000 T first',
      'ffffffff81000000 T _text',
      'ffffffff81000180 d data',
      'ffffffff81000200 W weak',
    ].join('\n'),
  );
  assert.equal(symbols.size, 3);
  assert.equal(symbols.find(0xffff_ffff_8100_0000n)?.name, 'first');
  assert.equal(symbols.find(0xffff_ffff_8100_00ffn)?.name, 'first');
  assert.deepEqual(symbols.find(0xffff_ffff_8100_01ffn), {
    name: 'second',
    start: 0xffff_ffff_8100_0100n,
  });
  assert.equal(symbols.find(0xffff_ffff_8100_0200n)?.name, 'weak');
  // Before the first, and too far behind the last.
  assert.equal(symbols.find(0xffff_ffff_80ff_ffffn), undefined);
  assert.equal(symbols.find(0xffff_ffff_8110_0200n), undefined);
});

test('kallsyms names modules, nm -S has sizes, nm on i386 short addresses, lines may end in CR', () => {
  const symbols = table(
    'ffffffffc0000000 t init\t[virtio]\r\n0000000000401000 0000000000000020 T main\nc1000000 T startup_32\n',
  );
  assert.equal(symbols.find(0xffff_ffff_c000_0010n)?.name, 'init [virtio]');
  assert.equal(symbols.find(0x40_1005n)?.name, 'main');
  assert.equal(symbols.find(0xc100_0000n)?.name, 'startup_32');
  assert.equal(symbols.size, 3);
});

test('a file without code symbols is refused, with what would do', () => {
  for (const text of ['', 'hello\nworld\n', '0000000000000000 T hidden\n', 'c0000000 d data\n'])
    assert.throws(() => table(text), { code: 'BAD_OPTION', message: 'a file names no code' });
});

test('a kernel that moved itself is found by where it takes system calls', () => {
  const symbols = table(
    'ffffffff81000000 T _text\nffffffff81a00080 T entry_SYSCALL_64\nffffffff81b00000 T other\n',
  );
  assert.equal(symbols.slide(0n), 0n);
  assert.equal(symbols.slide(0xffff_ffff_81a0_0080n), 0n);
  assert.equal(symbols.slide(0xffff_ffff_9ba0_0080n), 0x1a00_0000n);
  // Whatever that is, it is not this kernel.
  assert.equal(symbols.slide(0xffff_ffff_9ba0_0089n), 0n);
  assert.equal(table('c1000000 T _text\n').slide(0xffff_ffff_9ba0_0080n), 0n);
});

/** An ELF file of five sections: none, code, data, symbols and their names. */
function elf(is64: boolean): Uint8Array {
  const bytes = new Uint8Array(0x400);
  const view = new DataView(bytes.buffer);
  const word = (at: number, value: number) =>
    is64 ? view.setBigUint64(at, BigInt(value), true) : view.setUint32(at, value, true);
  bytes.set([0x7f, 0x45, 0x4c, 0x46, is64 ? 2 : 1, 1, 1]);
  const step = is64 ? 8 : 4;
  const headerBytes = is64 ? 64 : 40;
  word(is64 ? 0x28 : 0x20, 0x100);
  view.setUint16(is64 ? 0x3a : 0x2e, headerBytes, true);
  view.setUint16(is64 ? 0x3c : 0x30, 5, true);
  const section = (
    n: number,
    s: { type: number; flags?: number; offset?: number; size?: number; link?: number },
  ) => {
    const at = 0x100 + n * headerBytes;
    view.setUint32(at + 4, s.type, true);
    word(at + 8, s.flags ?? 0);
    word(at + 8 + 2 * step, s.offset ?? 0);
    word(at + 8 + 3 * step, s.size ?? 0);
    view.setUint32(at + 8 + 4 * step, s.link ?? 0, true);
  };
  const entryBytes = is64 ? 24 : 16;
  section(1, { type: 1, flags: 6 });
  section(2, { type: 1, flags: 3 });
  section(3, { type: 2, offset: 0x300, size: 5 * entryBytes, link: 4 });
  section(4, { type: 3, offset: 0x280, size: 0x40 });
  bytes.set(new TextEncoder().encode('\0start\0label\0table\0file.c\0'), 0x280);
  const symbol = (n: number, name: number, type: number, where: number, value: number) => {
    const at = 0x300 + n * entryBytes;
    view.setUint32(at, name, true);
    bytes[at + (is64 ? 4 : 12)] = 0x10 | type;
    view.setUint16(at + (is64 ? 6 : 14), where, true);
    word(at + (is64 ? 8 : 4), value);
  };
  symbol(1, 1, 2, 1, 0x10_0000);
  symbol(2, 7, 0, 1, 0x10_0040);
  symbol(3, 13, 1, 2, 0x20_0000);
  symbol(4, 19, 4, 0xfff1, 0);
  return bytes;
}

for (const is64 of [true, false]) {
  test(`ELF${is64 ? 64 : 32}: functions, and labels in code`, () => {
    const symbols = SymbolTable.parse(elf(is64), 'vmlinux');
    assert.equal(symbols.size, 2);
    assert.equal(symbols.find(0x10_0004n)?.name, 'start');
    assert.equal(symbols.find(0x10_0044n)?.name, 'label');
  });
}

test('an ELF file that is cut off or stripped has no symbols, and does no harm', () => {
  const bytes = elf(true);
  for (let length = 6; length < bytes.length; length += 5) {
    const cut = SymbolTable.parseElf(bytes.slice(0, length));
    assert.ok(cut === undefined || cut.size <= 2);
  }
  for (let at = 0x20; at < bytes.length; at++) {
    const damaged = bytes.slice();
    damaged[at] = 0xff;
    SymbolTable.parseElf(damaged);
  }
  assert.equal(SymbolTable.parseElf(bytes.slice(0, 0x200)), undefined);
  assert.equal(
    SymbolTable.parseElf(new TextEncoder().encode('c1000000 T startup_32\n')),
    undefined,
  );
  assert.throws(() => SymbolTable.parse(bytes.slice(0, 0x200), 'vmlinux'), { code: 'BAD_OPTION' });
});
