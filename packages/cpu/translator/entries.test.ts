// Regions with several entries: entered behind their calls, loops with two ways in, functions that are in a region and
// are entered by themselves; and which of what is asked for is translated.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BlockTable } from '../decode/block-table.ts';
import { DECODING_MODE } from '../state/decoding-mode.ts';
import { RECORDS_BASE } from '../state/memory-map.ts';
import { CODE_ADDRESS, STACK_ADDRESS, TestCpu } from '../testing/check.ts';
import { PendingRequests } from './pending.ts';
import { RequestRing } from './requests.ts';
import type { TranslatedRegion } from './translator.ts';

const HALTED = 2;
const PAGE = 0x1000;
const NEVER = 0x7fff_ffff;

/** Runs code at CODE_ADDRESS, with more at further places, up to its HLT. */
function run(hotThreshold: number, code: Readonly<Record<number, readonly number[]>>) {
  const cpu = new TestCpu({}, { hotThreshold });
  cpu.reset(64);
  for (const [at, bytes] of Object.entries(code)) cpu.write(CODE_ADDRESS + Number(at), bytes);
  cpu.set('gpr', BigInt(STACK_ADDRESS), 4);
  cpu.set('rip', BigInt(CODE_ADDRESS));
  return { cpu, state: stateOf(cpu, cpu.runToEnd(5000)) };
}

/** Twice: the second time in regions that were asked for when all of the code was known, at CODE_ADDRESS and further places. */
function runAgain(
  code: Readonly<Record<number, readonly number[]>>,
  places: readonly number[] = [0],
) {
  const { cpu } = run(NEVER, code);
  for (let n = 0; n < 16; n++) cpu.set('gpr', n === 4 ? BigInt(STACK_ADDRESS) : 0n, n);
  cpu.set('rip', BigInt(CODE_ADDRESS));
  cpu.set('activity', 0);
  cpu.set('rflags', 2);
  for (const place of places) cpu.loader.request(CODE_ADDRESS + place, DECODING_MODE.code64);
  cpu.loader.load();
  cpu.set('instructionCount', 0n);
  return { cpu, state: stateOf(cpu, cpu.runToEnd(5000)) };
}

function stateOf(cpu: TestCpu, reason: number) {
  const registers = Array.from({ length: 16 }, (_, n) => cpu.get('gpr', n));
  const [rip, count] = [cpu.get('rip'), cpu.get('instructionCount')];
  return { reason, registers, rflags: cpu.call('readRflags'), rip, count };
}

function compare(
  code: Readonly<Record<number, readonly number[]>>,
  translate: typeof runAgain = (given) => run(3, given),
): TestCpu {
  const interpreted = run(0, code);
  const translated = translate(code);
  assert.equal(interpreted.state.reason, HALTED);
  assert.deepEqual(translated.state, interpreted.state);
  assert.ok(translated.cpu.translator.translator.counters.regions > 0);
  return translated.cpu;
}

/** The call at an offset of CODE_ADDRESS to another one. */
function call(from: number, to: number): number[] {
  const relative = to - (from + 5);
  return [0xe8, ...[0, 8, 16, 24].map((shift) => (relative >> shift) & 0xff)];
}

test('an entry behind a call sees the flags of the function, and others do not ask', () => {
  const code = {
    0: [
      ...[0xb9, 50, 0, 0, 0], // mov ecx, 50
      ...call(5, PAGE), // back: call function
      ...[0x83, 0xd2, 0x03], // adc edx, 3
      ...[0xff, 0xc9], // dec ecx
      ...[0x75, 0xf4], // jnz back
      ...[0xf4], // hlt
    ],
    [PAGE]: [0x39, 0xca, 0xc3], // function: cmp edx, ecx; ret
  };
  compare(code, (given) => runAgain(given, [0, PAGE]));
});

test('a loop that calls another page is entered behind its call', () => {
  // mov ecx,500; l: call f; add ebx,3; call f; xor ebx,eax; dec ecx; jnz l; hlt. f: lea eax,[rax+rbx]; ret
  const main = [0xb9, 0xf4, 1, 0, 0, ...call(5, PAGE), 0x83, 0xc3, 3, ...call(13, PAGE)];
  main.push(0x31, 0xc3, 0xff, 0xc9, 0x75, 0xed, 0xf4);
  const cpu = compare({ 0: main, [PAGE]: [0x8d, 0x04, 0x18, 0xc3] });
  const { counters } = cpu.translator.translator;
  // One for the loop and what is behind its calls, one for the function; not one for each call.
  assert.ok(counters.regions <= 4, `${counters.regions} regions`);
});

