import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BoardError } from './errors.ts';
import { decodeMessage } from './msi.ts';
import type { Pc } from './pc.ts';
import { FlatMemory } from './testing/flat-memory.ts';
import { bzImage } from './testing/kernels.ts';
import { blankDisk, pcBench } from './testing/pc-bench.ts';

/** Offset of the notification area in a virtio BAR. */
const NOTIFY_OFFSET = 0x3000;
const KERNEL = { kernel: bzImage(), commandLine: 'console=ttyS0' };

/** Initialises both PICs as Linux does: vectors 0x30 and 0x38, all but `mask` masked. */
function startPics(pc: Pc, mask: number): void {
  const writes: [number, number][] = [
    ...[[0x20, 0x11] as [number, number], [0x21, 0x30] as [number, number]],
    ...[[0x21, 0x04] as [number, number], [0x21, 0x01] as [number, number]],
    ...[[0xa0, 0x11] as [number, number], [0xa1, 0x38] as [number, number]],
    ...[[0xa1, 0x02] as [number, number], [0xa1, 0x01] as [number, number]],
  ];
  for (const [port, value] of writes) pc.portWrite(port, 1, value);
  pc.portWrite(0x21, 1, mask & 0xff);
  pc.portWrite(0xa1, 1, mask >>> 8);
}

/** Programs an I/O APIC pin: fixed delivery to APIC id 0. */
function programPin(pc: Pc, pin: number, low: number): void {
  for (const [index, value] of [
    [0x10 + 2 * pin, low],
    [0x11 + 2 * pin, 0],
  ] as const) {
    pc.memoryWrite(0xfec0_0000, 4, index);
    pc.memoryWrite(0xfec0_0010, 4, value);
  }
}

function readConfig(pc: Pc, slot: number, offset: number, fn = 0): number {
  pc.portWrite(0xcf8, 4, 0x8000_0000 + (slot << 11) + (fn << 8) + (offset & 0xfc));
  return pc.portRead(0xcfc, 4);
}

function writeConfig(pc: Pc, slot: number, offset: number, value: number): void {
  pc.portWrite(0xcf8, 4, 0x8000_0000 + (slot << 11) + offset);
  pc.portWrite(0xcfc, 4, value);
}

test('each part answers at its place and all ranges have a name', () => {
  const { pc } = pcBench();
  const names = pc.ports.ranges().map(({ base, name }) => `${base.toString(16)} ${name}`);
  assert.deepEqual(names, [
    '20 pic-master',
    '40 pit',
    '60 i8042-data',
    '61 system-control-b',
    '64 i8042-command',
    '70 rtc',
    '80 post-code',
    '92 system-control-a',
    'a0 pic-slave',
    'b2 smi-command',
    'e9 debug-console',
    'f0 coprocessor-error',
    '3f8 com1',
    '4d0 elcr',
    '600 acpi-pm',
    'cf8 pci-config',
  ]);
  assert.equal(pc.portRead(0xe9, 1), 0xe9);
  assert.equal(pc.portRead(0x2f8, 1), 0xff);
  assert.equal(pc.memoryRead(0xfed0_0000, 4), 0x8086_a201);
  assert.equal(pc.memoryRead(0xfec0_1000, 4), 0xffff_ffff);
});

test('a serial interrupt reaches the PIC with its vector and the I/O APIC pin 4', () => {
  const { pc, messages, output, intr } = pcBench();
  startPics(pc, 0xffef);
  programPin(pc, 4, 0x0044);
  pc.portWrite(0x3f8, 1, 0x41);
  assert.deepEqual(output, ['A']);
  pc.portWrite(0x3f9, 1, 0x02);
  assert.equal(intr(), true);
  assert.equal(pc.acknowledgeInterrupt(), 0x34);
  assert.equal(intr(), false);
  assert.deepEqual(messages, [
    { destination: 0, logical: false, deliveryMode: 0, vector: 0x44, level: false },
  ]);
});

