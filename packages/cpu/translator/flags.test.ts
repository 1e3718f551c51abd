// Flags of translated code against the interpreter's, where they are not computed on the way: at faults, at ends of loops, where
// ways come together, and from one region to the next.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CODE_ADDRESS, DATA_ADDRESS, STACK_ADDRESS, TestCpu } from '../testing/check.ts';

/** Instructions that set flags from ECX and EDX in each way that there is. */
const SETTERS: Readonly<Record<string, readonly number[]>> = {
  'add ecx, edx': [0x01, 0xd1],
  'add cl, dl': [0x00, 0xd1],
  'add cx, dx': [0x66, 0x01, 0xd1],
  'add rcx, rdx': [0x48, 0x01, 0xd1],
  'sub ecx, edx': [0x29, 0xd1],
  'sub cl, dl': [0x28, 0xd1],
  'sub cx, dx': [0x66, 0x29, 0xd1],
  'sub rcx, rdx': [0x48, 0x29, 0xd1],
  'cmp ecx, 0x80000000': [0x81, 0xf9, 0x00, 0x00, 0x00, 0x80],
  'cmp cl, 0x80': [0x80, 0xf9, 0x80],
  'and ecx, edx': [0x21, 0xd1],
  'test cl, dl': [0x84, 0xd1],
  'xor rcx, rdx': [0x48, 0x31, 0xd1],
  'xor ecx, ecx': [0x31, 0xc9],
  'inc ecx': [0xff, 0xc1],
  'inc cl': [0xfe, 0xc1],
  'dec cx': [0x66, 0xff, 0xc9],
  'dec rcx': [0x48, 0xff, 0xc9],
  'add ecx, edx; inc ecx': [0x01, 0xd1, 0xff, 0xc1],
  'cmp ecx, edx; dec cl': [0x39, 0xd1, 0xfe, 0xc9],
  'stc; dec ecx': [0xf9, 0xff, 0xc9],
  'bt ecx, 5; inc cx': [0x0f, 0xba, 0xe1, 0x05, 0x66, 0xff, 0xc1],
  'neg ecx': [0xf7, 0xd9],
  'neg cl': [0xf6, 0xd9],
  'adc ecx, edx': [0x11, 0xd1],
  'adc cl, dl': [0x10, 0xd1],
  'sbb rcx, rdx': [0x48, 0x19, 0xd1],
  'sbb ecx, ecx': [0x19, 0xc9],
  'shl ecx, 3': [0xc1, 0xe1, 0x03],
  'shr cl, 1': [0xd0, 0xe9],
  'sar rcx, 5': [0x48, 0xc1, 0xf9, 0x05],
  'shl edx, cl': [0xd3, 0xe2],
  'shld edx, ecx, cl': [0x0f, 0xa5, 0xca],
  'rol ecx, 1': [0xd1, 0xc1],
  'rcr edx, cl': [0xd3, 0xda],
  'imul ecx, edx': [0x0f, 0xaf, 0xca],
  'bsf ecx, edx': [0x0f, 0xbc, 0xca],
  'popcnt ecx, edx': [0xf3, 0x0f, 0xb8, 0xca],
  cmc: [0xf5],
  'sahf (mov ah, dl)': [0x88, 0xd4, 0x9e],
  'cmpxchg ecx, edx': [0x0f, 0xb1, 0xd1],
  'add ecx, edx; nop of flags: bt': [0x01, 0xd1, 0x0f, 0xa3, 0xd1],
};
/** Numbers that the setters meet: what RCX and RDX become in each round, without setting flags. */
const NEXT_NUMBERS = [
  // lea rcx, [rcx+rcx*2+7]; lea rdx, [rdx+rcx*4]; bswap edx
  0x48, 0x8d, 0x4c, 0x49, 0x07, 0x48, 0x8d, 0x14, 0x8a, 0x0f, 0xca,
] as const; // biome-ignore format: instructions
/** mov al, [rbx]: faults when RBX is at the end of memory; lea rbx, [rbx+0x40000]. */
const LOAD = [0x8a, 0x03] as const;
const ADVANCE = [0x48, 0x8d, 0x9b, 0x00, 0x00, 0x04, 0x00] as const;
/** lea r9, [r9+r9*2]; lea r9, [r9+r8]: R9 remembers all that R8 was. */
const REMEMBER = [0x4f, 0x8d, 0x0c, 0x49, 0x4f, 0x8d, 0x0c, 0x01] as const;

/** Who looks at the flags. */
const READERS: Readonly<Record<string, readonly number[]>> = {
  'a load that may fault': [],
  pushf: [0x9c, 0x41, 0x58],
  lahf: [0x9f],
  adc: [0x41, 0x83, 0xd0, 0x11],
  'inc, which keeps CF': [0x41, 0xff, 0xc0],
  'rcl r8, cl': [0x49, 0xd3, 0xd0],
  ...Object.fromEntries(
    Array.from({ length: 16 }, (_, n) => [`setcc ${n}`, [0x41, 0x0f, 0x90 + n, 0xc0]]),
  ),
  ...Object.fromEntries(
    Array.from({ length: 16 }, (_, n) => [`jcc ${n}`, [0x70 + n, 0x04, 0x4d, 0x8d, 0x40, 0x01]]),
  ),
};

/** The code, and a jump back to its beginning. */
function loop(...code: readonly (readonly number[])[]): number[] {
  const bytes = code.flat();
  const back = -(bytes.length + 5);
  return [...bytes, 0xe9, back & 0xff, (back >> 8) & 0xff, 0xff, 0xff];
}