test('a loop with two ways in gives the same', () => {
  // mov edi,300; o: mov ecx,20; test edi,1; jnz b; a: add eax,ecx; b: lea eax,[rax*2+1]; dec ecx; jnz a; dec edi; jnz o;
  // hlt
  const code = {
    0: [
      0xbf, 0x2c, 1, 0, 0, 0xb9, 20, 0, 0, 0, 0xf7, 0xc7, 1, 0, 0, 0, 0x75, 2, 0x01, 0xc8, 0x8d, 0x44, 0x00, 1, 0xff,
      0xc9, 0x75, 0xf6, 0xff, 0xcf, 0x75, 0xe5, 0xf4,
    ],
  }; // biome-ignore format: code
  compare(code);
  const { counters } = compare(code, runAgain).translator.translator;
  assert.equal(counters.regions, 1);
});

test('flags that a loop with two ways in takes from one of them are the right ones', () => {
  // mov edi,300; o: mov ecx,9; cmp edi,150; jb b; stc; a: adc eax,0; b: setc bl; movzx ebx,bl; add edx,ebx; rcl esi,1;
  // dec ecx; jnz a; dec edi; jnz o; hlt
  const code = {
    0: [
      0xbf, 0x2c, 1, 0, 0, 0xb9, 9, 0, 0, 0, 0x81, 0xff, 0x96, 0, 0, 0, 0x72, 4, 0xf9, 0x83, 0xd0, 0, 0x0f, 0x92, 0xc3,
      0x0f, 0xb6, 0xdb, 0x01, 0xda, 0xd1, 0xd6, 0xff, 0xc9, 0x75, 0xef, 0xff, 0xcf, 0x75, 0xdd, 0xf4,
    ],
  }; // biome-ignore format: code
  compare(code);
  const { counters } = compare(code, runAgain).translator.translator;
  assert.equal(counters.regions, 1);
});

test('recursion returns to each of its calls', () => {
  // mov edi,12; call fib; hlt. fib: cmp edi,2; jb leaf; push rdi; dec edi; call fib; pop rdi; push rax; lea edi,[rdi-2];
  // call fib; pop rcx; add eax,ecx; ret; leaf: mov eax,edi; ret
  const fib = 11;
  const code = [0xbf, 12, 0, 0, 0, ...call(5, fib), 0xf4];
  code.push(0x83, 0xff, 2, 0x72, 0x17, 0x57, 0xff, 0xcf, ...call(fib + 8, fib), 0x5f, 0x50);
  code.push(
    0x8d,
    0x7f,
    0xfe,
    ...call(fib + 18, fib),
    0x59,
    0x01,
    0xc8,
    0xc3,
    0x90,
    0x89,
    0xf8,
    0xc3,
  );
  const cpu = compare({ 0: code });
  assert.equal(cpu.get('gpr', 0), 144n);
});

test('a 32-bit region in a segment that does not begin at a page is entered behind its calls', () => {
  const base = 0x123;
  const start = () => {
    const cpu = new TestCpu({}, { hotThreshold: NEVER });
    cpu.reset(32);
    cpu.set('segBase', BigInt(base), 1);
    cpu.call('updateMode');
    // mov ecx,200; l: call f; inc ebx; dec ecx; jnz l; hlt. f: add eax,ebx; ret
    const main = [0xb9, 200, 0, 0, 0, ...call(5, PAGE), 0x43, 0x49, 0x75, 0xf7, 0xf4];
    cpu.write(CODE_ADDRESS + base, main);
    cpu.write(CODE_ADDRESS + base + PAGE, [0x01, 0xd8, 0xc3]);
    return cpu;
  };
  const run = (cpu: TestCpu) => {
    for (let n = 0; n < 8; n++) cpu.set('gpr', n === 4 ? BigInt(STACK_ADDRESS) : 0n, n);
    cpu.set('rip', BigInt(CODE_ADDRESS));
    cpu.set('activity', 0);
    const reason = cpu.runToEnd(5000);
    return { reason, eax: cpu.get('gpr', 0), ebx: cpu.get('gpr', 3), rip: cpu.get('rip') };
  };
  const cpu = start();
  const interpreted = run(cpu);
  assert.equal(interpreted.reason, HALTED);
  assert.equal(interpreted.eax, BigInt((199 * 200) / 2));
  cpu.loader.request(CODE_ADDRESS + base, DECODING_MODE.code32);
  cpu.loader.load();
  assert.deepEqual(run(cpu), interpreted);
  assert.equal(cpu.loader.counters.regions, 1);
});

