import assert from 'node:assert/strict';
import { test } from 'node:test';
import { debianKernel } from '../testing/debian-kernel.ts';
import { FlatMemory } from '../testing/flat-memory.ts';
import { bzImage, pvhElf } from '../testing/kernels.ts';
import { loadKernel } from './boot.ts';
import { BootError, type BootErrorCode } from './errors.ts';
import { type BootImage, writePieces } from './image.ts';
import type { BootInput } from './input.ts';
import { memoryMap } from './layout.ts';

const RAM_SIZE = 0x400_0000;
const RAM_END = RAM_SIZE - 0x1_0000;
const MEMORY_MAP = memoryMap({
  acpiReclaimable: RAM_END,
  acpiNvs: RAM_SIZE - 0x1000,
  end: RAM_SIZE,
  chips: [{ gpa: 0xfec0_0000, sizeBytes: 0x1000 }],
});

function load(kernel: Uint8Array, options: Partial<BootInput> = {}): BootImage {
  return loadKernel({
    kernel,
    commandLine: 'console=ttyS0',
    memoryMap: MEMORY_MAP,
    ramEnd: RAM_END,
    ...options,
  });
}

/** Loads and writes; gives the memory as the kernel finds it. */
function boot(
  kernel: Uint8Array,
  options: Partial<BootInput> = {},
): { image: BootImage; memory: FlatMemory } {
  const image = load(kernel, options);
  const memory = new FlatMemory(RAM_SIZE);
  writePieces(image.pieces, memory);
  return { image, memory };
}

function text(memory: FlatMemory, gpa: number): string {
  return new TextDecoder().decode(memory.bytes.subarray(gpa, memory.bytes.indexOf(0, gpa)));
}

/** Walks 4-level tables as the processor does; undefined where nothing is mapped. */
function walk(memory: FlatMemory, cr3: number, gva: number): number | undefined {
  let table = cr3;
  for (const shift of [39, 30, 21]) {
    const index = Math.floor(gva / 2 ** shift) % 512;
    const entry = memory.readU64(table + index * 8)!;
    if ((entry & 1n) === 0n) return undefined;
    const address = Number(entry & 0xf_ffff_ffff_f000n);
    if (shift === 21 && entry & 0x80n) return address + (gva % 2 ** shift);
    table = address;
  }
  return undefined;
}

test('a 64-bit bzImage starts 0x200 behind its preferred address with its parameters in rsi', () => {
  const { image, memory } = boot(bzImage());
  const { processor } = image;
  assert.equal(image.format, 'linux64');
  assert.equal(processor.rip, 0x100_0200);
  assert.equal(processor.mode, 'long64');
  assert.equal(processor.cr0 >>> 0, 0x8000_0011);
  assert.equal(processor.cr4, 0x20);
  assert.equal(processor.efer, 0x500);
  assert.equal(processor.cs.selector, 0x10);
  assert.equal(processor.cs.attributes & 0x2000, 0x2000);
  assert.equal(processor.ds.selector, 0x18);
  assert.equal(memory.readU32(0x100_0000), 0x0302_0100);
  assert.equal(memory.readU32(processor.rsi + 0x202), 0x5372_6448);
  assert.equal(memory.bytes[processor.rsi + 0x210], 0xff);
});

test('the page tables map the first 4 GiB one to one and nothing else', () => {
  const { image, memory } = boot(bzImage());
  for (const gva of [0, 0x7000, 0x100_0200, 0x7fff_ffff, 0xffff_ffff]) {
    assert.equal(walk(memory, image.processor.cr3, gva), gva);
  }
  assert.equal(walk(memory, image.processor.cr3, 0x1_0000_0000), undefined);
});

test('the GDT holds what the segment registers hold', () => {
  const { image, memory } = boot(bzImage());
  const { gdtr, cs, ds, tr } = image.processor;
  assert.equal(memory.readU64(gdtr.base), 0n);
  assert.equal(memory.readU64(gdtr.base + cs.selector), 0x00af_9b00_0000_ffffn);
  assert.equal(memory.readU64(gdtr.base + ds.selector), 0x00cf_9300_0000_ffffn);
  assert.equal(memory.readU64(gdtr.base + tr.selector), 0x0000_8b00_0000_0067n);
  assert.equal(gdtr.limit, 47);
});

test('the zero page has memory map, command line, initrd and ACPI root pointer', () => {
  const initrd = Uint8Array.of(1, 2, 3, 4, 5);
  const { image, memory } = boot(bzImage(), { initrd });
  const at = image.processor.rsi;
  assert.equal(text(memory, memory.readU32(at + 0x228)!), 'console=ttyS0');
  assert.equal(memory.readU32(at + 0x21c), 5);
  const ramdisk = memory.readU32(at + 0x218)!;
  assert.equal(ramdisk, RAM_END - 0x1000);
  assert.deepEqual([...memory.bytes.subarray(ramdisk, ramdisk + 5)], [...initrd]);
  assert.equal(memory.readU64(at + 0x70), 0xe_0000n);
  assert.equal(memory.bytes[at + 0x1e8], 6);
  const entries = Array.from({ length: 6 }, (_, index) => {
    const entry = at + 0x2d0 + index * 20;
    const [gpa, size] = [memory.readU64(entry)!, memory.readU64(entry + 8)!];
    return `${gpa.toString(16)}+${size.toString(16)}:${memory.readU32(entry + 16)}`;
  });
  assert.deepEqual(entries, [
    '0+9fc00:1',
    '9fc00+60400:2',
    '100000+3ef0000:1',
    '3ff0000+f000:3',
    '3fff000+1000:4',
    'fec00000+1000:2',
  ]);
});

