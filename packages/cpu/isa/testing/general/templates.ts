// The instructions that record.ts records, as assembly text. Flags that the manual leaves undefined are not compared.

import { CONDITIONS, RFLAGS } from '../../../lift/flags.ts';
import type { Inputs, Random } from './inputs.ts';

export type Mode = 32 | 64;

/** Replaces inputs; names are registers, 'flags', or data and stack offsets as in 'd16' and 's64'. */
export type Overrides = Record<string, bigint | Uint8Array>;

export interface Template {
  readonly mode: Mode;
  readonly assembly: string;
  /** RFLAGS bits that are undefined afterwards. */
  readonly undefinedFlags: number;
  /** How many cases of it. */
  readonly cases: number;
  readonly adjust?: (inputs: Inputs, random: Random) => Overrides;
}

interface Options {
  readonly flags?: string;
  readonly cases?: number;
  readonly adjust?: Template['adjust'];
}

const FLAG_LETTERS: Readonly<Record<string, number>> = {
  O: RFLAGS.of, S: RFLAGS.sf, Z: RFLAGS.zf, A: RFLAGS.af, P: RFLAGS.pf, C: RFLAGS.cf,
}; // biome-ignore format: a register

/** Flags named by their letters as a mask. */
export function flagMask(letters: string): number {
  return [...letters].reduce((mask, letter) => mask | FLAG_LETTERS[letter]!, 0);
}

const REGISTERS: Readonly<Record<Mode, Readonly<Record<number, readonly string[]>>>> = {
  64: {
    8: ['al', 'cl', 'sil', 'r8b', 'dl', 'r15b'],
    16: ['ax', 'bx', 'cx', 'si', 'r9w'],
    32: ['eax', 'ebx', 'ecx', 'esi', 'r10d'],
    64: ['rax', 'rbx', 'rcx', 'rdi', 'r11'],
  },
  32: {
    8: ['al', 'ah', 'cl', 'bh', 'dl'],
    16: ['ax', 'bx', 'cx', 'si'],
    32: ['eax', 'ebx', 'ecx', 'esi'],
  },
};
const POINTER: Readonly<Record<number, string>> = {
  8: 'byte',
  16: 'word',
  32: 'dword',
  64: 'qword',
};

/** Collects templates of one mode; operands rotate through the registers. */
class Collector {
  readonly templates: Template[] = [];
  readonly mode: Mode;
  readonly sizes: readonly number[];
  #turn = 0;

