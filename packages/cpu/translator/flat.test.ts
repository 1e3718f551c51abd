// 32-bit code with flat segments (DECODING_MODE.flat32): translated code against the interpreter where segments stop being
// flat and are so again, where 32 bits wrap around, and at the end of the address space.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { DECODING_MODE } from '../state/decoding-mode.ts';
import { SEGMENT } from '../state/layout.ts';
import { CODE_ADDRESS, DATA_ADDRESS, STACK_ADDRESS, TestCpu } from '../testing/check.ts';
import { PageTables } from '../testing/paging.ts';

const PAGE_BYTES = 4096;
const [BUDGET, HALTED, FAULT] = [1, 2, 3];
const GDT = DATA_ADDRESS + 0x1_0000;
/** The first page and the last one below 4 GiB, and where they are in memory. */
const [FIRST, LAST] = [0, 0xffff_f000];
const [FIRST_GPA, LAST_GPA] = [DATA_ADDRESS + 0x2_0000, DATA_ADDRESS + 0x3_0000];
/** The last page and the first, one behind the other, are mapped here as well. */
const ALIAS = 0x70_0000;
const FUNCTION = CODE_ADDRESS + PAGE_BYTES;

/** Selectors of data segments of level 0. */
const DESCRIPTORS = {
  flat: { base: 0, limit: 0xf_ffff, access: 0x93 },
  based: { base: 0x40, limit: 0xf_ffff, access: 0x93 },
  /** Up to the end of the data's page, which is below the stack. */
  limited: { base: 0, limit: DATA_ADDRESS >> 12, access: 0x93 },
  readOnly: { base: 0, limit: 0xf_ffff, access: 0x91 },
  /** From the data's second page on. */
  down: { base: 0, limit: DATA_ADDRESS >> 12, access: 0x97 },
} as const;
type Kind = keyof typeof DESCRIPTORS;
const KINDS = Object.keys(DESCRIPTORS) as Kind[];
const selectorOf = (kind: Kind) => 8 * (1 + KINDS.indexOf(kind));

function descriptor({ base, limit, access }: (typeof DESCRIPTORS)[Kind]): number[] {
  return [limit & 0xff, (limit >> 8) & 0xff, base, 0, 0, access, 0xc0 | (limit >> 16), 0];
}

interface Program {
  readonly code: readonly number[];
  /** A function in another page. */
  readonly behind?: readonly number[];
  /** Linear address of `code`; default CODE_ADDRESS. */
  readonly at?: number;
  /** EAX to EDI. */
  readonly registers?: readonly number[];
  /** What the registers are in a first run, which must not fault: all is translated behind it. */
  readonly first?: readonly number[];
  /** Where that run begins; default `at`. */
  readonly firstAt?: number;
  /** The first page is mapped. */
  readonly hasFirst?: boolean;
  /** By segment number. */
  readonly bases?: Readonly<Record<number, number>>;
}

