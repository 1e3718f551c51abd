// What of a case's result is not compared: what the manual leaves undefined, approximations, and fields that differ
// between models. Each with the section that says so.

import type { TableForm } from '../../packages/cpu/interpreter/handlers.ts';
import type { Built } from './encode.ts';
import { memoryPlace, type TestCase } from './generate.ts';
import { RESULT, TEST } from './layout.ts';

export interface Leeway {
  /** Nothing can be said about this case. */
  readonly all: boolean;
  /** RFLAGS bits. */
  readonly flags: number;
  /** Bits of general registers. */
  readonly registers: ReadonlyMap<number, bigint>;
  readonly cr2: boolean;
  readonly x87Status: number;
  readonly nullBases: boolean;
  /** Indices into the case's memory. */
  readonly memory: ReadonlySet<number>;
  isCloseX87(a: bigint, b: bigint, index: number): boolean;
  isCloseSse(a: number, b: number): boolean;
}

const FLAG_BITS: Readonly<Record<string, number>> = { C: 1, P: 4, A: 0x10, Z: 0x40, S: 0x80, O: 0x800, D: 0x400 };
const SHIFT = /^(SHL|SAL|SHR|SAR|ROL|ROR|RCL|RCR|SHLD|SHRD)$/;
/** Transcendental functions: accurate to 1 ulp, SDM vol 1 §8.3.10; their last bit differs between models. */
const TRANSCENDENTAL = /^(F2XM1|FYL2X|FYL2XP1|FPTAN|FPATAN|FSIN|FCOS|FSINCOS)$/;
/** Relative error up to 1.5 * 2^-12: SDM vol 2B, RCPPS, RSQRTPS. */
const APPROXIMATE = /^R(CP|SQRT)[PS]S$/;
const RELATIVE_ERROR_MAX = 2 * 1.5 * 2 ** -12;
const C1 = 0x200;

/** Flags that a form leaves undefined. */
export function undefinedFlags(t: TableForm): number {
  let mask = 0;
  for (const letter of t.instruction.flags?.undefined ?? '') mask |= FLAG_BITS[letter] ?? 0;
  // OF is defined for shifts by 1 only. SDM vol 2B, SAL/SAR/SHL/SHR, RCL/RCR/ROL/ROR, SHLD, SHRD.
  const isByOne = /^D[01] /.test(t.form.encoding);
  if (SHIFT.test(t.instruction.name) && !isByOne) mask |= FLAG_BITS.O! | FLAG_BITS.A!;
  return mask;
}
/** Whether what follows could depend on something undefined. */
export function leavesUndefined(t: TableForm): boolean {
  return undefinedFlags(t) !== 0 || TRANSCENDENTAL.test(t.instruction.name) || APPROXIMATE.test(t.instruction.name);
}

/** Undefined bytes of what a form stores, from the start of its operand: where, how many. */
function undefinedBytes(t: TableForm, built: Built): readonly (readonly [number, number])[] {
  const { name } = t.instruction;
  // Opcode, instruction and data pointers: whether they are kept when no exception is pending, and whether the
  // selectors exist, is the model's. SDM vol 1 §8.1.8; CPUID.(7,0):EBX bits 6 and 13.
  if (name === 'FNSTENV' || name === 'FNSAVE') {
    return built.bits === 16 ? [[6, 8]] : [[2, 2], [6, 2], [10, 18]]; // biome-ignore format: ranges
  }
  // MXCSR_MASK is the model's; the rest of the image is reserved. SDM vol 1 §10.5.1.
  if (name === 'FXSAVE') return [[5, 19], [28, 4], [416, 96]]; // biome-ignore format: ranges
  return [];
}

function undefinedMemory(test: TestCase): Set<number> {
  const places = new Set<number>();
  test.forms.forEach((t, n) => {
    const built = test.built[n]!;
    if (built.target === undefined) return;
    for (const [start, count] of undefinedBytes(t, built)) {
      for (let k = start; k < start + count; k++) {
        const place = memoryPlace(built.target + k);
        if (place !== undefined) places.add(place);
      }
    }
  });
  return places;
}

/** Double shifts of 16 bits by more than 16 leave everything undefined. SDM vol 2B, SHLD, SHRD. */
function hasUndefinedShift(test: TestCase): boolean {
  const view = new DataView(test.bytes.buffer, test.bytes.byteOffset);
  return test.forms.some((t, n) => {
    if (!/^SH[LR]D$/.test(t.instruction.name) || test.built[n]!.bits !== 16) return false;
    const byImmediate = t.form.operands[2]!.source === 'immediate';
    const count = byImmediate ? test.built[n]!.bytes.at(-1)! : view.getUint8(TEST.gpr + 8);
    return (count & 31) > 16;
  });
}

export function leewayOf(test: TestCase, native: DataView): Leeway {
  const flags = test.forms.reduce((mask, t) => mask | undefinedFlags(t), 0);
  const has = (names: RegExp) => test.forms.some((t) => names.test(t.instruction.name));
  const isTranscendental = has(TRANSCENDENTAL);
  const isApproximate = has(APPROXIMATE);
  void native;
  void RESULT;
  return {
    all: hasUndefinedShift(test),
    flags,
    registers: new Map(),
    cr2: false,
    // C1 tells how the last bit was rounded.
    x87Status: isTranscendental ? C1 : 0,
    nullBases: false,
    memory: undefinedMemory(test),
    isCloseX87: (a, b, index) => isTranscendental && index < 2 && isWithinOneUlp(a, b),
    isCloseSse: (a, b) => isApproximate && isRelativelyClose(a, b),
  };
}

/** Neighbouring extended-precision numbers of one sign. */
function isWithinOneUlp(a: bigint, b: bigint): boolean {
  if (a >> 79n !== b >> 79n) return false;
  const position = (v: bigint) => (((v >> 64n) & 0x7fffn) << 63n) | (v & 0x7fff_ffff_ffff_ffffn);
  const distance = position(a) - position(b);
  return distance >= -1n && distance <= 1n;
}

const words = new DataView(new ArrayBuffer(4));
function toFloat(bits: number): number {
  words.setUint32(0, bits);
  return words.getFloat32(0);
}
function isRelativelyClose(a: number, b: number): boolean {
  const [x, y] = [toFloat(a), toFloat(b)];
  return Math.abs(x - y) <= Math.abs(x) * RELATIVE_ERROR_MAX;
}
