// SMBIOS tables that say what this machine is: DMTF DSP0134 3.0, with the 32-bit (2.8) and 64-bit (3.0) anchors.
// Types 0, 1, 3, 4, 16, 17, 19, 32 and 127: what a 2.8 table must have.

import { join, littleEndian } from '../acpi/aml.ts';
import { ascii, checksum } from '../acpi/table.ts';

export interface SmbiosFacts {
  readonly cpuCount: number;
  readonly ramBytes: number;
}

const MANUFACTURER = 'Mimic';
const PRODUCT = 'Mimic PC (i440FX, PIIX)';
/** DSP0134 §7.1.1: characteristics bit 3 says that the others are not told. */
const NO_CHARACTERISTICS = 1 << 3;
/** §7.1.2.2: this is a virtual machine; ACPI is supported (byte 1, bit 0). */
const EXTENSION = { acpi: 0x01, virtualMachine: 0x10 };
const UNKNOWN = 2;
const SAFE = 3;
const NOT_TOLD = 0xfffe;

/** The header, the formatted part and the strings of one structure. §6.1. */
function structure(
  type: number,
  handle: number,
  formatted: readonly number[],
  strings: readonly string[] = [],
): Uint8Array {
  const texts = strings.flatMap((text) => [...ascii(text), 0]);
  const tail = texts.length === 0 ? [0, 0] : [...texts, 0];
  return join([type, 4 + formatted.length], littleEndian(handle, 2), formatted, tail);
}

const u16 = (value: number): number[] => littleEndian(value, 2);
const u32 = (value: number): number[] => littleEndian(value, 4);

function structures({ cpuCount, ramBytes }: SmbiosFacts): Uint8Array[] {
  const kilobytes = ramBytes / 1024;
  const memoryArray = 0x1000;
  const noUuid = new Array<number>(16).fill(0);
  const processor = (index: number): Uint8Array => {
    const central = 3;
    const family = 1; // Other.
    const populatedEnabled = 0x41;
    const noUpgrade = 6;
    const noCache = u16(0xffff);
    const [clocks, caches] = [
      [0, ...u16(0), ...u16(0), ...u16(0)],
      [noCache, noCache, noCache],
    ];
    const capable64Bit = 1 << 2;
    return structure(
      4,
      0x400 + index,
      [
        ...[1, central, family, 2, ...new Array<number>(8).fill(0), 0],
        ...[...clocks, populatedEnabled, noUpgrade, ...caches.flat()],
        // Serial number, asset tag, part number; cores, enabled cores, threads; characteristics; family 2.
        ...[0, 0, 0, 1, 1, 1, ...u16(capable64Bit), ...u16(family)],
      ],
      [`CPU ${index}`, MANUFACTURER],
    );
  };
  return [
    structure(
      0,
      0x0,
      [
        ...[1, 2, ...u16(0xf000), 3, 0, ...u32(NO_CHARACTERISTICS), ...u32(0)],
        ...[EXTENSION.acpi, EXTENSION.virtualMachine, 0xff, 0xff, 0xff, 0xff],
      ],
      [MANUFACTURER, '1', '01/01/2026'],
    ),
    structure(1, 0x100, [1, 2, 0, 0, ...noUuid, 6, 0, 0], [MANUFACTURER, PRODUCT]),
    structure(
      3,
      0x300,
      [1, 1, 0, 0, 0, SAFE, SAFE, SAFE, UNKNOWN, ...u32(0), 0, 0, 0, 0, 0],
      [MANUFACTURER],
    ),
    ...Array.from({ length: cpuCount }, (_, index) => processor(index)),
    // Physical memory array: on the board, system memory, no error correction, one device. §7.17.
    structure(16, memoryArray, [
      1,
      3,
      3,
      ...u32(kilobytes),
      ...u16(NOT_TOLD),
      ...u16(1),
      ...new Array<number>(8).fill(0),
    ]),
    // Memory device of type RAM, form factor DIMM. §7.18.
    structure(
      17,
      0x1100,
      [
        ...[...u16(memoryArray), ...u16(NOT_TOLD), ...u16(0xffff), ...u16(0xffff)],
        ...[
          ...u16(Math.min(0x7ffe, ramBytes / 0x10_0000)),
          9,
          0,
          1,
          0,
          7,
          ...u16(1 << 1),
          ...u16(0),
        ],
        ...[2, 0, 0, 0, 0, ...u32(0), ...u16(0), ...u16(0), ...u16(0), ...u16(0)],
      ],
      ['DIMM 0', MANUFACTURER],
    ),
    structure(19, 0x1300, [
      ...u32(0),
      ...u32(kilobytes - 1),
      ...u16(memoryArray),
      1,
      ...new Array<number>(16).fill(0),
    ]),
    structure(32, 0x2000, [0, 0, 0, 0, 0, 0, 0]),
    structure(127, 0x7f00, []),
  ];
}

const ENTRY_32_SIZE = 0x1f;
const ENTRY_64_SIZE = 0x18;
const TABLE_OFFSET = 0x40;

/** Both anchors and the table behind them, to be placed at `gpa` in 0xF0000-0xFFFFF on a 16-byte boundary. */
export function smbiosTables(facts: SmbiosFacts, gpa: number): Uint8Array {
  const all = structures(facts);
  const table = join(...all);
  const largest = Math.max(...all.map((each) => each.length));
  const entry32 = join(
    ascii('_SM_'),
    [0, ENTRY_32_SIZE, 2, 8, ...u16(largest), 0, 0, 0, 0, 0, 0],
    ascii('_DMI_'),
    [0, ...u16(table.length), ...u32(gpa + TABLE_OFFSET), ...u16(all.length), 0x28],
  );
  entry32[0x15] = checksum(entry32.subarray(0x10));
  entry32[0x04] = checksum(entry32);
  const entry64 = join(ascii('_SM3_'), [
    0,
    ENTRY_64_SIZE,
    3,
    0,
    0,
    1,
    0,
    ...u32(table.length),
    ...littleEndian(gpa + TABLE_OFFSET, 8),
  ]);
  entry64[0x05] = checksum(entry64);
  const bytes = new Uint8Array(TABLE_OFFSET + table.length);
  bytes.set(entry32, 0);
  bytes.set(entry64, 0x20);
  bytes.set(table, TABLE_OFFSET);
  return bytes;
}
