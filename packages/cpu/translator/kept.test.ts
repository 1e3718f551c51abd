// Translations that an earlier processor left: they are found by the code that they were made from, wherever it lies,
// with other addresses in it, and for no other code.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EXIT_REASON } from '../interpreter/service.ts';
import { CODE_ADDRESS, DATA_ADDRESS, STACK_ADDRESS, TestCpu } from '../testing/check.ts';
import { MemoryStore } from '../testing/memory-store.ts';
import { translatorOptions } from './in-thread.ts';
import type { MadeModule, TranslationStore } from './kept.ts';
import { PendingRequests } from './pending.ts';
import { RequestRing } from './requests.ts';
import { Translator } from './translator.ts';

const PAGE = 0x1000;
const ELSEWHERE = CODE_ADDRESS + 3 * PAGE;

const int32 = (value: number) => [value, value >> 8, value >> 16, value >> 24].map((b) => b & 0xff);

/** A loop of 100 rounds with three addresses as a kernel's, an instruction that a handler runs, and a call. */
function program({
  immediate = 0x8123_4567,
  displacement = 0x9000_0010,
  relative = 0x5800_0020,
  added = 7,
} = {}) {
  return [
    ...[0x48, 0xc7, 0xc0, ...int32(immediate)], // back: mov rax, immediate
    ...[0x48, 0x8d, 0x99, ...int32(displacement)], // lea rbx, [rcx + displacement]
    ...[0x48, 0x8d, 0x2d, ...int32(relative)], // lea rbp, [rip + relative]
    ...[0x48, 0x01, 0xea], // add rdx, rbp
    ...[0x48, 0x31, 0xc2], // xor rdx, rax
    ...[0x48, 0x01, 0xda], // add rdx, rbx
    ...[0x48, 0x83, 0xc2, added], // add rdx, added
    ...[0xaa], // stosb
    ...[0xe8, 6, 0, 0, 0], // call function
    ...[0xff, 0xc9], // dec ecx
    ...[0x75, 0xd4], // jnz back
    ...[0xf4, 0x90], // hlt
    ...[0x48, 0xd1, 0xc2, 0xc3], // function: rol rdx, 1; ret
  ];
}

const NEVER = 0x7fff_ffff;

interface Options {
  readonly at?: number;
  readonly store?: TranslationStore;
  readonly hotThreshold?: number;
  readonly warmThreshold?: number;
  readonly bits?: 32 | 64;
}

function run(
  code: readonly number[],
  { at = CODE_ADDRESS, store, hotThreshold = 3, warmThreshold = NEVER, bits = 64 }: Options = {},
) {
  const cpu = new TestCpu({}, { hotThreshold, ...(store && { store }) });
  cpu.reset(bits);
  cpu.set('warmThreshold', warmThreshold);
  cpu.write(at, code);
  cpu.set('gpr', 100n, 1);
  cpu.set('gpr', BigInt(STACK_ADDRESS), 4);
  cpu.set('gpr', BigInt(DATA_ADDRESS), 7);
  cpu.set('rip', BigInt(at));
  const reason = cpu.runToEnd(5000);
  const { translator } = cpu.translator;
  translator.save();
  return {
    cpu,
    counters: translator.counters,
    state: {
      reason,
      registers: Array.from({ length: 16 }, (_, n) => cpu.get('gpr', n)),
      rflags: cpu.call('readRflags'),
      data: Buffer.from(cpu.read(DATA_ADDRESS, 128)).toString('hex'),
    },
  };
}

/** What a processor with this code leaves. */
function leave(code: readonly number[], options: Options = {}): readonly MadeModule[] {
  const store = new MemoryStore();
  run(code, { ...options, store });
  assert.ok(store.made.length > 0);
  return store.made;
}

function compare(code: readonly number[], options: Options) {
  const interpreted = run(code, { ...options, hotThreshold: 0 });
  const translated = run(code, options);
  assert.equal(interpreted.state.reason, EXIT_REASON.halted);
  assert.deepEqual(translated.state, interpreted.state);
  return translated.counters;
}

test('the same code is not translated again', () => {
  const store = new MemoryStore(leave(program()));
  const { regions, adopted } = compare(program(), { store });
  assert.equal(regions, 0);
  assert.equal(adopted, store.kept.flatMap((module) => module.regions).length);
  assert.deepEqual([...store.used], [...store.kept.keys()]);
  assert.deepEqual(store.made, []);
});

test('what was translated while its code changed is not kept', () => {
  // Both pages have code: writes to them are counted.
  const { cpu } = run(program(), { hotThreshold: NEVER });
  cpu.write(ELSEWHERE, program());
  cpu.set('activity', 0);
  cpu.set('rip', BigInt(ELSEWHERE));
  cpu.runToEnd(5000);
  const store = new MemoryStore();
  const options = translatorOptions(cpu.memory);
  const handlers = Object.create(options.handlers) as typeof options.handlers;
  let change = () => {};
  // Asked for when the region has been read and is compiled.
  handlers.tableIndex = (n) => {
    change();
    return options.handlers.tableIndex(n);
  };
  const translate = () => {
    const translator = new Translator({ ...options, handlers, counts: false, store });
    // One module, of which all regions are kept or none.
    const request = (gpa: number) => ({ gpa, mode: 2, version: cpu.blocks.pageVersion(gpa) });
    translator.translate([CODE_ADDRESS, ELSEWHERE].map(request));
    translator.save();
    return translator.counters.regions;
  };
  const write = (added: number) => cpu.write(CODE_ADDRESS, program({ added }));
  // And back to what it was.
  for (const last of [8, 7]) {
    write(7);
    cpu.set('activity', 0);
    cpu.set('rip', BigInt(CODE_ADDRESS));
    cpu.runToEnd(5000);
    change = () => [8, last].forEach(write);
    assert.equal(translate(), 2);
    assert.equal(store.made.length, 0);
  }
  change = () => {};
  assert.equal(translate(), 2);
  assert.deepEqual(
    store.made.map(({ regions }) => regions.length),
    [2],
  );
});

