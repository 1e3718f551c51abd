// Bytes that are special to the decoder: prefixes and their order, lengths, LOCK, what is invalid or runs out.
// SDM vol 2A §2.1, §2.2.1, vol 3A §6.15. Lengths and operands in bulk: disassembler.test.ts.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TestCpu } from '../testing/check.ts';
import { type DecodeStatus, decodeInstruction, INSTRUCTION_LENGTH_MAX } from './decoder.ts';
import { formatInstruction } from './disassembler.ts';

type Bits = 16 | 32 | 64;
const bytesOf = (hex: string) => Uint8Array.from(Buffer.from(hex.replaceAll(' ', ''), 'hex'));

function decode(
  hex: string,
  bits: Bits = 64,
): { status: DecodeStatus; length: number; text: string } {
  const code = bytesOf(hex);
  const padded = Uint8Array.of(...code, ...new Uint8Array(INSTRUCTION_LENGTH_MAX));
  const d = decodeInstruction(padded, 0, padded.length, bits);
  return { status: d.status, length: d.length, text: formatInstruction(d, 0n) };
}
/** Bytes, code size, text; the length is that of the bytes. */
function check(hex: string, bits: Bits, text: string): void {
  assert.deepEqual(decode(hex, bits), { status: 'ok', length: bytesOf(hex).length, text }, hex);
}

test('REX counts only right before the opcode', () => {
  check('48 89 c8', 64, 'mov rax, rcx');
  check('48 66 89 c8', 64, 'mov ax, cx');
  check('66 48 89 c8', 64, 'mov rax, rcx');
  check('4d 48 89 c8', 64, 'mov rax, rcx');
  check('41 f3 90', 64, 'pause');
  check('48 f0 01 07', 64, 'lock add dword ptr [rdi], eax');
  // An empty REX makes SPL of AH.
  check('88 e0', 64, 'mov al, ah');
  check('40 88 e0', 64, 'mov al, spl');
  check('40 66 88 e0', 64, 'mov al, ah');
});

test('40 to 4F are INC and DEC outside 64-bit mode', () => {
  check('48', 32, 'dec eax');
  check('40', 16, 'inc ax');
  check('66 47', 16, 'inc edi');
});

test('prefixes in any order, and again, mean the same', () => {
  for (const hex of [
    '66 f0 64 67 01 07',
    '67 64 f0 66 01 07',
    'f0 67 66 64 01 07',
    '66 66 67 67 64 f0 01 07',
  ]) {
    check(hex, 64, 'lock add word ptr fs:[edi], ax');
  }
});

test('the last of several segment prefixes counts; ES, CS, SS and DS mean nothing in 64-bit mode', () => {
  check('26 2e 8b 07', 32, 'mov eax, dword ptr cs:[edi]');
  check('64 65 8b 07', 64, 'mov eax, dword ptr gs:[rdi]');
  check('64 2e 8b 07', 64, 'mov eax, dword ptr fs:[rdi]');
  check('3e 8b 45 00', 32, 'mov eax, dword ptr ds:[ebp]');
});

test('mandatory prefixes: F2 and F3 come before 66, the last of F2 and F3 counts', () => {
  check('0f 10 c1', 64, 'movups xmm0, xmm1');
  check('66 0f 10 c1', 64, 'movupd xmm0, xmm1');
  check('f3 0f 10 c1', 64, 'movss xmm0, xmm1');
  check('f2 0f 10 c1', 64, 'movsd xmm0, xmm1');
  check('66 f3 0f 10 c1', 64, 'movss xmm0, xmm1');
  check('f2 66 0f 10 c1', 64, 'movsd xmm0, xmm1');
  check('f2 f3 0f 10 c1', 64, 'movss xmm0, xmm1');
  check('f3 f2 0f 10 c1', 64, 'movsd xmm0, xmm1');
  check('f3 0f b8 c1', 64, 'popcnt eax, ecx');
  check('66 f2 0f 38 f1 c1', 64, 'crc32 eax, cx');
});

test('displacements: eight bits, sixteen, thirty-two, and those without a base', () => {
  check('8b 47 80', 64, 'mov eax, dword ptr [rdi-0x80]');
  check('8b 87 00 01 00 00', 64, 'mov eax, dword ptr [rdi+0x100]');
  check('8b 04 25 00 00 00 80', 64, 'mov eax, dword ptr [0xffffffff80000000]');
  check('67 8b 04 25 00 00 00 80', 64, 'mov eax, dword ptr [0x80000000]');
  check('8b 05 00 00 00 00', 64, 'mov eax, dword ptr [0x6]');
  check('8b 05 00 00 00 00', 32, 'mov eax, dword ptr [0x0]');
  check('8b 46 fe', 16, 'mov ax, word ptr [bp-0x2]');
  check('8b 86 fe ff', 16, 'mov ax, word ptr [bp-0x2]');
  check('8b 0e 34 12', 16, 'mov cx, word ptr [0x1234]');
  check('8b 00', 16, 'mov ax, word ptr [bx+si]');
  check('67 8b 04 8d 10 00 00 00', 16, 'mov ax, word ptr [ecx*4+0x10]');
});

