// Accesses that share one look at the TLB, across the end of a page: translated code against the interpreter. Behind the
// page lies one elsewhere in memory, none, one that must not be written, a device, or the code itself.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import type { Processors } from '../interpreter/engine.ts';
import { CODE_ADDRESS, DATA_ADDRESS, STACK_ADDRESS, TestCpu } from '../testing/check.ts';
import { ENTRY, OPEN, PageTables } from '../testing/paging.ts';

const PAGE_BYTES = 4096;
const BUDGET = 1;
const HALTED = 2;
const ROUNDS = 30n;
const [RCX, RDX, RBX, RSP] = [1, 2, 3, 4];
/** The second page's place in memory, away from the first. */
const ELSEWHERE = DATA_ADDRESS + 0x3_0000;
const DEVICE = 0x4000_0000;
const READ_ONLY = ENTRY.present | ENTRY.user;

/**
 * l: mov rax,[rbx]; add rdx,rax; mov [rbx+8],rdx; add rdx,[rbx+16]; add [rbx+24],edx; movups xmm0,[rbx+32];
 * movups [rbx+40],xmm0; movzx eax,word [rbx-3]; mov [rbx+50],al; push rdx; push rbx; mov rsi,[rsp+8]; pop rbx; pop rdi;
 * dec ecx; jnz l; hlt
 */
const RECORD = [
  0x48, 0x8b, 0x03, 0x48, 0x01, 0xc2, 0x48, 0x89, 0x53, 8, 0x48, 0x03, 0x53, 16, 0x01, 0x53, 24, 0x0f, 0x10, 0x43, 32,
  0x0f, 0x11, 0x43, 40, 0x0f, 0xb7, 0x43, 0xfd, 0x88, 0x43, 50, 0x52, 0x53, 0x48, 0x8b, 0x74, 0x24, 8, 0x5b, 0x5f,
  0xff, 0xc9, 0x75, 0xd3, 0xf4,
]; // biome-ignore format: as the comment above

interface Setup {
  readonly processors: Processors;
  readonly hotThreshold: number;
  readonly second?: { readonly gpa: number; readonly flags: bigint };
  readonly rbx: number;
  readonly rsp?: number;
}

/** Runs the code up to its HLT or a fault; gives all that it can have changed. */
function run({ processors, hotThreshold, second, rbx, rsp }: Setup, code = RECORD) {
  const bus: string[] = [];
  const host = {
    busRead: (gpa: bigint, bytes: number) => {
      bus.push(`read ${gpa.toString(16)} ${bytes}`);
      return BigInt.asIntN(8 * bytes, gpa * 0x0102_0408n);
    },
    busWrite: (gpa: bigint, bytes: number, value: bigint) => {
      bus.push(`write ${gpa.toString(16)} ${bytes} ${BigInt.asUintN(8 * bytes, value)}`);
    },
  };
  const cpu = new TestCpu(host as never, { hotThreshold, processors });
  cpu.reset(64);
  const tables = new PageTables(cpu);
  tables.identity(CODE_ADDRESS, 1);
  tables.identity(STACK_ADDRESS - PAGE_BYTES, 2);
  tables.map(DATA_ADDRESS, DATA_ADDRESS);
  if (second) tables.map(DATA_ADDRESS + PAGE_BYTES, second.gpa, second.flags);
  tables.activate();
  // Write protection holds for the supervisor as well.
  cpu.set('cr0', 0x8001_0031n);
  for (const page of [DATA_ADDRESS, ELSEWHERE])
    cpu.write(
      page,
      Uint8Array.from({ length: PAGE_BYTES }, (_, n) => (n * 37 + (n >> 5)) & 0xff),
    );
  cpu.write(CODE_ADDRESS, code);
  cpu.set('gpr', ROUNDS, RCX);
  cpu.set('gpr', 0x1234_5678_9abc_def0n, RDX);
  cpu.set('gpr', BigInt(rbx), RBX);
  cpu.set('gpr', BigInt(rsp ?? STACK_ADDRESS + 0x800), RSP);
  cpu.set('rip', BigInt(CODE_ADDRESS));
  let reason = BUDGET;
  for (let slice = 0; slice < 100 && reason === BUDGET; slice++) reason = cpu.runFreely(5000);
  const memory = [CODE_ADDRESS, DATA_ADDRESS, ELSEWHERE, STACK_ADDRESS - PAGE_BYTES, STACK_ADDRESS];
  return {
    regions: cpu.translator.translator.counters.regions,
    state: {
      reason,
      rip: cpu.get('rip'),
      registers: Array.from({ length: 16 }, (_, n) => cpu.get('gpr', n)),
      xmm: cpu.xmm(0),
      flags: cpu.call('readRflags'),
      fault:
        reason === HALTED ? 0n : [cpu.get('fault'), cpu.get('faultCode'), cpu.get('faultAddress')],
      memory: memory.map((at) => createHash('sha1').update(cpu.read(at, PAGE_BYTES)).digest('hex')),
      bus,
    },
  };
}

