// VEX-encoded instructions that exist and that this processor does not have: later than x86-64-v3. SDM vol 2 (062US) and
// the Instruction Set Extensions reference. EVEX-encoded ones are behind one line of unsupported.ts.

import { form, type Instruction, unsupported } from './instruction.ts';

type Row = readonly [name: string, ...encodings: string[]];
const list = (section: string, rows: readonly Row[]): Instruction[] =>
  rows.map(([name, ...encodings]) =>
    unsupported(name, `${section}, ${name}`, ...encodings.map((encoding) => form(encoding))),
  );
/** Both vector lengths. */
const both = (rest: string): readonly [string, string] => [`VEX.128.${rest}`, `VEX.256.${rest}`];

// biome-ignore format: tables
const DOT_PRODUCTS: readonly Instruction[] = list('SDM vol 2C', [
  ['VPDPBUSD', ...both('66.0F38.W0 50 /r')], ['VPDPBUSDS', ...both('66.0F38.W0 51 /r')],
  ['VPDPWSSD', ...both('66.0F38.W0 52 /r')], ['VPDPWSSDS', ...both('66.0F38.W0 53 /r')],
  ['VPDPBUUD', ...both('0F38.W0 50 /r')], ['VPDPBUUDS', ...both('0F38.W0 51 /r')],
  ['VPDPBSUD', ...both('F3.0F38.W0 50 /r')], ['VPDPBSUDS', ...both('F3.0F38.W0 51 /r')],
  ['VPDPBSSD', ...both('F2.0F38.W0 50 /r')], ['VPDPBSSDS', ...both('F2.0F38.W0 51 /r')],
  ['VPDPWUUD', ...both('0F38.W0 D2 /r')], ['VPDPWUUDS', ...both('0F38.W0 D3 /r')],
  ['VPDPWUSD', ...both('66.0F38.W0 D2 /r')], ['VPDPWUSDS', ...both('66.0F38.W0 D3 /r')],
  ['VPDPWSUD', ...both('F3.0F38.W0 D2 /r')], ['VPDPWSUDS', ...both('F3.0F38.W0 D3 /r')],
  ['VPMADD52LUQ', ...both('66.0F38.W1 B4 /r')], ['VPMADD52HUQ', ...both('66.0F38.W1 B5 /r')],
]);

// biome-ignore format: tables
const CONVERSIONS: readonly Instruction[] = list('SDM vol 2C', [
  ['VCVTNEOPH2PS', ...both('0F38.W0 B0 /r')], ['VCVTNEEPH2PS', ...both('66.0F38.W0 B0 /r')],
  ['VCVTNEEBF162PS', ...both('F3.0F38.W0 B0 /r')], ['VCVTNEOBF162PS', ...both('F2.0F38.W0 B0 /r')],
  ['VBCSTNESH2PS', ...both('66.0F38.W0 B1 /r')], ['VBCSTNEBF162PS', ...both('F3.0F38.W0 B1 /r')],
  ['VCVTNEPS2BF16', ...both('F3.0F38.W0 72 /r')],
]);

// biome-ignore format: tables
const HASHES: readonly Instruction[] = list('SDM vol 2C', [
  ['VSHA512RNDS2', 'VEX.256.F2.0F38.W0 CB /r'], ['VSHA512MSG1', 'VEX.256.F2.0F38.W0 CC /r'],
  ['VSHA512MSG2', 'VEX.256.F2.0F38.W0 CD /r'], ['VSM3MSG1', 'VEX.128.0F38.W0 DA /r'],
  ['VSM3MSG2', 'VEX.128.66.0F38.W0 DA /r'], ['VSM3RNDS2', 'VEX.128.66.0F3A.W0 DE /r ib'],
  ['VSM4KEY4', ...both('F3.0F38.W0 DA /r')], ['VSM4RNDS4', ...both('F2.0F38.W0 DA /r')],
]);

/** By the condition in the opcode, as for Jcc. */
const CONDITIONS = 'O NO B NB Z NZ BE NBE S NS P NP L NL LE NLE'.split(' ');
const COMPARE_AND_ADD: readonly Instruction[] = CONDITIONS.flatMap((condition, n) =>
  list('SDM vol 2A', [
    [`CMP${condition}XADD`, `VEX.128.66.0F38 E${n.toString(16).toUpperCase()} /r`],
  ]),
);

// biome-ignore format: tables
const TILES: readonly Instruction[] = list('SDM vol 2', [
  ['LDTILECFG', 'VEX.128.0F38.W0 49 /0'], ['STTILECFG', 'VEX.128.66.0F38.W0 49 /0'],
  ['TILEZERO', 'VEX.128.F2.0F38.W0 49 /r'], ['TILELOADD', 'VEX.128.F2.0F38.W0 4B /r'],
  ['TILELOADDT1', 'VEX.128.66.0F38.W0 4B /r'], ['TILESTORED', 'VEX.128.F3.0F38.W0 4B /r'],
  ['TDPBF16PS', 'VEX.128.F3.0F38.W0 5C /r'], ['TDPFP16PS', 'VEX.128.F2.0F38.W0 5C /r'],
  ['TDPBUUD', 'VEX.128.0F38.W0 5E /r'], ['TDPBUSD', 'VEX.128.66.0F38.W0 5E /r'],
  ['TDPBSUD', 'VEX.128.F3.0F38.W0 5E /r'], ['TDPBSSD', 'VEX.128.F2.0F38.W0 5E /r'],
]);

/** Operations of two masks, in four widths by prefix and W. */
const masks = (opcode: string): readonly [string, string] => [
  `VEX.256.0F ${opcode} /r`,
  `VEX.256.66.0F ${opcode} /r`,
];
/** Of one mask. */
const mask = (opcode: string): readonly [string, string] => [
  `VEX.128.0F ${opcode} /r`,
  `VEX.128.66.0F ${opcode} /r`,
];
// biome-ignore format: tables
const MASKS: readonly Instruction[] = list('SDM vol 2A', [
  ['KAND', ...masks('41')], ['KANDN', ...masks('42')], ['KNOT', ...mask('44')], ['KOR', ...masks('45')],
  ['KXNOR', ...masks('46')], ['KXOR', ...masks('47')], ['KADD', ...masks('4A')], ['KUNPCK', ...masks('4B')],
  ['KMOV', ...mask('90'), ...mask('91'), ...mask('92'), 'VEX.128.F2.0F 92 /r', ...mask('93'), 'VEX.128.F2.0F 93 /r'],
  ['KORTEST', ...mask('98')], ['KTEST', ...mask('99')],
  ['KSHIFTR', 'VEX.128.66.0F3A 30 /r ib', 'VEX.128.66.0F3A 31 /r ib'],
  ['KSHIFTL', 'VEX.128.66.0F3A 32 /r ib', 'VEX.128.66.0F3A 33 /r ib'],
]);

export const INSTRUCTIONS_UNSUPPORTED_VEX: readonly Instruction[] = [
  ...DOT_PRODUCTS,
  ...CONVERSIONS,
  ...HASHES,
  ...COMPARE_AND_ADD,
  ...TILES,
  ...MASKS,
];