test('fields that only old loaders set stay as they are in the file, and the sentinel is 0', () => {
  const kernel = bzImage();
  kernel.fill(0xcc, 0, 0x1f1);
  const { image, memory } = boot(kernel);
  assert.equal(memory.bytes[image.processor.rsi + 0x1ef], 0);
  assert.equal(memory.bytes[image.processor.rsi + 0x1f1], 3);
});

test('the initrd stays below what the kernel can address', () => {
  const { image } = boot(bzImage({ initrdAddrMax: 0x1ff_ffff }), {
    initrd: new Uint8Array(0x1001),
  });
  assert.equal(image.pieces.at(-1)!.gpa, 0x1ff_e000);
});

test('a 32-bit bzImage starts at its preferred address in flat protected mode', () => {
  const { image, memory } = boot(bzImage({ xloadflags: 0 }));
  const { processor } = image;
  assert.equal(image.format, 'linux32');
  assert.equal(processor.rip, 0x100_0000);
  assert.equal(processor.cr0, 0x11);
  assert.equal(processor.efer, 0);
  assert.equal(processor.rsi, 0x7000);
  assert.equal(processor.rbx, 0);
  assert.equal(processor.cs.attributes & 0x6000, 0x4000);
  assert.equal(memory.readU64(processor.gdtr.base + 0x10), 0x00cf_9b00_0000_ffffn);
});

test('a kernel of protocol 2.06 is loaded at 1 MiB', () => {
  const image = load(bzImage({ version: 0x206 }));
  assert.equal(image.format, 'linux32');
  assert.equal(image.processor.rip, 0x10_0000);
});

test('a setup size of 0 sectors means 4', () => {
  const { memory } = boot(bzImage({ setupSects: 0 }));
  assert.equal(memory.readU32(0x100_0000), 0x0302_0100);
});

for (const bits of [32, 64] as const) {
  test(`a ${bits}-bit PVH kernel starts at its note's address with its start info in rbx`, () => {
    const initrd = new Uint8Array(0x3000).fill(7);
    const { image, memory } = boot(pvhElf({ bits }), { initrd });
    const { processor } = image;
    assert.equal(image.format, 'pvh');
    assert.equal(processor.rip, 0x100_0100);
    assert.equal(processor.cr0, 0x11);
    assert.equal(memory.readU32(0x100_000c), 0x9090_9090);
    assert.equal(memory.readU32(0x100_0010), 0);
    const at = processor.rbx;
    assert.equal(memory.readU32(at), 0x336e_c578);
    assert.equal(memory.readU32(at + 4), 1);
    assert.equal(memory.readU32(at + 12), 1);
    const modules = Number(memory.readU64(at + 16));
    assert.equal(memory.readU64(modules), BigInt(RAM_END - 0x3000));
    assert.equal(memory.readU64(modules + 8), 0x3000n);
    assert.equal(text(memory, Number(memory.readU64(at + 24))), 'console=ttyS0');
    assert.equal(memory.readU64(at + 32), 0xe_0000n);
    const map = Number(memory.readU64(at + 40));
    assert.equal(memory.readU32(at + 48), MEMORY_MAP.length);
    assert.equal(memory.readU64(map + 24), 0x9_fc00n);
    assert.equal(memory.readU32(map + 24 + 16), 2);
  });
}

test('memory behind a segment is cleared, whatever was there', () => {
  const memory = new FlatMemory(RAM_SIZE);
  memory.bytes.fill(0xee, 0x100_0000, 0x120_0000);
  writePieces(load(pvhElf({ memorySize: 0x12_3456 })).pieces, memory);
  assert.equal(memory.bytes.subarray(0x100_0010, 0x112_3456).indexOf(0xee), -1);
  assert.equal(memory.bytes[0x112_3456], 0xee);
});

const ARM64 = new Uint8Array(0x1000);
ARM64.set(new TextEncoder().encode('ARMd'), 0x38);
const ARM32 = new Uint8Array(0x1000);
ARM32.set([0x18, 0x28, 0x6f, 0x01], 0x24);
const NOISE = Uint8Array.from({ length: 0x1000 }, (_, index) => (index * 197 + 13) & 0xff);

