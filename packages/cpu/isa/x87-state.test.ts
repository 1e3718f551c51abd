// The x87 unit as the system sees it: #NM and #MF, the error line, the last-instruction pointers,
// environments in all formats, FXSAVE and XSAVE areas. SDM vol 1 §8.1, §8.7, ch. 13; vol 3A table
// 2-2.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EXIT_REASON } from '../interpreter/service.ts';
import { EVENT } from '../state/layout.ts';
import {
  CODE_ADDRESS,
  type CpuState,
  DATA_ADDRESS,
  type RunResult,
  TestCpu,
} from '../testing/check.ts';

const cpu = new TestCpu();
const UD = 6;
const NM = 7;
const GP = 13;
const MF = 16;
const CR0 = { mp: 2, em: 4, ts: 8, ne: 0x20 };
const X87_TRAP = 1;
const PENDING_TRAP = 4;
/** The end of the test processor's memory and of what is mapped. */
const RAM_END = 0x100_0000;
const OSXSAVE = 1n << 18n;
const ONE = (0x3fffn << 64n) | (1n << 63n);

const AT_RDI = { rdi: BigInt(DATA_ADDRESS) };
const hex = (text: string) => [...Buffer.from(text.replaceAll(' ', ''), 'hex')];
const run = (code: string, state: CpuState = { registers: AT_RDI }, count = 1): RunResult =>
  cpu.run(hex(code), state, { count });
const u16 = (offset: number) =>
  new DataView(cpu.read(DATA_ADDRESS + offset, 2).buffer).getUint16(0, true);
const u32 = (offset: number) =>
  new DataView(cpu.read(DATA_ADDRESS + offset, 4).buffer).getUint32(0, true);
const u64 = (offset: number) =>
  new DataView(cpu.read(DATA_ADDRESS + offset, 8).buffer).getBigUint64(0, true);

/** What CR0 says, as the code that writes CR0 leaves it. */
function setCr0(bits: number): void {
  cpu.set('cr0', 0x8000_0011n | BigInt(bits));
  cpu.set('fpuTrap', bits & (CR0.em | CR0.ts) ? X87_TRAP : 0);
}

const AVAILABILITY: readonly (readonly [
  name: string,
  code: string,
  cr0: number,
  fault: number | undefined,
])[] = [
  ['FADD', 'd8c1', CR0.ts, NM],
  ['FADD', 'd8c1', CR0.em, NM],
  ['FADD', 'd8c1', CR0.mp, undefined],
  ['FNSTCW', 'd93f', CR0.ts, NM],
  ['FNSTSW AX', 'dfe0', CR0.em, NM],
  ['FNINIT', 'dbe3', CR0.ts, NM],
  ['FNSAVE', 'dd37', CR0.ts, NM],
  ['FXSAVE', '0fae07', CR0.ts, NM],
  ['FXRSTOR', '0fae0f', CR0.em, NM],
  ['WAIT', '9b', CR0.ts, undefined],
  ['WAIT', '9b', CR0.mp, undefined],
  ['WAIT', '9b', CR0.em | CR0.ts, undefined],
  ['WAIT', '9b', CR0.mp | CR0.ts, NM],
];

test('#NM follows CR0.EM, CR0.TS and, for WAIT, CR0.MP', () => {
  for (const [name, code, cr0, fault] of AVAILABILITY) {
    cpu.reset(64);
    setCr0(cr0 | CR0.ne);
    assert.equal(run(code).fault?.vector, fault, `${name} with CR0 ${cr0.toString(16)}`);
  }
});

/** 1 / 0 with ZE unmasked: FLDZ, FLD1, FDIV ST(0), ST(1). */
function divideByZero(): void {
  cpu.set('x87Control', 0x37b);
  run('d9ee d9e8 d8f1', undefined, 3);
}

test('an unmasked exception waits for the next waiting instruction', () => {
  const after: readonly (readonly [code: string, fault: number | undefined])[] = [
    ['9b', MF],
    ['d9e8', MF],
    ['d92f', MF],
    ['d9d0', MF],
    ['0f6fc1', MF],
    ['dfe0', undefined],
    ['d93f', undefined],
    ['dd3f', undefined],
    ['d937', undefined],
    ['dd37', undefined],
    ['dbe2', undefined],
    ['dbe3', undefined],
    ['0fae07', undefined],
    ['0f58c1', undefined],
  ];
  for (const [code, fault] of after) {
    cpu.reset(64);
    setCr0(CR0.ne);
    divideByZero();
    assert.equal(cpu.get('x87Status'), 0x8084, 'ZE, ES and B');
    assert.equal(cpu.x87(6), ONE, 'the operands stay');
    assert.equal(run(code).fault?.vector, fault, code);
  }
});

