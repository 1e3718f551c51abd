// Links: regions with copies of functions of other pages compute what the interpreter does, whatever becomes of those
// pages meanwhile. Each test has the link resolved first: without that a copy is never entered.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Processors } from '../interpreter/engine.ts';
import { EXIT_REASON } from '../interpreter/service.ts';
import { DECODING_MODE } from '../state/decoding-mode.ts';
import { EVENT, SEGMENT } from '../state/layout.ts';
import { CODE_ADDRESS, DATA_ADDRESS, STACK_ADDRESS, TestCpu } from '../testing/check.ts';
import { MemoryStore } from '../testing/memory-store.ts';
import { PageTables } from '../testing/paging.ts';
import type { TranslationStore } from './kept.ts';
import { LINKS_MAX, linkAt } from './links.ts';
import { MOVED_BYTES } from './moved-numbers.ts';
import type { TranslatedRegion } from './translator.ts';

const PAGE = 0x1000;
const NEVER = 0x7fff_ffff;
const { halted: HALTED, fault: FAULT } = EXIT_REASON;
/** Where other functions are that may come in the place of the callee. */
const OTHER = CODE_ADDRESS + 0x20 * PAGE;
/** Words of a link that has not been resolved, or never will be. */
const NOT_RESOLVED = 0xffff_fffe;

/** Instructions by their distance from CODE_ADDRESS. */
type Code = Readonly<Record<number, readonly number[]>>;

const int32 = (value: number) => [value, value >> 8, value >> 16, value >> 24].map((b) => b & 0xff);
const jump = (opcode: readonly number[], from: number, to: number) => [
  ...opcode,
  ...int32(to - (from + opcode.length + 4)),
];
const call = (from: number, to: number) => jump([0xe8], from, to);
const RET = 0xc3;
const HLT = 0xf4;
/** add eax, value */
const add = (value: number) => [0x05, ...int32(value)];

/** mov ecx, rounds; l: the calls; dec ecx; jnz l; hlt */
function caller(callees: readonly number[], { at = 0, rounds = 20, more = [] as number[] } = {}) {
  const code = [0xb9, ...int32(rounds)];
  const loop = code.length;
  for (const callee of callees) code.push(...call(at + code.length, callee));
  code.push(...more, 0xff, 0xc9);
  return [...code, ...jump([0x0f, 0x85], code.length, loop), HLT];
}

interface Options {
  readonly counts?: boolean;
  readonly store?: TranslationStore;
  readonly codeBytesMax?: number;
  readonly bits?: 32 | 64;
  readonly cpl?: number;
  readonly slice?: number;
  readonly host?: ConstructorParameters<typeof TestCpu>[0];
  readonly prepare?: (cpu: TestCpu) => void;
  /** As one of several processors, with nobody else there. */
  readonly processors?: Processors;
}

/** A processor on which the same is done with and without translation. */
class Side {
  readonly cpu: TestCpu;
  readonly #translates: boolean;
  readonly #regions: TranslatedRegion[] = [];
  readonly #mode: number;
  readonly #slice: number;

  constructor(translates: boolean, code: Code, o: Options) {
    this.#translates = translates;
    this.#slice = o.slice ?? 5000;
    const { counts, store, codeBytesMax, processors } = o;
    this.cpu = new TestCpu(o.host, {
      hotThreshold: translates ? NEVER : 0,
      ...(counts !== undefined && { counts }),
      ...(store && { store }),
      ...(codeBytesMax && { codeBytesMax }),
      ...(processors && { processors }),
    });
    const { cpu } = this;
    cpu.reset(o.bits ?? 64, o.cpl ?? 0);
    this.#mode = cpu.get('mode') as number;
    for (const [at, bytes] of Object.entries(code)) cpu.write(CODE_ADDRESS + Number(at), bytes);
    o.prepare?.(cpu);
    const take = cpu.translator.take.bind(cpu.translator);
    cpu.translator.take = () => {
      const messages = take();
      for (const m of messages) if ('module' in m) this.#regions.push(...m.regions);
      return messages;
    };
  }

