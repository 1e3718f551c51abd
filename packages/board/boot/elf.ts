// ELF executables of 32 and 64 bits, as much as a kernel loader needs: loadable segments and notes.
// System V ABI, chapters 4 and 5. Every offset and count comes from the file and is checked.

import { BootError } from './errors.ts';
import { truncated } from './input.ts';

const MAGIC = 0x464c_457f;
const CLASS_64 = 2;
const LITTLE_ENDIAN = 1;
const MACHINE = { i386: 3, x86_64: 62 } as const;
const SEGMENT_TYPE = { load: 1, note: 4 } as const;
const HEADER_SIZE = 52;
const PROGRAM_HEADER_MIN = { 32: 32, 64: 56 } as const;
/** Far more than any kernel has; a note section larger than this is not looked at. */
const NOTES_SIZE_MAX = 0x1_0000;

export interface Segment {
  readonly gpa: number;
  readonly bytes: Uint8Array;
  readonly zeroBytes: number;
}

export interface Note {
  readonly name: string;
  readonly type: number;
  readonly value: Uint8Array;
}

export interface Elf {
  readonly segments: readonly Segment[];
  readonly notes: readonly Note[];
}

export function isElf(file: Uint8Array): boolean {
  return file.length >= 4 && view(file).getUint32(0, true) === MAGIC;
}

/** Throws a `BootError` if the file is truncated, malformed or not for x86. */
export function parseElf(file: Uint8Array): Elf {
  if (file.length < HEADER_SIZE) throw truncated('its ELF header', HEADER_SIZE, file.length);
  const data = view(file);
  const wide = file[4] === CLASS_64;
  const machine = data.getUint16(18, file[5] === LITTLE_ENDIAN);
  if (file[5] !== LITTLE_ENDIAN || (machine !== MACHINE.i386 && machine !== MACHINE.x86_64)) {
    const message = `The kernel is an ELF file for another processor (machine ${machine}); this machine is an x86 PC.`;
    throw new BootError('BOOT_WRONG_ARCHITECTURE', message, {
      hint: 'Pass a kernel that was built for x86.',
    });
  }
  if (wide && file.length < 64) throw truncated('its ELF header', 64, file.length);
  const tableAt = wide ? number64(data, 32) : data.getUint32(28, true);
  const entrySize = data.getUint16(wide ? 54 : 42, true);
  const count = data.getUint16(wide ? 56 : 44, true);
  if (entrySize < PROGRAM_HEADER_MIN[wide ? 64 : 32]) {
    throw truncated('a program header', tableAt, file.length);
  }
  const tableEnd = tableAt + count * entrySize;
  if (tableEnd > file.length) throw truncated('its program headers', tableEnd, file.length);
  const segments: Segment[] = [];
  const notes: Note[] = [];
  for (let index = 0; index < count; index++) {
    const header = programHeader(data, tableAt + index * entrySize, wide);
    if (header.type !== SEGMENT_TYPE.load && header.type !== SEGMENT_TYPE.note) continue;
    const end = header.offset + header.fileSize;
    if (end > file.length) throw truncated('a segment', end, file.length);
    const bytes = file.subarray(header.offset, end);
    if (header.type === SEGMENT_TYPE.note) notes.push(...parseNotes(bytes));
    else if (header.memorySize > 0) {
      const zeroBytes = Math.max(0, header.memorySize - header.fileSize);
      segments.push({ gpa: header.gpa, bytes, zeroBytes });
    }
  }
  return { segments, notes };
}

function programHeader(
  data: DataView,
  at: number,
  wide: boolean,
): { type: number; offset: number; gpa: number; fileSize: number; memorySize: number } {
  const type = data.getUint32(at, true);
  const u32 = (offset: number): number => data.getUint32(at + offset, true);
  const u64 = (offset: number): number => number64(data, at + offset);
  return wide
    ? { type, offset: u64(8), gpa: u64(24), fileSize: u64(32), memorySize: u64(40) }
    : { type, offset: u32(4), gpa: u32(12), fileSize: u32(16), memorySize: u32(20) };
}

/** Notes are padded to 4 bytes each; whatever does not fit ends the list. */
function parseNotes(bytes: Uint8Array): Note[] {
  const notes: Note[] = [];
  if (bytes.length > NOTES_SIZE_MAX) return notes;
  const data = view(bytes);
  let at = 0;
  while (at + 12 <= bytes.length) {
    const nameSize = data.getUint32(at, true);
    const valueSize = data.getUint32(at + 4, true);
    const valueAt = at + 12 + alignUp4(nameSize);
    const end = valueAt + valueSize;
    if (end > bytes.length) break;
    const name = String.fromCharCode(
      ...bytes.subarray(at + 12, at + 12 + Math.max(0, nameSize - 1)),
    );
    notes.push({ name, type: data.getUint32(at + 8, true), value: bytes.subarray(valueAt, end) });
    at = valueAt + alignUp4(valueSize);
  }
  return notes;
}

function alignUp4(value: number): number {
  return Math.ceil(value / 4) * 4;
}

/** Beyond 2^53 the number is inexact, and far outside any file or RAM. */
function number64(data: DataView, at: number): number {
  return Number(data.getBigUint64(at, true));
}

function view(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
