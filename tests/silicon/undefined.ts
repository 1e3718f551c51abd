// What of a case's result is not compared: what the manual leaves undefined, approximations, and fields that differ
// between models or manufacturers. Each with the section that says so, or that says what we do instead of the host.

import type { TableForm } from '../../packages/cpu/interpreter/handlers.ts';
import type { Built } from './encode.ts';
import { memoryPlace, type TestCase } from './generate.ts';
import { FX, MEMORY_BYTES, RESULT, TEST } from './layout.ts';
import { isStackBig, SEGMENT_NAMES, segmentBase, WORLDS, type World } from './worlds.ts';

export interface Leeway {
  /** Nothing can be said about this case. */
  readonly all: boolean;
  /** RFLAGS bits. */
  readonly flags: number;
  readonly cr2: boolean;
  readonly errorCode: boolean;
  readonly x87Status: number;
  /** Indices into the case's memory. */
  readonly memory: ReadonlySet<number>;
  isCloseX87(a: bigint, b: bigint, index: number): boolean;
  isCloseSse(a: number, b: number): boolean;
}

export const FLAG_BITS: Readonly<Record<string, number>> = {
  C: 1,
  P: 4,
  A: 0x10,
  Z: 0x40,
  S: 0x80,
  O: 0x800,
  D: 0x400,
};
export const ARITHMETIC_FLAGS = 0x8d5;
const SHIFT = /^(SHL|SAL|SHR|SAR|ROL|ROR|RCL|RCR|SHLD|SHRD)$/;
/** Transcendental functions: accurate to 1 ulp, SDM vol 1 §8.3.10; their last bit differs between models. */
const TRANSCENDENTAL = /^(F2XM1|FYL2X|FYL2XP1|FPTAN|FPATAN|FSIN|FCOS|FSINCOS)$/;
/** Relative error up to 1.5 * 2^-12: SDM vol 2B, RCPPS, RSQRTPS. */
const APPROXIMATE = /^V?R(CP|SQRT)[PS]S$/;
const RELATIVE_ERROR_MAX = 2 * 1.5 * 2 ** -12;
/** Whether the reciprocal of about 2^126 is the smallest normal number or tiny, and then zero, is the model's. SDM vol 2B, RCPPS. */
const SMALLEST_NORMAL = 2 ** -126;
/** MXCSR bit 17. */
const AMD_MISALIGNED = 1 << 17;
const IS_VECTOR = /^(sse|avx)$/;
const C1 = 0x200;
const VECTOR = { db: 1, ss: 12, gp: 13, pf: 14, ac: 17 } as const;

/** Flags that a form leaves undefined. */
export function undefinedFlags(t: TableForm): number {
  let mask = 0;
  for (const letter of t.instruction.flags?.undefined ?? '') mask |= FLAG_BITS[letter] ?? 0;
  // OF is defined for shifts by 1 only. SDM vol 2B, SAL/SAR/SHL/SHR, RCL/RCR/ROL/ROR, SHLD, SHRD.
  const isByOne = /^D[01] /.test(t.form.encoding);
  if (SHIFT.test(t.instruction.name) && !isByOne) mask |= FLAG_BITS.O! | FLAG_BITS.A!;
  return mask;
}
/** Whether what follows could depend on something that is not compared. */
export function leavesUndefined(t: TableForm): boolean {
  return undefinedFlags(t) !== 0 || leavesUndefinedState(t);
}
/** Whether it leaves something besides flags that is not compared. */
export function leavesUndefinedState(t: TableForm): boolean {
  const { name } = t.instruction;
  const isInexact =
    TRANSCENDENTAL.test(name) || APPROXIMATE.test(name) || COMPARES_TO_RFLAGS.test(name);
  return isSelectorPush(t) || isInexact;
}
/** Whether what is not compared can be told only when nothing has run before: it depends on registers. */
export function isForSingleCases(t: TableForm): boolean {
  return /^(FNSTENV|FNSAVE|FXSAVE|SHLD|SHRD|ARPL|ENTER)$/.test(t.instruction.name);
}