test('COM1 and COM3 share IRQ 4: it stays high while one of them asks', () => {
  const sink = { out: { write: () => {} } };
  const { pc, intr } = pcBench({ serial: [sink, sink, sink, sink] });
  pc.portWrite(0x4d0, 1, 0x10);
  startPics(pc, 0xffef);
  pc.portWrite(0x3f9, 1, 0x02);
  pc.portWrite(0x3e9, 1, 0x02);
  pc.portWrite(0x3f9, 1, 0x00);
  assert.equal(intr(), true);
  pc.portWrite(0x3e9, 1, 0x00);
  assert.equal(intr(), false);
});

test('the PIT reaches IRQ 0 of the PIC and pin 2 of the I/O APIC', () => {
  const { pc, clock, messages, intr } = pcBench();
  startPics(pc, 0xfffe);
  programPin(pc, 2, 0x0022);
  pc.portWrite(0x43, 1, 0x34);
  pc.portWrite(0x40, 1, 0xa9);
  pc.portWrite(0x40, 1, 0x04);
  clock.advance(3_000_000);
  assert.equal(intr(), true);
  assert.equal(pc.acknowledgeInterrupt(), 0x30);
  assert.ok(messages.length >= 1);
  assert.equal(messages[0]?.vector, 0x22);
});

test('boot places the BARs in the PCI window, apart from each other, and turns them on', () => {
  const { pc } = pcBench();
  pc.boot(KERNEL);
  const bars = [2, 3, 4].map((slot) => readConfig(pc, slot, 0x10));
  assert.equal(new Set(bars).size, 3);
  for (const bar of bars) assert.ok(bar >= 0xe000_0000 && bar < 0xfec0_0000, bar.toString(16));
  assert.equal(readConfig(pc, 2, 0x04) & 0x2, 0x2);
  assert.equal(pc.memory.find(bars[0]!)?.name, 'virtio-block-pci');
  // Common configuration, number of queues.
  assert.equal(pc.memoryRead(bars[0]! + 0x12, 2), 1);
});

test('a PCI interrupt reaches pin 16 and up, active low, and the PIC as the link says', () => {
  const { pc, memory, messages, intr } = pcBench();
  pc.boot(KERNEL);
  startPics(pc, 0);
  const bar = readConfig(pc, 2, 0x10);
  // Slot 2, INTA is PIRQB: pin 17, level, active low; firmware routed it to IRQ 10.
  programPin(pc, 17, 0xa051);
  assert.deepEqual(messages, []);
  writeConfig(pc, 2, 0x04, 0x6);
  flushDisk(pc, memory, bar);
  assert.deepEqual(
    messages.map(({ vector, level }) => [vector, level]),
    [[0x51, true]],
  );
  assert.equal(intr(), true);
  assert.equal(pc.acknowledgeInterrupt(), 0x3a);
  pc.endOfInterrupt(0x51);
  assert.equal(messages.length, 2, 'still asserted, so the EOI brings it again');
});

/** Starts the virtio device at `bar` with one queue, and gives it a flush request at 1 MiB. */
function flushDisk(pc: Pc, memory: FlatMemory, bar: number): void {
  const [descriptors, available, used, request] = [0x10_0000, 0x10_1000, 0x10_2000, 0x10_3000];
  for (const status of [0x01, 0x03]) pc.memoryWrite(bar + 0x14, 1, status);
  // VIRTIO_F_VERSION_1 is bit 32, VIRTIO_BLK_F_FLUSH bit 9.
  for (const [select, features] of [
    [0, 1 << 9],
    [1, 1],
  ] as const) {
    pc.memoryWrite(bar + 0x08, 4, select);
    pc.memoryWrite(bar + 0x0c, 4, features);
  }
  pc.memoryWrite(bar + 0x14, 1, 0x0b);
  pc.memoryWrite(bar + 0x20, 4, descriptors);
  pc.memoryWrite(bar + 0x28, 4, available);
  pc.memoryWrite(bar + 0x30, 4, used);
  pc.memoryWrite(bar + 0x1c, 2, 1);
  pc.memoryWrite(bar + 0x14, 1, 0x0f);
  const flush = 4;
  memory.writeU32(request, flush);
  const [next, deviceWrites] = [1, 2];
  memory.writeU64(descriptors, BigInt(request));
  memory.writeU64(descriptors + 8, 16n | (BigInt(next) << 32n) | (1n << 48n));
  memory.writeU64(descriptors + 16, BigInt(request + 16));
  memory.writeU64(descriptors + 24, 1n | (BigInt(deviceWrites) << 32n));
  memory.writeU16(available + 2, 1);
  pc.memoryWrite(bar + NOTIFY_OFFSET, 2, 0);
}

