// Makes test cases from the instruction table: each user-mode form with random registers, addresses, immediates and
// prefixes, encoded for 64-bit mode, in sequences of one to a few instructions.

import { type Encoding, parseEncoding } from '../../packages/cpu/decode/opcode-map.ts';
import { FORMS, rmKinds, type TableForm, variantBits } from '../../packages/cpu/interpreter/handlers.ts';
import type { OperandSpec } from '../../packages/cpu/isa/instruction.ts';
import { CODE, CODE_BYTES_MAX, DATA, FX, MEMORY_PARTS, PAGE, STACK, TEST, WINDOW } from './layout.ts';
import type { Random } from './random.ts';

/**
 * Not compared: privileged or environment-dependent instructions, what tells the host's model or time, and transfers
 * that leave the sandbox. Each is covered by tests of its own.
 */
const EXCLUDED =
  /^(SYSCALL|SYSRET|SYSENTER|SYSEXIT|INT.*|ICEBP|BOUND|HLT|IN|OUT|INS.?|OUTS.?|CLI|STI|RDTSCP?|RDPMC|CPUID|RDRAND|RDSEED|XGETBV|XSETBV|F?XSAVE.*|F?XRSTOR.*|FXSAVE|FXRSTOR|IRET.?|.*FAR.*|JMPF|CALLF|RETF|LGDT|LIDT|SGDT|SIDT|LLDT|SLDT|LTR|STR|SMSW|LMSW|CLTS|INVLPG|INVPCID|INVD|WBINVD|RDMSR|WRMSR|MONITOR|MWAIT|(RD|WR)[FG]SBASE|SWAPGS|STAC|CLAC|L[DEFGS]S|LAR|LSL|VERR|VERW|ARPL|POPF.?|PUSHF.?|VM.*|RSM|GETSEC|UD[012]|CLFLUSH.*|CLWB|FS?N?SAVE|FRSTOR|FN?STENV|FLDENV|PREFETCH.*|ENDBR.*|RDSSP.*)$/;

/** Approximations and last-place differences between processor models. */
const APPROXIMATE = /^(RCP|RSQRT)[PS]S$|^(F2XM1|FYL2X|FYL2XP1|FPTAN|FPATAN|FSIN|FCOS|FSINCOS)$/;
const STRING = /^(MOVS|CMPS|SCAS|LODS|STOS)/;
const SYSTEM_SOURCES = new Set(['segment', 'control', 'debug', 'far']);
const VECTOR = new Set(['xmm', 'xmmRm', 'xmmRmRegister', 'mmx', 'mmxRm', 'mmxRmRegister']);

export function isComparable(t: TableForm): boolean {
  const { instruction, form } = t;
  if (!instruction.supported || form.mode === 'legacy' || EXCLUDED.test(instruction.name)) return false;
  if (/segment|SREG/i.test(instruction.manual) && form.operands.some((o) => o.register !== undefined && o.register >= 16)) return false;
  return !form.operands.some((o) => SYSTEM_SOURCES.has(o.source) || (o.register ?? 0) >= 16 || o.source === 'moffs');
}
export function isApproximate(t: TableForm): boolean {
  return APPROXIMATE.test(t.instruction.name);
}

export const COMPARABLE: readonly TableForm[] = FORMS.filter(isComparable);

const ENCODINGS = new Map<TableForm, Encoding>(COMPARABLE.map((t) => [t, parseEncoding(t.form.encoding)]));

export interface TestCase {
  readonly forms: readonly TableForm[];
  /** struct test of runner.c. */
  readonly bytes: Uint8Array;
}

/** Bytes of one instruction, with what its operands ask of the registers. */
interface Built {
  readonly bytes: number[];
  readonly registers: Map<number, bigint>;
}

class Builder {
  readonly #random: Random;
  readonly #t: TableForm;
  readonly #e: Encoding;
  readonly #registers = new Map<number, bigint>();