test('code on another page, with other addresses of a kernel in it, runs in what is kept', () => {
  const store = new MemoryStore(leave(program()));
  const moved = program({
    immediate: 0xa923_4567,
    displacement: 0xb800_0010,
    relative: 0x6123_4567,
  });
  const { regions, adopted } = compare(moved, { at: ELSEWHERE, store });
  assert.equal(regions, 0);
  assert.ok(adopted > 0);
});

test('32-bit code with other addresses of a kernel in it runs in what is kept', () => {
  const code = (first: number, second: number, third: number) => [
    ...[0xb8, ...int32(first)], // back: mov eax, first
    ...[0x8d, 0x99, ...int32(second)], // lea ebx, [ecx + second]
    ...[0x31, 0xc2], // xor edx, eax
    ...[0x01, 0xda], // add edx, ebx
    ...[0x81, 0xea, ...int32(third)], // sub edx, third
    ...[0x68, ...int32(third)], // push third
    ...[0x5e], // pop esi
    ...[0xf7, 0xe6], // mul esi
    ...[0x49], // dec ecx
    ...[0x75, 0xe0], // jnz back
    ...[0xf4], // hlt
  ];
  const bits = 32;
  const store = new MemoryStore(leave(code(0xc123_4567, 0xd000_0000, 0xc7ff_ffff), { bits }));
  const moved = code(0xdfff_ffff, 0xc000_0000, 0xc810_0001);
  const { regions, adopted } = compare(moved, { at: ELSEWHERE, store, bits });
  assert.equal(regions, 0);
  assert.ok(adopted > 0);
});

test('other code is translated: another constant, a number that is no address, another place in the page', () => {
  const left = leave(program());
  const others: [readonly number[], number][] = [
    [program({ added: 8 }), CODE_ADDRESS],
    [program({ immediate: 0x0123_4567 }), CODE_ADDRESS],
    [program(), CODE_ADDRESS + 16],
  ];
  for (const [code, at] of others) {
    const { regions, adopted } = compare(code, { at, store: new MemoryStore(left) });
    // The function at the end may be the same.
    assert.ok(regions > 0 && adopted < left.flatMap((module) => module.regions).length);
  }
});

test('what was on the page of a region that is taken over comes with it', () => {
  // Instead of the first loop's HLT: jmp to mov ecx, 100 in front of a second loop.
  const code = new Array<number>(0x200).fill(0x90);
  const put = (at: number, bytes: readonly number[]) => code.splice(at, bytes.length, ...bytes);
  put(0, program());
  put(program().indexOf(0xf4), [0xeb, 0x7e]);
  put(program().indexOf(0xf4) + 2 + 0x7e, [0xb9, 100, 0, 0, 0, ...program()]);
  const store = new MemoryStore(leave(code));
  const { regions, adopted } = compare(code, { store });
  assert.equal(regions, 0);
  assert.equal(adopted, store.kept.flatMap((module) => module.regions).length);
});

test('a module that can no longer be read is made again', () => {
  const store = new MemoryStore(leave(program()));
  store.load = () => undefined;
  const { regions, adopted } = compare(program(), { store });
  assert.equal(adopted, 0);
  assert.ok(regions > 0);
  assert.ok(store.made.length > 0);
});

test('code that is written after it was taken over is dropped', () => {
  const store = new MemoryStore(leave(program()));
  const { cpu } = run(program(), { store });
  cpu.write(CODE_ADDRESS, program({ added: 9 }));
  cpu.set('activity', 0);
  cpu.set('gpr', 100n, 1);
  cpu.set('gpr', 0n, 2);
  cpu.set('gpr', BigInt(DATA_ADDRESS), 7);
  cpu.set('rip', BigInt(CODE_ADDRESS));
  cpu.runToEnd(5000);
  const expected = run(program({ added: 9 }), { hotThreshold: 0 });
  assert.equal(cpu.get('gpr', 2), expected.state.registers[2]);
});

test('a block that is not hot yet is taken over, and not translated', () => {
  const store = new MemoryStore(leave(program()));
  const early = { hotThreshold: NEVER, warmThreshold: 2 };
  assert.ok(compare(program(), { ...early, store }).adopted > 0);
  const { regions, adopted, requests } = compare(program(), { ...early, store: new MemoryStore() });
  assert.deepEqual({ regions, adopted, requests }, { regions: 0, adopted: 0, requests: 0 });
});

test('an early request that nothing is kept for does not stand in the way of a later one', () => {
  const { cpu } = run(program());
  const asked: boolean[] = [];
  const ring = new RequestRing(cpu.memory, 0);
  const pending = new PendingRequests(cpu.memory, 1, ({ isEarly }) => {
    asked.push(isEarly === true);
    return asked.length > 2;
  });
  const request = { gpa: ELSEWHERE, mode: 2, version: 1 };
  ring.push({ ...request, isEarly: true });
  assert.equal(pending.take(), undefined);
  ring.push(request);
  assert.equal(pending.take()?.request.gpa, ELSEWHERE);
  ring.push({ ...request, version: 2 });
  assert.equal(pending.take(), undefined);
  assert.deepEqual(asked, [true, false, false]);
});
