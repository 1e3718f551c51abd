// Translated regions against the interpreter: the same code, the same state behind it.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EXIT_REASON } from '../interpreter/service.ts';
import { CODE_ADDRESS, DATA_ADDRESS, STACK_ADDRESS, TestCpu } from '../testing/check.ts';

const REGISTERS = 16;

/** Runs code up to its HLT, in slices as a machine does; gives registers, flags and data. */
function run(
  hotThreshold: number,
  code: readonly number[],
  registers: Readonly<Record<number, bigint>>,
) {
  const cpu = new TestCpu({}, { hotThreshold });
  cpu.reset(64);
  cpu.write(CODE_ADDRESS, code);
  for (const [n, value] of Object.entries(registers)) cpu.set('gpr', value, Number(n));
  cpu.set('gpr', BigInt(STACK_ADDRESS), 4);
  cpu.set('rip', BigInt(CODE_ADDRESS));
  return {
    reason: cpu.runToEnd(5000),
    registers: Array.from({ length: REGISTERS }, (_, n) => cpu.get('gpr', n)),
    rip: cpu.get('rip'),
    rflags: cpu.call('readRflags'),
    data: Buffer.from(cpu.read(DATA_ADDRESS, 256)).toString('hex'),
    regions: cpu.translator.translator.counters.regions,
  };
}

function compare(code: readonly number[], registers: Readonly<Record<number, bigint>>): void {
  const { regions: none, ...interpreted } = run(0, code, registers);
  const { regions, ...translated } = run(3, code, registers);
  assert.equal(none, 0);
  assert.ok(regions > 0, 'nothing was translated');
  assert.equal(interpreted.reason, EXIT_REASON.halted);
  assert.deepEqual(translated, interpreted);
}

test('an arithmetic loop ends with the same registers and flags', () => {
  // imul eax,eax,0x19660d; add eax,0x3c6ef35f; mov ecx,eax; shr ecx,7; xor edx,ecx; add edx,esi; add esi,1; cmp esi,edi; jne; hlt
  compare(
    [
      0x69, 0xc0, 0x0d, 0x66, 0x19, 0x00, 0x05, 0x5f, 0xf3, 0x6e, 0x3c, 0x89, 0xc1, 0xc1, 0xe9,
      0x07, 0x31, 0xca, 0x01, 0xf2, 0x83, 0xc6, 0x01, 0x39, 0xfe, 0x75, 0xe5, 0xf4,
    ],
    { 0: 12345n, 7: 50_000n },
  );
});

test('flags from before the region pass through an instruction that its handler runs', () => {
  // stc; jmp next page; there: stosb; adc eax, 0; dec ecx; jnz back; hlt
  const there = [0xaa, 0x83, 0xd0, 0x00, 0xff, 0xc9, 0x0f, 0x85, 0xf4, 0xef, 0xff, 0xff, 0xf4];
  const page = [0xf9, 0xe9, 0xfa, 0x0f, 0x00, 0x00, ...new Array<number>(0x1000 - 6).fill(0x90)];
  compare([...page, ...there], { 0: 5n, 1: 200n, 7: BigInt(DATA_ADDRESS) });
});

test('nested loops with calls, memory and parts of registers give the same', () => {
  // mov rbx,DATA; outer: mov ecx,16; inner: mov al,cl; add ah,al; add [rbx+rcx],al; call f; dec ecx; jnz inner;
  // dec edi; jnz outer; hlt; f: push rax; imul edx,edx,3; add edx,ecx; pop rax; ret
  compare(
    [
      0x48, 0xc7, 0xc3, 0x00, 0x00, 0x20, 0x00, 0xb9, 0x10, 0x00, 0x00, 0x00, 0x88, 0xc8, 0x00,
      0xc4, 0x00, 0x04, 0x0b, 0xe8, 0x09, 0x00, 0x00, 0x00, 0xff, 0xc9, 0x75, 0xf0, 0xff, 0xcf,
      0x75, 0xe7, 0xf4, 0x50, 0x6b, 0xd2, 0x03, 0x01, 0xca, 0x58, 0xc3,
    ],
    { 7: 300n },
  );
});

test('an instruction that has no translation runs by its handler inside the loop', () => {
  // l: mov eax,edi; xor edx,edx; mov ecx,7; div ecx; add ebx,edx; rep stosb over 8 bytes; dec esi; jnz l; hlt
  compare(
    [
      0x89, 0xf0, 0x31, 0xd2, 0xb9, 0x07, 0x00, 0x00, 0x00, 0xf7, 0xf1, 0x01, 0xd3, 0x48, 0xc7,
      0xc7, 0x10, 0x00, 0x20, 0x00, 0xb9, 0x08, 0x00, 0x00, 0x00, 0xf3, 0xaa, 0xff, 0xce, 0x75,
      0xe1, 0xf4,
    ],
    { 6: 2000n },
  );
});

test('a loop that rewrites its own next instruction sees the change at once', () => {
  // mov rbx,&imm; l: cmp ecx,100; ja skip; inc byte [rbx]; skip: mov al,0 (patched); add edx,eax; and eax,0; dec ecx;
  // jnz l; hlt. The loop is translated before the first change.
  const patched = CODE_ADDRESS + 15;
  compare(
    [
      0x48,
      0xc7,
      0xc3,
      patched & 0xff,
      (patched >> 8) & 0xff,
      (patched >> 16) & 0xff,
      0x00,
      0x83,
      0xf9,
      0x64,
      0x77,
      0x02,
      0xfe,
      0x03,
      0xb0,
      0x00,
      0x01,
      0xc2,
      0x83,
      0xe0,
      0x00,
      0xff,
      0xc9,
      0x75,
      0xee,
      0xf4,
    ],
    { 1: 200n },
  );
});

test('a fault in a translated loop reports the faulting instruction and leaves its registers', () => {
  // l: mov al,[rbx]; add rbx,0x1000; inc ecx; jmp l
  const code = [0x8a, 0x03, 0x48, 0x81, 0xc3, 0x00, 0x10, 0x00, 0x00, 0xff, 0xc1, 0xeb, 0xf3];
  const results = [0, 3].map((hotThreshold) => {
    const cpu = new TestCpu({}, { hotThreshold });
    cpu.reset(64);
    cpu.write(CODE_ADDRESS, code);
    cpu.set('gpr', BigInt(DATA_ADDRESS), 3);
    cpu.set('rip', BigInt(CODE_ADDRESS));
    return {
      reason: cpu.runToEnd(1000),
      rip: cpu.get('rip'),
      rbx: cpu.get('gpr', 3),
      rcx: cpu.get('gpr', 1),
      fault: cpu.get('fault'),
      address: cpu.get('faultAddress'),
    };
  });
  assert.equal(results[0]!.rip, BigInt(CODE_ADDRESS));
  assert.deepEqual(results[1], results[0]);
});
