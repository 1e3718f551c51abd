// Encoding texts of the instruction table, and the maps made of them.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ISA } from '../isa/index.ts';
import { buildOpcodeMaps, type Encoding, parseEncoding } from './opcode-map.ts';

const PLAIN: Encoding = {
  map: 0,
  opcode: 0,
  prefix: 'any',
  digit: -1,
  modrmFirst: -1,
  modrmLast: -1,
  opcodeCount: 1,
  hasModrm: false,
  rexW: undefined,
  vexL: undefined,
};

const ENCODINGS: readonly (readonly [string, Partial<Encoding>])[] = [
  ['90', { opcode: 0x90 }],
  ['00 /r', { opcode: 0, hasModrm: true }],
  ['04 ib', { opcode: 4 }],
  ['80 /0 ib', { opcode: 0x80, digit: 0, hasModrm: true }],
  ['FF /7', { opcode: 0xff, digit: 7, hasModrm: true }],
  ['50+r', { opcode: 0x50, opcodeCount: 8 }],
  ['0F A2', { map: 1, opcode: 0xa2 }],
  ['0F 38 F0 /r', { map: 2, opcode: 0xf0, hasModrm: true }],
  ['0F 3A 0F /r ib', { map: 3, opcode: 0x0f, hasModrm: true }],
  ['NP 0F 10 /r', { map: 1, opcode: 0x10, prefix: 'none', hasModrm: true }],
  ['66 0F 10 /r', { map: 1, opcode: 0x10, prefix: '66', hasModrm: true }],
  ['F3 0F 10 /r', { map: 1, opcode: 0x10, prefix: 'f3', hasModrm: true }],
  ['F2 0F 10 /r', { map: 1, opcode: 0x10, prefix: 'f2', hasModrm: true }],
  ['66 REX.W 0F 3A 16 /r ib', { map: 3, opcode: 0x16, prefix: '66', rexW: true, hasModrm: true }],
  ['REX.W 0F C7 /1', { map: 1, opcode: 0xc7, digit: 1, rexW: true, hasModrm: true }],
  ['REX.W0 0F C7 /1', { map: 1, opcode: 0xc7, digit: 1, rexW: false, hasModrm: true }],
  ['0F 01 D0', { map: 1, opcode: 1, modrmFirst: 0xd0, modrmLast: 0xd0, hasModrm: true }],
  ['D8 C0+i', { opcode: 0xd8, modrmFirst: 0xc0, modrmLast: 0xc7, hasModrm: true }],
  ['VEX.128.66.0F.WIG 58 /r', { map: 4, opcode: 0x58, prefix: '66', vexL: 0, hasModrm: true }],
  [
    'VEX.256.0F38.W1 16 /r',
    { map: 5, opcode: 0x16, prefix: 'none', vexL: 1, rexW: true, hasModrm: true },
  ],
  [
    'VEX.LZ.F2.0F3A.W0 F0 /r ib',
    { map: 6, opcode: 0xf0, prefix: 'f2', vexL: 0, rexW: false, hasModrm: true },
  ],
  ['VEX.LIG.F3.0F.WIG 58 /r', { map: 4, opcode: 0x58, prefix: 'f3', hasModrm: true }],
  ['VEX.LZ.0F38 F2 /r', { map: 5, opcode: 0xf2, prefix: 'none', vexL: 0, hasModrm: true }],
  ['VEX.128.0F.WIG 77', { map: 4, opcode: 0x77, prefix: 'none', vexL: 0 }],
  ['E8 cd', { opcode: 0xe8 }],
  ['9A cp', { opcode: 0x9a }],
  // An opcode that looks like a prefix, and one that looks like an escape.
  ['F3', { opcode: 0xf3 }],
  ['38 /r', { opcode: 0x38, hasModrm: true }],
  ['0F 0B', { map: 1, opcode: 0x0b }],
];

test('encoding texts of all shapes', () => {
  for (const [text, expected] of ENCODINGS) {
    assert.deepEqual(parseEncoding(text), { ...PLAIN, ...expected }, text);
  }
});

test('encoding texts with words that mean nothing are refused', () => {
  for (const text of [
    '00 /8',
    'XY',
    '00 /r zz',
    '',
    '0F',
    'REX.W',
    'VEX.512.0F 58 /r',
    'VEX.128.F0.0F 58 /r',
  ])
    assert.throws(() => parseEncoding(text), /encoding/, text);
});

test('every form of the instruction table parses, and is the first choice for bytes of its own', () => {
  const maps = buildOpcodeMaps();
  for (const instruction of ISA) {
    for (const form of instruction.forms) {
      const e = parseEncoding(form.encoding);
      const list = maps[e.map]![e.opcode]!;
      const own = list.find((c) => c.table.form === form);
      assert.ok(own, `${instruction.name} ${form.encoding}`);
      const shadowed = list.slice(0, list.indexOf(own)).find((c) => covers(c, own));
      assert.equal(
        shadowed?.table.instruction.name,
        undefined,
        `${instruction.name} ${form.encoding} is never found`,
      );
    }
  }
});

type Candidate = ReturnType<typeof buildOpcodeMaps>[number][number][number];

/** Whether an earlier candidate takes all bytes that a later one would. */
function covers(a: Candidate, b: Candidate): boolean {
  const { mode } = a.table.form;
  if (mode !== undefined && mode !== b.table.form.mode) return false;
  if (a.prefix !== 'any' && a.prefix !== b.prefix) return false;
  if (a.rexW !== undefined && a.rexW !== b.rexW) return false;
  if (a.vexL !== undefined && a.vexL !== b.vexL) return false;
  if (a.digit >= 0 && a.digit !== b.digit) return false;
  if (a.modrmFirst >= 0 && !(b.modrmFirst >= a.modrmFirst && b.modrmLast <= a.modrmLast))
    return false;
  if (a.ignoresMod) return true;
  return (a.allowsMemory || !b.allowsMemory) && (a.allowsRegister || !b.allowsRegister);
}

test('forms of one opcode agree on whether a ModRM byte follows', () => {
  for (const map of buildOpcodeMaps()) {
    for (const list of map) {
      // Modes may differ: 62, C4 and C5 are other instructions outside 64-bit mode.
      for (const mode of ['64', 'legacy'] as const) {
        const here = list.filter(
          (c) => c.table.form.mode === undefined || c.table.form.mode === mode,
        );
        const names = here
          .map((c) => `${c.table.instruction.name} ${c.table.form.encoding}`)
          .join(', ');
        assert.ok(new Set(here.map((c) => c.hasModrm)).size <= 1, names);
      }
    }
  }
});
