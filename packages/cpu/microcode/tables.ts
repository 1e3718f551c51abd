// Constant tables of microcode, which lie in the unused first pages of the machine's memory: computed here from their
// definitions, written there once for each instance of the engine (always the same bytes).
// FIPS 197 §4.2 (the field), §5.1 to §5.3; SDM vol 2A, CRC32.

import { TABLES_BASE } from '../state/memory-map.ts';

/** x^8 + x^4 + x^3 + x + 1. */
const AES_POLYNOMIAL = 0x11b;
/** CRC-32C's polynomial 0x1EDC6F41 with its bits reversed, as the reflected CRC shifts right. */
const CRC32C_POLYNOMIAL = 0x82f6_3b78;

/** The product in AES's field. */
function multiply(a: number, b: number): number {
  let product = 0;
  for (let n = 0; n < 8; n++) if ((b >> n) & 1) product ^= a << n;
  for (let n = 14; n >= 8; n--) if ((product >> n) & 1) product ^= AES_POLYNOMIAL << (n - 8);
  return product;
}
const rotate = (x: number, n: number) => ((x << n) | (x >> (8 - n))) & 0xff;

const BYTES = Array.from({ length: 256 }, (_, x) => x);

/** Inverses in the field; 0 for 0. */
const INVERSE: readonly number[] = BYTES.map((a) => BYTES.find((b) => multiply(a, b) === 1) ?? 0);
/** The inverse, then the affine map of FIPS 197 equation 5.2. */
function substitutionBox(): readonly number[] {
  return INVERSE.map((x) => x ^ rotate(x, 1) ^ rotate(x, 2) ^ rotate(x, 3) ^ rotate(x, 4) ^ 0x63);
}
const BOX = substitutionBox();
const INVERSE_BOX = BYTES.map((x) => BOX.indexOf(x));

/** What a byte of row r contributes to its column, as a word, after `box` and a mix by these factors: row r at 1024·r. */
function mixTable(box: readonly number[], factors: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(4 * 1024);
  for (let row = 0; row < 4; row++) {
    for (const x of BYTES) {
      factors.forEach((factor, below) => {
        bytes[1024 * row + 4 * x + ((row + below) & 3)] = multiply(box[x]!, factor);
      });
    }
  }
  return bytes;
}

/** For each byte and place: its contribution to the CRC of eight bytes, 1024·n for the byte n places before the last. */
function crcTable(): Uint8Array {
  const view = new DataView(new ArrayBuffer(8 * 1024));
  for (const x of BYTES) {
    let crc = x;
    for (let place = 0; place < 8; place++) {
      for (let step = 0; step < 8; step++) crc = (crc >>> 1) ^ (crc & 1 ? CRC32C_POLYNOMIAL : 0);
      view.setUint32(1024 * place + 4 * x, crc, true);
    }
  }
  return new Uint8Array(view.buffer);
}

const CONTENTS = {
  /** SubBytes and MixColumns. */
  aesEncrypt: mixTable(BOX, [2, 1, 1, 3]),
  /** InvSubBytes and InvMixColumns. */
  aesDecrypt: mixTable(INVERSE_BOX, [0xe, 9, 0xd, 0xb]),
  aesBox: Uint8Array.from(BOX),
  aesInverseBox: Uint8Array.from(INVERSE_BOX),
  fieldInverse: Uint8Array.from(INVERSE),
  crc32c: crcTable(),
} as const;

type TableName = keyof typeof CONTENTS;
const NAMES = Object.keys(CONTENTS) as readonly TableName[];

function addresses(): Record<TableName, number> {
  let next = TABLES_BASE;
  const place = (name: TableName) => {
    const address = next;
    next += CONTENTS[name].length;
    return [name, address];
  };
  return Object.fromEntries(NAMES.map(place)) as Record<TableName, number>;
}

/** Address of each table. */
export const TABLES: Readonly<Record<TableName, number>> = addresses();

/** Puts the tables where microcode looks for them. */
export function writeTables(memory: WebAssembly.Memory): void {
  const bytes = new Uint8Array(memory.buffer);
  for (const name of NAMES) bytes.set(CONTENTS[name], TABLES[name]);
}
