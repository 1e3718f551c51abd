// The engines for several processors against the one for a single one: every locked instruction in every width, at
// every alignment, gives the same; loads and stores in strict order too. And what runs alone says so.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EVENT } from '../state/layout.ts';
import { DATA_ADDRESS, TestCpu } from '../testing/check.ts';
import type { Processors } from './engine.ts';
import { EXIT_REASON } from './service.ts';

const HLT = 0xf4;
const CODE = 0x10_0000;
const BUDGET = 10_000;
const DATA_BYTES = 0x1100;
const REGISTERS = ['rax', 'rcx', 'rdx', 'rbx', 'rsp', 'rbp', 'rsi', 'rdi'] as const;
const [RAX, RCX, RDX, RBX, RSI, RDI] = [0, 1, 2, 3, 6, 7];
/** With [rdi] as the memory operand, rcx or an immediate as the other. */
const LOCKED: Readonly<Record<string, string>> = {
  'add byte': 'f0 00 0f', 'add word': '66 f0 01 0f', 'add dword': 'f0 01 0f', 'add qword': 'f0 48 01 0f',
  'adc qword': 'f0 48 11 0f', 'sbb dword': 'f0 19 0f', 'and word': '66 f0 21 0f', 'or byte': 'f0 08 0f',
  'xor qword': 'f0 48 31 0f', 'sub dword, 5': 'f0 83 2f 05', 'inc byte': 'f0 fe 07', 'dec qword': 'f0 48 ff 0f',
  'neg word': '66 f0 f7 1f', 'not dword': 'f0 f7 17', 'xadd byte': 'f0 0f c0 0f', 'xadd word': '66 f0 0f c1 0f',
  'xadd dword': 'f0 0f c1 0f', 'xadd qword': 'f0 48 0f c1 0f', 'cmpxchg byte': 'f0 0f b0 0f', 'cmpxchg word': '66 f0 0f b1 0f',
  'cmpxchg dword': 'f0 0f b1 0f', 'cmpxchg qword': 'f0 48 0f b1 0f', 'xchg byte': '86 0f', 'xchg word': '66 87 0f',
  'xchg dword': '87 0f', 'xchg qword': '48 87 0f', 'lock xchg dword': 'f0 87 0f', 'bts dword, 9': 'f0 0f ba 2f 09',
  'btr qword, rcx': 'f0 48 0f b3 0f', 'btc dword, ecx': 'f0 0f bb 0f', 'bts qword, rcx': 'f0 48 0f ab 0f',
  'cmpxchg8b': 'f0 0f c7 0f', 'cmpxchg16b': 'f0 48 0f c7 0f',
}; // biome-ignore format: one family a line
/** Plain accesses, for the engine with strict order. */
const PLAIN: Readonly<Record<string, string>> = {
  'mov byte': '88 0f', 'mov word': '66 89 0f', 'mov dword': '89 0f', 'mov qword': '48 89 0f', 'load byte': '8a 0f',
  'load word': '66 8b 0f', 'load dword': '8b 0f', 'load qword': '48 8b 0f', 'add dword': '01 0f', 'xchg and load': '48 87 0f 48 8b 07',
  'movups store': '0f 11 07', 'movups load': '0f 10 07', 'movsq': '48 a5', 'push': 'ff 37',
}; // biome-ignore format: one family a line

/** A processor that may stop all others at once: there are none. Counts how often it did. */
function newCpu(
  processors: Processors,
  host: ConstructorParameters<typeof TestCpu>[0] = {},
): { cpu: TestCpu; stops: () => number } {
  let stops = 0;
  const cpu: TestCpu = new TestCpu(
    {
      ...host,
      synchronise: () => {
        if (cpu.get('stopsOthers')) {
          cpu.set('stopsOthers', 0);
          cpu.set('events', Number(cpu.get('events')) & ~EVENT.alone);
        } else if (Number(cpu.get('events')) & EVENT.alone) {
          stops += 1;
          cpu.set('stopsOthers', 1);
          cpu.set('runOne', 1);
        }
        return undefined;
      },
    },
    { processors },
  );
  return { cpu, stops: () => stops };
}

interface Outcome {
  readonly registers: readonly bigint[];
  readonly memory: string;
  readonly fault: bigint | number;
  readonly rflags: unknown;
}

function run(cpu: TestCpu, code: string, address: number, seed: number): Outcome {
  cpu.reset(64);
  cpu.write(CODE, [...Buffer.from(code.replaceAll(' ', ''), 'hex'), HLT]);
  const bytes = Uint8Array.from({ length: 64 }, (_, n) => (n * 37 + seed * 101) & 0xff);
  cpu.write(DATA_ADDRESS, new Uint8Array(DATA_BYTES));
  cpu.write(DATA_ADDRESS + 0xfe0, bytes);
  cpu.write(DATA_ADDRESS + 0x100, bytes);
  for (const [index] of REGISTERS.entries())
    cpu.set('gpr', BigInt(0x1234_5678 * (index + seed)) * 0x1_0000_0001n, index);
  const at = (offset: number) => BigInt(cpu.bytes[hostOf(cpu, address + offset)]!);
  // Every other time the accumulator is what memory holds, so that exchanges take place.
  if (seed % 2 === 0) {
    const word = (from: number) =>
      [7, 6, 5, 4, 3, 2, 1, 0].reduce((sum, n) => (sum << 8n) | at(from + n), 0n);
    const isPair8 = code === LOCKED.cmpxchg8b;
    cpu.set('gpr', isPair8 ? word(0) & 0xffff_ffffn : word(0), RAX);
    cpu.set('gpr', isPair8 ? word(0) >> 32n : word(8), RDX);
  }
  cpu.set('gpr', BigInt(address), RDI);
  cpu.set('gpr', BigInt(DATA_ADDRESS + 0x100), RSI);
  cpu.set('gpr', BigInt(DATA_ADDRESS + 0x800), 4);
  cpu.set('gpr', BigInt(seed * 3), RCX);
  cpu.set('gpr', 0x5555_0000_1111n + BigInt(seed), RBX);
  cpu.set('rip', BigInt(CODE));
  cpu.set('activity', 0);
  cpu.set('fault', 0);
  const reason = cpu.runFreely(BUDGET);
  assert.ok(reason === EXIT_REASON.halted || reason === EXIT_REASON.fault, `${code}: ${reason}`);
  const start = hostOf(cpu, DATA_ADDRESS);
  return {
    registers: REGISTERS.map((_, index) => BigInt(cpu.get('gpr', index))),
    memory: Array.from(cpu.bytes.subarray(start, start + DATA_BYTES).entries())
      .filter(([, byte]) => byte !== 0)
      .map(([at, byte]) => `${at.toString(16)}:${byte.toString(16)}`)
      .join(' '),
    fault: cpu.get('fault'),
    rflags: cpu.call('readRflags'),
  };
}