const BAD: [string, BootErrorCode, RegExp, () => BootImage][] = [
  ['an empty file', 'BOOT_NOT_A_KERNEL', /empty/, () => load(new Uint8Array())],
  ['noise', 'BOOT_NOT_A_KERNEL', /not a kernel/, () => load(NOISE)],
  ['a gzip file', 'BOOT_NOT_A_KERNEL', /gzip/, () => load(Uint8Array.of(0x1f, 0x8b, 8, 0))],
  ['an ARM64 kernel', 'BOOT_WRONG_ARCHITECTURE', /ARM64/, () => load(ARM64)],
  ['an ARM kernel', 'BOOT_WRONG_ARCHITECTURE', /32-bit ARM/, () => load(ARM32)],
  ['an ELF for ARM64', 'BOOT_WRONG_ARCHITECTURE', /183/, () => load(pvhElf({ machine: 183 }))],
  ['half a bzImage', 'BOOT_TRUNCATED', /kernel proper/, () => load(bzImage().subarray(0, 0x900))],
  ['a bzImage header', 'BOOT_TRUNCATED', /header/, () => load(bzImage().subarray(0, 0x220))],
  ['half an ELF', 'BOOT_TRUNCATED', /segment/, () => load(pvhElf().subarray(0, 0x108))],
  ['an ELF header', 'BOOT_TRUNCATED', /header/, () => load(pvhElf().subarray(0, 0x48))],
  ['an ELF magic', 'BOOT_TRUNCATED', /ELF header/, () => load(pvhElf().subarray(0, 4))],
  ['a zImage', 'BOOT_UNSUPPORTED_KERNEL', /zImage/, () => load(bzImage({ loadflags: 0 }))],
  ['protocol 2.04', 'BOOT_UNSUPPORTED_KERNEL', /2\.04/, () => load(bzImage({ version: 0x204 }))],
  ['no PVH note', 'BOOT_UNSUPPORTED_KERNEL', /PVH/, () => load(pvhElf({ noteName: 'GNU' }))],
  ['a low segment', 'BOOT_UNSUPPORTED_KERNEL', /1 MiB/, () => load(pvhElf({ gpa: 0x8000 }))],
  [
    'a kernel that unpacks beyond RAM',
    'BOOT_NOT_ENOUGH_MEMORY',
    /64 MiB/,
    () => load(bzImage({ initSize: 0x300_0000 })),
  ],
  [
    'a kernel for far away',
    'BOOT_NOT_ENOUGH_MEMORY',
    /memory/,
    () => load(bzImage({ prefAddress: 0xffff_ffff_ffff_f000n })),
  ],
  [
    'a segment beyond RAM',
    'BOOT_NOT_ENOUGH_MEMORY',
    /memory/,
    () => load(pvhElf({ memorySize: 0x1000_0000 })),
  ],
  [
    'an initrd that leaves no room',
    'BOOT_NOT_ENOUGH_MEMORY',
    /initrd/,
    () => load(bzImage(), { initrd: new Uint8Array(0x300_0000) }),
  ],
  [
    'a long command line',
    'BOOT_BAD_COMMAND_LINE',
    /2048 bytes; it takes 2047/,
    () => load(bzImage(), { commandLine: 'x'.repeat(2048) }),
  ],
  [
    'a zero in the command line',
    'BOOT_BAD_COMMAND_LINE',
    /zero byte/,
    () => load(bzImage(), { commandLine: 'a\0b' }),
  ],
];

for (const [name, code, message, run] of BAD) {
  test(`${name} is refused with ${code}, a sentence and a hint`, () => {
    assert.throws(run, (error) => {
      assert.ok(error instanceof BootError, String(error));
      assert.equal(error.code, code);
      assert.match(error.message, message);
      assert.match(error.message, /\.$/);
      assert.match(error.hint ?? '', /\.$/);
      return true;
    });
  });
}

test('whatever the file, loading gives an image or a BootError', () => {
  const valid = [bzImage(), pvhElf(), pvhElf({ bits: 32 })];
  let seed = 99;
  const random = (limit: number): number => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return Math.floor((seed / 2 ** 32) * limit);
  };
  let images = 0;
  for (let round = 0; round < 3000; round++) {
    const kernel = valid[round % valid.length]!.slice(
      0,
      round % 7 === 0 ? random(0x1000) : undefined,
    );
    for (let count = random(6); count > 0; count--) kernel[random(0x280)] = random(256);
    try {
      const image = load(kernel, { initrd: Uint8Array.of(1) });
      assert.ok(image.pieces.every((piece) => Number.isSafeInteger(piece.gpa)));
      images++;
    } catch (error) {
      assert.ok(error instanceof BootError, String(error));
    }
  }
  assert.ok(images > 500, `${images} images`);
});

test("Debian's kernel is a 64-bit bzImage that fits a machine of 128 MiB, and not one of 32", () => {
  const kernel = debianKernel();
  const image = load(kernel, { ramEnd: 0x800_0000 });
  assert.equal(image.format, 'linux64');
  assert.equal(image.processor.rip, 0x100_0200);
  assert.throws(
    () => load(kernel, { ramEnd: 0x200_0000 }),
    (error) => error instanceof BootError && error.code === 'BOOT_NOT_ENOUGH_MEMORY',
  );
  assert.throws(
    () => load(kernel.subarray(0, kernel.length / 2)),
    (error) => error instanceof BootError && error.code === 'BOOT_TRUNCATED',
  );
});