  constructor(mode: Mode) {
    this.mode = mode;
    this.sizes = mode === 64 ? [8, 16, 32, 64] : [8, 16, 32];
  }
  add(assembly: string, options: Options = {}): void {
    const { flags = '', cases = 1, adjust } = options;
    const undefinedFlags = flagMask(flags);
    this.templates.push({
      mode: this.mode,
      assembly,
      undefinedFlags,
      cases,
      ...(adjust && { adjust }),
    });
  }
  register(bits: number): string {
    const list = REGISTERS[this.mode][bits]!;
    return list[this.#turn++ % list.length]!;
  }
  memory(bits: number): string {
    return `${POINTER[bits]} ptr ${this.mode === 64 ? '[r13+8]' : '[0x200418]'}`;
  }
  targets(bits: number): readonly string[] {
    return [this.register(bits), this.memory(bits)];
  }
}

function binary(c: Collector, name: string, options: Options): void {
  for (const bits of c.sizes) {
    c.add(`${name} ${c.register(bits)}, ${c.register(bits)}`, { cases: 3, ...options });
    c.add(`${name} ${c.memory(bits)}, ${c.register(bits)}`, options);
    if (!['xadd', 'cmpxchg', 'test', 'xchg'].includes(name)) {
      c.add(`${name} ${c.register(bits)}, ${c.memory(bits)}`, options);
    }
  }
}

function immediates(c: Collector, name: string, options: Options): void {
  const accumulator: Readonly<Record<number, string>> = { 8: 'al', 16: 'ax', 32: 'eax', 64: 'rax' };
  for (const bits of c.sizes) {
    const wide = bits === 8 ? 3 : bits === 16 ? 0x1234 : -0x1234_5678;
    for (const value of [-1, 0x7f, wide]) c.add(`${name} ${c.register(bits)}, ${value}`, options);
    for (const value of [-0x80, wide]) c.add(`${name} ${c.memory(bits)}, ${value}`, options);
    c.add(`${name} ${accumulator[bits]}, ${wide}`, options);
  }
}

function arithmetic(c: Collector): void {
  const groups: readonly [string, string][] = [
    ['add adc sub sbb cmp', ''],
    ['and or xor test', 'A'],
  ];
  for (const [names, flags] of groups) {
    for (const name of names.split(' ')) {
      binary(c, name, { flags });
      immediates(c, name, { flags });
    }
  }
  for (const name of ['inc', 'dec', 'neg', 'not']) {
    for (const bits of c.sizes) {
      c.add(`${name} ${c.register(bits)}`, { cases: 3 });
      c.add(`${name} ${c.memory(bits)}`);
    }
  }
  binary(c, 'mov', {});
  immediates(c, 'mov', {});
  binary(c, 'xchg', {});
  binary(c, 'xadd', {});
  for (const bits of c.sizes) {
    for (const target of c.targets(bits))
      c.add(`cmpxchg ${target}, ${c.register(bits)}`, { cases: 2 });
  }
  const equal: Options = {
    adjust: ({ data }) => ({
      rax: new DataView(data.buffer).getBigUint64(24, true) & (c.mode === 64 ? -1n : 0xffff_ffffn),
    }),
  };
  for (const bits of c.sizes) c.add(`lock cmpxchg ${c.memory(bits)}, ${c.register(bits)}`, equal);
  for (const name of ['add', 'xadd']) c.add(`lock ${name} ${c.memory(32)}, ecx`);
}

/** A dividend that makes a quotient which fits, most of the time. */
const dividend: Template['adjust'] = (_, random) => ({
  rdx: random.below(3) ? 0n : random.u64() >> BigInt(random.pick([1, 2, 32, 60])),
});

function multiplication(c: Collector): void {
  const flags = 'SZAP';
  for (const name of ['mul', 'imul']) {
    for (const bits of c.sizes)
      for (const t of c.targets(bits)) c.add(`${name} ${t}`, { flags, cases: 3 });
  }
  for (const bits of c.sizes.slice(1)) {
    for (const source of c.targets(bits)) {
      c.add(`imul ${c.register(bits)}, ${source}`, { flags, cases: 3 });
      c.add(`imul ${c.register(bits)}, ${source}, -5`, { flags });
      c.add(`imul ${c.register(bits)}, ${source}, 0x1234`, { flags });
    }
  }
  for (const name of ['div', 'idiv']) {
    for (const bits of c.sizes) {
      for (const target of [['bl', 'bx', 'ebx', 'rbx'][Math.log2(bits) - 3]!, c.memory(bits)]) {
        c.add(`${name} ${target}`, { flags: 'OSZAPC', cases: 6 });
        c.add(`${name} ${target}`, {
          flags: 'OSZAPC',
          cases: 6,
          adjust: c.mode === 64 ? dividend : () => ({ rdx: 0n }),
        });
      }
    }
  }
}

/** Undefined flags of a shift or rotate by a known count. */
function shiftFlags(name: string, bits: number, count: number): string {
  const masked = count & (bits === 64 ? 63 : 31);
  if (masked === 0) return '';
  const overflow = masked === 1 ? '' : 'O';
  if (name.startsWith('r')) return overflow;
  const lost = name !== 'sar' && masked >= bits ? 'C' : '';
  return `A${overflow}${lost}`;
}

function shifts(c: Collector): void {
  for (const name of ['shl', 'shr', 'sar', 'rol', 'ror', 'rcl', 'rcr']) {
    for (const bits of c.sizes) {
      const targets = [['bl', 'bx', 'ebx', 'rbx'][Math.log2(bits) - 3]!, c.memory(bits)];
      for (const [n, target] of targets.entries()) {
        for (const count of n ? [1, 33] : [1, 2, 7, 8, 9, 15, 17, 31, 32, 63]) {
          const flags = shiftFlags(name, bits, count);
          c.add(`${name} ${target}, ${count}`, { flags });
          const adjust = () => ({ rcx: BigInt(count) });
          if (count > 1) c.add(`${name} ${target}, cl`, { flags, adjust });
        }
      }
    }
  }
  for (const name of ['shld', 'shrd']) {
    for (const bits of c.sizes.slice(1)) {
      for (const target of [['', 'bx', 'ebx', 'rbx'][Math.log2(bits) - 3]!, c.memory(bits)]) {
        for (const count of [1, 3, 15, 16, 31, 32, 33, 63]) {
          if (bits === 16 && (count & 31) > 15) continue;
          const flags = shiftFlags(name, bits, count);
          const source = ['', 'si', 'esi', 'rsi'][Math.log2(bits) - 3]!;
          c.add(`${name} ${target}, ${source}, ${count}`, { flags });
          c.add(`${name} ${target}, ${source}, cl`, {
            flags,
            adjust: () => ({ rcx: BigInt(count) }),
          });
        }
      }
    }
  }
}

function bits(c: Collector): void {
  for (const name of ['bt', 'bts', 'btr', 'btc']) {
    for (const size of c.sizes.slice(1)) {
      const flags = 'OSAP';
      c.add(`${name} ${c.register(size)}, ${c.register(size)}`, { flags, cases: 2 });
      for (const index of [0, 15, 31, 63, 200])
        c.add(`${name} ${c.register(size)}, ${index}`, { flags });
      for (const index of [5, 37]) c.add(`${name} ${c.memory(size)}, ${index}`, { flags });
      // A bit string: the index reaches beyond the operand, downwards too.
      const adjust: Template['adjust'] = (_, random) => ({
        rcx: BigInt.asUintN(c.mode, BigInt.asIntN(size, BigInt(random.below(700) - 180))),
      });
      const index = ['', 'cx', 'ecx', 'rcx'][Math.log2(size) - 3]!;
      c.add(`${name} ${c.memory(size)}, ${index}`, { flags, cases: 4, adjust });
    }
  }
  for (const size of c.sizes.slice(1)) {
    for (const source of c.targets(size)) {
      for (const name of ['bsf', 'bsr']) {
        c.add(`${name} ${c.register(size)}, ${source}`, { flags: 'OSAPC', cases: 3 });
      }
      c.add(`popcnt ${c.register(size)}, ${source}`, { cases: 3 });
    }
    c.add(`movbe ${c.register(size)}, ${c.memory(size)}`);
    c.add(`movbe ${c.memory(size)}, ${c.register(size)}`);
    if (size > 16) c.add(`bswap ${c.register(size)}`);
  }
  c.add('bsf eax, ebx', { flags: 'OSAPC', adjust: () => ({ rbx: 0n }) });
  const sources = ['bl', `byte ptr [0x200410]`, 'bx', 'ebx', 'dword ptr [0x200410]'];
  for (const source of sources) c.add(`crc32 eax, ${source}`, { cases: 2 });
}

function moves(c: Collector): void {
  for (const size of c.sizes.slice(1)) {
    for (const from of [8, 16]) {
      if (from >= size) continue;
      for (const name of ['movzx', 'movsx']) {
        for (const source of [['bl', 'bx'][from / 8 - 1]!, c.memory(from)]) {
          c.add(`${name} ${c.register(size)}, ${source}`, { cases: 2 });
        }
      }
    }
    for (const [n, code] of CONDITIONS.entries()) {
      const source = n % 2 ? c.register(size) : c.memory(size);
      c.add(`cmov${code} ${c.register(size)}, ${source}`, { cases: 2 });
    }
    const addresses =
      c.mode === 64
        ? ['[rbx+rcx*4+5]', '[r8d+ebx*2-7]', '[r13+r14]', '[rip+0x1234]']
        : ['[ebx+ecx*4+5]', '[bx+si]', '[bp+di+3]', '[0x1234567]'];
    for (const address of addresses) c.add(`lea ${c.register(size)}, ${address}`);
  }
  for (const code of CONDITIONS) {
    c.add(`set${code} ${c.register(8)}`, { cases: 2 });
    c.add(`set${code} ${c.memory(8)}`);
  }
  for (const name of [
    'cbw',
    'cwde',
    'cwd',
    'cdq',
    'lahf',
    'sahf',
    'clc',
    'stc',
    'cmc',
    'cld',
    'std',
    'nop',
  ]) {
    c.add(name, { cases: 2 });
  }
  c.add('xlatb', {
    adjust: () => ({ rbx: 0x20_0400n, rax: 0x1_2345_6717n & (c.mode === 64 ? -1n : 0xffff_ffffn) }),
  });
  const hints = [
    '0x0f,0x1f,0x84,0,0,0,0,0',
    '0xf3,0x90',
    '0xf3,0x0f,0x1e,0xfa',
    '0x0f,0x18,0x20',
    '0x0f,0x0d,0x18',
    '0x0f,0x19,0xc0',
    '0x0f,0x1a,0xc0',
    '0x0f,0x1b,0xc0',
    '0x0f,0x1c,0x00',
    '0x0f,0x1d,0xc0',
  ];
  for (const hint of hints) c.add(`.byte ${hint}`);
  c.add('cmpxchg8b [0x200410]');
  const pair: Template['adjust'] = ({ data }) => {
    const view = new DataView(data.buffer);
    return { rax: BigInt(view.getUint32(16, true)), rdx: BigInt(view.getUint32(20, true)) };
  };
  c.add('lock cmpxchg8b [0x200410]', { adjust: pair });
}

function stack(c: Collector): void {
  const wide = c.mode === 64;
  const pointer = wide ? 'rsp' : 'esp';
  const size = wide ? 'qword' : 'dword';
  for (const register of wide ? ['rax', 'rsp', 'r12', 'ax', 'sp'] : ['eax', 'esp', 'ax', 'sp']) {
    c.add(`push ${register}`);
    c.add(`pop ${register}`);
  }
  for (const value of [5, -5, 0x12345]) c.add(`push ${value}`);
  for (const bytes of ['0x66,0x6a,0x80', '0x66,0x68,0x34,0x92']) c.add(`.byte ${bytes}`);
  for (const s of [size, 'word']) {
    for (const address of [`[${pointer}+8]`, '[0x200410]']) {
      c.add(`push ${s} ptr ${address}`);
      c.add(`pop ${s} ptr ${address}`);
    }
  }
  const image =
    (value: number): Options['adjust'] =>
    () => ({
      s64: new Uint8Array(new BigUint64Array([BigInt(value)]).buffer),
    });
  // Arithmetic flags, IOPL, NT and AC; what user mode may not change stays.
  for (const value of [0x0d7, 0x3ad7, 0x20_0c82, 0x4a03]) {
    c.add(wide ? 'popfq' : 'popfd', { adjust: image(value) });
    c.add('.byte 0x66, 0x9d', { adjust: image(value) });
  }
  const frame: Options = { adjust: () => ({ rbp: 0x30_0448n }) };
  for (const text of ['leave', '.byte 0x66,0xc9', 'enter 8, 3', '.byte 0x66,0xc8,8,0,2'])
    c.add(text, frame);
  for (const text of ['enter 8, 0', 'enter 4, 1', '.byte 0x66,0xc8,8,0,0']) c.add(text);
}

function control(c: Collector): void {
  const wide = c.mode === 64;
  for (const code of CONDITIONS) {
    c.add(`j${code} .+0x12`, { cases: 3 });
    c.add(`j${code} .+0x1234`);
  }
  for (const text of ['call .+0x20', 'call .+0x2000', 'jmp .+0x20', 'jmp .+0x2000']) c.add(text);
  const back: Options = {
    adjust: () => ({ s64: Uint8Array.of(0x40, 0, 0x10, 0, ...(wide ? [0, 0, 0, 0] : [])) }),
  };
  c.add('ret', back);
  c.add('ret 8', back);
  const register = wide ? 'rax' : 'eax';
  for (const name of ['jmp', 'call'])
    c.add(`${name} ${register}`, { adjust: () => ({ rax: 0x10_0040n }) });
  const counts = wide
    ? [0n, 1n, 2n, 0x1_0000_0000n, 0x1_0000_0001n]
    : [0n, 1n, 2n, 0x1_0000n, 0x1_0001n];
  for (const rcx of counts) {
    const adjust = () => ({ rcx });
    for (const opcode of [0xe0, 0xe1, 0xe2, 0xe3]) {
      c.add(`.byte ${opcode}, 0x10`, { adjust });
      c.add(`.byte 0x67, ${opcode}, 0x10`, { adjust });
    }
  }
}

/** Strings run inside the data window, upwards and downwards, some with long runs of equal bytes. */
const inWindow: Template['adjust'] = ({ data, flags }, random) => {
  const overrides: Overrides = {
    rcx: BigInt(random.pick([0, 1, 2, 3, 5])),
    rsi: BigInt(0x20_0430 + random.below(12)),
    rdi: BigInt(0x20_0430 + random.below(18)),
    flags: BigInt(flags | (random.below(2) ? RFLAGS.df : 0)),
  };
  if (random.below(2)) {
    const value = random.below(256);
    overrides.d0 = data.map((byte) => (random.below(5) ? value : byte));
    overrides.rax = BigInt(value) * 0x0101_0101n;
  }
  return overrides;
};

function strings(c: Collector): void {
  for (const opcode of [0xa4, 0xa6, 0xaa, 0xac, 0xae]) {
    const compares = opcode === 0xa6 || opcode === 0xae;
    for (const size of c.sizes) {
      for (const repeat of compares ? ['', '0xf3,', '0xf2,'] : ['', '0xf3,']) {
        for (const address of c.mode === 64 ? ['', '0x67,'] : ['']) {
          const prefixes = `${address}${size === 16 ? '0x66,' : ''}${repeat}${size === 64 ? '0x48,' : ''}`;
          c.add(`.byte ${prefixes}${opcode + (size > 8 ? 1 : 0)}`, { cases: 4, adjust: inWindow });
        }
      }
    }
  }
}

function only32(c: Collector): void {
  const borders = [0x05, 0x09, 0x0a, 0x5f, 0x60, 0x99, 0x9a, 0x9f, 0xa0, 0xf9, 0xfa];
  const digits: Template['adjust'] = (_, random) => ({
    rax: BigInt(random.below(2) ? random.below(0x10000) : 0x4000 | random.pick(borders)),
  });
  for (const name of ['daa', 'das']) c.add(name, { flags: 'O', cases: 80, adjust: digits });
  for (const name of ['aaa', 'aas']) c.add(name, { flags: 'OSZP', cases: 40, adjust: digits });
  for (const base of [10, 16, 3, 0]) {
    c.add(`.byte 0xd4, ${base}`, { flags: 'OAC', cases: 3, adjust: digits });
    c.add(`.byte 0xd5, ${base}`, { flags: 'OAC', cases: 3, adjust: digits });
  }
  for (const text of ['pushad', 'popad', '.byte 0x66,0x60', '.byte 0x66,0x61', '.byte 0xd6'])
    c.add(text);
  for (const rax of [0n, 1n, 0xffff_fffbn, 6n, 500n]) {
    const bounds = Uint8Array.of(0xfb, 0xff, 0xff, 0xff, 5, 0, 0, 0);
    c.add('bound eax, [0x200410]', { adjust: () => ({ rax, d16: bounds }) });
  }
  for (const text of ['inc eax', 'dec si', 'inc esp']) c.add(text);
  // The alias of opcode 80, for all eight operations.
  for (let n = 0; n < 8; n++) {
    const flags = [1, 4, 6].includes(n) ? 'A' : '';
    c.add(`.byte 0x82, ${0xc1 + n * 8}, 0x85`, { flags, cases: 2 });
  }
}

function only64(c: Collector): void {
  for (const [name, source] of [
    ['movsxd rax', 'ebx'],
    ['movsxd r9', 'dword ptr [r13]'],
  ])
    c.add(`${name}, ${source}`);
  for (const bytes of ['0x63,0xc3', '0x66,0x63,0xc3']) c.add(`.byte ${bytes}`);
  const moffs = [
    'rax, [0x200410]',
    '[0x200410], rax',
    'al, [0x200411]',
    '[0x200412], ax',
    'rcx, 0x123456789abcdef0',
  ];
  for (const operands of moffs) c.add(`movabs ${operands}`);
  const pair: Template['adjust'] = ({ data }) => {
    const view = new DataView(data.buffer);
    return { rax: view.getBigUint64(16, true), rdx: view.getBigUint64(24, true) };
  };
  c.add('cmpxchg16b [0x200410]');
  c.add('lock cmpxchg16b [0x200410]', { adjust: pair });
  c.add('cmpxchg16b [0x200418]');
  for (const text of [
    'cdqe',
    'cqo',
    'crc32 rax, bl',
    'crc32 rax, rbx',
    'xchg rax, r8',
    'xchg eax, r8d',
  ])
    c.add(text);
  // XCHG EAX, EAX in both encodings, NOP with prefixes, the aliases of SHL and TEST; then #UD: UD2, DAA, LOCK with a register.
  for (const bytes of ['0x87,0xc0', '0x90', '0x66,0x90', '0x48,0x90', '0xf6,0xc8,0x55']) {
    c.add(`.byte ${bytes}`, { flags: bytes.endsWith('55') ? 'A' : '' });
  }
  c.add('.byte 0xf7,0xc8,0x55,0,0,0x80', { flags: 'A' });
  for (const bytes of ['0xc0,0xf0,3', '0xc1,0xf0,3']) c.add(`.byte ${bytes}`, { flags: 'AO' });
  for (const opcode of [0xd0, 0xd1]) c.add(`.byte ${opcode},0xf0`, { flags: 'A' });
  for (const opcode of [0xd2, 0xd3]) {
    c.add(`.byte ${opcode},0xf0`, { flags: 'AO', adjust: () => ({ rcx: 3n }) });
  }
  for (const text of [
    'clflush [r13]',
    'clflushopt [r13]',
    'clwb [r13]',
    'ud1 eax, ebx',
    'ud0 eax, ebx',
  ])
    c.add(text);
  for (const bytes of ['0x0f,0x0b', '0x27', '0xf0,0x01,0xc8', '0xf0,0x39,0x08'])
    c.add(`.byte ${bytes}`);
  for (const address of [
    '[r13]',
    '[r13+r14*2-3]',
    '[r13d+8]',
    '[rip+0x100409]',
    '[r13+r14*8+16]',
    '[0x200410]',
  ]) {
    c.add(`mov rax, ${address}`);
    c.add(`add ${address}, rcx`);
    c.add(
      `mov ah, ${address.replace('r13', 'rsp').replace('+r14*2', '').replace('r14*8', '8').replace('rspd', 'esp')}`,
    );
  }
}

/** All templates, in a fixed order. */
export function templates(): readonly Template[] {
  return ([64, 32] as const).flatMap((mode) => {
    const c = new Collector(mode);
    for (const group of [arithmetic, multiplication, shifts, bits, moves, stack, control, strings])
      group(c);
    (mode === 64 ? only64 : only32)(c);
    return c.templates;
  });
}
