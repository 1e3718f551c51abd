// Exact counting: however a run is cut into pieces, the guest sees the same, and every stop is where it was asked for.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import type { Clock } from '@mimic/base';
import type { SharedGuestMemory } from '../guest-memory.ts';
import { S } from '../state/layout.ts';
import { vcpuBase } from '../state/memory-map.ts';
import { REGISTER_NAMES } from '../state/register-names.ts';
import { makeLoneVcpu } from '../testing/lone-vcpu.ts';
import { InThreadTranslator, translatorOptions } from '../translator/in-thread.ts';
import type { Vcpu } from '../vcpu.ts';

const CODE = 0x10_0000;
const IDT = 0x9000;
const HANDLER = 0x11_0000;
const [NOP, HLT] = [0x90, 0xf4];

type Engine = 'interpreter' | 'translator';

interface Options {
  readonly interruptAt?: number;
  readonly cr0?: number;
  readonly engine?: Engine;
}

/** A processor in flat 32-bit protected mode whose clock is its count; the bus writes down what reaches it and when. */
class ExactCpu {
  readonly vcpu: Vcpu;
  readonly ram: SharedGuestMemory;
  readonly log: string[] = [];

  constructor(code: readonly number[], options: Options = {}) {
    const note = (what: string) => this.log.push(`${what} @${this.count}`);
    const clock: Clock = {
      now: () => this.count,
      timer: () => ({ arm: () => {}, cancel: () => {}, deadlineNs: undefined }),
    };
    const { vcpu, ram, memory } = makeLoneVcpu({
      clock,
      random: () => 4n,
      ferr: { set: (high) => void note(`ferr ${high}`) },
      exact: true,
      ...(options.engine === 'translator' && {
        translation: (memory) =>
          new InThreadTranslator({ ...translatorOptions(memory), counts: true }),
      }),
      bus: {
        portRead: (port) => note(`in ${port}`) & 0xff,
        portWrite: (port, _size, value) => {
          note(`out ${port}=${value}`);
          if (port === options.interruptAt) this.vcpu.intr.set(value !== 0);
        },
        memoryRead: (gpa) => note(`read ${gpa}`),
        memoryWrite: (gpa, _size, value) => void note(`write ${gpa}=${value}`),
        acknowledgeInterrupt: () => note('acknowledge') && 0x20,
        endOfInterrupt: () => undefined,
      },
    });
    this.vcpu = vcpu;
    this.ram = ram;
    this.ram.write(CODE, Uint8Array.from(code));
    // Every vector leads to: inc dword [0x8000]; add dword [esp + (0 or 4)], 2 for #UD; iret.
    this.#gate(6, HANDLER, [0xff, 5, 0, 0x80, 0, 0, 0x83, 4, 0x24, 2, 0xcf]);
    // out 0x50, al with al = 0 lowers the line again.
    this.#gate(
      0x20,
      HANDLER + 64,
      [0x50, 0x30, 0xc0, 0xe6, 0x50, 0x58, 0xff, 5, 4, 0x80, 0, 0, 0xcf],
    );
    const segment = (attributes: number) => ({
      selector: attributes & 8 ? 8 : 0x10,
      base: 0,
      limit: 0xffff_ffff,
      attributes,
    });
    const [data, none] = [segment(0xc093), { selector: 0, base: 0, limit: 0, attributes: 0 }];
    this.ram.writeU64(0x7008, 0x00cf_9b00_0000_ffffn);
    this.vcpu.start({
      ...{ rip: CODE, rsp: 0x30_0000, rbx: 0, rsi: 0, rflags: 2 },
      ...{ cr0: options.cr0 ?? 0x31, cr3: 0, cr4: 0x600, efer: 0 },
      cs: segment(0xc09b),
      ...{ ds: data, es: data, fs: data, gs: data, ss: data, ldtr: none },
      tr: { selector: 0x18, base: 0, limit: 0x67, attributes: 0x8b },
      gdtr: { base: 0x7000, limit: 0xff },
      idtr: { base: IDT, limit: 0x7ff },
    });
    if (options.engine === 'translator') this.#setHot(memory, 3);
  }

  /** Blocks entered this often are translated. */
  #setHot(memory: WebAssembly.Memory, times: number): void {
    new DataView(memory.buffer).setUint32(vcpuBase(0) + S.hotThreshold.offset, times, true);
  }

  #gate(vector: number, at: number, code: readonly number[]): void {
    this.ram.write(at, Uint8Array.from(code));
    this.ram.writeU32(IDT + vector * 8, 0x8_0000 | (at & 0xffff));
    this.ram.writeU32(IDT + vector * 8 + 4, (at & 0xffff_0000) | 0x8e00);
  }

  get count(): number {
    return Number(this.vcpu.instructionCount);
  }

  /** All that the guest can see. */
  state(): unknown {
    const low = new Uint8Array(CODE);
    this.ram.read(0, low);
    return {
      registers: REGISTER_NAMES.map((name) => `${name} ${this.vcpu.readRegister(name)}`),
      memory: createHash('sha256').update(low).digest('hex'),
      log: this.log,
      count: this.count,
    };
  }
}

