// AML encoder: each function returns the bytes of one term of ACPI 6.5 chapter 20 ("AML Specification").
// Only what our tables say; terms nest by passing the bytes of one to the next.

import { assert } from '@mimic/base';

/** Encoded AML: one term, or several in a row. */
export type Aml = Uint8Array;

/** Longest encoded package: PkgLength has 28 bits (§20.2.4). */
const PACKAGE_LENGTH_MAX = 0x0fff_ffff;

// Opcodes of §20.3, table 20.1.
const OPCODE = {
  zero: 0x00,
  one: 0x01,
  name: 0x08,
  bytePrefix: 0x0a,
  wordPrefix: 0x0b,
  dwordPrefix: 0x0c,
  stringPrefix: 0x0d,
  qwordPrefix: 0x0e,
  scope: 0x10,
  buffer: 0x11,
  package: 0x12,
  method: 0x14,
  dualNamePrefix: 0x2e,
  multiNamePrefix: 0x2f,
  extended: 0x5b,
  local0: 0x60,
  arg0: 0x68,
  store: 0x70,
  subtract: 0x74,
  shiftLeft: 0x79,
  and: 0x7b,
  or: 0x7d,
  findSetRightBit: 0x82,
  createWordField: 0x8b,
  lequal: 0x93,
  if: 0xa0,
  else: 0xa1,
  return: 0xa4,
} as const;
const EXTENDED = { operationRegion: 0x80, field: 0x81, device: 0x82 } as const;

