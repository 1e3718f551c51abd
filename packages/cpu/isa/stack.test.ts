// Stack and near transfers where user mode on a host cannot show it: stack widths, faults, privileges, real mode.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RFLAGS } from '../lift/flags.ts';
import { SEGMENT } from '../state/layout.ts';
import { CODE_ADDRESS, type RegisterName, STACK_ADDRESS, TestCpu } from '../testing/check.ts';

const cpu = new TestCpu();
/** RAM, and with it the mapping, ends here. */
const END = 0x100_0000n;
const NON_CANONICAL = 0x8000_0000_0000_0000n;
const STACK = BigInt(STACK_ADDRESS);

type Registers = Partial<Record<RegisterName, bigint>>;

const FAULTS: readonly [string, 16 | 32 | 64, readonly number[], Registers, number][] = [
  ['push rax to a missing page', 64, [0x50], { rsp: END + 8n }, 14],
  ['push rax to a non-canonical stack', 64, [0x50], { rsp: NON_CANONICAL }, 12],
  ['push from a non-canonical address', 64, [0xff, 0x30], { rsp: STACK, rax: NON_CANONICAL }, 13],
  ['pop rax from a non-canonical stack', 64, [0x58], { rsp: NON_CANONICAL }, 12],
  ['pop to a missing page', 64, [0x8f, 0x00], { rsp: STACK, rax: END }, 14],
  ['call to a non-canonical target', 64, [0xff, 0xd0], { rsp: STACK, rax: NON_CANONICAL }, 13],
  ['call with a missing stack', 64, [0xe8, 0, 0, 0, 0], { rsp: END + 8n }, 14],
  ['jmp to a non-canonical target', 64, [0xff, 0xe0], { rax: NON_CANONICAL }, 13],
  ['ret with a missing stack', 64, [0xc3], { rsp: END }, 14],
  ['enter with a missing stack', 64, [0xc8, 0, 0, 0], { rsp: END + 16n, rbp: 5n }, 14],
  [
    'enter that allocates into a missing page',
    64,
    [0xc8, 0, 0x80, 0],
    { rsp: 0x4000n, rbp: 5n },
    14,
  ],
  ['leave from a missing frame', 64, [0xc9], { rsp: STACK, rbp: END }, 14],
  ['cmpxchg16b on a missing page', 64, [0x48, 0x0f, 0xc7, 0x08], { rax: END }, 14],
  ['add that leaves RAM half-way', 64, [0x48, 0x01, 0x18], { rax: END - 4n, rbx: -1n }, 14],
  ['xchg with a missing page', 64, [0x87, 0x18], { rax: END, rbx: 7n }, 14],
  ['xlat beyond RAM', 64, [0xd7], { rbx: END }, 14],
  ['bts that reaches beyond RAM', 64, [0x48, 0x0f, 0xab, 0x18], { rax: END - 8n, rbx: 64n }, 14],
  ['jmp beyond the code limit', 32, [0xff, 0xe0], { rax: 0x20_0000n }, 13],
  ['call beyond the code limit', 32, [0xff, 0xd0], { rsp: STACK, rax: 0x20_0000n }, 13],
  ['loop beyond the code limit', 32, [0xe2, 0x40], { rcx: 5n }, 13],
];
for (const [name, bits, code, registers, vector] of FAULTS) {
  test(`${name} faults with vector ${vector} and changes nothing`, () => {
    cpu.reset(bits);
    if (bits === 32) cpu.set('segLimit', CODE_ADDRESS + 0x10, SEGMENT.cs);
    const before = cpu.read(STACK_ADDRESS - 64, 128);
    const tail = cpu.read(Number(END) - 64, 64);
    const r = cpu.run(code, { registers });
    assert.equal(r.fault?.vector, vector);
    for (const [register, value] of Object.entries(r.registers)) {
      assert.equal(value, BigInt.asUintN(64, registers[register as RegisterName] ?? 0n), register);
    }
    assert.deepEqual(cpu.read(STACK_ADDRESS - 64, 128), before);
    assert.deepEqual(cpu.read(Number(END) - 64, 64), tail);
  });
}

test('a 16-bit stack wraps at 64 KiB and keeps the upper half of ESP', () => {
  cpu.reset(16);
  const r = cpu.run([0x50], { registers: { rax: 0x1122_3344n, rsp: 0xabcd_0002n } });
  assert.equal(r.registers.rsp, 0xabcd_0000n);
  const wrapped = cpu.run([0x50], { registers: { rax: 0x1122_3344n, rsp: 0xabcd_0000n } });
  assert.equal(wrapped.registers.rsp, 0xabcd_fffen);
  assert.deepEqual([...cpu.read(0xfffe, 2)], [0x44, 0x33]);
  const popped = cpu.run([0x66, 0x5b], { registers: { rsp: 0xabcd_fffcn } });
  assert.equal(popped.registers.rsp, 0xabcd_0000n);
});

test('the stack limit raises #SS, also in an expand-down segment', () => {
  const expandDown = 0xc097 << 8;
  const cases: readonly [number, number, bigint, boolean][] = [
    [0xc093 << 8, STACK_ADDRESS - 1, STACK, true],
    [0xc093 << 8, STACK_ADDRESS - 1, STACK + 1n, false],
    [expandDown, STACK_ADDRESS - 5, STACK, true],
    [expandDown, STACK_ADDRESS - 4, STACK, false],
  ];
  for (const [attributes, limit, rsp, fits] of cases) {
    cpu.reset(32);
    cpu.set('segAttributes', attributes, SEGMENT.ss);
    cpu.set('segLimit', limit, SEGMENT.ss);
    const r = cpu.run([0x50], { registers: { rsp } });
    assert.deepEqual(r.fault && [r.fault.vector, r.fault.code], fits ? undefined : [12, 0]);
  }
});