/** Runs in pieces of these lengths, over and over, until `end`, and gives what is seen there. */
function inPieces(make: () => ExactCpu, pieces: readonly number[], end: number): unknown {
  const cpu = make();
  for (let n = 0; cpu.count < end; n++) {
    const piece = Math.min(pieces[n % pieces.length]!, end - cpu.count);
    const before = cpu.count;
    const reason = cpu.vcpu.run(piece);
    if (reason === 'halted') break;
    if (reason === 'budget') assert.equal(cpu.count, before + piece, 'a run stops where it should');
    else assert.equal(reason, 'event');
  }
  return cpu.state();
}

/** However it is cut, and on either engine, it comes out the same, at several ends. */
function checkPieces(
  code: readonly number[],
  ends: readonly number[],
  options: Options = {},
): void {
  const make = (engine: Engine) => () => new ExactCpu(code, { ...options, engine });
  for (const end of ends) {
    const expected = inPieces(make('interpreter'), [1], end);
    for (const engine of ['interpreter', 'translator'] as const) {
      for (const pieces of [[1_000_000], [63], [64, 65], [2, 1, 130, 7]]) {
        const name = `${end} in pieces of ${pieces} on the ${engine}`;
        assert.deepEqual(inPieces(make(engine), pieces, end), expected, name);
      }
    }
  }
}

const nops = (count: number): number[] => new Array(count).fill(NOP);
/** jmp rel32 back to the beginning of so many bytes. */
const again = (bytes: readonly number[]): number[] => {
  const to = -(bytes.length + 5);
  return [...bytes, 0xe9, to & 0xff, (to >> 8) & 0xff, (to >> 16) & 0xff, (to >> 24) & 0xff];
};

test('run retires exactly what it is asked to, inside of blocks and across them', () => {
  checkPieces(again(nops(150)), [1, 63, 64, 65, 149, 1000]);
});

test('the time-stamp counter counts instructions, wherever in a block it is read', () => {
  // nop ...; rdtsc; mov [0x8000 + edi], eax; add edi, 4; rdtsc; mov [0x8000 + edi], eax; add edi, 4; hlt
  const store = [0x89, 0x87, 0, 0x80, 0, 0, 0x83, 0xc7, 4];
  const code = [...nops(5), 0x0f, 0x31, ...store, 0x0f, 0x31, ...store, HLT];
  const cpu = new ExactCpu(code);
  assert.equal(cpu.vcpu.run(100), 'halted');
  assert.deepEqual([cpu.ram.readU32(0x8000), cpu.ram.readU32(0x8004)], [5, 8]);
  assert.equal(cpu.count, 12);
  checkPieces(code, [4, 5, 6, 7, 12]);
});