  constructor(random: Random, t: TableForm) {
    this.#random = random;
    this.#t = t;
    this.#e = ENCODINGS.get(t)!;
  }

  build(): Built {
    const r = this.#random;
    const { form } = this.#t;
    const e = this.#e;
    // Near branches with a 66 prefix differ between manufacturers.
    const bits = form.size64 === 'always' ? 64 : r.pick(variantBits(form));
    const isString = STRING.test(this.#t.instruction.name);
    let rex = r.chance(15) ? 0x40 | r.below(8) : 0;
    const prefixes: number[] = [];
    if (bits === 16 && variantBits(form).includes(16)) prefixes.push(0x66);
    if ((bits === 64 && variantBits(form).length > 1 && form.size64 === undefined) || e.rexW) rex |= 0x48;
    if (e.rexW === false) rex &= ~8;
    if (variantBits(form).length > 1 && bits !== 64) rex &= ~8;
    if (e.prefix === '66') prefixes.push(0x66);
    if (isString && r.chance(60)) prefixes.push(r.pick([0xf2, 0xf3]));
    const address32 = r.chance(4);
    if (address32) prefixes.push(0x67);
    if (r.chance(3)) prefixes.push(r.pick([0x26, 0x2e, 0x36, 0x3e]));
    const hasModrm = e.hasModrm || form.operands.some((o) => /^(rm|reg|xmm|mmx)/.test(o.source));
    const kinds = rmKinds(form);
    const isMemory = hasModrm && e.modrmFirst < 0 && kinds.memory && (!kinds.register || r.chance(45));
    if (form.lock && isMemory && r.chance(15)) prefixes.push(0xf0);
    const opcode = e.opcode + (e.opcodeCount > 1 ? r.below(8) : 0);
    const tail: number[] = [];
    if (hasModrm) {
      const digit = e.digit >= 0 ? e.digit : r.below(8);
      if (e.modrmFirst >= 0) tail.push(e.modrmFirst + r.below(e.modrmLast - e.modrmFirst + 1));
      else if (isMemory) tail.push(...this.#memoryOperand(digit, rex, address32, this.#immediateBytes(bits)));
      else tail.push(0xc0 | (digit << 3) | r.below(8));
    }
    if (isString) this.#stringRegisters();
    const mandatory = e.prefix === 'f3' ? [0xf3] : e.prefix === 'f2' ? [0xf2] : [];
    const escape = [[], [0x0f], [0x0f, 0x38], [0x0f, 0x3a]][e.map]!;
    return {
      bytes: [...prefixes, ...mandatory, ...(rex ? [rex] : []), ...escape, opcode, ...tail, ...this.#immediates(bits)],
      registers: this.#registers,
    };
  }

  /** An address in or just outside the data pages, often at an edge. */
  #target(): number {
    const r = this.#random;
    const near = r.pick([DATA, DATA + PAGE, DATA + 2 * PAGE]);
    if (r.chance(55)) {
      const inside = r.pick([DATA + 16 * r.below(7), DATA + PAGE - 64 + 16 * r.below(8), DATA + 2 * PAGE - 64 + 16 * r.below(3)]);
      return inside + (r.chance(30) ? r.below(16) : 0);
    }
    return near - 24 + r.below(48);
  }

  /** ModRM, SIB and displacement; picks register values so that the address is the target. */
  #memoryOperand(digit: number, rex: number, address32: boolean, immediateBytes: number): number[] {
    const r = this.#random;
    const target = BigInt(this.#target());
    const kind = r.below(10);
    const small = BigInt(r.below(256) - 128);
    const le32 = (v: bigint) => [0, 8, 16, 24].map((s) => Number((BigInt.asUintN(32, v) >> BigInt(s)) & 0xffn));
    if (kind === 0) return [(digit << 3) | 4, 0x25, ...le32(target)];
    if (kind === 1 && !address32) {
      // rip-relative: patched by the caller's position, see `fixRipRelative`.
      this.ripTarget = { target, immediateBytes };
      return [(digit << 3) | 5, 0, 0, 0, 0];
    }
    const useDisp8 = r.chance(60);
    const displacement = useDisp8 ? small : BigInt(r.below(0x10000) - 0x8000);
    const dispBytes = useDisp8 ? [Number(displacement & 0xffn)] : le32(displacement);
    const mod = useDisp8 ? 0x40 : 0x80;
    const base = r.pick([0, 1, 2, 3, 5, 6, 7]);
    const baseNumber = base | ((rex & 1) << 3);
    if (kind < 6) {
      this.#registers.set(baseNumber, BigInt.asUintN(64, target - displacement));
      if (base === 4) return [mod | (digit << 3) | 4, 0x24, ...dispBytes];
      return [mod | (digit << 3) | base, ...dispBytes];
    }
    const index = r.pick([0, 1, 2, 3, 5, 6, 7]);
    const indexNumber = index | ((rex & 2) << 2);
    const scale = r.below(4);
    const indexValue = BigInt(r.below(256) - 100);
    if (indexNumber === baseNumber) {
      this.#registers.set(baseNumber, BigInt.asUintN(64, (target - displacement) / BigInt(1 + (1 << scale))));
    } else {
      this.#registers.set(indexNumber, BigInt.asUintN(64, indexValue));
      this.#registers.set(baseNumber, BigInt.asUintN(64, target - displacement - (indexValue << BigInt(scale))));
    }
    return [mod | (digit << 3) | 4, (scale << 6) | (index << 3) | base, ...dispBytes];
  }
  ripTarget: { target: bigint; immediateBytes: number } | undefined;

  #stringRegisters(): void {
    const r = this.#random;
    this.#registers.set(1, BigInt(r.chance(80) ? r.below(12) : r.below(300)));
    this.#registers.set(6, BigInt(this.#target()));
    this.#registers.set(7, BigInt(this.#target()));
  }

  #operandBytes(o: OperandSpec, bits: number): number {
    if (o.source === 'relative') return o.size === 'b' ? 1 : 4;
    if (o.source !== 'immediate' && o.source !== 'immediateSigned') return 0;
    if (o.size === 'b') return 1;
    if (o.size === 'w') return 2;
    return o.source === 'immediate' ? bits / 8 : bits === 16 ? 2 : 4;
  }
  #immediateBytes(bits: number): number {
    return this.#t.form.operands.reduce((sum, o) => sum + this.#operandBytes(o, bits), 0);
  }
  #immediates(bits: number): number[] {
    const r = this.#random;
    return this.#t.form.operands.flatMap((o) => {
      const count = this.#operandBytes(o, bits);
      // Branches go forward and stay within the code pages, which are filled with INT3.
      const value = o.source === 'relative' ? BigInt(r.below(100)) : r.integer();
      return Array.from({ length: count }, (_, n) => Number((value >> BigInt(8 * n)) & 0xffn));
    });
  }
}