function isSelectorPush(t: TableForm): boolean {
  return t.instruction.name === 'PUSH' && (t.form.operands[0]?.register ?? 0) >= 16;
}
/** AMD leaves C1 as it was, the manual clears it. SDM vol 2A, FCOMI. */
const COMPARES_TO_RFLAGS = /^FU?COMIP?$/;

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

function undefinedMemory(test: TestCase, native: DataView, isFaultingCall: boolean): Set<number> {
  const places = new Set<number>();
  // AMD pushes before it checks the target.
  if (isFaultingCall) for (let n = 0; n < MEMORY_BYTES; n++) places.add(n);
  const exclude = (linear: number) => {
    const place = memoryPlace(linear);
    if (place !== undefined) places.add(place);
  };
  test.forms.forEach((t, n) => {
    const built = test.built[n]!;
    // A pushed selector of 32 bits: Intel's processors write its 16 bits only. SDM vol 2B, PUSH.
    if (isSelectorPush(t) && built.bits === 32) {
      const world: World = WORLDS[test.world];
      const rsp = native.getUint32(RESULT.gpr + 32, true);
      const top = (isStackBig(world) ? rsp : rsp & 0xffff) + segmentBase(world, 'ss');
      exclude(top + 2);
      exclude(top + 3);
    }
    if (built.target === undefined) return;
    for (const [start, count] of undefinedBytes(t, built)) {
      for (let k = start; k < start + count; k++) exclude(built.target + k);
    }
  });
  return places;
}

/** Double shifts of 16 bits by more than 16 leave everything undefined. SDM vol 2B, SHLD, SHRD. */
function isUndefinedShift(t: TableForm, built: Built, test: DataView): boolean {
  if (!/^SH[LR]D$/.test(t.instruction.name) || built.bits !== 16) return false;
  const byImmediate = t.form.operands[2]!.source === 'immediate';
  const count = byImmediate ? built.bytes.at(-1)! : test.getUint8(TEST.gpr + 8);
  return (count & 31) > 16;
}

/** Whole forms on which manufacturers differ; we do as the manual says. */
export function isOtherManufacturers(
  t: TableForm,
  built: Built,
  test: Pick<TestCase, 'world'>,
): boolean {
  const { name } = t.instruction;
  const isLong = WORLDS[test.world].bits === 64;
  // AMD has no far pointers with 64-bit offsets and takes REX.W as nothing. SDM vol 2A, JMP, CALL, LDS/LES/LFS/LGS/LSS.
  const isFar = /^(JMP|CALL)$/.test(name) && t.form.operands[0]?.size === 'n';
  if (isLong && built.bits === 64 && (isFar || /^L[FGS]S$/.test(name))) return true;
  // Intel has SYSRET in 64-bit mode only. SDM vol 2B, SYSRET.
  if (!isLong && name === 'SYSRET') return true;
  // AMD enters the MMX state for a register operand only. SDM vol 2A, CVTPI2PS.
  if (name === 'CVTPI2PS' && built.isMemory) return true;
  // Without memory operand Intel's processors take 0F 0D as NOP, AMD's as undefined. SDM vol 2D, table A-3.
  if (/^0F 0D/.test(t.form.encoding)) return true;
  return false;
}