test('SIB: RSP is no index, R12 is; RBP and R13 without displacement are no base', () => {
  check('8b 04 24', 64, 'mov eax, dword ptr [rsp]');
  check('42 8b 04 20', 64, 'mov eax, dword ptr [rax+r12]');
  check('8b 04 65 10 00 00 00', 64, 'mov eax, dword ptr [0x10]');
  check('43 8b 44 65 00', 64, 'mov eax, dword ptr [r13+r12*2]');
  check('42 8b 04 25 10 00 00 00', 64, 'mov eax, dword ptr [r12+0x10]');
});

test('immediates: full width for MOV only, else sign-extended from 32 bits', () => {
  check('48 b8 88 77 66 55 44 33 22 11', 64, 'mov rax, 0x1122334455667788');
  check('48 c7 c0 ff ff ff ff', 64, 'mov rax, 0xffffffffffffffff');
  check('66 c7 c0 34 12', 64, 'mov ax, 0x1234');
  check('48 81 c0 00 00 00 80', 64, 'add rax, 0xffffffff80000000');
  check('66 83 c0 ff', 64, 'add ax, 0xffff');
  check('48 a1 88 77 66 55 44 33 22 11', 64, 'mov rax, [0x1122334455667788]');
  check('67 a1 44 33 22 11', 64, 'mov eax, [0x11223344]');
});

test('stack and branch instructions have 64 bits without REX.W; 66 does not change branches', () => {
  check('50', 64, 'push rax');
  check('66 50', 64, 'push ax');
  check('e8 00 00 00 00', 64, 'call 0x5');
  check('66 e8 00 00 00 00', 64, 'call 0x6');
  check('66 e8 00 00', 32, 'call 0x4');
  check('ff d0', 64, 'call rax');
});

test('control and debug registers: ModRM.mod is ignored, the size is that of the mode', () => {
  check('0f 20 00', 64, 'mov rax, cr0');
  check('44 0f 20 c0', 64, 'mov rax, cr8');
  check('0f 23 f8', 32, 'mov dr7, eax');
});

/** LOCK with these is #UD: no memory destination, or an instruction that cannot be locked. */
const UNLOCKABLE = [
  '01 c0',
  '03 07',
  '39 07',
  '85 07',
  '89 07',
  '90',
  '0f a3 07',
  'c1 07 01',
  'ff 37',
  'a4',
  '0f c1 c0',
  '0f c7 f0',
];
const LOCKABLE = [
  '01 07',
  '00 07',
  '80 0f 01',
  '81 27 01 00 00 00',
  '83 37 01',
  'fe 07',
  'ff 0f',
  'f6 17',
  'f7 1f',
  '86 07',
  '87 07',
  '0f ab 07',
  '0f b3 07',
  '0f bb 07',
  '0f ba 2f 01',
  '0f c1 07',
  '0f b1 07',
  '0f c7 0f',
  '48 0f c7 0f',
  '11 07',
  '19 07',
  '29 07',
];

test('LOCK is for read-modify-write instructions on memory', () => {
  for (const hex of UNLOCKABLE) assert.equal(decode(`f0 ${hex}`).status, 'invalid', hex);
  for (const hex of LOCKABLE) assert.equal(decode(`f0 ${hex}`).status, 'ok', hex);
});

test('opcodes that are none, in the modes where they are none', () => {
  for (const hex of [
    '06',
    '0e',
    '16',
    '1e',
    '27',
    '2f',
    '37',
    '3f',
    '60',
    '61',
    '82 c0 00',
    '9a',
    'ce',
    'd4',
    'd5',
    'ea',
  ]) {
    assert.equal(decode(hex, 64).status, 'invalid', hex);
    assert.equal(decode(hex, 32).status, 'ok', hex);
  }
  for (const hex of [
    '0f 04',
    '0f 0a',
    '0f 24 c0',
    '0f 36',
    '0f 39',
    '0f a6 c0',
    '8d c0',
    'c6 ff',
    'fe d0',
    'ff ff',
    '0f c7 07',
    '0f 01 c7',
  ]) {
    for (const bits of [16, 32, 64] as const)
      assert.equal(decode(hex, bits).status, 'invalid', `${hex}, ${bits} bits`);
  }
});