/** A sequence of instructions of the given forms, with a random state around it. */
export function generateCase(random: Random, forms: readonly TableForm[]): TestCase {
  const bytes = new Uint8Array(TEST.size);
  const view = new DataView(bytes.buffer);
  const code: number[] = [];
  const registers = new Map<number, bigint>();
  const built = forms.map((t) => {
    const builder = new Builder(random, t);
    return { ...builder.build(), rip: builder.ripTarget };
  });
  const length = built.reduce((sum, b) => sum + b.bytes.length, 0);
  const offset = random.chance(10) ? PAGE - random.below(length + 1) : 64 + random.below(2048);
  for (const b of built) {
    if (b.rip) fixRipRelative(b.bytes, b.rip, CODE + offset + code.length);
    code.push(...b.bytes);
    for (const [n, value] of b.registers) registers.set(n, value);
  }
  code.push(0xcc);
  if (code.length > CODE_BYTES_MAX) throw new Error('the sequence is too long');
  bytes.set(code, TEST.code);
  view.setUint32(TEST.codeOffset, offset, true);
  view.setUint32(TEST.codeLength, code.length, true);
  for (let n = 0; n < 16; n++) view.setBigUint64(TEST.gpr + 8 * n, BigInt.asUintN(64, registers.get(n) ?? random.integer()), true);
  if (!registers.has(4)) view.setBigUint64(TEST.gpr + 32, BigInt(STACK + PAGE / 2 - 16 + 8 * random.below(8)), true);
  const df = forms.some((t) => STRING.test(t.instruction.name)) && random.chance(30) ? 0x400n : 0n;
  view.setBigUint64(TEST.rflags, (random.u64() & 0x8d5n) | 0x202n | df, true);
  fillFx(random, view, forms);
  fillMemory(random, bytes);
  return { forms, bytes };
}

