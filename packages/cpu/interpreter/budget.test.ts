// What `run` counts: instructions retired, and the budget that bounds every run.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BLOCK_LENGTH_MAX } from '../decode/block-store.ts';
import { TestCpu } from '../testing/check.ts';
import { EventCpu } from '../testing/event-log.ts';
import { EXIT_REASON } from './service.ts';

const CODE = 0x10_0000;
const [NOP, HLT] = [0x90, 0xf4];
const [RCX, RSP, RSI] = [1, 4, 6];

function load(code: readonly number[], make: () => TestCpu = () => new TestCpu()): TestCpu {
  const cpu = make();
  if (!(cpu instanceof EventCpu)) cpu.reset(64);
  cpu.write(CODE, code);
  cpu.set('rip', CODE);
  return cpu;
}
const count = (cpu: TestCpu) => Number(cpu.get('instructionCount'));

/** Runs to HLT in one go, and one instruction at a time: both count alike. */
function checkCount(
  code: readonly number[],
  expected: number,
  prepare: (cpu: TestCpu) => void = () => {},
): void {
  const cpu = load(code);
  prepare(cpu);
  assert.equal(cpu.runFreely(100_000), EXIT_REASON.halted);
  assert.equal(count(cpu), expected, 'in one run');
  const stepped = load(code);
  prepare(stepped);
  stepped.step(1000);
  assert.equal(count(stepped), expected, 'in steps');
}

test('every instruction of a block counts once', () => {
  checkCount([NOP, NOP, NOP, HLT], 4);
  checkCount([...new Array(200).fill(NOP), HLT], 201);
});

test('taken and untaken jumps count once', () => {
  // jmp +0; xor eax, eax; jnz +0; jz +0; hlt
  checkCount([0xeb, 0, 0x31, 0xc0, 0x75, 0, 0x74, 0, HLT], 5);
});

test('a loop counts each round', () => {
  // mov ecx, 10; dec ecx; jnz -4; hlt
  checkCount([0xb9, 10, 0, 0, 0, 0xff, 0xc9, 0x75, 0xfc, HLT], 1 + 20 + 1);
});

test('an instruction that crosses pages counts once', () => {
  const cpu = load([]);
  cpu.write(CODE + 0xffe, [0xb8, 1, 0, 0, 0, HLT]);
  cpu.set('rip', CODE + 0xffe);
  assert.equal(cpu.runFreely(100), EXIT_REASON.halted);
  assert.equal(count(cpu), 2);
});

test('a repeated string instruction counts once, however many times it lets interrupts in', () => {
  const prepare = (cpu: TestCpu) => {
    cpu.set('gpr', 5000n, RCX);
    cpu.set('gpr', 0x20_0000n, RSI);
  };
  checkCount([0xf3, 0xac, HLT], 2, prepare);
});

test('an instruction that faults does not count, those before it do', () => {
  const cpu = load([NOP, NOP, 0x0f, 0x0b]);
  assert.equal(cpu.runFreely(100), EXIT_REASON.fault);
  assert.equal(count(cpu), 2);
  assert.equal(cpu.get('rip'), BigInt(CODE + 2));
});

test('an instruction that rewrites its block counts once, as does what runs instead', () => {
  // mov byte [rip+1], 7; mov eax, 1; hlt
  checkCount([0xc6, 0x05, 1, 0, 0, 0, 7, 0xb8, 1, 0, 0, 0, HLT], 3);
});

test('run retires its budget, and less than a block more', () => {
  for (const budget of [1, 2, 63, 64, 65, 1000]) {
    // A block as long as they get, in a loop.
    const body = 2 * BLOCK_LENGTH_MAX - 5;
    const cpu = load([...new Array(body).fill(NOP), 0xe9, (-body - 5) & 0xff, 0xff, 0xff, 0xff]);
    for (let before = 0, n = 0; n < 5; n++) {
      assert.equal(cpu.runFreely(budget), EXIT_REASON.budget);
      const retired = count(cpu) - before;
      assert.ok(
        retired >= budget && retired < budget + BLOCK_LENGTH_MAX,
        `${retired} of ${budget}`,
      );
      before = count(cpu);
    }
  }
});

test('a budget of nothing runs nothing', () => {
  const cpu = load([NOP, HLT]);
  assert.equal(cpu.runFreely(0), EXIT_REASON.budget);
  assert.equal(cpu.get('rip'), BigInt(CODE));
});

test('a repeated string instruction of astronomic length comes to the end of the budget', () => {
  const cpu = load([0xf3, 0xac, HLT]);
  cpu.set('gpr', 1n << 62n, RCX);
  cpu.set('gpr', 0x20_0000n, RSI);
  assert.equal(cpu.runFreely(20), EXIT_REASON.budget);
  assert.equal(cpu.get('rip'), BigInt(CODE));
  assert.ok((cpu.get('gpr', RCX) as bigint) < 1n << 62n);
  assert.equal(count(cpu), 0);
});

test('faults whose handlers cannot be fetched come to the end of the budget', () => {
  const cpu = load([0x0f, 0x0b], () => new EventCpu());
  // #PF through an interrupt stack, so that it never overflows, to a handler that is not mapped.
  const [idt, tss] = [0x8000, 0xb000];
  cpu.write(idt + 14 * 16, [0, 0, 8, 0, 1, 0x8e, 0, 0x40, 0, 0, 0, 0, 0, 0, 0, 0]);
  cpu.write(idt + 6 * 16, [0, 0, 8, 0, 1, 0x8e, 0, 0x40, 0, 0, 0, 0, 0, 0, 0, 0]);
  cpu.write(tss + 0x24, [0, 0, 0x30, 0]);
  cpu.set('segBase', tss, 7);
  cpu.set('segLimit', 0x67, 7);
  cpu.set('segAttributes', 0x8b00, 7);
  cpu.set('segSelector', 0x18, 7);
  cpu.set('gpr', 0x30_0000n, RSP);
  assert.equal(cpu.runFreely(50), EXIT_REASON.budget);
  assert.equal(cpu.get('cr2'), 0x4000_0000n);
});
