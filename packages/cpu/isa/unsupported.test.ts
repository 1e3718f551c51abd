// What the processor does not have raises #UD, in every mode, and the table says so.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Encoding, parseEncoding } from '../decode/opcode-map.ts';
import { TestCpu } from '../testing/check.ts';
import { INSTRUCTIONS_UNSUPPORTED } from './unsupported.ts';

const PREFIX: Readonly<Record<string, readonly number[]>> = {
  any: [], none: [], '66': [0x66], f3: [0xf3], f2: [0xf2],
}; // biome-ignore format: a table
const MAP: Readonly<Record<number, readonly number[]>> = {
  0: [],
  1: [0x0f],
  2: [0x0f, 0x38],
  3: [0x0f, 0x3a],
};

const VEX_PREFIXES = ['none', '66', 'f3', 'f2'];
/** Prefixes and escape bytes in front of an encoding's opcode. */
function before(e: Encoding): readonly number[] {
  if (e.map < 4) return [...PREFIX[e.prefix]!, ...MAP[e.map]!];
  const last = 0x78 | ((e.vexL ?? 0) << 2) | VEX_PREFIXES.indexOf(e.prefix);
  return [0xc4, 0xe0 | (e.map - 3), (e.rexW ? 0x80 : 0) | last];
}

test('every unsupported form raises #UD with a register and with a memory operand', () => {
  const cpu = new TestCpu();
  for (const bits of [64, 32] as const) {
    cpu.reset(bits);
    for (const { name, forms } of INSTRUCTIONS_UNSUPPORTED) {
      for (const form of forms) {
        if (form.mode === '64' && bits !== 64) continue;
        const e = parseEncoding(form.encoding);
        const takesRegister = form.operands.every((o) => o.source !== 'rmMemory');
        const takesMemory = form.operands.every((o) => o.source !== 'rmRegister');
        const digit = Math.max(e.digit, 0) << 3;
        const modrms = [
          ...(takesRegister ? [0xc1 | digit] : []),
          ...(takesMemory ? [0x01 | digit] : []),
        ];
        const fixed = e.modrmFirst >= 0 ? [e.modrmFirst] : modrms;
        for (const modrm of e.hasModrm ? fixed : [0]) {
          const code = [...before(e), e.opcode, modrm, 0, 0, 0, 0];
          const r = cpu.run(code, { registers: { rcx: 0x20_0000n } });
          assert.equal(r.fault?.vector, 6, `${name} ${form.encoding} in ${bits}-bit mode`);
        }
      }
    }
  }
});

const UNDEFINED_IN_64: readonly number[] = [
  0x06, 0x07, 0x0e, 0x16, 0x17, 0x1e, 0x1f, 0x27, 0x2f, 0x37, 0x3f, 0x60, 0x61, 0x82, 0x9a, 0xd4, 0xd5, 0xd6, 0xea,
]; // biome-ignore format: opcodes in order
test('opcodes that 64-bit mode took away raise #UD there', () => {
  const cpu = new TestCpu();
  cpu.reset(64);
  for (const opcode of UNDEFINED_IN_64) {
    const r = cpu.run([opcode, 0, 0, 0, 0, 0, 0, 0], {});
    assert.equal(r.fault?.vector, 6, opcode.toString(16));
  }
});

test('LOCK raises #UD where it has nothing to lock', () => {
  const cpu = new TestCpu();
  cpu.reset(64);
  const state = { registers: { rax: 0x20_0000n } };
  for (const code of [
    [0x01, 0xc0],
    [0x39, 0x00],
    [0x89, 0x00],
    [0x85, 0x00],
    [0x03, 0x00],
    [0x0f, 0xa3, 0x00],
    [0x90],
  ]) {
    assert.equal(cpu.run([0xf0, ...code], state).fault?.vector, 6);
  }
  for (const code of [
    [0x01, 0x00],
    [0x87, 0x00],
    [0x0f, 0xc1, 0x00],
    [0x0f, 0xab, 0x00],
    [0xf6, 0x10],
    [0xfe, 0x00],
  ]) {
    assert.equal(cpu.run([0xf0, ...code], state).fault, undefined);
  }
});