/** A loop of so many rounds, each of which enters a block, and where it counts them. */
function counting(rounds: number) {
  const cpu = new TestCpu({}, { hotThreshold: 3 });
  cpu.reset(64);
  // mov ecx,rounds; l: dec ecx; jnz l; hlt
  const immediate = [0, 8, 16, 24].map((shift) => (rounds >> shift) & 0xff);
  cpu.write(CODE_ADDRESS, [0xb9, ...immediate, 0xff, 0xc9, 0x75, 0xfc, 0xf4]);
  const gpa = CODE_ADDRESS + 5;
  const table = new BlockTable(cpu.memory, 0);
  const words = new Int32Array(cpu.memory.buffer);
  const run = () => {
    cpu.set('rip', BigInt(CODE_ADDRESS));
    cpu.set('activity', 0);
    assert.equal(cpu.runToEnd(100_000), HALTED);
  };
  const count = () => table.countWord(gpa, DECODING_MODE.code64)!;
  return { cpu, words, count, run };
}

test('a block whose request was lost is asked for again', () => {
  const { cpu, run } = counting(200_000);
  cpu.translator.request = () => true;
  run();
  assert.equal(cpu.loader.counters.requests, 1 + Math.floor(200_000 / 0x1_0000));
});

test('the count of a block that is never translated does not become the mark of a translated one', () => {
  const { cpu, words, count, run } = counting(20);
  cpu.translator.request = () => true;
  run();
  assert.equal(words[count()], 18);
  words[count()] = 0x7fff_fffa;
  run();
  assert.equal(words[count()], 19 - 6);
  assert.equal(cpu.get('jumpFills'), 0n);
});

/** The pending requests of one vCPU, and the word that counts how often it enters a block. */
function pending() {
  const memory = new WebAssembly.Memory({ initial: 1600, maximum: 1600, shared: true });
  const words = new Int32Array(memory.buffer);
  const ask = (gpa: number) =>
    assert.ok(new RequestRing(memory, 0).push({ gpa, mode: DECODING_MODE.code64, version: 1 }));
  const table = new BlockTable(memory, 0);
  table.clear();
  const enter = (gpa: number, times: number) => {
    if (table.countWord(gpa, DECODING_MODE.code64) === undefined)
      table.insert(gpa, DECODING_MODE.code64, RECORDS_BASE);
    words[table.countWord(gpa, DECODING_MODE.code64)!] = times;
  };
  const entered = (gpa: number) => words[table.countWord(gpa, DECODING_MODE.code64)!];
  const requests = new PendingRequests(memory, 1);
  const take = () => {
    const taken: number[] = [];
    for (let next = requests.take(); next; next = requests.take()) taken.push(next.request.gpa);
    return taken;
  };
  return { ask, enter, entered, take, requests };
}
const region = (entries: number[], inner: number[]) =>
  ({ entries, inner, mode: DECODING_MODE.code64, version: 1 }) as unknown as TranslatedRegion;

test('where a region is entered is not translated again, asked for before or after', () => {
  const { ask, take, requests } = pending();
  ask(0x1000);
  assert.deepEqual(take(), [0x1000]);
  ask(0x1010);
  requests.answered([region([0x1000, 0x1010, 0x1020], [])]);
  ask(0x1020);
  ask(0x1030);
  assert.deepEqual(take(), [0x1030]);
  requests.forget([region([0x1000, 0x1010, 0x1020], [])]);
  ask(0x1020);
  assert.deepEqual(take(), [0x1020]);
});

test('what a region reaches by itself is translated when it is asked for once more', () => {
  const { ask, enter, entered, take, requests } = pending();
  enter(0x1008, 2000);
  ask(0x1000);
  assert.deepEqual(take(), [0x1000]);
  requests.answered([region([0x1000], [0x1008])]);
  ask(0x1008);
  assert.deepEqual(take(), []);
  assert.equal(entered(0x1008), 0, 'the vCPU counts anew');
  ask(0x1008);
  assert.deepEqual(take(), [0x1008]);
  ask(0x1008);
  assert.deepEqual(take(), [], 'it has been answered');
});
