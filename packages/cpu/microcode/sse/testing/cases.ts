// Test cases for every form of the MMX and SSE table: register and memory variants, random and
// boundary operands. The same seed gives the same cases on every host, so that recorded results
// stay valid.

import { parseEncoding } from '../../../decode/opcode-map.ts';
import type { Form, Instruction, OperandSpec } from '../../../isa/instruction.ts';
import { CASE, setCode } from './oracle.ts';

/** A small generator with 32 bits of state (mulberry32). */
export function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (t ^ (t >>> 14)) >>> 0;
  };
}

export interface Target {
  readonly instruction: Instruction;
  readonly form: Form;
  readonly isMemory: boolean;
  readonly rexW: boolean;
}

const MEMORY = new Set(['rm', 'rmMemory', 'xmmRm', 'mmxRm']);

export function targets(instructions: readonly Instruction[]): Target[] {
  return instructions.flatMap((instruction) =>
    instruction.forms.flatMap((form) => {
      const memory = form.operands.some((o) => MEMORY.has(o.source));
      const register = !form.operands.some((o) => o.source === 'rmMemory');
      const widths = form.operands.some((o) => o.size === 'y') ? [false, true] : [false];
      return widths.flatMap((rexW) => [
        ...(register ? [{ instruction, form, isMemory: false, rexW }] : []),
        ...(memory ? [{ instruction, form, isMemory: true, rexW }] : []),
      ]);
    }),
  );
}

export const describe = (t: Target): string =>
  `${t.instruction.name} ${t.form.encoding}${t.rexW ? ' REX.W' : ''} ${t.isMemory ? 'memory' : 'register'}`;

const PREFIX: Readonly<Record<string, readonly number[]>> = {
  any: [],
  none: [],
  '66': [0x66],
  f2: [0xf2],
  f3: [0xf3],
};
const ESCAPE: readonly (readonly number[])[] = [[], [0x0f], [0x0f, 0x38], [0x0f, 0x3a]];

/** Registers 1 (ModRM.reg) and 2 (ModRM.rm), memory at RDI plus `displacement`. */
export function encode(
  t: Target,
  options: { immediate: number; displacement: number; sameRegister: boolean },
): number[] {
  const e = parseEncoding(t.form.encoding);
  const usesReg = t.form.operands.some((o) => ['reg', 'xmm', 'mmx'].includes(o.source));
  const reg = e.digit >= 0 ? e.digit : usesReg ? 1 : 0;
  const rm = options.sameRegister ? 1 : 2;
  const modrm = t.isMemory ? [0x47 | (reg << 3), options.displacement] : [0xc0 | (reg << 3) | rm];
  const immediate = t.form.operands.some((o: OperandSpec) => o.source === 'immediate')
    ? [options.immediate]
    : [];
  return [
    ...PREFIX[e.prefix]!,
    ...(t.rexW || e.rexW ? [0x48] : []),
    ...ESCAPE[e.map]!,
    e.opcode,
    ...(e.modrmFirst >= 0 ? [e.modrmFirst] : e.hasModrm ? modrm : []),
    ...immediate,
  ];
}

/** Whether 32-bit code can say it too. */
export const needsRex = (t: Target): boolean => t.rexW || t.form.encoding.includes('REX.W ');

export type Pattern = 'bytes' | 'f32' | 'f64' | 'i32' | 'text';

const F32: readonly number[] = [
  0, 0x8000_0000, 1, 0x8000_0001, 0x7f_ffff, 0x80_0000, 0x80_0001, 0x8080_0000, 0x3f80_0000, 0xbf80_0000, 0x3f80_0001, 0x3f7f_ffff,
  0x4000_0000, 0x4040_0000, 0x3f00_0000, 0x3fc0_0000, 0x4020_0000, 0xbfc0_0000, 0x7f7f_ffff, 0xff7f_ffff, 0x7f00_0000, 0x7f80_0000, 0xff80_0000,
  0x7fc0_0000, 0xffc1_2345, 0x7f80_0001, 0xffa5_5aa5, 0x4f00_0000, 0xcf00_0000, 0xcf00_0001, 0x4eff_ffff, 0x5f00_0000, 0xdf00_0000, 0x4b00_0001,
  0x3400_0000, 0x1a80_0000, 0x2000_0000, 0x5f80_0000, 0x4f80_0000, 0x3effffff,
]; // biome-ignore format: bit patterns: zeros, denormals, ones, largest, infinities, NaNs, limits of integers
const F64: readonly bigint[] = [
  0n, 1n << 63n, 1n, (1n << 63n) | 1n, 0xf_ffff_ffff_ffffn, 0x10_0000_0000_0000n, 0x10_0000_0000_0001n, 0x8018_0000_0000_0000n,
  0x3ff0_0000_0000_0000n, 0xbff0_0000_0000_0000n, 0x3ff0_0000_0000_0001n, 0x3fef_ffff_ffff_ffffn, 0x4000_0000_0000_0000n, 0x4008_0000_0000_0000n,
  0x3fe0_0000_0000_0000n, 0x3ff8_0000_0000_0000n, 0x4004_0000_0000_0000n, 0xbff8_0000_0000_0000n, 0x7fef_ffff_ffff_ffffn, 0xffef_ffff_ffff_ffffn,
  0x7fe0_0000_0000_0000n, 0x7ff0_0000_0000_0000n, 0xfff0_0000_0000_0000n, 0x7ff8_0000_0000_0000n, 0xfff8_1234_5678_9abcn, 0x7ff0_0000_0000_0001n,
  0xfff4_5555_aaaa_1111n, 0x41e0_0000_0000_0000n, 0xc1e0_0000_0000_0000n, 0xc1e0_0000_0010_0000n, 0x41df_ffff_ffc0_0000n, 0x41df_ffff_ffe0_0000n,
  0x43e0_0000_0000_0000n, 0xc3e0_0000_0000_0000n, 0x43df_ffff_ffff_ffffn, 0x4330_0000_0000_0001n, 0x3cb0_0000_0000_0000n, 0x36a0_0000_0000_0000n,
  0x3690_0000_0000_0000n, 0x380f_ffff_f000_0000n, 0x380f_ffff_e000_0000n, 0x47ef_ffff_e000_0000n, 0x47ef_ffff_f000_0000n, 0x3810_0000_1000_0000n,
]; // biome-ignore format: bit patterns, as above, and limits of single precision