const FAULT = 5;
const BUDGET = 1;
/** Code for one comparison; code of another in the same pages would be one that keeps changing (changing-pages.ts). */
const PLACE_BYTES = 0x2000;

/** Processors: interpreting, translating, and translating as machines do, where no budget ends loops. */
const PROCESSORS = [
  { hotThreshold: 0 },
  { hotThreshold: 3 },
  { hotThreshold: 3, counts: false },
] as const;
let processors: readonly TestCpu[] = [];
let place = DATA_ADDRESS;

function nextPlace(): void {
  place += PLACE_BYTES;
  if (place < DATA_ADDRESS) return;
  place = CODE_ADDRESS;
  processors = PROCESSORS.map((options) => new TestCpu({}, options));
}

/** Runs until it faults, in slices; gives all registers and flags then. */
function run(cpu: TestCpu, slice: number, number: bigint) {
  cpu.reset(64);
  cpu.set('gpr', number, 1);
  cpu.set('gpr', number * 3n, 2);
  cpu.set('gpr', BigInt(DATA_ADDRESS), 3);
  cpu.set('gpr', BigInt(STACK_ADDRESS), 4);
  cpu.set('rip', BigInt(place));
  let reason = BUDGET;
  for (let n = 0; n < 10_000 && reason === BUDGET; n++) {
    reason = cpu.runFreely(slice);
    assert.equal(cpu.get('flagsKind'), 0);
  }
  return {
    reason,
    registers: Array.from({ length: 16 }, (_, n) => cpu.get('gpr', n)),
    rip: cpu.get('rip'),
    rflags: cpu.call('readRflags'),
  };
}

function compare(name: string, code: readonly number[], slice = 1_000_000): void {
  nextPlace();
  const regions = () => processors.map((cpu) => cpu.translator.translator.counters.regions);
  const before = regions();
  for (const cpu of processors) cpu.write(place, code);
  for (const number of [1n, 0x8123_4567_89ab_cdefn]) {
    const [interpreted, ...translated] = processors.map((cpu) => run(cpu, slice, number));
    assert.equal(interpreted!.reason, FAULT, name);
    for (const result of translated) assert.deepEqual(result, interpreted, name);
  }
  const [none, ...some] = regions().map((count, n) => count - before[n]!);
  assert.equal(none, 0);
  assert.ok(
    some.every((count) => count > 0),
    name,
  );
}

test('a fault at the head of a loop sees the flags of the round before', () => {
  for (const [name, setter] of Object.entries(SETTERS))
    compare(name, loop(LOAD, NEXT_NUMBERS, setter, ADVANCE));
});

/** Some readers for each setter: all pairs would take minutes. */
function eachPair(visit: (setter: string, reader: string, n: number) => void): void {
  const readers = Object.keys(READERS);
  Object.keys(SETTERS).forEach((setter, n) => {
    for (let k = 0; k < 4; k++) visit(setter, readers[(n * 4 + k * 11) % readers.length]!, n);
    visit(setter, 'pushf', n);
  });
}

test('whoever reads flags at the head of a loop sees those of the round before', () => {
  eachPair((setter, reader) => {
    const code = loop(READERS[reader]!, REMEMBER, LOAD, NEXT_NUMBERS, SETTERS[setter]!, ADVANCE);
    compare(`${setter}: ${reader}`, code);
  });
});

test('flags of two ways that come together are those of the way that was taken', () => {
  const names = Object.keys(SETTERS);
  eachPair((setter, reader, n) => {
    // Another kind on the other way, for each a different one; js or jc over it.
    const other = SETTERS[names[(n * 7 + 3) % names.length]!]!;
    const either = [...SETTERS[setter]!, n % 2 ? 0x78 : 0x72, other.length, ...other];
    const code = loop(NEXT_NUMBERS, either, LOAD, READERS[reader]!, REMEMBER, LOAD, ADVANCE);
    compare(`${setter}, ${n}: ${reader}`, code);
  });
});

test('an end of the slice in a loop keeps the flags', () => {
  for (const [name, setter] of Object.entries(SETTERS))
    for (const reader of ['pushf', 'adc'])
      compare(
        `${name}: ${reader}`,
        loop(READERS[reader]!, REMEMBER, LOAD, NEXT_NUMBERS, setter, ADVANCE),
        97,
      );
});

test('a handler sees the flags from before it, and those behind it see the flags that it left', () => {
  // lea rdi, [rbx]; stosb: by its handler
  const handler = [0x48, 0x8d, 0x3b, 0xaa];
  eachPair((setter, reader) => {
    const [before, code] = [SETTERS[setter]!, READERS[reader]!];
    compare(
      `${setter}: ${reader}`,
      loop(handler, code, REMEMBER, NEXT_NUMBERS, before, handler, code, REMEMBER, LOAD, ADVANCE),
    );
  });
});

test('the region behind a jump to another page sees the flags', () => {
  eachPair((setter, reader) => {
    const first = [...LOAD, ...NEXT_NUMBERS, ...SETTERS[setter]!];
    const over = 0x1000 - first.length - 5;
    const there = [...first, 0xe9, over & 0xff, over >> 8, 0, 0];
    const filling = new Array<number>(0x1000 - there.length).fill(0x90);
    const second = [...LOAD, ...READERS[reader]!, ...REMEMBER, ...ADVANCE];
    compare(`${setter}: ${reader}`, loop(there, filling, second));
  });
});