test('fifteen bytes are an instruction, sixteen are #GP(0)', () => {
  const of = (prefixes: number) => `${'66'.repeat(prefixes)} 90`;
  assert.deepEqual(decode(of(14)).status, 'ok');
  assert.deepEqual(decode(of(15)).status, 'tooLong');
  const long = `${'2e'.repeat(5)} 81 84 24 00 00 00 00 01 00 00 00`;
  assert.equal(decode(long).status, 'tooLong');
  assert.equal(decode(long.slice(2)).length, 15);
  const cpu = new TestCpu();
  cpu.reset(64);
  assert.equal(cpu.run(bytesOf(of(14)), {}).fault, undefined);
  const { fault, rip } = cpu.run(bytesOf(of(15)), {});
  assert.deepEqual([fault?.vector, fault?.code, rip], [13, 0, 0x10_0000n]);
  assert.equal(cpu.run(bytesOf('0f 04'), {}).fault?.vector, 6);
});

test('instructions that are cut off ask for more bytes, whatever they are', () => {
  const samples = [
    '48 b8 88 77 66 55 44 33 22 11',
    '66 0f 3a 0f c1 08',
    'c8 10 00 01',
    '67 8b 84 8d 10 00 00 00',
    '0f ba 2f 01',
    'f0 48 0f c7 0f',
    '81 05 00 00 00 00 01 00 00 00',
  ];
  for (const hex of samples) {
    const code = bytesOf(hex);
    assert.equal(decodeInstruction(code, 0, code.length, 64).status, 'ok', hex);
    for (let n = 0; n < code.length; n++) {
      const d = decodeInstruction(code, 0, n, 64);
      assert.deepEqual([d.status, d.candidate], ['moreBytes', undefined], `${n} bytes of ${hex}`);
    }
  }
});

test('no bytes make the decoder throw, read beyond the end or give a length out of bounds', () => {
  const code = new Uint8Array(32);
  let state = 0x1357_9bdf;
  for (let n = 0; n < 100_000; n++) {
    for (let i = 0; i < 16; i++) {
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
      code[i] = state & 0x300 ? state : [0x0f, 0x66, 0xf3, 0x48][state & 3]!;
    }
    const end = (state >>> 8) & 15;
    const d = decodeInstruction(code, 0, end, ([16, 32, 64] as const)[n % 3]!);
    assert.ok(d.length <= Math.min(end, INSTRUCTION_LENGTH_MAX));
    if (d.status === 'ok') assert.ok(d.length >= 1 && d.candidate);
  }
});

test('VEX prefixes: inverted register bits, vvvv, L and W; LES and LDS outside 64-bit mode', () => {
  check('c5 f1 fe c2', 64, 'vpaddd xmm0, xmm1, xmm2');
  check('c4 e1 71 fe c2', 64, 'vpaddd xmm0, xmm1, xmm2');
  check('c4 e1 f5 fe c2', 64, 'vpaddd ymm0, ymm1, ymm2');
  check('c5 35 fe c2', 64, 'vpaddd ymm8, ymm9, ymm2');
  check('c4 01 35 fe 84 c8 78 56 34 12', 64, 'vpaddd ymm8, ymm9, ymmword ptr [r8+r9*8+0x12345678]');
  check('c4 c2 7d 1e 07', 64, 'vpabsd ymm0, ymmword ptr [r15]');
  check('c5 f1 fe c2', 32, 'vpaddd xmm0, xmm1, xmm2');
  // VEX.B and the top bit of vvvv mean nothing outside 64-bit mode.
  check('c4 c1 31 fe c2', 32, 'vpaddd xmm0, xmm1, xmm2');
  check('c5 31', 32, 'lds esi, [ecx]');
  check('c4 31', 16, 'les si, [bx+di]');
});

test('VEX prefixes that are #UD: other prefixes before, vvvv or L that must not be, maps that are none', () => {
  for (const hex of [
    '66 c5 f1 fe c2', 'f3 c5 f1 fe c2', 'f2 c5 f1 fe c2', 'f0 c5 f1 fe 00', '40 c5 f1 fe c2',
    'c4 e0 71 fe c2', 'c4 e4 71 fe c2', 'c4 ff 71 fe c2',
    // PABSD has no second source, PHMINPOSUW no 256-bit form, PADDD needs 66.
    'c4 e2 71 1e c2', 'c4 e2 7d 41 c2', 'c5 f0 fe c2', 'c5 f2 fe c2',
  ]) // biome-ignore format: a table
    assert.equal(decode(hex).status, 'invalid', hex);
  // A segment prefix and an address size are allowed.
  check('64 67 c5 f1 fe 01', 64, 'vpaddd xmm0, xmm1, xmmword ptr fs:[ecx]');
});