function f32(next: () => number): number {
  const kind = next() % 8;
  if (kind < 3) return F32[next() % F32.length]!;
  const sign = next() & 0x8000_0000;
  if (kind === 3) return next();
  // Few significant bits give exact results and ties; near exponents give cancellation.
  const fraction =
    kind === 4
      ? (next() & 0x7ff) << 12
      : kind === 5
        ? next() & 0x7f_ffff
        : (next() & 0x3f) << (next() % 18);
  const exponent =
    kind === 6 ? next() % 32 : kind === 7 ? 118 + (next() % 45) : 110 + (next() % 34);
  return (sign | (exponent << 23) | fraction) >>> 0;
}
function f64(next: () => number): bigint {
  const kind = next() % 8;
  if (kind < 3) return F64[next() % F64.length]!;
  const bits = (BigInt(next()) << 32n) | BigInt(next());
  if (kind === 3) return bits;
  const sign = bits & (1n << 63n);
  const all = bits & 0xf_ffff_ffff_ffffn;
  const fraction =
    kind === 4 ? (all >> 30n) << 30n : kind === 5 ? all : (all & 0x3fn) << BigInt(next() % 47);
  const exponent =
    kind === 6 ? next() % 64 : kind === 7 ? 1000 + (next() % 90) : 1010 + (next() % 30);
  return sign | (BigInt(exponent) << 52n) | fraction;
}
const EDGE_BYTES = [0, 1, 0x7f, 0x80, 0xff, 0xfe];
const EDGE_DWORDS = [
  0, 1, 0xffff_ffff, 0x7fff_ffff, 0x8000_0000, 0x0100_0001, 0x00ff_ffff, 0x7fff_ffc0, 0x4000_0001,
];

/** Fills bytes with a pattern of operands. */
export function fill(
  view: DataView,
  from: number,
  bytes: number,
  pattern: Pattern,
  next: () => number,
): void {
  const small = next() % 6 === 0;
  for (let at = from; at < from + bytes; at += 8) {
    if (pattern === 'f64') view.setBigUint64(at, f64(next), true);
    else if (pattern === 'f32')
      for (const half of [0, 4]) view.setUint32(at + half, f32(next), true);
    else if (pattern === 'i32')
      for (const half of [0, 4])
        view.setUint32(
          at + half,
          next() % 2 ? next() : EDGE_DWORDS[next() % EDGE_DWORDS.length]!,
          true,
        );
    else if (pattern === 'text')
      for (let i = 0; i < 8; i++) view.setUint8(at + i, next() % 12 ? 0x61 + (next() % 4) : 0);
    // Shift counts: a small number alone in the low half.
    else if (small) view.setBigUint64(at, BigInt(next() % 70), true);
    else
      for (let i = 0; i < 8; i++)
        view.setUint8(at + i, next() % 3 ? next() : EDGE_BYTES[next() % EDGE_BYTES.length]!);
  }
}

/** What operands make sense for an instruction, by its name. */
export function patternOf(name: string): Pattern {
  if (/^PCMP[EI]STR/.test(name)) return 'text';
  const source = /^CVTT?(PS|SS|PD|SD|PI|DQ|SI)2/.exec(name)?.[1];
  if (source) return /[PS]S/.test(source) ? 'f32' : /[PS]D/.test(source) ? 'f64' : 'i32';
  if (/^(P|MOV|LDDQU|EMMS|MASK)/.test(name)) return 'bytes';
  if (/[PS]S$/.test(name)) return 'f32';
  return /[PS]D$/.test(name) ? 'f64' : 'bytes';
}

/** One random case of a target. */
export function makeCase(t: Target, pattern: Pattern, next: () => number): Uint8Array {
  const record = new Uint8Array(CASE.size);
  const view = new DataView(record.buffer);
  const displacement = t.isMemory && next() % 8 === 0 ? 1 : 0;
  setCode(
    record,
    encode(t, { immediate: next() & 0xff, displacement, sameRegister: next() % 8 === 0 }),
  );
  for (let n = 0; n < 3; n++) fill(view, CASE.xmm + 16 * n, 16, pattern, next);
  fill(view, CASE.mem, 32, pattern, next);
  fill(view, CASE.mm, 8, pattern, next);
  fill(view, CASE.mm + 8, 8, pattern, next);
  for (const at of [CASE.rax, CASE.rcx, CASE.rdx]) {
    if (pattern === 'text') view.setBigInt64(at, BigInt(next() % 40) - 20n, true);
    else fill(view, at, 8, pattern === 'bytes' ? 'bytes' : 'i32', next);
  }
  view.setUint32(CASE.rflags, 0x202 | (next() & 0x8d5), true);
  view.setUint32(CASE.mxcsr, mxcsr(next), true);
  return record;
}

/** Often the usual value, often all masked with any rounding, sometimes anything. */
function mxcsr(next: () => number): number {
  switch (next() % 4) {
    case 0:
      return 0x1f80 | (next() & 0x20);
    case 1:
      return 0x1f80 | (next() & 0xe07f);
    case 2:
      return 0x1f80 | (next() & 0xe000);
    default:
      return next() & 0xffff;
  }
}