/** rip-relative displacements count from the end of the instruction; the displacement sits before the immediate. */
function fixRipRelative(bytes: number[], rip: { target: bigint; immediateBytes: number }, address: number): void {
  const at = bytes.length - rip.immediateBytes - 4;
  const displacement = rip.target - BigInt(address + bytes.length);
  for (let n = 0; n < 4; n++) bytes[at + n] = Number((BigInt.asUintN(32, displacement) >> BigInt(8 * n)) & 0xffn);
}

function fillFx(random: Random, view: DataView, forms: readonly TableForm[]): void {
  const fx = TEST.fx;
  const usesX87 = forms.some((t) => t.form.unit === 'x87' || t.form.encoding.startsWith('D'));
  const usesMmx = forms.some((t) => t.form.operands.some((o) => o.source.startsWith('mmx')));
  const control = random.chance(60) ? 0x37f : 0x40 | (random.u64() & 0xf3fn ? Number(random.u64() & 0xf3fn) : 0x3f);
  view.setUint16(fx + FX.control, control | 0x40, true);
  const top = usesX87 ? random.below(8) : 0;
  view.setUint16(fx + FX.status, (top << 11) | (usesX87 ? Number(random.u64() & 0x4700n) : 0), true);
  view.setUint8(fx + FX.tag, usesX87 ? (random.chance(75) ? 0xff : Number(random.u64() & 0xffn)) : usesMmx ? 0xff : 0);
  const masks = random.chance(85) ? 0x1f80 : Number(random.u64() & 0x1f80n);
  const rounding = random.chance(60) ? 0 : random.below(4) << 13;
  const special = (random.chance(15) ? 0x40 : 0) | (random.chance(15) ? 0x8000 : 0);
  view.setUint32(fx + FX.mxcsr, masks | rounding | special | Number(random.u64() & 0x3fn), true);
  for (let n = 0; n < 8; n++) {
    const value = usesX87 ? random.extended() : (0xffffn << 64n) | random.u64();
    view.setBigUint64(fx + FX.st + 16 * n, value & 0xffff_ffff_ffff_ffffn, true);
    view.setUint16(fx + FX.st + 16 * n + 8, Number(value >> 64n), true);
  }
  const useFloats = forms.some((t) => t.form.operands.some((o) => VECTOR.has(o.source)));
  const fill = useFloats ? random.below(4) : 3;
  for (let n = 0; n < 16; n++) {
    for (let half = 0; half < 2; half++) view.setBigUint64(fx + FX.xmm + 16 * n + 8 * half, vectorHalf(random, fill), true);
  }
}

function vectorHalf(random: Random, fill: number): bigint {
  if (fill === 0) return random.double();
  if (fill === 1) return random.single() | (random.single() << 32n);
  return fill === 2 ? random.integer() : random.u64();
}

function fillMemory(random: Random, bytes: Uint8Array): void {
  const view = new DataView(bytes.buffer);
  const size = MEMORY_PARTS.reduce((sum, part) => sum + part.bytes, 0);
  const fill = random.below(4);
  for (let at = 0; at < size; at += 8) view.setBigUint64(TEST.memory + at, vectorHalf(random, fill), true);
  void WINDOW;
}