test('near transfers cut their target to 16 bits', () => {
  cpu.reset(16);
  const address = 0xff00;
  for (const [code, expected] of [
    [[0xe9, 0x00, 0x02], 0x0103],
    [[0x66, 0xe9, 0x00, 0x02, 0, 0], undefined],
  ] as const) {
    cpu.set('segLimit', 0xffff, SEGMENT.cs);
    const r = cpu.run(code, {}, { address });
    if (expected === undefined) assert.equal(r.fault?.vector, 13);
    else assert.equal(Number(r.rip), expected);
  }
  const call = cpu.run([0xe8, 0x00, 0x02], { registers: { rsp: 0x8000n } }, { address });
  assert.equal(Number(call.rip), 0x0103);
  assert.deepEqual([...cpu.read(0x7ffe, 2)], [0x03, 0xff]);
  const ret = cpu.run([0xc3], { registers: { rsp: 0x7ffen } }, { address });
  assert.deepEqual([Number(ret.rip), ret.registers.rsp], [0xff03, 0x8000n]);
});

const ALL = 0x3f_7fd5;
const { iopl, vif, vip, rf, vm } = RFLAGS;
const IF = RFLAGS.if;
/** RFLAGS before, image popped, CPL, operand size, which bits of the image arrive. TF is left out: it ends the block. */
const POPF: readonly [string, 0 | 3, number, number, number][] = [
  ['CPL 0 changes IOPL and IF', 0, 2, 32, ALL & ~(vif | vip | rf | vm)],
  [
    'CPL 3 with IOPL 0 changes neither IOPL nor IF',
    3,
    2,
    32,
    ALL & ~(vif | vip | rf | vm | iopl | IF),
  ],
  ['CPL 3 with IOPL 3 changes IF', 3, 2 | iopl, 32, ALL & ~(vif | vip | rf | vm | iopl)],
  ['16 bits leave AC and ID', 0, 2, 16, ALL & 0xffff],
];
for (const [name, cpl, before, bits, changes] of POPF) {
  test(`POPF: ${name}`, () => {
    for (const image of [ALL & ~RFLAGS.tf, 2]) {
      cpu.reset(32, cpl);
      cpu.write(STACK_ADDRESS, [image & 0xff, (image >> 8) & 0xff, (image >> 16) & 0xff, 0]);
      const code = bits === 16 ? [0x66, 0x9d] : [0x9d];
      const r = cpu.run(code, { registers: { rsp: STACK }, rflags: before | rf });
      const rfAfter = bits === 16 ? rf : 0;
      assert.equal(r.rflags, ((before & ~changes) | (image & changes) | 2 | rfAfter) & ~RFLAGS.tf);
      assert.equal(r.registers.rsp, STACK + BigInt(bits / 8));
    }
  });
}

test('PUSHF does not show VM and RF', () => {
  cpu.reset(32);
  cpu.run([0x9c], { registers: { rsp: STACK }, rflags: ALL & ~RFLAGS.tf & ~vm });
  const view = new DataView(cpu.read(STACK_ADDRESS - 4, 4).buffer);
  assert.equal(view.getUint32(0, true), (ALL & ~RFLAGS.tf & ~vm & ~rf) | 2);
});

test('in virtual-8086 mode PUSHF and POPF need IOPL 3', () => {
  for (const code of [[0x9c], [0x9d]]) {
    for (const level of [0, iopl]) {
      cpu.reset(16, 3);
      const r = cpu.run(code, { registers: { rsp: 0x8000n }, rflags: vm | level | 2 });
      assert.equal(r.fault?.vector, level ? undefined : 13);
    }
  }
});

test('PUSH of a segment register writes 16 bits in 32-bit mode and zero-extends in 64-bit mode', () => {
  const slot = (bits: 32 | 64, code: number[]) => {
    cpu.reset(bits);
    cpu.set('segSelector', 0x1234, SEGMENT.fs);
    cpu.write(STACK_ADDRESS - 8, Array(8).fill(0xee));
    const r = cpu.run(code, { registers: { rsp: STACK } });
    return [r.registers.rsp, Buffer.from(cpu.read(STACK_ADDRESS - 8, 8)).toString('hex')];
  };
  assert.deepEqual(slot(32, [0x0f, 0xa0]), [STACK - 4n, 'eeeeeeee3412eeee']);
  assert.deepEqual(slot(64, [0x0f, 0xa0]), [STACK - 8n, '3412000000000000']);
  assert.deepEqual(slot(64, [0x66, 0x0f, 0xa0]), [STACK - 2n, 'eeeeeeeeeeee3412']);
});

test('RDRAND and RDSEED deliver with CF set and the other flags clear', () => {
  cpu.reset(64);
  for (const code of [
    [0x48, 0x0f, 0xc7, 0xf0],
    [0x48, 0x0f, 0xc7, 0xf8],
  ]) {
    const r = cpu.run(code, { rflags: 0x8d7 });
    assert.equal(r.registers.rax, 0x1234_5678_9abc_def0n);
    assert.equal(r.rflags, 3);
  }
});