test('ports and device memory are reached at the exact count', () => {
  // nop; in al, 0x40; nop; mov eax, [0xc0000000]; nop; push [0xc0000008]; add [0xc0000010], eax; out 0x41, al
  const body = [
    ...[NOP, 0xe4, 0x40, NOP, 0xa1, 0, 0, 0, 0xc0, NOP],
    ...[0xff, 0x35, 8, 0, 0, 0xc0, 0x58, 0x01, 0x05, 0x10, 0, 0, 0xc0, 0xe6, 0x41],
  ];
  const cpu = new ExactCpu(again(body));
  cpu.vcpu.run(9);
  assert.deepEqual(
    cpu.log.map((line) => line.replace(/=.* /, ' ')),
    [
      'in 64 @1',
      'read 3221225472 @3',
      'read 3221225480 @5',
      'read 3221225488 @7',
      'write 3221225488 @7',
      'out 65 @8',
    ],
  );
  checkPieces(again(body), [9, 100, 333]);
});

test('an access over the border of RAM and an x87 store to a device run alone too', () => {
  // fninit; mov eax, [the end of RAM - 2]; fild dword [0x8000]; fstp tbyte [0xc0000000]; hlt
  const code = [
    ...[0xdb, 0xe3, 0xa1, 0xfe, 0xff, 0xff, 0, 0xdb, 5, 0, 0x80, 0, 0],
    ...[NOP, 0xdb, 0x3d, 0, 0, 0, 0xc0, HLT],
  ];
  const cpu = new ExactCpu(code);
  assert.equal(cpu.vcpu.run(100), 'halted');
  assert.deepEqual([...new Set(cpu.log.map((line) => line.split('@')[1]))], ['1', '4']);
  checkPieces(code, [1, 2, 4, 5, 6]);
});

test('an interrupt that an instruction causes comes right behind it', () => {
  // sti; nop; mov al, 1; nop; out 0x50, al; nops
  const body = [0xfb, NOP, 0xb0, 1, NOP, 0xe6, 0x50, ...nops(20)];
  const options = { interruptAt: 0x50 };
  const cpu = new ExactCpu(again(body), options);
  cpu.vcpu.run(10);
  assert.deepEqual(cpu.log.slice(0, 3), ['out 80=1 @4', 'acknowledge @5', 'out 80=0 @7']);
  checkPieces(again(body), [5, 6, 12, 500, 5000], options);
});

test('FERR# goes out right behind the x87 instruction that causes it', () => {
  // fninit; fldcw [0x8000] with 0: all unmasked; fldz; nop; fldz; fdivp: 0/0; nops; fnclex
  const body = [0xdb, 0xe3, 0xd9, 0x2d, 0, 0x80, 0, 0, 0xd9, 0xee, NOP, 0xd9, 0xee, 0xde, 0xf9];
  const code = again([...body, ...nops(9), 0xdb, 0xe2]);
  const cpu = new ExactCpu(code, { cr0: 0x11 });
  for (let n = 0; n < 9; n++) cpu.vcpu.run(3);
  assert.deepEqual(cpu.log.slice(0, 2), ['ferr true @6', 'ferr false @16']);
  checkPieces(code, [5, 6, 7, 16, 17, 200, 3000], { cr0: 0x11 });
});

test('faults count one each', () => {
  const cpu = new ExactCpu([NOP, 0x0f, 0x0b, HLT]);
  assert.equal(cpu.vcpu.run(100), 'halted');
  // nop, the fault, inc, add, iret, hlt
  assert.equal(cpu.count, 6);
  assert.equal(cpu.ram.readU32(0x8000), 1);
  checkPieces(again([NOP, 0x0f, 0x0b, ...nops(70)]), [1, 2, 3, 74, 75, 600]);
});

for (const [name, opcode, count, expected] of [
  ['REP STOSD', 0xab, 20_000, 5],
  ['REP MOVSB', 0xa4, 8192, 2],
  ['REP LODSB', 0xac, 5000, 2],
  ['REPE SCASB', 0xae, 4097, 2],
] as const) {
  test(`${name} counts one for every 4096 elements, however large the pieces are`, () => {
    // mov ecx, count; mov esi, 0x20ff0; mov edi, 0x40ff3; rep ...; hlt
    const words = [count & 0xff, count >> 8, 0, 0, 0xbe, 0xf0, 0xf, 2, 0, 0xbf, 0xf3, 0xf, 4, 0];
    const code = [0xb9, ...words, 0xf3, opcode, HLT];
    const cpu = new ExactCpu(code);
    assert.equal(cpu.vcpu.run(100), 'halted');
    assert.equal(cpu.count, 3 + expected + 1);
    assert.equal(cpu.vcpu.readRegister('rcx'), 0n);
    checkPieces(code, [3, 4, 5, 6, 9]);
  });
}