/** Joins terms. */
export function join(...parts: readonly (Uint8Array | readonly number[])[]): Aml {
  const out = new Uint8Array(parts.reduce((total, part) => total + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/** The value's low bytes, little-endian. */
export function littleEndian(value: number, count: number): number[] {
  return Array.from({ length: count }, (_, index) => Math.floor(value / 2 ** (8 * index)) % 256);
}

/** A body behind its PkgLength, which counts itself. §20.2.4. */
export function withLength(body: Uint8Array): Aml {
  for (let extra = 0; extra <= 3; extra++) {
    const total = body.length + 1 + extra;
    if (extra === 0 && total <= 0x3f) return join([total], body);
    if (extra > 0 && total < 2 ** (4 + 8 * extra)) {
      return join([(extra << 6) | (total & 0xf), ...littleEndian(total >>> 4, extra)], body);
    }
  }
  assert(body.length <= PACKAGE_LENGTH_MAX, 'AML package is too long');
  return body;
}

/** One name segment, padded with underscores to four characters. */
function segment(name: string): number[] {
  assert(/^[A-Z_][A-Z0-9_]{0,3}$/.test(name), `bad AML name segment "${name}"`);
  return [...name.padEnd(4, '_')].map((character) => character.charCodeAt(0));
}

/** A NameString: `\_SB.PCI0`, `^X`, `_HID`. §20.2.2. */
export function path(text: string): Aml {
  const prefix = /^(\\|\^*)/.exec(text)?.[0] ?? '';
  const prefixBytes = [...prefix].map((character) => character.charCodeAt(0));
  const rest = text.slice(prefix.length);
  if (rest === '') return join(prefixBytes, [0]);
  const segments = rest.split('.').map(segment);
  const count =
    segments.length === 1
      ? []
      : segments.length === 2
        ? [OPCODE.dualNamePrefix]
        : [OPCODE.multiNamePrefix, segments.length];
  return join(prefixBytes, count, segments.flat());
}

/** An integer in its shortest form; at most 2^53. §20.2.3. */
export function integer(value: number): Aml {
  assert(Number.isSafeInteger(value) && value >= 0, `bad AML integer ${value}`);
  if (value === 0) return join([OPCODE.zero]);
  if (value === 1) return join([OPCODE.one]);
  if (value <= 0xff) return join([OPCODE.bytePrefix, value]);
  if (value <= 0xffff) return join([OPCODE.wordPrefix], littleEndian(value, 2));
  if (value <= 0xffff_ffff) return join([OPCODE.dwordPrefix], littleEndian(value, 4));
  return join([OPCODE.qwordPrefix], littleEndian(value, 8));
}

/** An ASCII string, zero-terminated. */
export function string(text: string): Aml {
  assert(/^[ -~]*$/.test(text), 'AML strings are ASCII');
  return join(
    [OPCODE.stringPrefix],
    [...text, '\0'].map((character) => character.charCodeAt(0)),
  );
}

/** A compressed EISA id such as PNP0A03, as an integer. §19.3.4 ("EISAID"). */
export function eisaId(id: string): Aml {
  assert(/^[A-Z]{3}[0-9A-F]{4}$/.test(id), `bad EISA id "${id}"`);
  const [a, b, c] = [0, 1, 2].map((index) => id.charCodeAt(index) - 0x40) as [
    number,
    number,
    number,
  ];
  const vendor = (a << 10) | (b << 5) | c;
  const product = Number.parseInt(id.slice(3), 16);
  // Big-endian in memory: the vendor's high byte comes first.
  const bytes = [vendor >>> 8, vendor & 0xff, product >>> 8, product & 0xff];
  return join([OPCODE.dwordPrefix], bytes);
}

export function name(where: string, value: Aml): Aml {
  return join([OPCODE.name], path(where), value);
}

export function scope(where: string, ...terms: Aml[]): Aml {
  return join([OPCODE.scope], withLength(join(path(where), ...terms)));
}

export function device(where: string, ...terms: Aml[]): Aml {
  return join([OPCODE.extended, EXTENDED.device], withLength(join(path(where), ...terms)));
}

/** `serialized` methods run one at a time, as those that create names must. */
export function method(
  where: string,
  options: { arguments?: number; serialized?: boolean },
  ...terms: Aml[]
): Aml {
  const flags = (options.arguments ?? 0) | (options.serialized ? 1 << 3 : 0);
  return join([OPCODE.method], withLength(join(path(where), [flags], ...terms)));
}

/** DefPackage; its length is one byte. */
export function packageOf(...elements: Aml[]): Aml {
  assert(elements.length <= 0xff, 'AML packages hold at most 255 elements');
  return join([OPCODE.package], withLength(join([elements.length], ...elements)));
}

export function buffer(bytes: Uint8Array): Aml {
  return join([OPCODE.buffer], withLength(join(integer(bytes.length), bytes)));
}

/** Where a region's addresses lie. §20.2.5.2 RegionSpace. */
const REGION_SPACE = { systemMemory: 0, systemIo: 1, pciConfig: 2 } as const;

export function operationRegion(
  where: string,
  space: keyof typeof REGION_SPACE,
  range: { offset: number; length: number },
): Aml {
  return join(
    [OPCODE.extended, EXTENDED.operationRegion],
    path(where),
    [REGION_SPACE[space]],
    integer(range.offset),
    integer(range.length),
  );
}

/** Fields of 8 bits each, in order, accessed a byte at a time, no lock, preserved. */
export function byteFields(region: string, names: readonly string[]): Aml {
  const byteAccess = 1;
  const fields = names.flatMap((field) => [...segment(field), 8]);
  return join(
    [OPCODE.extended, EXTENDED.field],
    withLength(join(path(region), [byteAccess], fields)),
  );
}

/** `Local0` to `Local7`. */
export function local(index: number): Aml {
  assert(index >= 0 && index <= 7, 'AML has eight locals');
  return join([OPCODE.local0 + index]);
}

/** `Arg0` to `Arg6`. */
export function argument(index: number): Aml {
  assert(index >= 0 && index <= 6, 'AML has seven arguments');
  return join([OPCODE.arg0 + index]);
}

export function store(source: Aml, target: Aml): Aml {
  return join([OPCODE.store], source, target);
}

const NO_TARGET: Aml = join([0]);

export function and(a: Aml, b: Aml, target: Aml = NO_TARGET): Aml {
  return join([OPCODE.and], a, b, target);
}

export function or(a: Aml, b: Aml, target: Aml = NO_TARGET): Aml {
  return join([OPCODE.or], a, b, target);
}

export function subtract(a: Aml, b: Aml, target: Aml = NO_TARGET): Aml {
  return join([OPCODE.subtract], a, b, target);
}

export function shiftLeft(value: Aml, count: Aml, target: Aml = NO_TARGET): Aml {
  return join([OPCODE.shiftLeft], value, count, target);
}

/** One-based index of the lowest set bit, 0 if there is none. */
export function findSetRightBit(value: Aml, target: Aml): Aml {
  return join([OPCODE.findSetRightBit], value, target);
}

/** True if both are equal. */
export function equal(a: Aml, b: Aml): Aml {
  return join([OPCODE.lequal], a, b);
}

/** Names two bytes of a buffer from a byte offset on. */
export function createWordField(source: Aml, offset: number, field: string): Aml {
  return join([OPCODE.createWordField], source, integer(offset), path(field));
}

export function ifThen(condition: Aml, ...terms: Aml[]): Aml {
  return join([OPCODE.if], withLength(join(condition, ...terms)));
}

/** Follows an `ifThen` directly. */
export function otherwise(...terms: Aml[]): Aml {
  return join([OPCODE.else], withLength(join(...terms)));
}

export function returns(value: Aml): Aml {
  return join([OPCODE.return], value);
}
