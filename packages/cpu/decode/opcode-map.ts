// Opcode maps made from the encodings in the instruction table: for each opcode the forms that share it, most specific
// first. SDM vol 2A §2.1, appendix A.

import { FORMS, rmKinds, type TableForm, variantBits } from '../interpreter/handlers.ts';
import { type Form, featuresOf } from '../isa/instruction.ts';

/** 'any': the form does not care about 66, F2 and F3 (they are operand size and repeat prefixes). */
export type MandatoryPrefix = 'any' | 'none' | '66' | 'f3' | 'f2';

/** A form as the decoder matches it. */
export interface Candidate {
  readonly table: TableForm;
  readonly prefix: MandatoryPrefix;
  /** ModRM.reg must be this, or -1. */
  readonly digit: number;
  /** The ModRM byte must lie in this range when it is fixed; -1 otherwise. */
  readonly modrmFirst: number;
  readonly modrmLast: number;
  readonly hasModrm: boolean;
  readonly rexW: boolean | undefined;
  /** VEX.L must be this; undefined: it does not matter (or the form has no VEX prefix). */
  readonly vexL: 0 | 1 | undefined;
  /** Whether VEX.vvvv names an operand; else it must be 1111b. */
  readonly usesVvvv: boolean;
  /** Outside 64-bit mode VEX.W counts as 0: a general register is an operand. */
  readonly isGeneral: boolean;
  /** A vector register is the index of the memory operand. */
  readonly isVsib: boolean;
  readonly allowsRegister: boolean;
  readonly allowsMemory: boolean;
  /** ModRM.mod is ignored: moves to and from control and debug registers. */
  readonly ignoresMod: boolean;
  readonly bits: readonly number[];
  /** Manual's names of the features that it belongs to. */
  readonly features: readonly string[];
}

export interface Encoding {
  readonly map: number;
  readonly opcode: number;
  readonly prefix: MandatoryPrefix;
  readonly digit: number;
  readonly modrmFirst: number;
  readonly modrmLast: number;
  readonly opcodeCount: number;
  readonly hasModrm: boolean;
  /** REX.W or VEX.W; undefined: it does not matter, or tells the operand size. */
  readonly rexW: boolean | undefined;
  readonly vexL: 0 | 1 | undefined;
}

const PREFIXES: Readonly<Record<string, MandatoryPrefix>> = {
  NP: 'none',
  '66': '66',
  F3: 'f3',
  F2: 'f2',
};
/** Second opcode bytes that lead to a map of their own. */
const ESCAPES: Readonly<Record<string, number>> = { '38': 2, '3A': 3 };
const IMMEDIATE_WORDS = new Set(['ib', 'iw', 'id', 'iq', 'io', 'cb', 'cw', 'cd', 'cp', '/is4']);
/** Maps of VEX-encoded instructions follow the others, by the map's number in the prefix. */
const VEX_MAPS: Readonly<Record<string, number>> = { '0F': 4, '0F38': 5, '0F3A': 6 };
const VEX_LENGTHS: Readonly<Record<string, 0 | 1 | undefined>> = {
  '128': 0, '256': 1, LZ: 0, L0: 0, L1: 1, LIG: undefined,
}; // biome-ignore format: one line
const VEX_W: Readonly<Record<string, boolean | undefined>> = {
  W0: false,
  W1: true,
  WIG: undefined,
};
const MAPS = 7;
/** The map that a VEX prefix's map number leads to, or undefined. */
export function vexMap(number: number): number | undefined {
  return number >= 1 && number <= 3 ? 3 + number : undefined;
}

/** What 'VEX.256.66.0F38.W0' says. */
function parseVex(word: string): Pick<Encoding, 'map' | 'prefix' | 'rexW' | 'vexL'> {
  const parts = word.split('.').slice(1);
  const length = parts.shift() ?? '';
  const prefix = parts[0]! in PREFIXES ? PREFIXES[parts.shift()!]! : 'none';
  const [map = '', w = 'WIG', ...rest] = parts;
  if (!(length in VEX_LENGTHS) || !(map in VEX_MAPS) || !(w in VEX_W) || rest.length)
    throw new Error(`encoding prefix '${word}' is not known`);
  return { map: VEX_MAPS[map]!, prefix, rexW: VEX_W[w], vexL: VEX_LENGTHS[length] };
}