test('ACPI: enabling, the power button as SCI, and S5 as a power-off', () => {
  const { pc, events, messages } = pcBench();
  assert.equal(pc.pressPowerButton(), false);
  pc.portWrite(0x600, 2, 0xffff);
  pc.portWrite(0xb2, 1, 0xf1);
  assert.equal(pc.portRead(0x604, 2) & 1, 1);
  programPin(pc, 9, 0x8059);
  pc.portWrite(0x602, 2, 0x0100);
  assert.equal(pc.pressPowerButton(), true);
  assert.deepEqual(
    messages.map(({ vector }) => vector),
    [0x59],
  );
  pc.portWrite(0x604, 2, 0x2001);
  pc.portWrite(0x604, 2, 0x2401);
  assert.deepEqual(events, ['power-off', 'sleep 1']);
});

test('resets: port 0xCF9, port 0x92 and the keyboard controller', () => {
  const { pc, events } = pcBench();
  pc.portWrite(0xcf9, 1, 0x02);
  pc.portWrite(0xcf9, 1, 0x06);
  pc.portWrite(0x92, 1, 0x01);
  pc.portWrite(0x64, 1, 0xfe);
  assert.deepEqual(events, ['reset system', 'reset processor', 'reset processor']);
});

test('an MSI address and its data make a message', () => {
  const message = { destination: 3, logical: true, deliveryMode: 1, vector: 0x41, level: false };
  assert.deepEqual(decodeMessage(0xfee0_300c, 0x4141), message);
  assert.equal(decodeMessage(0xfee0_0000, 0x8041), undefined, 'level deassert');
  assert.equal(decodeMessage(0xfee0_0000, 0x0341), undefined, 'reserved delivery mode');
  assert.equal(decodeMessage(0xfeef_f000, 0xc041)?.level, true);
  assert.equal(decodeMessage(0xfeef_f000, 0xc041)?.destination, 0xff);
});

test('boot leaves the ACPI root pointer and SMBIOS where systems scan, in RAM and in ROM', () => {
  const { pc, memory } = pcBench();
  pc.boot(KERNEL);
  const text = (gpa: number, length: number): string =>
    String.fromCharCode(...memory.bytes.subarray(gpa, gpa + length));
  assert.equal(text(0xe_0000, 8), 'RSD PTR ');
  assert.equal(text(0xf_0000, 4), '_SM_');
  assert.equal(text(0xf_0020, 5), '_SM3_');
  assert.equal(pc.memoryRead(0xe_0000, 4), 0x2044_5352);
  const xsdt = Number(memory.readU64(0xe_0018));
  assert.equal(text(xsdt, 4), 'XSDT');
  assert.ok(xsdt > 0x3f0_0000 && xsdt < 0x400_0000);
});

test('the whole board is saved and restored: the same answers, ports and messages', () => {
  const first = pcBench();
  first.pc.boot(KERNEL);
  startPics(first.pc, 0xffef);
  first.pc.portWrite(0x3f9, 1, 0x02);
  programPin(first.pc, 4, 0x0044);
  writeConfig(first.pc, 3, 0x10, 0xe800_0000);
  const saved = structuredClone(first.pc.save());
  const second = pcBench();
  second.pc.restore(saved);
  assert.deepEqual(second.pc.save(), saved);
  assert.equal(second.intr(), true);
  assert.equal(second.pc.acknowledgeInterrupt(), 0x34);
  assert.equal(second.pc.memory.find(0xe800_0000)?.name, 'virtio-block-pci');
});