/** Pairs of faults that one instruction has both of, whose order the manual leaves open. SDM vol 3A §6.9, table 6-2. */
function isOpenOrder(test: TestCase, a: number, b: number): boolean {
  if (a === b) return false;
  const both = (x: number, y: number) => (a === x && b === y) || (a === y && b === x);
  const has = (names: RegExp) => test.forms.some((t) => names.test(t.instruction.name));
  // Misaligned and not mapped, or with a bad selector.
  if (both(VECTOR.pf, VECTOR.ac)) return true;
  if (has(/^(RETF|IRET|CALL|JMP|FN?SAVE|FRSTOR)$/) && both(VECTOR.gp, VECTOR.ac)) return true;
  // AMD reads more of a frame than the manual does before it looks at CS. SDM vol 2B, RET; vol 2A, IRET.
  if (
    has(/^(RETF|IRET)$/) &&
    (both(VECTOR.gp, VECTOR.pf) || both(VECTOR.gp, VECTOR.ss) || both(VECTOR.ss, VECTOR.pf))
  )
    return true;
  // The parts of a far pointer or an image: which is reported when both fault.
  if (
    has(/^(L[DEFGS]S|FLDENV|FNSTENV|FNSAVE|FRSTOR|FXSAVE|FXRSTOR)$/) &&
    (both(VECTOR.gp, VECTOR.pf) || both(VECTOR.ss, VECTOR.pf))
  )
    return true;
  // Elements that fault in different ways.
  if (has(/^V?P?MASKMOV/) && (both(VECTOR.gp, VECTOR.pf) || both(VECTOR.ss, VECTOR.pf)))
    return true;
  // Misaligned (#GP, or #AC where that is enabled) and outside the stack segment.
  const isAligned = test.forms.some(
    (t) =>
      IS_VECTOR.test(t.form.unit ?? '') ||
      /^FX/.test(t.instruction.name) ||
      t.form.operands.some((o) => o.size === 'x'),
  );
  if (
    isAligned &&
    (both(VECTOR.gp, VECTOR.ss) || both(VECTOR.gp, VECTOR.ac) || both(VECTOR.ss, VECTOR.ac))
  )
    return true;
  // A bad target and no room for the return address: AMD pushes first. SDM vol 2A, CALL checks the target first.
  if (has(/^CALL$/) && (both(VECTOR.gp, VECTOR.pf) || both(VECTOR.gp, VECTOR.ss))) return true;
  return false;
}
function isFarCall(t: TableForm): boolean {
  return t.instruction.name === 'CALL' && t.form.operands[0]?.size === 'n';
}
/** Faults that a model may raise or not. */
function isOptionalFault(test: TestCase, result: DataView, ours: number): boolean {
  const native = result.getUint32(RESULT.vector, true);
  // AMD enters the MMX state even when MASKMOVQ faults; and what it reports of bytes that the mask leaves out is the
  // model's. SDM vol 2B, MASKMOVQ.
  if (native >= VECTOR.ss && test.forms.some((t) => /^V?MASKMOV(Q|DQU)$/.test(t.instruction.name)))
    return true;
  // #AC of 16-byte accesses that need not be aligned. SDM vol 2A §2.4, table 2-21 (type 4).
  const isWide = test.forms.some(
    (t) =>
      IS_VECTOR.test(t.form.unit ?? '') && t.form.operands.some((o) => /^(x|qq)$/.test(o.size)),
  );
  if (native === VECTOR.ac && isWide) return true;
  const has = (names: RegExp) => test.forms.some((t) => names.test(t.instruction.name));
  // A step that is pending when a later element faults may come first. SDM vol 2C, VPGATHERDD/VPGATHERQD.
  if (native === VECTOR.db && ours >= VECTOR.ss && has(/GATHER/)) return true;
  // AMD reads 32 bits for the 16-bit form. SDM vol 2B, MOVSXD.
  if ((native === VECTOR.pf || native === VECTOR.ac) && has(/^MOVSXD$/)) return true;
  // AMD has changed the registers before the one whose load faults. SDM vol 2B, POPA.
  if (native >= VECTOR.ss && has(/^POPA$/)) return true;
  // AMD takes the memory operand of SHA instructions unaligned. SDM vol 2A §2.4, table 2-21 (type 4).
  if (ours === VECTOR.gp && has(/^SHA(1|256)/)) return true;
  // AMD has a bit of its own for misaligned operands there, reserved in the manual. SDM vol 1 §10.2.3.
  const mxcsr = result.getUint32(RESULT.fx + FX.mxcsr, true);
  if (ours === VECTOR.gp && has(/^(V?LDMXCSR|FXRSTOR)$/) && mxcsr & AMD_MISALIGNED) return true;
  // A pushed selector of 32 bits is aligned as 16 bits where only those are written. SDM vol 2B, PUSH.
  if (native === VECTOR.ac && test.forms.some(isSelectorPush)) return true;
  // A far call to another code size: AMD pushes as the new one does. SDM vol 2A, CALL.
  if (native === VECTOR.pf && test.forms.some(isFarCall)) return true;
  if (native === ours) return false;
  // AMD writes ARPL's operand only when RPL changes; we check the access beforehand. SDM vol 2A, ARPL.
  if (ours >= VECTOR.ss && has(/^ARPL$/)) return true;
  // The place that ENTER makes sure of and does not write. SDM vol 2A, ENTER.
  return native === VECTOR.ac && has(/^ENTER$/);
}
/** A repeat count of zero: the manual tests it before the I/O permissions, AMD behind them. SDM vol 2B, REP. */
function isEmptyPortString(test: TestCase, view: DataView, native: DataView): boolean {
  const isPort = test.forms.some((t) => /^(INS|OUTS)B?$/.test(t.instruction.name));
  const isZero = (count: number) => (count & 0xffff) === 0;
  return (
    isPort &&
    (isZero(view.getUint32(TEST.gpr + 8, true)) || isZero(native.getUint32(RESULT.gpr + 8, true)))
  );
}
/** An access that wraps at the end of a segment of 4 GiB may fault or not. SDM vol 3A §5.3. */
function isWrapping(test: TestCase, native: number, ours: DataView): boolean {
  if (WORLDS[test.world].bits === 64 || (native !== VECTOR.gp && native !== VECTOR.ss))
    return false;
  if (ours.getUint32(RESULT.vector, true) !== VECTOR.pf) return false;
  const cr2 = Number(ours.getBigUint64(RESULT.cr2, true));
  const bases = SEGMENT_NAMES.map((name) => segmentBase(WORLDS[test.world], name));
  return bases.some((base) => Math.abs((cr2 - base) | 0) < 0x1000);
}