/** Runs compatibility-mode code: paged, so that both ends of the address space can be there. */
function run(program: Program, hotThreshold: number) {
  const cpu = new TestCpu({}, { hotThreshold });
  cpu.reset(64);
  const tables = new PageTables(cpu);
  tables.identity(CODE_ADDRESS, 2);
  tables.identity(DATA_ADDRESS, 2);
  tables.identity(STACK_ADDRESS - PAGE_BYTES, 2);
  tables.map(GDT, GDT);
  tables.map(LAST, LAST_GPA);
  tables.map(ALIAS, LAST_GPA);
  tables.map(ALIAS + PAGE_BYTES, FIRST_GPA);
  if (program.hasFirst !== false) tables.map(FIRST, FIRST_GPA);
  tables.activate();
  for (const [n, kind] of KINDS.entries())
    cpu.write(GDT + 8 * (n + 1), descriptor(DESCRIPTORS[kind]));
  cpu.set('gdtrBase', BigInt(GDT));
  cpu.set('gdtrLimit', 8 * (KINDS.length + 1) - 1);
  cpu.set('segAttributes', 0xc0_9b00, SEGMENT.cs);
  for (const [n, base] of Object.entries(program.bases ?? {}))
    cpu.set('segBase', BigInt(base), Number(n));
  cpu.call('updateMode');
  assert.equal(cpu.get('mode'), DECODING_MODE.flat32);
  const pages = [DATA_ADDRESS, DATA_ADDRESS + PAGE_BYTES, FIRST_GPA, LAST_GPA, STACK_ADDRESS];
  for (const page of pages)
    cpu.write(
      page,
      Uint8Array.from({ length: PAGE_BYTES }, (_, n) => (n * 29 + (n >> 6) + page) & 0xff),
    );
  const at = program.at ?? CODE_ADDRESS;
  cpu.write(at >= LAST ? LAST_GPA + at - LAST : at, program.code);
  cpu.write(FUNCTION, program.behind ?? []);
  // What an instruction across the end of the last page goes on with, and hlt.
  cpu.write(FIRST_GPA, [4, 0xf4]);
  let reason = BUDGET;
  for (const given of [program.first, program.registers ?? registers({})]) {
    if (!given) continue;
    for (let n = 0; n < 8; n++) cpu.set('gpr', BigInt(given[n]!), n);
    cpu.set('rip', BigInt(given === program.first ? (program.firstAt ?? at) : at));
    cpu.set('activity', 0);
    cpu.call('writeRflags', 2);
    reason = BUDGET;
    for (let slice = 0; slice < 100 && reason === BUDGET; slice++) reason = cpu.runFreely(2000);
    if (given === program.first) assert.equal(reason, HALTED);
  }
  const isFault = reason !== HALTED && reason !== BUDGET;
  return {
    regions: cpu.translator.translator.counters.regions,
    state: {
      reason: isFault ? FAULT : reason,
      fault: isFault
        ? [cpu.get('fault'), cpu.get('faultCode'), cpu.get('faultAddress')]
        : undefined,
      rip: cpu.get('rip'),
      registers: Array.from({ length: 8 }, (_, n) => cpu.get('gpr', n)),
      flags: cpu.call('readRflags'),
      mode: cpu.get('mode'),
      memory: pages.map((page) =>
        createHash('sha1').update(cpu.read(page, PAGE_BYTES)).digest('hex'),
      ),
    },
  };
}

/** Both engines give the same; what that is, and that something was translated. */
function compare(program: Program, what = '') {
  const interpreted = run(program, 0);
  const translated = run(program, 3);
  assert.deepEqual(translated.state, interpreted.state, what);
  assert.notEqual(interpreted.state.reason, BUDGET, what);
  assert.ok(translated.regions > 0, `${what}: translated`);
  return interpreted.state;
}

// --- segments that change ---

/** Accesses through each segment: a read, a write near it, and what is read back. */
const ACCESSES: Readonly<Record<'es' | 'ss' | 'ds', { load: number[]; use: number[] }>> = {
  // mov es,si; mov eax,es:[ebx]; add edx,eax; mov es:[ebx+4],edx
  es: { load: [0x8e, 0xc6], use: [0x26, 0x8b, 0x03, 0x01, 0xc2, 0x26, 0x89, 0x53, 4] },
  // mov ss,si; push edx; mov eax,[esp]; add [esp+8],eax; pop eax; lea edx,[edx+eax*2+1]
  ss: {
    load: [0x8e, 0xd6],
    use: [0x52, 0x8b, 0x04, 0x24, 0x01, 0x44, 0x24, 8, 0x58, 0x8d, 0x54, 0x42, 1],
  },
  // mov ds,si; mov eax,[ebx]; add edx,eax; mov [ebx+4],edx
  ds: { load: [0x8e, 0xde], use: [0x8b, 0x03, 0x01, 0xc2, 0x89, 0x53, 4] },
};
const ROUNDS = 60;
const [EBX, ECX, EBP, ESI, EDI] = [3, 1, 5, 6, 7];
function registers(values: Readonly<Record<number, number>>): number[] {
  return Array.from({ length: 8 }, (_, n) => values[n] ?? (n === 4 ? STACK_ADDRESS + 0x800 : 0));
}
/** Short jump back from the end of `body` to its start, if ECX has not become 0; then HLT. */
function looped(body: readonly number[]): number[] {
  return [...body, 0x49, 0x75, -(body.length + 3) & 0xff, 0xf4];
}
/** The segment register takes ESI's selector and EDI's in turn; EBP's is EDI's from the tenth round before the last on. */
const TURN = [0x87, 0xfe, 0x83, 0xf9, 10, 0x0f, 0x42, 0xfd];