test('FNCLEX, FNINIT and masking end the wait', () => {
  for (const code of ['dbe2 9b', 'dbe3 9b', 'd937 9b', 'dd37 9b']) {
    cpu.reset(64);
    setCr0(CR0.ne);
    divideByZero();
    assert.equal(cpu.get('fpuTrap'), PENDING_TRAP);
    assert.equal(run(code, undefined, 2).fault, undefined, code);
    assert.equal(cpu.get('fpuTrap'), 0, code);
  }
});

test('FLDCW that unmasks a raised exception makes it wait', () => {
  cpu.reset(64);
  setCr0(CR0.ne);
  run('d9ee d9e8 d8f1', undefined, 3);
  assert.equal(cpu.get('x87Status'), 4);
  cpu.write(DATA_ADDRESS, [0x7b, 3]);
  assert.equal(run('d92f 9b', undefined, 2).fault?.vector, MF);
});

test('with CR0.NE clear the error line rises and falls, and nothing faults', () => {
  cpu.reset(64);
  setCr0(0);
  divideByZero();
  assert.equal(Number(cpu.get('events')) & EVENT.ferr, EVENT.ferr);
  assert.equal(cpu.step(1), EXIT_REASON.event, 'the host hears of it');
  assert.equal(cpu.get('events'), 0);
  assert.equal(run('d9d0').fault, undefined);
  run('dbe2');
  assert.equal(Number(cpu.get('events')) & EVENT.ferr, EVENT.ferr);
});

test('FIP, FCS, FOP and FDP follow instructions that are not for control', () => {
  cpu.reset(64);
  cpu.set('segSelector', 0x33, 1);
  cpu.set('segSelector', 0x2b, 3);
  // FLD1; FADD DWORD PTR [rdi + 16]; FNSTCW [rdi]; FLDCW [rdi]
  run('d9e8 d84710 d93f d92f', undefined, 4);
  assert.equal(cpu.get('x87InstructionPointer'), BigInt(CODE_ADDRESS + 2));
  assert.equal(cpu.get('x87InstructionSelector'), 0x33);
  assert.equal(cpu.get('x87Opcode'), 0x047);
  assert.equal(cpu.get('x87DataPointer'), BigInt(DATA_ADDRESS + 16));
  assert.equal(cpu.get('x87DataSelector'), 0x2b);
  run('d9e0');
  assert.equal(cpu.get('x87Opcode'), 0x1e0);
  assert.equal(cpu.get('x87DataPointer'), BigInt(DATA_ADDRESS + 16), 'no memory operand');
});

/** Pointers to tell the formats apart. */
function setPointers(): void {
  cpu.set('x87InstructionPointer', 0x8765_4321n);
  cpu.set('x87InstructionSelector', 0x10);
  cpu.set('x87Opcode', 0x1ab);
  cpu.set('x87DataPointer', 0x1234_5678n);
  cpu.set('x87DataSelector', 0x18);
}
const words = (count: number) => Array.from({ length: count }, (_, n) => u16(2 * n));
const doubles = (count: number) => Array.from({ length: count }, (_, n) => u32(4 * n));
const LEGACY_MODE = { protected: 0, real: 1 };

test('FNSTENV writes the four formats', () => {
  const store = (bits: 16 | 32, legacyMode: number) => {
    cpu.reset(bits);
    cpu.set('legacyMode', legacyMode);
    setPointers();
    // [di] or [edi] in either mode.
    cpu.set('x87Tags', 0);
    assert.equal(run(bits === 16 ? '67d937' : 'd937').fault, undefined);
  };
  store(32, LEGACY_MODE.protected);
  assert.deepEqual(
    doubles(7),
    [0xffff037f, 0xffff0000, 0xffffffff, 0x87654321, 0x01ab0010, 0x12345678, 0xffff0018],
  );
  store(32, LEGACY_MODE.real);
  // Linear: selector * 16 + offset.
  assert.deepEqual(
    doubles(7),
    [0xffff037f, 0xffff0000, 0xffffffff, 0xffff4421, 0x087651ab, 0xffff57f8, 0x01234000],
  );
  store(16, LEGACY_MODE.protected);
  assert.deepEqual(words(7), [0x037f, 0, 0xffff, 0x4321, 0x10, 0x5678, 0x18]);
  store(16, LEGACY_MODE.real);
  assert.deepEqual(words(7), [0x037f, 0, 0xffff, 0x4421, 0x51ab, 0x57f8, 0x4000]);
});