/** Parses the manual's encoding text (isa/instruction.ts says which). */
export function parseEncoding(text: string): Encoding {
  const words = text.split(/\s+/).filter((w) => w !== '+');
  let prefix: MandatoryPrefix = 'any';
  let rexW: boolean | undefined;
  while (words.length > 1 && (words[0]! in PREFIXES || words[0]!.startsWith('REX.W'))) {
    const word = words.shift()!;
    if (word in PREFIXES) prefix = PREFIXES[word]!;
    else rexW = word !== 'REX.W0';
  }
  let map = 0;
  let vexL: 0 | 1 | undefined;
  if (words[0]?.startsWith('VEX.')) ({ map, prefix, rexW, vexL } = parseVex(words.shift()!));
  else if (words[0] === '0F') {
    words.shift();
    const second: string | undefined = words[0];
    map = words.length > 1 ? (ESCAPES[second ?? ''] ?? 1) : 1;
    if (map > 1) words.shift();
  }
  const [first = '', ...rest] = words;
  const result = {
    map,
    opcode: Number.parseInt(first.slice(0, 2), 16),
    prefix,
    digit: -1,
    modrmFirst: -1,
    modrmLast: -1,
    opcodeCount: first.includes('+r') ? 8 : 1,
    hasModrm: false,
    rexW,
    vexL,
  };
  for (const word of rest) {
    if (IMMEDIATE_WORDS.has(word)) continue;
    result.hasModrm = true;
    if (word === '/r') continue;
    if (/^\/[0-7]$/.test(word)) result.digit = Number(word[1]);
    else if (/^[0-9A-F]{2}(\+i)?$/.test(word)) {
      result.modrmFirst = Number.parseInt(word, 16);
      result.modrmLast = result.modrmFirst + (word.endsWith('+i') ? 7 : 0);
    } else throw new Error(`encoding '${text}': what is '${word}'?`);
  }
  if (!Number.isInteger(result.opcode)) throw new Error(`encoding '${text}' has no opcode`);
  return result;
}

const SPECIFICITY: Readonly<Record<MandatoryPrefix, number>> = {
  f2: 0,
  f3: 0,
  '66': 1,
  none: 2,
  any: 3,
};
const MODRM_SOURCES = new Set([
  'rm',
  'rmRegister',
  'rmMemory',
  'reg',
  'segment',
  'control',
  'debug',
  'xmm',
  'xmmRm',
  'xmmRmRegister',
  'mmx',
  'mmxRm',
  'mmxRmRegister',
  'vsib',
]);
const GENERAL_SOURCES = new Set(['rm', 'rmRegister', 'reg', 'vvvv']);

function candidate(table: TableForm, e: Encoding): Candidate {
  const { form } = table;
  const kinds = rmKinds(form);
  const ignoresMod = form.operands.some((o) => o.source === 'control' || o.source === 'debug');
  // A form that only names a ModRM digit takes register and memory alike.
  const usesRm = form.operands.some((o) => MODRM_SOURCES.has(o.source) && o.source !== 'reg');
  return {
    table,
    prefix: e.prefix,
    digit: e.digit,
    modrmFirst: e.modrmFirst,
    modrmLast: e.modrmLast,
    hasModrm: e.hasModrm || form.operands.some((o) => MODRM_SOURCES.has(o.source)),
    rexW: e.rexW,
    vexL: e.vexL,
    usesVvvv: form.operands.some((o) => o.source === 'vvvv' || o.source === 'xmmVvvv'),
    isGeneral: form.operands.some((o) => GENERAL_SOURCES.has(o.source)),
    isVsib: form.operands.some((o) => o.source === 'vsib'),
    allowsRegister: kinds.register || ignoresMod,
    allowsMemory: kinds.memory || (!usesRm && e.modrmFirst < 0),
    ignoresMod,
    bits: variantBits(form),
    features: featuresOf(table.instruction),
  };
}

export type OpcodeMap = readonly (readonly Candidate[])[];

/** Maps 0 (one byte), 1 (0F), 2 (0F 38), 3 (0F 3A) and 4 to 6 (the last three behind VEX), each 256 lists. */
export function buildOpcodeMaps(forms: readonly TableForm[] = FORMS): readonly OpcodeMap[] {
  const maps = Array.from({ length: MAPS }, () =>
    Array.from({ length: 256 }, (): Candidate[] => []),
  );
  for (const table of forms) {
    const e = parseEncoding((table.form as Form).encoding);
    const made = candidate(table, e);
    for (let n = 0; n < e.opcodeCount; n++) maps[e.map]![e.opcode + n]!.push(made);
  }
  const rank = (c: Candidate) =>
    SPECIFICITY[c.prefix] * 4 + (c.modrmFirst >= 0 ? 0 : c.digit >= 0 ? 1 : 2) - (c.rexW ? 0.5 : 0);
  for (const map of maps) for (const list of map) list.sort((a, b) => rank(a) - rank(b));
  return maps;
}