function compare(setup: Omit<Setup, 'hotThreshold' | 'processors'>, code?: readonly number[]) {
  let reasons: number[] = [];
  for (const processors of ['one', 'several'] as const) {
    const interpreted = run({ ...setup, processors, hotThreshold: 0 }, code as number[]);
    const translated = run({ ...setup, processors, hotThreshold: 3 }, code as number[]);
    assert.equal(interpreted.regions, 0);
    assert.deepEqual(translated.state, interpreted.state, `${processors}, rbx ${setup.rbx}`);
    reasons = [...reasons, interpreted.state.reason, translated.regions];
  }
  return { reason: reasons[0]!, regions: reasons[1]! };
}

/** From wholly in the first page to wholly in the second. */
const PLACES = [
  0x800, 0xfb0, 0xfc6, 0xfcd, 0xfd4, 0xfdb, 0xfe0, 0xfe8, 0xff0, 0xff3, 0xff8, 0xffa, 0xfff, 0x1003,
  0x1010,
];

test('a look is shared up to the end of a page, and the page behind it is another one', () => {
  for (const place of PLACES) {
    const second = { gpa: ELSEWHERE, flags: OPEN };
    const { reason, regions } = compare({ rbx: DATA_ADDRESS + place, second });
    assert.equal(reason, HALTED);
    assert.ok(regions > 0, 'translated');
  }
});

test('a page behind that is not there, or must not be written, faults at the instruction that reaches it', () => {
  const reasons = PLACES.flatMap((place) =>
    [undefined, { gpa: ELSEWHERE, flags: READ_ONLY }].map(
      (second) => compare({ rbx: DATA_ADDRESS + place, ...(second && { second }) }).reason,
    ),
  );
  assert.ok(reasons.filter((reason) => reason !== HALTED).length > PLACES.length);
});

test('a device behind the page is read and written once for each access', () => {
  for (const place of PLACES)
    compare({ rbx: DATA_ADDRESS + place, second: { gpa: DEVICE, flags: OPEN } });
});

test('a frame across two pages of the stack is whole', () => {
  for (const rsp of [0, 4, 8, 12, 16, 20])
    compare({ rbx: DATA_ADDRESS + 0x100, rsp: STACK_ADDRESS + rsp });
});

test('code that is written through a look that a read made is noticed', () => {
  // l: mov al,[rbx]; inc byte [rbx+5]; add dl,1 (its 1 is [rbx+5]); dec ecx; jnz l; hlt
  const code = [0x8a, 0x03, 0xfe, 0x43, 5, 0x80, 0xc2, 1, 0xff, 0xc9, 0x75, 0xf4, 0xf4];
  compare({ rbx: CODE_ADDRESS + 2 }, code);
});

/** mov ecx,-256; l: mov edx,ecx; movzx esi,byte [rdx+rbx]; add ecx,8; movzx edi,byte [rcx+rbx]; jmp l */
const SUMS_OF_32_BITS = [
  0xb9, 0x00, 0xff, 0xff, 0xff, 0x89, 0xca, 0x0f, 0xb6, 0x34, 0x1a, 0x83, 0xc1, 8, 0x0f, 0xb6, 0x3c, 0x19, 0xeb, 0xf1,
]; // biome-ignore format: as the comment above

test('an index of 32 bits that wraps around is 4 GiB away, not near', () => {
  const { reason, regions } = compare({ rbx: DATA_ADDRESS + 0x100 - 0xffff_ff00 }, SUMS_OF_32_BITS);
  assert.notEqual(reason, HALTED);
  assert.ok(regions > 0, 'translated');
});