test('FNSAVE and FRSTOR carry all state, in 16 and 32 bits', () => {
  for (const bits of [16, 32] as const) {
    cpu.reset(bits);
    const prefix = bits === 16 ? '67' : '';
    // FLD1; FLDPI; FLDZ; FNSAVE
    run(`d9e8 d9eb d9ee ${prefix}dd37`, undefined, 4);
    assert.equal(
      u16(bits === 16 ? 4 : 8),
      0b00_00_01_11_11_11_11_11,
      'tag word: valid, valid, zero',
    );
    assert.equal(cpu.get('x87Tags'), 0, 'initialised');
    for (let n = 0; n < 8; n++) cpu.setX87(n, 0n);
    run(`${prefix}dd27`);
    assert.equal(cpu.get('x87Top'), 5);
    assert.equal(cpu.get('x87Tags'), 0b1110_0000);
    assert.equal(cpu.x87(7), ONE);
    assert.equal(cpu.x87(6), (0x4000n << 64n) | 0xc90f_daa2_2168_c235n);
  }
});

test('FXSAVE and FXRSTOR: format, alignment, MXCSR', () => {
  cpu.reset(64);
  const xmm = Array.from({ length: 16 }, (_, n) => BigInt(n + 1) << 64n);
  run('d9e8', { xmm });
  setPointers();
  cpu.set('x87InstructionPointer', 0xffff_8000_8765_4321n);
  assert.equal(run('480fae07', { registers: AT_RDI, mxcsr: 0x1f81 }).fault, undefined);
  assert.deepEqual([u16(0), u16(2), u16(4), u16(6)], [0x37f, 0x3800, 0x80, 0x1ab]);
  assert.equal(u64(8), 0xffff_8000_8765_4321n);
  assert.equal(u64(16), 0x1234_5678n);
  assert.deepEqual([u32(24), u32(28)], [0x1f81, 0xffff]);
  assert.equal(u64(32), 1n << 63n);
  assert.equal(u64(40), 0x3fffn);
  assert.equal(u64(160 + 15 * 16 + 8), 16n);
  run('0fae07', { registers: AT_RDI });
  assert.deepEqual([u32(8), u16(12), u32(16), u16(20)], [0x87654321, 0x10, 0x12345678, 0x18]);
  run('dbe3', { xmm: new Array(16).fill(0n), mxcsr: 0x1f80 });
  const back = run('0fae0f');
  assert.deepEqual(back.xmm, xmm);
  assert.equal(cpu.x87(7), ONE);
  assert.equal(cpu.get('x87Tags'), 0x80);
  assert.equal(run('0fae07', { registers: { rdi: BigInt(DATA_ADDRESS + 8) } }).fault?.vector, GP);
  cpu.write(DATA_ADDRESS + 26, [1, 0]);
  assert.equal(run('0fae0f').fault?.vector, GP, 'reserved bit of MXCSR');
});

test('XSAVE writes what is asked for and XRSTOR resets what is missing', () => {
  cpu.reset(64);
  cpu.set('cr4', 0x620n | OSXSAVE);
  cpu.set('xcr0', 3n);
  cpu.write(DATA_ADDRESS, new Uint8Array(576));
  const registers = { ...AT_RDI, rax: 1n };
  run('d9e8', { xmm: new Array(16).fill(7n) });
  assert.equal(run('0fae27', { registers }).fault, undefined);
  assert.equal(u64(512), 1n, 'XSTATE_BV');
  assert.equal(u32(24), 0, 'MXCSR goes with SSE');
  // The header has x87 only: asked for both, SSE gets its initial values but MXCSR comes from
  // memory.
  cpu.write(DATA_ADDRESS + 24, [0x80, 0x3f]);
  run('dbe3');
  const r = run('0fae2f', { registers: { ...AT_RDI, rax: 3n } });
  assert.equal(r.fault, undefined);
  assert.equal(cpu.x87(7), ONE);
  assert.equal(r.mxcsr, 0x3f80);
  assert.ok(r.xmm.every((x) => x === 0n));
});