for (const [name, { load, use }] of Object.entries(ACCESSES)) {
  test(`a loop whose ${name} is flat and not flat in turn addresses and faults as the interpreter does`, () => {
    for (const kind of KINDS)
      for (const second of ['flat', kind] as const) {
        const selectors = (last: Kind, turn: Kind) =>
          registers({
            [EBX]: DATA_ADDRESS + 0x100,
            [ECX]: ROUNDS,
            [EBP]: selectorOf(last),
            [ESI]: selectorOf('flat'),
            [EDI]: selectorOf(turn),
          });
        const state = compare(
          {
            code: looped([...load, ...use, ...TURN]),
            first: selectors('flat', 'flat'),
            registers: selectors(kind, second),
          },
          `${name} ${kind} ${second}`,
        );
        const isStack = name === 'ss';
        const faults = kind === 'readOnly' || kind === (isStack ? 'limited' : 'down');
        assert.equal(state.reason, faults ? FAULT : HALTED, `${name} ${kind}`);
      }
  });

  test(`a function that is called with ${name} flat and not flat runs as the one or the other`, () => {
    // mov esi's selector; call function; exchange
    const call = FUNCTION - (CODE_ADDRESS + load.length + 5);
    const relative = [0, 8, 16, 24].map((shift) => (call >> shift) & 0xff);
    const state = compare({
      code: looped([...load, 0xe8, ...relative, 0x87, 0xfe]),
      behind: [...use, 0xc3],
      registers: registers({
        [EBX]: DATA_ADDRESS + 0x100,
        [ECX]: ROUNDS,
        [ESI]: selectorOf('flat'),
        [EDI]: selectorOf('based'),
      }),
    });
    // A stack whose base moves between call and return would lose its way; it moves before both.
    assert.equal(state.reason, HALTED);
  });
}

test('a region in flat mode leaves bases and checks of FS, GS and CS in', () => {
  // mov eax,fs:[ebx]; add fs:[ebx+8],eax; mov edx,gs:[ebx]; add eax,cs:[ebx]; mov [ebx+12],eax
  const body = [
    0x64, 0x8b, 0x03, 0x64, 0x01, 0x43, 8, 0x65, 0x8b, 0x13, 0x2e, 0x03, 0x03, 0x89, 0x43, 12,
  ];
  const bases = { [SEGMENT.fs]: 0x40, [SEGMENT.gs]: 0xffff_ff00 };
  const given = registers({ [EBX]: DATA_ADDRESS + 0x100, [ECX]: ROUNDS });
  assert.equal(compare({ code: looped(body), bases, registers: given }).reason, HALTED);
  // In the last round: cmp ecx,1; jne over; mov cs:[ebx],eax; over:
  const writes = [...body, 0x83, 0xf9, 1, 0x75, 3, 0x2e, 0x89, 0x03];
  const faulting = compare({ code: looped(writes), bases, registers: given });
  assert.equal(faulting.reason, FAULT);
  assert.equal(faulting.rip, BigInt(CODE_ADDRESS + body.length + 5));
});

// --- 32 bits that wrap around ---

const STACK_USES: Readonly<Record<string, readonly number[]>> = {
  'push eax; push ecx; pop edx; pop ebx': [0x50, 0x51, 0x5a, 0x5b],
  'call next; next: pop esi; push esi; mov [esp+4],esi; pop edx': [
    0xe8, 0, 0, 0, 0, 0x5e, 0x56, 0x89, 0x74, 0x24, 4, 0x5a,
  ],
  'push ax; pop dx': [0x66, 0x50, 0x66, 0x5a],
  'enter 8, 0; mov eax,[ebp-8]; leave': [0xc8, 8, 0, 0, 0x8b, 0x45, 0xf8, 0xc9],
  'push [ebp]; pop [esp+4]': [0xff, 0x75, 0, 0x8f, 0x44, 0x24, 4],
  'pushad; mov eax,[esp+28]; add esp,32': [0x60, 0x8b, 0x44, 0x24, 28, 0x83, 0xc4, 32],
};
const ENDS_OF_SPACE = [0, 1, 2, 3, 4, 5, 8, 12, 31, 32, 33, 0xffff_fff0, 0xffff_fffc, 0xffff_ffff];