test('a repeated string instruction that comes to a device half-way sees the right time', () => {
  // mov ecx, 100; mov esi, the end of RAM - 40; mov edi, 0x8000; cld; rep movsd; hlt
  const code = [
    ...[0xb9, 100, 0, 0, 0, 0xbe, 0xd8, 0xff, 0xff, 0, 0xbf, 0, 0x80, 0, 0],
    ...[0xfc, 0xf3, 0xa5, HLT],
  ];
  const cpu = new ExactCpu(code);
  assert.equal(cpu.vcpu.run(100), 'halted');
  assert.equal(cpu.log.length, 90);
  assert.deepEqual([...new Set(cpu.log.map((line) => line.split('@')[1]))], ['4']);
  assert.equal(cpu.count, 6);
  checkPieces(code, [4, 5]);
});

test('code that rewrites itself is counted as it is run', () => {
  // inc byte [imm of the mov below]; mov al, 0; add [0x8000], eax
  const at = CODE + 7;
  const body = [
    ...[0xfe, 5, at & 0xff, (at >> 8) & 0xff, at >> 16, 0],
    ...[0xb0, 0, 0x01, 5, 0, 0x80, 0, 0, ...nops(30)],
  ];
  checkPieces(again(body), [1, 2, 3, 500, 2000]);
});

test('stores to device memory out of a hot loop come at the exact count', () => {
  // inc eax; nop; mov [0xc0000000], eax; nop; fild dword [0x8000]; fistp dword [0xc0000004]; movups [0xc0000010], xmm0
  const body = [
    ...[0x40, NOP, 0xa3, 0, 0, 0, 0xc0, NOP, 0xdb, 5, 0, 0x80, 0, 0],
    ...[0xdb, 0x1d, 4, 0, 0, 0xc0, 0x0f, 0x11, 5, 0x10, 0, 0, 0xc0],
  ];
  const start = [0xdb, 0xe3];
  const to = -(body.length + 2);
  checkPieces([...start, ...body, 0xeb, to & 0xff], [9, 100, 3000]);
});

test('on the translator hot loops run translated', () => {
  const body = [...nops(3), 0x40, 0x89, 5, 0, 0x80, 0, 0];
  const cpu = new ExactCpu(again(body), { engine: 'translator' });
  cpu.vcpu.run(1000);
  assert.ok(cpu.vcpu.translations!.counters.regions > 0);
});

test('a loop with something of everything is the same to the last instruction', () => {
  // A fault, a port, device memory, the clock, an interrupt, a repeated instruction over RAM and a device, arithmetic.
  const body = [
    ...[0x40, 0x01, 0xc3, 0x0f, 0xaf, 0xd8, 0x0f, 0x0b, 0xe4, 0x40, 0x03, 5, 0, 0, 0, 0xc0],
    ...[0x89, 0x1d, 8, 0, 0, 0xc0, 0x0f, 0x31, 0x31, 0xc3, 0x89, 0x1d, 8, 0x80, 0, 0],
    ...[0xfb, 0xb0, 1, 0xe6, 0x50, 0xfa, 0xb9, 0x10, 0x20, 0, 0, 0xbe, 0, 0, 3, 0],
    ...[0xbf, 0x03, 0, 4, 0, 0xf3, 0xa4, 0xb9, 3, 0, 0, 0, 0xbf, 0xfc, 0xff, 0xff, 0, 0xf3, 0xab],
    ...[0x83, 0xfb, 7, 0x77, 1, 0x90, 0xff, 0x34, 0x24, 0x5a],
  ];
  checkPieces(again(body), [40, 77, 1000, 4321], { interruptAt: 0x50 });
});

test('a reset leaves the count alone: time does not run backwards', () => {
  const cpu = new ExactCpu(again(nops(10)));
  cpu.vcpu.run(17);
  cpu.vcpu.reset();
  assert.equal(cpu.count, 17);
});