/** Where the guest's memory lies in the machine's: found by writing. */
let ramBase: number | undefined;
function hostOf(cpu: TestCpu, address: number): number {
  if (ramBase === undefined) {
    cpu.write(DATA_ADDRESS, [...Buffer.from('where is it?')]);
    ramBase = Buffer.from(cpu.bytes.buffer).indexOf('where is it?') - DATA_ADDRESS;
    cpu.write(DATA_ADDRESS, new Uint8Array(12));
  }
  return ramBase + address;
}

const one = newCpu('one');
/** Aligned; misaligned within eight bytes and a cache line; across both; across a page. */
const PLACES = [0x100, 0x101, 0x104, 0x13a, 0x13f, 0xffd, 0xfff].map((n) => DATA_ADDRESS + n);

for (const processors of ['several', 'ordered'] as const) {
  const engine = newCpu(processors);
  test(`${processors}: locked instructions are those of one processor`, () => {
    for (const [name, code] of Object.entries(LOCKED))
      for (const address of PLACES)
        for (let seed = 0; seed < 4; seed++)
          assert.deepEqual(
            run(engine.cpu, code, address, seed),
            run(one.cpu, code, address, seed),
            `${name} at ${address.toString(16)}, ${seed}`,
          );
  });
  test(`${processors}: plain accesses are those of one processor`, () => {
    for (const [name, code] of Object.entries(PLAIN))
      for (const address of PLACES)
        assert.deepEqual(
          run(engine.cpu, code, address, 1),
          run(one.cpu, code, address, 1),
          `${name} at ${address.toString(16)}`,
        );
  });
}

test('only what is misaligned stops the others', () => {
  const { cpu, stops } = newCpu('several');
  run(cpu, LOCKED['xadd qword']!, DATA_ADDRESS + 0x108, 1);
  run(cpu, LOCKED.cmpxchg16b!, DATA_ADDRESS + 0x110, 0);
  run(cpu, LOCKED['add byte']!, DATA_ADDRESS + 0x10b, 0);
  assert.equal(stops(), 0);
  run(cpu, LOCKED['xchg word']!, DATA_ADDRESS + 0x10b, 0);
  run(cpu, LOCKED['add dword']!, DATA_ADDRESS + 0xffe, 0);
  assert.equal(stops(), 2);
  // Without LOCK nothing is atomic, and nobody stops.
  run(cpu, '01 0f', DATA_ADDRESS + 0xffe, 0);
  assert.equal(stops(), 2);
});

test('a locked write to a page with code drops the code', () => {
  const { cpu } = newCpu('several');
  cpu.reset(64);
  // lock inc dword [rip + 1]; mov eax, 7: the immediate becomes 8.
  cpu.write(CODE, [0xf0, 0xff, 0x05, 1, 0, 0, 0, 0xb8, 7, 0, 0, 0, HLT]);
  cpu.set('rip', BigInt(CODE));
  cpu.set('activity', 0);
  assert.equal(cpu.runFreely(BUDGET), EXIT_REASON.halted);
  assert.equal(cpu.get('gpr', RAX), 8n);
});

test('code is dropped before a write changes its bytes, and stays so until it has', () => {
  const AT = CODE + 0x800;
  for (const processors of ['one', 'several', 'ordered'] as const) {
    const seen: string[] = [];
    const bytes = () => Buffer.from(cpu.read(AT, 16)).toString('hex');
    const { cpu } = newCpu(processors, {
      beginCodeWrite(gpa: number, count: number) {
        seen.push(bytes());
        cpu.blocks.beginWrite(gpa, count);
        return undefined;
      },
      endCodeWrite(gpa: number, count: number) {
        seen.push(bytes());
        cpu.blocks.endWrite(gpa, count);
        return undefined;
      },
    });
    for (const [name, code] of Object.entries({ ...LOCKED, ...PLAIN })) {
      cpu.reset(64);
      cpu.write(AT, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]);
      const before = bytes();
      seen.length = 0;
      run(cpu, code, AT, 1);
      // What moves 16 bytes writes two halves.
      assert.equal(seen[0] ?? before, before, name);
      assert.equal(seen.at(-1) ?? before, bytes(), name);
      const reads = name.startsWith('load') || /^(push|movups load)/.test(name);
      assert.equal(seen.length === 0, reads, name);
    }
  }
});