  /** Runs from a place to the end. */
  run(registers: Readonly<Record<number, number | bigint>> = {}, from = 0) {
    const { cpu } = this;
    for (let n = 0; n < 16; n++) cpu.set('gpr', BigInt(registers[n] ?? 0), n);
    if (registers[4] === undefined) cpu.set('gpr', BigInt(STACK_ADDRESS), 4);
    cpu.set('rip', BigInt(CODE_ADDRESS + from));
    cpu.set('activity', 0);
    cpu.set('fault', 0);
    cpu.call('writeRflags', 2);
    const before = cpu.get('instructionCount') as bigint;
    const reason = cpu.runToEnd(this.#slice);
    const isFault = reason === FAULT;
    return {
      reason,
      registers: Array.from({ length: 16 }, (_, n) => cpu.get('gpr', n)),
      rip: cpu.get('rip'),
      rflags: cpu.call('readRflags'),
      count: (cpu.get('instructionCount') as bigint) - before,
      fault: isFault ? [cpu.get('fault'), cpu.get('faultCode'), cpu.get('faultAddress')] : [],
      data: Buffer.from(cpu.read(DATA_ADDRESS, 64)).toString('hex'),
    };
  }

  /** Asks for regions at places, whose linear pages are what they are or given. */
  translate(places: readonly (number | { gpa: number; linear: number })[]): void {
    if (!this.#translates) return;
    for (const place of places) {
      const gpa = typeof place === 'number' ? CODE_ADDRESS + place : place.gpa;
      const linear = typeof place === 'number' ? gpa : place.linear;
      this.cpu.loader.request(gpa, this.#mode, { linearPage: Math.floor(linear / PAGE) });
    }
    this.cpu.loader.load();
    assert.equal(this.cpu.translator.translator.lastFailure, undefined);
  }

  /** Links that lead somewhere now; all that were made. */
  get links(): { resolved: number; made: number } {
    const u32 = new Uint32Array(this.cpu.memory.buffer);
    const u16 = new Uint16Array(this.cpu.memory.buffer);
    let [resolved, made] = [0, 0];
    for (const { memory, links, moved } of this.#regions)
      for (const n of links.keys()) {
        made++;
        const word = (memory + linkAt(n + 1, moved.length * MOVED_BYTES)) / 4;
        if (u32[word]! < NOT_RESOLVED && u16[u32[word + 1]! / 2] !== 0) resolved++;
      }
    return { resolved, made };
  }
  /** At least so many links lead somewhere, or none does; nothing to say where nothing is translated. */
  expectLinks(resolved: number, why = ''): void {
    const now = this.links.resolved;
    if (this.#translates)
      assert.ok(
        resolved ? now >= resolved : now === 0,
        `${now} links instead of ${resolved} ${why}`,
      );
  }
}

/** Does the same interpreted and translated, alone and as one of several; what it gives must be the same. */
function compare<T>(code: Code, script: (side: Side) => T, options: Options = {}): T {
  const interpreted = script(new Side(false, code, options));
  const several = (more: Options) => ({ ...more, processors: 'several' }) as const;
  for (const o of [options, several(options)]) {
    const translated = script(new Side(true, code, o));
    if (options.counts !== false) assert.deepEqual(translated, interpreted);
    else assert.equal(withoutCounts(translated), withoutCounts(interpreted));
  }
  return interpreted;
}
function withoutCounts(value: unknown): string {
  return JSON.stringify(value, (key, v) =>
    key === 'count' ? 0 : typeof v === 'bigint' ? `${v}` : v,
  );
}

/** Runs once to know the code, translates the places, callees first, and runs again with the link resolved. */
function warm(side: Side, places: Parameters<Side['translate']>[0], links: number, registers = {}) {
  side.run(registers);
  side.translate(places);
  side.run(registers);
  const state = side.run(registers);
  side.expectLinks(links);
  return state;
}

// --- the callee's code changes ---

test('code of a callee that is changed, changed back and translated anew', () => {
  const code = { 0: caller([PAGE]), [PAGE]: [...add(3), RET] };
  compare(code, (side) => {
    const states = [warm(side, [PAGE, 0], 1)];
    side.cpu.write(CODE_ADDRESS + PAGE, add(5));
    side.expectLinks(0, 'to code that has changed');
    states.push(side.run());
    side.cpu.write(CODE_ADDRESS + PAGE, add(3));
    states.push(side.run());
    side.expectLinks(0, 'before the callee is there again');
    side.translate([PAGE]);
    states.push(side.run());
    side.expectLinks(1, 'to the same code in another region');
    side.cpu.write(CODE_ADDRESS + PAGE, add(9));
    side.run();
    side.translate([PAGE]);
    states.push(side.run());
    side.expectLinks(0, 'to other code');
    return states;
  });
});

test('a guest that writes into the callee in front of each call', () => {
  // mov [rbx+1],cl, with rbx at the callee
  const main = caller([PAGE], { more: [0x88, 0x4b, 1] });
  const code = { 0: main, [PAGE]: [...add(3), RET] };
  compare(code, (side) => {
    const states = [warm(side, [PAGE, 0], 1, { 3: DATA_ADDRESS })];
    for (let n = 0; n < 4; n++) {
      states.push(side.run({ 3: CODE_ADDRESS + PAGE }));
      side.translate([PAGE]);
      states.push(side.run({ 3: DATA_ADDRESS }));
    }
    return states;
  });
});

test('a slot and a memory that another function has after an eviction', () => {
  const fillers = (base: number) =>
    Object.fromEntries(
      Array.from({ length: 60 }, (_, n) => [base + 16 * n, [...add(n), 0x01, 0xc2, RET]]),
    );
  const code = { 0: caller([PAGE]), [PAGE]: [...add(3), RET], ...fillers(3 * PAGE) };
  const script = (side: Side) => {
    const states = [warm(side, [PAGE, 0], 1)];
    side.cpu.write(CODE_ADDRESS + PAGE, add(77));
    side.translate(Object.keys(fillers(3 * PAGE)).map(Number));
    side.translate([PAGE]);
    states.push(side.run());
    side.translate([0]);
    states.push(side.run());
    return { states, evicted: side.cpu.loader.counters.evicted };
  };
  const interpreted = script(new Side(false, code, {}));
  const translated = script(new Side(true, code, { codeBytesMax: 6 << 10 }));
  assert.deepEqual(translated.states, interpreted.states);
  assert.ok(translated.evicted > 0);
});

// --- the callee's page is another one ---

/** Two address spaces, which differ in what is at the callee's page. */
function twoSpaces(cpu: TestCpu): [PageTables, PageTables] {
  const spaces = [CODE_ADDRESS + PAGE, OTHER].map((callee, n) => {
    const tables = new PageTables(cpu, { tables: 0x50_0000 + n * 0x8_0000 });
    tables.identity(CODE_ADDRESS, 8);
    tables.identity(DATA_ADDRESS, 2);
    tables.identity(STACK_ADDRESS - PAGE, 2);
    tables.identity(0x50_0000, 16);
    tables.map(CODE_ADDRESS + PAGE, callee);
    return tables;
  });
  return [spaces[0]!, spaces[1]!];
}
/** cmp ecx,10; jne over; xchg rbx,rbp; mov cr3,rbx; over: */
const SWITCH = [0x83, 0xf9, 10, 0x75, 6, 0x48, 0x87, 0xeb, 0x0f, 0x22, 0xdb];
const CALLEE = { gpa: CODE_ADDRESS + PAGE, linear: CODE_ADDRESS + PAGE };
const REPLACED = { gpa: OTHER, linear: CODE_ADDRESS + PAGE };

/** A link has been taken in the first space; `run` begins in one space, and SWITCH goes to the other. */
function linkedInTwoSpaces(side: Side) {
  const [first, second] = twoSpaces(side.cpu);
  const run = (from: PageTables, to: PageTables) => {
    from.activate();
    return side.run({ 3: from.root, 5: to.root });
  };
  const states = [run(first, first)];
  side.translate([CALLEE, 0]);
  for (let n = 0; n < 2; n++) states.push(run(first, first));
  side.expectLinks(1);
  return { first, second, run, states };
}

for (const isSame of [false, true])
  test(`a callee whose page another load of CR3 replaces by ${isSame ? 'its equal' : 'another'}`, () => {
    const main = caller([PAGE], { more: SWITCH });
    const code = {
      0: main,
      [PAGE]: [...add(3), RET],
      [OTHER - CODE_ADDRESS]: [...add(isSame ? 3 : 0x1000), RET],
    };
    compare(
      code,
      (side) => {
        const { first, second, run, states } = linkedInTwoSpaces(side);
        states.push(run(first, second));
        side.translate([REPLACED]);
        for (let n = 0; n < 3; n++) states.push(run(first, second), run(second, second));
        states.push(run(first, first));
        return states;
      },
      {},
    );
  });

test('a callee whose page is replaced by INVLPG, and back', () => {
  // cmp ecx,10; jne over; xor [rdi],rsi (the page's entry); invlpg [rbx]; over:
  const main = caller([PAGE], {
    more: [0x83, 0xf9, 10, 0x75, 6, 0x48, 0x31, 0x37, 0x0f, 0x01, 0x3b],
  });
  const code = {
    0: main,
    [PAGE]: [...add(3), RET],
    [OTHER - CODE_ADDRESS]: [...add(0x1000), RET],
  };
  compare(code, (side) => {
    const [space] = twoSpaces(side.cpu);
    space.activate();
    const entry = space.entryAddress(BigInt(CODE_ADDRESS + PAGE), 1);
    const registers = { 3: CODE_ADDRESS + PAGE, 6: OTHER ^ (CODE_ADDRESS + PAGE), 7: entry };
    const still = { ...registers, 6: 0 };
    const states = [side.run(still)];
    side.translate([CALLEE, 0]);
    states.push(side.run(still));
    side.expectLinks(1);
    states.push(side.run(registers));
    side.translate([REPLACED]);
    for (let n = 0; n < 4; n++) states.push(side.run(registers), side.run(still));
    return states;
  });
});

test('a callee of a user, in the one address space and the other', () => {
  const code = {
    0: [...caller([PAGE]).slice(0, -1), 0x0f, 0x0b],
    [PAGE]: [...add(3), RET],
    [OTHER - CODE_ADDRESS]: [...add(0x1000), RET],
  };
  compare(
    code,
    (side) => {
      const [first, second] = twoSpaces(side.cpu);
      first.activate();
      side.run();
      side.translate([CALLEE, 0]);
      const states = [side.run()];
      side.expectLinks(1);
      for (const space of [second, first, second]) {
        space.activate();
        states.push(side.run());
        side.translate([REPLACED]);
      }
      return states;
    },
    { cpl: 3 },
  );
});

test('a callee whose page is replaced while a function that it calls runs', () => {
  // callee: call change; add eax,3; ret. change, in the caller's page: SWITCH; ret
  const callee = (value: number) => [...call(PAGE, 0x100), ...add(value), RET];
  const code = {
    0: caller([PAGE]),
    256: [...SWITCH, RET],
    [PAGE]: callee(3),
    [OTHER - CODE_ADDRESS]: callee(0x1000),
  };
  compare(code, (side) => {
    const { first, second, run, states } = linkedInTwoSpaces(side);
    states.push(run(first, second), run(second, first), run(second, second), run(first, first));
    return states;
  });
});

test('a callee whose code changes while a function that it calls runs', () => {
  // callee: call change; add eax,3; ret. change, in the caller's page: mov [rbx],cl; call back; ret; back: ret
  const change = [0x88, 0x0b, ...call(0x102, 0x110), RET];
  const code = {
    0: caller([PAGE]),
    256: change,
    272: [RET],
    [PAGE]: [...call(PAGE, 0x100), ...add(3), RET],
  };
  compare(code, (side) => {
    const states = [warm(side, [PAGE, 0], 1, { 3: DATA_ADDRESS })];
    for (let n = 0; n < 3; n++) {
      states.push(side.run({ 3: CODE_ADDRESS + PAGE + 6 }));
      side.translate([PAGE]);
      states.push(side.run({ 3: DATA_ADDRESS }));
    }
    return states;
  });
});

// --- faults in a copy ---

/** Functions that fault in the last round, behind what changes registers and flags. */
const FAULTS: Readonly<Record<string, readonly number[]>> = {
  // add esi,ecx; lea rdi,[rdi+rcx]; cmp ecx,1; sbb edx,edx...
  'division by 0': [0x01, 0xce, 0x8d, 0x41, 0xff, 0x31, 0xd2, 0x93, 0xb8, 9, 0, 0, 0, 0xf7, 0xf3],
  // cmp ecx,1; jne over; ud2; over: add esi,ecx
  'invalid opcode': [0x01, 0xce, 0x83, 0xf9, 1, 0x75, 2, 0x0f, 0x0b, 0x01, 0xce],
  // add esi,ecx; mov rbx,rcx; dec rbx; shl rbx,63; shr rbx,1 ... a page that is not there when ecx is 1
  'page fault': [
    0x01, 0xce, 0x83, 0xf9, 1, 0xbb, ...int32(DATA_ADDRESS), 0xba, ...int32(0x7000_0000), 0x0f,
    0x44, 0xda, 0x0f, 0x92, 0xc0, 0x03, 0x33, 0x01, 0xc8,
  ],
}; // biome-ignore format: code

for (const [what, body] of Object.entries(FAULTS))
  for (const [where, distance] of Object.entries({ behind: PAGE, 'in front': -3 * PAGE }))
    test(`a ${what} in a copy, ${where}`, () => {
      const code = { 0: caller([distance]), [distance]: [...body, RET] };
      const state = compare(code, (side) => warm(side, [distance, 0], 1));
      assert.notEqual(state.reason, HALTED);
      assert.ok(state.rip! >= BigInt(CODE_ADDRESS + distance));
    });

test('a callee almost 2 GiB away, on either side', () => {
  for (const distance of [0x7fff_f000, -0x7fff_e000]) {
    const linear = BigInt(CODE_ADDRESS) + 0x1_0000_0000n;
    const main = caller([distance]);
    const state = compare({ 0: main, [PAGE]: [...FAULTS['invalid opcode']!, RET] }, (side) => {
      const tables = new PageTables(side.cpu);
      tables.identity(STACK_ADDRESS - PAGE, 2);
      tables.map(linear, CODE_ADDRESS);
      tables.map(linear + BigInt(distance), CODE_ADDRESS + PAGE);
      tables.activate();
      const from = 0x1_0000_0000;
      side.run({}, from);
      side.translate([
        { gpa: CODE_ADDRESS + PAGE, linear: Number(linear) + distance },
        { gpa: CODE_ADDRESS, linear: Number(linear) },
      ]);
      const state = side.run({}, from);
      side.expectLinks(1, `${distance}`);
      return state;
    });
    assert.equal(state.rip, linear + BigInt(distance) + 7n);
  }
});

test('x87 instructions of a copy know where they are', () => {
  // function: fld1; ret. caller: fnstenv [rdi]; fninit
  const code = {
    0: caller([PAGE], { more: [0xd9, 0x37, 0xdb, 0xe3] }),
    [PAGE]: [0x90, 0xd9, 0xe8, RET],
  };
  const { data } = compare(code, (side) => warm(side, [PAGE, 0], 1, { 7: DATA_ADDRESS }));
  assert.equal(Buffer.from(data, 'hex').readUInt32LE(12), CODE_ADDRESS + PAGE + 1);
});

test('32-bit code whose way to a callee wraps around has no link that is taken', () => {
  for (const [from, to] of [
    [0, 0xffff_e000],
    [0xffff_e000, 0],
  ] as const) {
    const code = { 0: caller([(to - from) | 0]), [PAGE]: [...add(3), RET] };
    compare(code, (side) => {
      const { cpu } = side;
      const tables = new PageTables(cpu);
      tables.identity(STACK_ADDRESS - PAGE, 2);
      tables.map(from, CODE_ADDRESS);
      tables.map(to, CODE_ADDRESS + PAGE);
      tables.activate();
      cpu.set('segAttributes', 0xc0_9b00, SEGMENT.cs);
      cpu.call('updateMode');
      assert.equal(cpu.get('mode'), DECODING_MODE.flat32);
      side.run({}, from - CODE_ADDRESS);
      for (const place of [
        { gpa: CODE_ADDRESS + PAGE, linear: to },
        { gpa: CODE_ADDRESS, linear: from },
      ])
        side.cpu.loader.request(place.gpa, DECODING_MODE.flat32, {
          linearPage: place.linear / PAGE,
        });
      side.cpu.loader.load();
      const state = side.run({}, from - CODE_ADDRESS);
      side.expectLinks(0);
      return state;
    });
  }
});

// --- shapes ---

test('several links, a link from a link to another page, and one function from many places', () => {
  const code = {
    0: caller([PAGE, 2 * PAGE, ...Array<number>(14).fill(PAGE), 3 * PAGE]),
    // add eax,1; call the third; ret
    [PAGE]: [...add(1), RET],
    [2 * PAGE]: [...add(0x10), ...call(2 * PAGE + 5, 3 * PAGE), 0x01, 0xc6, RET],
    [3 * PAGE]: [0x8d, 0x04, 0x40, 0x11, 0xc7, RET],
  };
  compare(code, (side) => warm(side, [PAGE, 3 * PAGE, 2 * PAGE, 0], 4));
});

test('recursion through a link, and a way back into the own page', () => {
  // caller: mov edi,n; call fib; hlt. fib in another page, each of whose calls goes through a thunk in the caller's page
  const fib = (thunk: number) => {
    const code = [
      0x83,
      0xff,
      2,
      0x72,
      0x17,
      0x57,
      0xff,
      0xcf,
      ...call(PAGE + 8, thunk),
      0x5f,
      0x50,
    ];
    code.push(0x8d, 0x7f, 0xfe, ...call(PAGE + 18, thunk), 0x59, 0x01, 0xc8, RET, 0x90, 0x89, 0xf8);
    return [...code, RET];
  };
  for (const thunk of [0x40, PAGE]) {
    const code = {
      0: [0xbf, 12, 0, 0, 0, ...call(5, PAGE), HLT],
      64: jump([0xe9], 0x40, PAGE),
      [PAGE]: fib(thunk),
    };
    const state = compare(code, (side) => warm(side, [PAGE, 0], 1));
    assert.equal(state.registers[0], 144n);
  }
});

test('more callees than there are links, and one that is longer than a copy may be', () => {
  const count = LINKS_MAX + 4;
  const callees = Array.from({ length: count }, (_, n) => (n + 1) * PAGE);
  const long = Array.from({ length: 400 }, (_, n) => [...add(n), 0x11, 0xc2]).flat();
  const code = {
    0: caller(callees),
    ...Object.fromEntries(callees.map((at, n) => [at, [...add(n), 0x11, 0xc6, RET]])),
    [PAGE]: [...long, RET],
  };
  compare(code, (side) => warm(side, [...callees, 0], LINKS_MAX));
});

test('jumps to another page, with and without a condition', () => {
  const main = [0xb9, 40, 0, 0, 0, 0xf6, 0xc1, 3];
  main.push(...jump([0x0f, 0x84], main.length, PAGE)); // jz
  main.push(0x83, 0xd0, 1, ...jump([0xe9], main.length + 3, 2 * PAGE));
  const back = main.length;
  main.push(0xff, 0xc9, ...jump([0x0f, 0x85], main.length + 2, 5), HLT);
  const code = {
    0: main,
    [PAGE]: [...add(7), 0xf9, ...jump([0xe9], PAGE + 6, back)],
    [2 * PAGE]: [0x83, 0xd2, 9, ...jump([0xe9], 2 * PAGE + 3, back)],
  };
  compare(code, (side) => warm(side, [PAGE, 2 * PAGE, 0, back], 2));
});

test('a copy that ends where the region begins does not spoil other calls', () => {
  // function: ends with a call at the end of the page in front, which returns to the caller's page: mov ecx,5; jmp function
  const at = -5;
  const main = [...Array<number>(0x10).fill(0x90), 0xb9, 5, 0, 0, 0];
  const code = {
    0: [0x83, 0xe9, 1, ...jump([0x0f, 0x84], 3, 0x80), ...jump([0xe9], 9, -0x20)],
    64: [RET],
    128: [HLT],
    [-0x20]: [...add(1), ...jump([0xe9], -0x1b, at)],
    [at]: call(at, 0x40),
    [2 * PAGE]: [...main, ...call(2 * PAGE + main.length, 2 * PAGE + 0x100), ...add(1), HLT],
    [2 * PAGE + 0x100]: [0x8b, 0x14, 0x24, RET],
  };
  compare(code, (side) => {
    const states = [side.run({ 1: 20 }), side.run({}, 2 * PAGE)];
    side.translate([-0x20, 0]);
    states.push(side.run({ 1: 20 }));
    side.translate([2 * PAGE]);
    states.push(side.run({}, 2 * PAGE));
    return states;
  });
});

test('a 32-bit jump in a segment that is not flat is checked against its limit', () => {
  const base = CODE_ADDRESS;
  const code = { 0: [0x90, ...jump([0xe9], 1, PAGE)], [PAGE]: [...add(3), HLT] };
  const state = compare(
    code,
    (side) => {
      const { cpu } = side;
      // DS is not flat, so the mode is not; CS is.
      cpu.set('segBase', 0x40n, SEGMENT.ds);
      cpu.call('updateMode');
      side.run();
      for (const place of [PAGE, 0])
        cpu.loader.request(base + place, DECODING_MODE.code32, {
          linearPage: (base + place) / PAGE,
        });
      cpu.loader.load();
      side.run();
      cpu.set('segLimit', base + PAGE - 1, SEGMENT.cs);
      cpu.call('updateMode');
      return side.run();
    },
    { bits: 32 },
  );
  assert.equal(state.reason, FAULT);
  assert.equal(state.rip, BigInt(CODE_ADDRESS + 1));
});

// --- exactness ---

test('slices of any length count the same instructions', () => {
  const loop = [0xbb, 9, 0, 0, 0, 0x11, 0xd8, 0xff, 0xcb, 0x75, 0xfa, RET];
  const code = { 0: caller([PAGE], { rounds: 5 }), [PAGE]: loop };
  // A budget less than the region is long is used up in the interpreter.
  for (const slice of [1, 2, 3, 11, 17, 18, 19, 40, 64, 131, 250, 400]) {
    const links = slice > 10 ? 1 : 0;
    compare(code, (side) => [warm(side, [PAGE, 0], links), side.run()], { slice });
  }
});

test('a loop in a copy ends when something waits', () => {
  let writes = 0;
  let notice = () => {};
  const side = new Side(
    true,
    // function: l: mov [rbx],eax; inc eax; test edx,edx; jz l; ret
    {
      0: caller([PAGE], { rounds: 3 }),
      [PAGE]: [0x89, 0x03, 0xff, 0xc0, 0x85, 0xd2, 0x74, 0xf8, RET],
    },
    {
      counts: false,
      host: {
        busWrite: () => {
          writes++;
          notice();
          return undefined;
        },
      },
    },
  );
  side.run({ 2: 1, 3: DATA_ADDRESS });
  side.translate([PAGE, 0]);
  side.run({ 2: 1, 3: DATA_ADDRESS });
  side.expectLinks(1);
  const { cpu } = side;
  const tables = new PageTables(cpu);
  tables.identity(CODE_ADDRESS, 2);
  tables.identity(STACK_ADDRESS - PAGE, 2);
  tables.map(DATA_ADDRESS, 0xfe00_0000);
  tables.activate();
  for (const register of [0, 2]) cpu.set('gpr', 0n, register);
  notice = () => {
    if (writes === 100) cpu.set('events', EVENT.exit);
  };
  cpu.set('gpr', BigInt(STACK_ADDRESS), 4);
  cpu.set('rip', BigInt(CODE_ADDRESS));
  cpu.set('activity', 0);
  cpu.runFreely(1_000_000);
  assert.equal(writes, 100);
  assert.equal(cpu.get('gpr', 0), 100n);
});

test('steps through a caller and its callee', () => {
  const code = { 0: caller([PAGE]), [PAGE]: [...add(3), RET] };
  compare(code, (side) => {
    warm(side, [PAGE, 0], 1);
    side.cpu.set('rip', BigInt(CODE_ADDRESS));
    side.cpu.set('activity', 0);
    const seen: unknown[] = [];
    for (let n = 0; n < 30; n++) seen.push([side.cpu.step(1), side.cpu.get('rip')]);
    return seen;
  });
});

// --- kept ---

const MOVED_CALLEE = (immediate: number, value = 3) => [
  ...[0x48, 0xc7, 0xc0, ...int32(immediate)], // mov rax, immediate
  ...[0x48, 0x01, 0xc6], // add rsi, rax
  ...[0x48, 0x83, 0xc2, value], // add rdx, value
  RET,
];

test('what another machine left resolves its links here, where the callee is the same but for what moves', () => {
  const store = new MemoryStore();
  const maker = new Side(true, { 0: caller([PAGE]), [PAGE]: MOVED_CALLEE(0x8123_4567) }, { store });
  warm(maker, [PAGE, 0], 1);
  maker.cpu.translator.translator.save();
  const cases = [
    { callee: MOVED_CALLEE(0x8123_4567), links: 1 },
    { callee: MOVED_CALLEE(0xa923_4567), links: 1 },
    { callee: MOVED_CALLEE(0x0123_4567), links: 0 },
    { callee: MOVED_CALLEE(0x8123_4567, 4), links: 0 },
  ];
  for (const { callee, links } of cases) {
    const script = (side: Side) => {
      side.run();
      side.translate([PAGE, 0]);
      const states = [side.run(), side.run()];
      side.expectLinks(links);
      return states;
    };
    const code = { 0: caller([PAGE]), [PAGE]: callee };
    const taken = new Side(true, code, { store: new MemoryStore(store.made) });
    assert.deepEqual(script(taken), script(new Side(false, code, {})));
    assert.ok(taken.cpu.translator.translator.counters.adopted > 0);
  }
});

test('what another machine left finds its callee on another page, if it is as far away', () => {
  const store = new MemoryStore();
  const callee = MOVED_CALLEE(0x8123_4567);
  const maker = new Side(true, { 0: caller([PAGE]), [PAGE]: callee }, { store });
  warm(maker, [PAGE, 0], 1);
  maker.cpu.translator.translator.save();
  const from = 4 * PAGE;
  const code = { [from]: caller([PAGE]), [from + PAGE]: callee };
  const script = (side: Side) => {
    side.run({}, from);
    side.translate([from + PAGE, from]);
    const states = [side.run({}, from), side.run({}, from)];
    side.expectLinks(1);
    return states;
  };
  const taken = new Side(true, code, { store: new MemoryStore(store.made) });
  assert.deepEqual(script(taken), script(new Side(false, code, {})));
});
