// Lengths and texts of the disassembler against GNU objdump's: recorded lines everywhere, whole programs and random
// bytes where objdump is installed.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { decodeInstruction, INSTRUCTION_LENGTH_MAX } from './decoder.ts';
import { disassemble, formatInstruction } from './disassembler.ts';
import {
  type CodeBits,
  inOurSpelling,
  isNoInstruction,
  type ObjdumpLine,
  objdump,
  withoutTaste,
} from './testing/objdump.ts';
import { codeOf, pseudoRandomBytes, recordedLines } from './testing/samples.ts';

/** Bytes behind the instruction, so that decoding never runs out. */
const TAIL = new Uint8Array(INSTRUCTION_LENGTH_MAX);

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');

/** Compares one line where we know the instruction too; gives whether there was something to compare. */
function compare(line: ObjdumpLine, bits: CodeBits): boolean {
  if (isNoInstruction(line)) return false;
  const bytes = Uint8Array.of(...line.bytes, ...TAIL);
  const d = decodeInstruction(bytes, 0, INSTRUCTION_LENGTH_MAX, bits);
  // What we do not have, and LOCK where it is not allowed.
  if (d.status !== 'ok') return false;
  const ours = withoutTaste(formatInstruction(d, line.rip));
  const theirs = withoutTaste(inOurSpelling(line, bits));
  assert.equal(ours, theirs, `${bits} bits, ${hex(line.bytes)}: ${line.text}`);
  assert.equal(d.length, line.bytes.length, `${bits} bits, ${hex(line.bytes)}: ${line.text}`);
  return true;
}

test('recorded lines: every kind of instruction has the length and text that objdump gives it', () => {
  const counts = new Map<CodeBits, number>();
  for (const { bits, line } of recordedLines()) {
    if (compare(line, bits)) counts.set(bits, (counts.get(bits) ?? 0) + 1);
  }
  for (const bits of [16, 32, 64] as const)
    assert.ok(counts.get(bits)! > 700, `${counts.get(bits)} lines of ${bits} bits`);
});

/**
 * Compares all of a piece of code as objdump cuts it into instructions, or only those at multiples of `every`;
 * nothing where there is no objdump.
 */
