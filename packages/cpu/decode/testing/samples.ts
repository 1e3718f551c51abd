// Code to disassemble: machine code that compilers made, random bytes, and lines of objdump recorded for hosts that
// have none.

import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { CodeBits, ObjdumpLine } from './objdump.ts';

const RECORDED: string = fileURLToPath(new URL('recorded.txt', import.meta.url));

/** `count` bytes from the middle of the code section of a 64-bit ELF file. ELF-64 object file format §2, §4. */
export function codeOf(file: string, count: number): Uint8Array {
  const elf = readFileSync(file);
  const headers = Number(elf.readBigUInt64LE(0x28));
  const [size, sections, names] = [0x3a, 0x3c, 0x3e].map((at) => elf.readUInt16LE(at)) as [
    number,
    number,
    number,
  ];
  const place = (n: number) => {
    const at = headers + n * size;
    const [offset, bytes] = [elf.readBigUInt64LE(at + 0x18), elf.readBigUInt64LE(at + 0x20)].map(
      Number,
    ) as [number, number];
    return { name: elf.readUInt32LE(at), offset, bytes };
  };
  for (let n = 0; n < sections; n++) {
    const { name, offset, bytes } = place(n);
    const nameAt = place(names).offset + name;
    if (elf.toString('latin1', nameAt, nameAt + 6) !== '.text\0') continue;
    const start = offset + Math.floor(bytes / 2);
    return elf.subarray(start, start + Math.min(count, bytes / 2));
  }
  throw new Error(`${file} has no .text`);
}

/** Bytes that are the same in every run. */
export function pseudoRandomBytes(count: number, seed: number): Uint8Array {
  let state = seed;
  return Uint8Array.from({ length: count }, () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state & 0xff;
  });
}

/** One line for each kind of instruction, operands and prefixes that objdump found when record.ts ran. */
export function recordedLines(): { bits: CodeBits; line: ObjdumpLine }[] {
  const lines = readFileSync(RECORDED, 'utf8')
    .split('\n')
    .filter((line) => line && !line.startsWith('#'));
  return lines.map((text) => {
    const [bits, rip, bytes, ...rest] = text.split(' ');
    const line = {
      rip: BigInt(`0x${rip}`),
      bytes: Uint8Array.from(Buffer.from(bytes!, 'hex')),
      text: rest.join(' '),
    };
    return { bits: Number(bits) as CodeBits, line };
  });
}