test('a state of another board is refused', () => {
  const saved = pcBench({ disks: [] }).pc.save();
  assert.throws(
    () => pcBench().pc.restore(saved),
    (error) => error instanceof BoardError && error.code === 'BOARD_STATE_MISMATCH',
  );
});

test('after a reset the board is as new and boots again to the same state', () => {
  const { pc, intr } = pcBench();
  const fresh = pc.save();
  const processor = pc.boot(KERNEL);
  const booted = structuredClone(pc.save());
  startPics(pc, 0);
  pc.portWrite(0x3f9, 1, 0x0f);
  pc.portWrite(0x604, 2, 0x0001);
  pc.reset();
  assert.equal(intr(), false);
  assert.deepEqual(pc.save(), fresh);
  assert.deepEqual(pc.boot(KERNEL), processor);
  assert.deepEqual(pc.save(), booted);
});

test('options that no PC can have are refused with a hint', () => {
  const bad: [string, () => unknown][] = [
    ['BOARD_BAD_MEMORY_SIZE', () => pcBench({ memory: new FlatMemory(0x10_0000) })],
    ['BOARD_BAD_MEMORY_SIZE', () => pcBench({ memory: new FlatMemory(0x40_0001) })],
    ['BOARD_BAD_CPU_COUNT', () => pcBench({ cpuCount: 0 })],
    ['BOARD_BAD_CPU_COUNT', () => pcBench({ cpuCount: 256 })],
    ['BOARD_TOO_MANY_PARTS', () => pcBench({ disks: Array.from({ length: 31 }, blankDisk) })],
    [
      'BOARD_TOO_MANY_PARTS',
      () => pcBench({ consoles: Array.from({ length: 17 }, () => ({ out: { write: () => {} } })) }),
    ],
    [
      'BOARD_TOO_MANY_PARTS',
      () => pcBench({ serial: Array.from({ length: 5 }, () => ({ out: { write: () => {} } })) }),
    ],
  ];
  for (const [code, run] of bad) {
    assert.throws(run, (error) => {
      assert.ok(error instanceof BoardError);
      assert.equal(error.code, code);
      assert.match(error.hint ?? '', /\.$/);
      return true;
    });
  }
});

test('whatever a guest does to ports and memory, nothing throws', () => {
  const { pc, clock } = pcBench();
  pc.boot(KERNEL);
  let seed = 7;
  const random = (limit: number): number => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return Math.floor((seed / 2 ** 32) * limit);
  };
  const ranges = [...pc.ports.ranges()];
  const windows = [...pc.memory.ranges()];
  const sizes = [1, 2, 4] as const;
  for (let round = 0; round < 60_000; round++) {
    const size = sizes[random(3)]!;
    const value = size === 4 ? random(2 ** 32) : random(2 ** (8 * size));
    if (random(2) === 0) {
      const range = ranges[random(ranges.length)]!;
      const port = (range.base + random(range.sizeBytes + 3)) & 0xffff;
      if (random(3) === 0) pc.portRead(port, size);
      else pc.portWrite(port, size, port === 0xcf8 ? 0x8000_0000 + random(0x3000) : value);
    } else {
      const window = windows[random(windows.length)]!;
      const gpa = window.base + random(window.sizeBytes + 3);
      if (random(3) === 0) pc.memoryRead(gpa, size);
      else pc.memoryWrite(gpa, size, value);
    }
    if (random(50) === 0) clock.advance(random(1_000_000));
    if (random(50) === 0) pc.acknowledgeInterrupt();
  }
  const saved = pc.save();
  pc.restore(saved);
  assert.deepEqual(pc.save(), saved);
});