function compareAll(code: Uint8Array, bits: CodeBits, atLeast: number, every = 1): void {
  const directory = mkdtempSync(join(tmpdir(), 'disassembler-'));
  try {
    const file = join(directory, 'code.bin');
    writeFileSync(file, code);
    const lines = objdump(file, bits);
    const compared = lines?.filter(
      (line) => line.rip % BigInt(every) === 0n && compare(line, bits),
    ).length;
    assert.ok(compared === undefined || compared >= atLeast, `${compared} instructions`);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

test('the code of a large program, read as 64-, 32- and 16-bit code', () => {
  const code = codeOf(process.execPath, 1 << 17);
  compareAll(code.subarray(0, 1 << 17), 64, 25_000);
  compareAll(code.subarray(0, 1 << 16), 32, 15_000);
  compareAll(code.subarray(0, 1 << 16), 16, 15_000);
});

test('random bytes: where both find an instruction it is the same one', () => {
  const code = pseudoRandomBytes(1 << 16, 0x9e37_79b9);
  compareAll(code, 64, 15_000);
  compareAll(code, 32, 15_000);
  compareAll(code, 16, 15_000);
});

/** Random instructions behind VEX prefixes of three bytes with maps that exist, each followed by NOPs. */
function vexSamples(count: number, seed: number): Uint8Array {
  const code = new Uint8Array(count * SAMPLE_BYTES).fill(0x90);
  const random = pseudoRandomBytes(count * SAMPLE_BYTES, seed);
  for (let at = 0; at < code.length; at += SAMPLE_BYTES) {
    code.set(random.subarray(at, at + 7), at);
    code[at] = 0xc4;
    // Inverted R and X are set, so that 32-bit code has a VEX prefix, too.
    code[at + 1] = 0xc0 | (random[at + 1]! & 0x20) | (1 + (random[at + 1]! % 3));
    // Half of them without a register in vvvv.
    if (random[at + 8]! & 1) code[at + 2]! |= 0x78;
  }
  return code;
}
const SAMPLE_BYTES = 16;

test('random VEX-encoded instructions are what objdump finds', () => {
  compareAll(vexSamples(12_000, 0x1234_5679), 64, 500, SAMPLE_BYTES);
  compareAll(vexSamples(12_000, 0x0bad_cafe), 32, 500, SAMPLE_BYTES);
});

// --- texts that objdump does not settle ---

/** [code size, bytes, text] at address 0x1000. */
const TEXTS: readonly (readonly [CodeBits, string, string])[] = [
  [64, '90', 'nop'],
  [64, '6690', 'nop'],
  [64, '4890', 'nop'],
  [64, 'f390', 'pause'],
  [64, '4190', 'xchg r8d, eax'],
  [64, '4990', 'xchg r8, rax'],
  [64, '91', 'xchg ecx, eax'],
  [16, '90', 'nop'],
  [32, 'f390', 'pause'],
  [64, 'f30f1efa', 'endbr64'],
  [64, 'f30f1efb', 'endbr32'],
  [64, '0f0b', 'ud2'],
  [64, '98', 'cwde'],
  [64, '6698', 'cbw'],
  [64, '4898', 'cdqe'],
  [64, '4899', 'cqo'],
  [16, '98', 'cbw'],
  [64, '9c', 'pushfq'],
  [64, '48cf', 'iretq'],
  [64, 'cf', 'iretd'],
  [16, 'cf', 'iret'],
  [64, 'f3a4', 'rep movsb'],
  [64, 'f348a5', 'rep movsq'],
  [64, 'f3a6', 'repe cmpsb'],
  [64, 'f2ae', 'repne scasb'],
  [64, '67e300', 'jecxz 0x1003'],
  [64, 'e300', 'jrcxz 0x1002'],
  [16, 'e3fe', 'jcxz 0x1000'],
  [64, 'f00fb10f', 'lock cmpxchg dword ptr [rdi], ecx'],
  [64, '488b05f9ffffff', 'mov rax, qword ptr [0x1000]'],
  [64, '4805ffffffff', 'add rax, 0xffffffffffffffff'],
  [64, 'c8080002', 'enter 0x8, 0x2'],
  [32, 'ea785634122300', 'jmp 0x23:0x12345678'],
  [32, 'ff1e', 'call far [esi]'],
  [64, 'd8c1', 'fadd st0, st1'],
  [64, 'dcc1', 'fadd st1, st0'],
  [64, 'd9c9', 'fxch st1'],
  [64, '8c1f', 'mov word ptr [rdi], ds'],
  [16, 'e9fdef', 'jmp 0x0'],
  [32, 'e9fbefffff', 'jmp 0x0'],
  [64, '0f05', 'syscall'],
  [64, '06', '(bad)'],
];

test('names by operand size, idioms and branch targets', () => {
  for (const [bits, bytes, text] of TEXTS) {
    const [first] = disassemble(Uint8Array.from(Buffer.from(bytes, 'hex')), 0x1000n, bits, 1);
    assert.equal(first!.text, text, bytes);
    if (text !== '(bad)') assert.equal(hex(first!.bytes), bytes);
  }
});

test('code that ends in the middle of an instruction is listed byte by byte', () => {
  const lines = disassemble(Uint8Array.of(0x90, 0xb8, 0xb8, 0xb8), 0x2000n, 64, 10);
  assert.deepEqual(
    lines.map((l) => [l.gva, l.text]),
    [
      [0x2000n, 'nop'],
      [0x2001n, '(bad)'],
      [0x2002n, '(bad)'],
      [0x2003n, '(bad)'],
    ],
  );
  assert.equal(
    lines.reduce((sum, l) => sum + l.bytes.length, 0),
    4,
  );
});

test('the number of instructions asked for is an upper bound', () => {
  assert.equal(disassemble(new Uint8Array(64).fill(0x90), 0n, 64, 5).length, 5);
  assert.equal(disassemble(new Uint8Array(0), 0n, 64, 5).length, 0);
});