test('stacks at both ends of the address space wrap around to 32 bits', () => {
  for (const [what, use] of Object.entries(STACK_USES))
    for (const esp of ENDS_OF_SPACE) {
      // mov esp,edi; ...
      const code = looped([0x89, 0xfc, ...use]);
      const given = registers({ [ECX]: 20, [EDI]: esp, [EBP]: DATA_ADDRESS + 0x20 });
      const first = given.with(EDI, DATA_ADDRESS + 0x800);
      compare({ code, first, registers: given }, `${what} at ${esp}`);
    }
});

/** mov eax,[ebx]; add [ebx+16],eax; mov edx,[ebx+32]; mov [ebx-16],edx; movzx esi,byte [ebx+48]; add edi,esi */
const NEAR = [
  0x8b, 0x03, 0x01, 0x43, 16, 0x8b, 0x53, 32, 0x89, 0x53, 0xf0, 0x0f, 0xb6, 0x73, 48, 0x01, 0xf7,
]; // biome-ignore format: as the comment above
const NEAR_ENDS = [
  0, 2, 4, 15, 16, 64, 0xffff_ffb0, 0xffff_ffc0, 0xffff_ffd0, 0xffff_ffde, 0xffff_ffe0, 0xffff_fff0, 0xffff_fffc,
]; // biome-ignore format: a list

test('an access that wraps around behind a near one is at the other end of the address space', () => {
  for (const ebx of NEAR_ENDS) {
    const given = registers({ [EBX]: ebx, [ECX]: 20 });
    compare(
      { code: looped(NEAR), first: given.with(EBX, DATA_ADDRESS + 0x40), registers: given },
      `${ebx}`,
    );
  }
});

test('an access that wraps around to a page that is not there faults there', () => {
  // mov ebx,-1000; l: mov eax,[ebx]; mov edx,[ebx+16]; add ebx,8; jmp l
  const code = [
    0xbb, 0x18, 0xfc, 0xff, 0xff, 0x8b, 0x03, 0x8b, 0x53, 16, 0x83, 0xc3, 8, 0xeb, 0xf6,
  ];
  const { fault } = compare({ code, hasFirst: false });
  assert.ok(fault);
  assert.equal((fault[0] as number) & 0xff, 14);
});

test('addresses of 16 bits wrap around at 64 KiB', () => {
  // mov eax,[bx]; add [bx+16],ax; mov dx,[bp+si-2]; mov [di],dl; lea esi,[bx-4]
  const body = [
    0x67, 0x8b, 0x07, 0x67, 0x66, 0x01, 0x47, 16, 0x67, 0x66, 0x8b, 0x52, 0xfe, 0x67, 0x88, 0x15, 0x67, 0x8d, 0x77, 0xfc,
  ]; // biome-ignore format: as the comment above
  for (const low of [0, 2, 0x20, 0x100, 0xfff0]) {
    const high = 0x1234_0000;
    const given = registers({
      [EBX]: high + low, [ECX]: 20, [EBP]: high + 0xfff8, [ESI]: high + 0x20, [EDI]: high + 0x40,
    }); // biome-ignore format: a list
    const first = given.with(EBX, 0x100).with(EBP, 0x100);
    compare({ code: looped(body), first, registers: given }, `${low}`);
  }
});

// --- code in the last page ---

test('code in the last page below 4 GiB runs, and an instruction across its end does not', () => {
  const given = registers({ [ECX]: ROUNDS, [EBX]: DATA_ADDRESS });
  // add eax,[ebx]; dec ecx; jnz; and at the end of the page: mov eax,imm32 of which four bytes are there
  const loop = [0x03, 0x03, 0x49, 0x75, 0xfb];
  const filler = Array<number>(64 - loop.length - 4).fill(0x90);
  const program = {
    first: [...given],
    // There the same bytes run to the end.
    firstAt: ALIAS + PAGE_BYTES - 64,
    at: LAST + PAGE_BYTES - 64,
    code: [...loop, ...filler, 0xb8, 1, 2, 3],
    registers: given,
  };
  for (const hotThreshold of [0, 3]) {
    const { state } = run(program, hotThreshold);
    assert.equal(state.reason, FAULT);
    assert.equal(Number(state.fault?.[0]) & 0xff, 13);
    assert.equal(state.rip, 0xffff_fffcn);
    assert.equal(state.registers[ECX], 0n);
  }
});