export function leewayOf(test: TestCase, native: DataView, ours: DataView): Leeway {
  const view = new DataView(test.bytes.buffer, test.bytes.byteOffset);
  const has = (names: RegExp) => test.forms.some((t) => names.test(t.instruction.name));
  const vector = native.getUint32(RESULT.vector, true);
  const ourVector = ours.getUint32(RESULT.vector, true);
  const isFault = vector !== 3 && vector !== 1;
  const isTranscendental = has(TRANSCENDENTAL);
  const isApproximate = has(APPROXIMATE);
  let flags = test.forms.reduce((mask, t) => mask | undefinedFlags(t), 0);
  // Flags behind a fault in a repeated comparison: as before the instruction. SDM vol 2B, REP. AMD keeps the last ones.
  if (isFault && has(/^(CMPS|SCAS)/)) flags |= ARITHMETIC_FLAGS;
  return {
    all:
      test.forms.some(
        (t, n) =>
          isUndefinedShift(t, test.built[n]!, view) ||
          isOtherManufacturers(t, test.built[n]!, test),
      ) ||
      isOpenOrder(test, vector, ourVector) ||
      isOptionalFault(test, native, ourVector) ||
      isEmptyPortString(test, view, native) ||
      isWrapping(test, vector, ours),
    flags,
    // Which part of a long or masked operand is reported when several bytes fault is the model's. SDM vol 3A §4.7.
    cr2: has(
      /^(V?P?MASKMOV.*|FXSAVE|FXRSTOR|FNSAVE|FRSTOR|FNSTENV|FLDENV|IRET|RETF|POPA|PUSHA|L[DEFGS]S)$/,
    ),
    errorCode: has(/^ARPL$/),
    // C1 tells how the last bit was rounded.
    x87Status: isTranscendental || has(COMPARES_TO_RFLAGS) ? C1 : 0,
    memory: undefinedMemory(test, native, isFault && has(/^CALL$/)),
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
  const isTiny = (value: number) => Math.abs(value) <= SMALLEST_NORMAL;
  if (isTiny(x) && isTiny(y)) return a >>> 31 === b >>> 31;
  return Math.abs(x - y) <= Math.abs(x) * RELATIVE_ERROR_MAX;
}