test('XSAVE instructions check OSXSAVE, alignment and the header', () => {
  const all = { ...AT_RDI, rax: 3n };
  cpu.reset(64);
  assert.equal(run('0fae27', { registers: all }).fault?.vector, UD);
  assert.equal(run('0f01d0', { registers: {} }).fault?.vector, UD);
  cpu.set('cr4', 0x620n | OSXSAVE);
  cpu.set('xcr0', 3n);
  cpu.write(DATA_ADDRESS, new Uint8Array(640));
  const shifted = { ...all, rdi: BigInt(DATA_ADDRESS + 16) };
  assert.equal(run('0fae27', { registers: shifted }).fault?.vector, GP);
  for (const byte of [512, 520, 535]) {
    cpu.write(DATA_ADDRESS, new Uint8Array(640));
    cpu.write(DATA_ADDRESS + byte, [4]);
    assert.equal(run('0fae2f', { registers: all }).fault?.vector, GP, `header byte ${byte}`);
  }
  assert.equal(run('0f01d0', { registers: {} }).registers.rax, 3n);
  assert.equal(run('0f01d0', { registers: { rcx: 1n } }).fault?.vector, GP);
});

/** MXCSR after XSAVE, XSAVEC and XRSTOR of components by a mask. SDM vol 1 §13.7, §13.8, §13.10. */
test('the YMM halves are saved at 576, and MXCSR goes with them in the standard format only', () => {
  const HIGH = 0x1111_2222_3333_4444_5555_6666_7777_8888n;
  const prepare = () => {
    cpu.reset(64);
    cpu.set('cr4', 0x620n | OSXSAVE);
    cpu.set('xcr0', 7n);
    cpu.write(DATA_ADDRESS, new Uint8Array(832));
    for (let n = 0; n < 16; n++) cpu.setYmmHigh(n, HIGH + BigInt(n));
  };
  const masked = (rax: bigint) => ({ registers: { ...AT_RDI, rax } });
  for (const [code, isCompact] of [
    ['0fae27', false],
    ['0fc727', true],
  ] as const) {
    prepare();
    assert.equal(run(code, masked(4n)).fault, undefined);
    assert.equal(u64(512), 4n);
    assert.equal(u64(520), isCompact ? (1n << 63n) | 4n : 0n);
    assert.equal(u32(24), isCompact ? 0 : 0x1f80, code);
    assert.equal(u64(576) | (u64(584) << 64n), HIGH);
    assert.equal(u64(816) | (u64(824) << 64n), HIGH + 15n);
    for (let n = 0; n < 16; n++) cpu.setYmmHigh(n, 0n);
    assert.equal(run('0fae2f', { ...masked(4n), mxcsr: 0x5f80 }).fault, undefined);
    assert.equal(cpu.ymmHigh(15), HIGH + 15n);
    assert.equal(cpu.get('mxcsr'), isCompact ? 0x5f80 : 0x1f80, code);
    // Without the component in the header: its initial value; MXCSR's too in the compacted format.
    cpu.write(DATA_ADDRESS + 512, [0]);
    cpu.write(DATA_ADDRESS + 520, [isCompact ? 6 : 0]);
    assert.equal(run('0fae2f', { ...masked(6n), mxcsr: 0x5f80 }).fault, undefined);
    assert.equal(cpu.ymmHigh(15), 0n);
    assert.equal(cpu.get('mxcsr'), 0x1f80);
  }
});

test('XSAVEOPT and XSAVEC leave out what is in its initial state, and the header says so', () => {
  const save = (code: string, prepare: () => void = () => {}) => {
    cpu.reset(64);
    cpu.set('cr4', 0x620n | OSXSAVE);
    cpu.set('xcr0', 7n);
    for (let n = 0; n < 16; n++) cpu.setYmmHigh(n, 0n);
    cpu.write(DATA_ADDRESS, new Uint8Array(832).fill(0xaa));
    cpu.write(DATA_ADDRESS + 512, [6, 0, 0, 0, 0, 0, 0, 0, ...new Array(8).fill(0)]);
    prepare();
    assert.equal(run(code, { registers: { ...AT_RDI, rax: 7n } }).fault, undefined);
    return { present: u64(512), x87: cpu.read(DATA_ADDRESS, 1)[0], high: u64(576) };
  };
  const UNTOUCHED = 0xaaaa_aaaa_aaaa_aaaan;
  for (const code of ['0fae37', '0fc727']) {
    assert.deepEqual(save(code), { present: 2n, x87: 0xaa, high: UNTOUCHED }, code);
    assert.equal(save(code, () => run('d9e8')).present, 3n, `${code} after FLD1`);
    assert.equal(save(code, () => cpu.setYmmHigh(7, 1n << 127n)).present, 6n, code);
    assert.equal(save(code, () => cpu.set('x87Control', 0x27f)).x87, 0x7f, code);
  }
  assert.deepEqual(save('0fae27'), { present: 2n, x87: 0x7f, high: 0n }, 'XSAVE writes all');
});

test('XRSTOR takes a compacted area as its header says, where there is that format', () => {
  const restore = (header: Readonly<Record<number, number>>, xstate = (1n << 63n) | 7n) => {
    cpu.reset(64);
    cpu.set('cr4', 0x620n | OSXSAVE);
    cpu.set('xcr0', 3n);
    cpu.set('xstate', xstate);
    cpu.write(DATA_ADDRESS, new Uint8Array(832));
    for (const [at, byte] of Object.entries(header)) cpu.write(DATA_ADDRESS + Number(at), [byte]);
    return run('0fae2f', { registers: { ...AT_RDI, rax: 7n } }).fault?.vector;
  };
  assert.equal(restore({ 512: 1, 520: 3, 527: 0x80 }), undefined);
  assert.equal(restore({ 512: 1, 520: 3, 527: 0x80 }, 3n), GP, 'no such format');
  assert.equal(restore({ 512: 1, 520: 2, 527: 0x80 }), GP, 'present, not in the area');
  assert.equal(restore({ 520: 7, 527: 0x80 }), GP, 'not enabled');
  assert.equal(restore({ 520: 3 }), GP, 'not compacted');
  for (const at of [528, 536, 575]) assert.equal(restore({ 520: 3, 527: 0x80, [at]: 1 }), GP);
});

test('areas that end before the YMM halves need only be accessible when those are asked for', () => {
  cpu.reset(64);
  cpu.set('cr4', 0x620n | OSXSAVE);
  cpu.set('xcr0', 7n);
  const atEnd = (rax: bigint) => ({ registers: { rdi: BigInt(RAM_END - 576), rax } });
  assert.equal(run('0fae27', atEnd(3n)).fault, undefined);
  assert.equal(run('0fae27', atEnd(4n)).fault?.vector, 14);
});

test('XSETBV takes what the model has, AVX with SSE only, at CPL 0 only', () => {
  const attempts: readonly (readonly [
    rax: bigint,
    rcx: bigint,
    cpl: number,
    fault: number | undefined,
  ])[] = [
    [3n, 0n, 0, undefined],
    [1n, 0n, 0, undefined],
    [2n, 0n, 0, GP],
    [5n, 0n, 0, GP],
    [7n, 0n, 0, undefined],
    [15n, 0n, 0, GP],
    [3n, 1n, 0, GP],
    [3n, 0n, 3, GP],
  ];
  for (const [rax, rcx, cpl, fault] of attempts) {
    cpu.reset(64, cpl);
    cpu.set('cr4', 0x620n | OSXSAVE);
    cpu.set('xcr0', 1n);
    assert.equal(
      run('0f01d1', { registers: { rax, rcx } }).fault?.vector,
      fault,
      `${rax} ${rcx} ${cpl}`,
    );
    assert.equal(cpu.get('xcr0'), fault === undefined ? rax : 1n);
  }
  cpu.reset(64);
  cpu.set('cr4', 0x620n | OSXSAVE);
  cpu.set('xstate', 3n);
  assert.equal(run('0f01d1', { registers: { rax: 7n } }).fault?.vector, GP, 'no AVX');
});

test('a store that faults on its second page changes nothing', () => {
  const LAST = 0xff_fffc;
  const PF = 14;
  for (const code of ['db3f', 'df37', 'd937', 'dd37']) {
    cpu.reset(64);
    run('d9e8');
    const before = [...cpu.read(LAST, 4)];
    const result = run(code, { registers: { rdi: BigInt(LAST) } });
    assert.equal(result.fault?.vector, PF, code);
    assert.deepEqual([...cpu.read(LAST, 4)], before, code);
    assert.equal(cpu.get('x87Top'), 7, code);
    assert.equal(cpu.get('x87Status'), 0, code);
  }
});

test('FNSTSW AX keeps the rest of RAX', () => {
  cpu.reset(64);
  run('d9e8');
  const r = run('dfe0', { registers: { rax: 0x1122_3344_5566_7788n } });
  assert.equal(r.registers.rax, 0x1122_3344_5566_3800n);
});
