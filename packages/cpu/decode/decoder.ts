// Bytes to one decoded instruction. SDM vol 2A ch. 2. The result is plain data that the block store writes into a record
// and the disassembler prints; nothing here knows what an instruction means.

import { arrayRegisterOffset, generalRegisterOffset } from '../interpreter/operands.ts';
import type { OperandSpec } from '../isa/instruction.ts';
import { at, S, SEGMENT } from '../state/layout.ts';
import { buildOpcodeMaps, type Candidate, type MandatoryPrefix, vexMap } from './opcode-map.ts';

/** SDM vol 2A §2.3.11: longer instructions raise #GP(0). */
export const INSTRUCTION_LENGTH_MAX = 15;

/** What decoding ended with. */
export type DecodeStatus = 'ok' | 'invalid' | 'tooLong' | 'moreBytes';

/** One instruction, decoded. The decoder reuses one object: copy what must last. */
export interface Decoded {
  status: DecodeStatus;
  length: number;
  candidate: Candidate | undefined;
  /** Operand size in bits of the variant (0 if the form has none). */
  bits: number;
  isMemory: boolean;
  addressBits: 16 | 32 | 64;
  rep: boolean;
  repne: boolean;
  lock: boolean;
  hasRex: boolean;
  opcode: number;
  /** ModRM.reg and ModRM.rm with REX extension; for opcode registers `rm`. */
  reg: number;
  rm: number;
  /** Register numbers in VEX.vvvv and in bits 7–4 of the last byte. */
  vvvv: number;
  is4: number;
  /** Memory operand: register numbers or -1; 16 stands for rip. */
  base: number;
  index: number;
  scale: number;
  displacement: bigint;
  /** Bytes of the instruction in front of a displacement of four bytes or more (-1: there is none), and of immediates. */
  displacementAt: number;
  immediateAt: number;
  segment: number;
  segmentOverride: number;
  immediate: bigint;
}

const MAPS = buildOpcodeMaps();
const SEGMENT_PREFIX: Readonly<Record<number, number>> = {
  38: SEGMENT.es,
  46: SEGMENT.cs,
  54: SEGMENT.ss,
  62: SEGMENT.ds,
  100: SEGMENT.fs,
  101: SEGMENT.gs,
};
/** Base and index of 16-bit ModRM addressing. SDM vol 2A table 2-1. */
const BASE16 = [3, 3, 5, 5, 6, 7, 5, 3] as const;
const INDEX16 = [6, 7, 6, 7, -1, -1, -1, -1] as const;
/** `base` of an operand that is relative to rip. */
export const RIP = 16;
/** Mandatory prefixes by VEX.pp. SDM vol 2A §2.3.6.2. */
const VEX_PREFIXES = ['none', '66', 'f3', 'f2'] as const;
const NOTHING: ReadonlySet<string> = new Set();

class Decoder {
  readonly out: Decoded = {
    status: 'ok', length: 0, candidate: undefined, bits: 0, isMemory: false, addressBits: 64, rep: false, repne: false,
    lock: false, hasRex: false, opcode: 0, reg: 0, rm: 0, vvvv: 0, is4: 0, base: -1, index: -1, scale: 0, displacement: 0n, displacementAt: -1,
    immediateAt: -1, segment: SEGMENT.ds, segmentOverride: -1, immediate: 0n,
  }; // biome-ignore format: a blank result
  #bytes: Uint8Array = new Uint8Array(0);
  #start = 0;
  #position = 0;
  #end = 0;
  #ranOut = false;
  #rex = 0;
  /** The mandatory prefix, W and L of a VEX prefix; undefined without one. */
  #vex: { prefix: MandatoryPrefix; w: boolean; l: 0 | 1 } | undefined;
  #operandPrefix = false;
  #addressPrefix = false;
  #codeBits: 16 | 32 | 64 = 64;
  #lacking: ReadonlySet<string> = NOTHING;

  /** Decodes the instruction at `start`, with bytes up to `end`. */
  decode(
    bytes: Uint8Array,
    start: number,
    end: number,
    codeBits: 16 | 32 | 64,
    lacking: ReadonlySet<string>,
  ): Decoded {
    const out = this.out;
    this.#lacking = lacking;
    this.#bytes = bytes;
    this.#start = start;
    this.#position = start;
    this.#end = Math.min(end, start + INSTRUCTION_LENGTH_MAX);
    this.#ranOut = false;
    this.#codeBits = codeBits;
    out.segmentOverride = -1;
    out.rep = out.repne = out.lock = false;
    out.candidate = undefined;
    out.isMemory = false;
    out.immediate = 0n;
    out.displacement = 0n;
    out.displacementAt = out.immediateAt = -1;
    out.base = out.index = -1;
    out.scale = 0;
    out.segment = SEGMENT.ds;
    out.reg = out.rm = out.vvvv = out.is4 = 0;
    this.#vex = undefined;
    const first = this.#prefixes();
    out.status = this.#instruction(first);
    out.length = this.#position - start;
    if (this.#ranOut) {
      const isLong = this.#end - start >= INSTRUCTION_LENGTH_MAX;
      out.status = isLong ? 'tooLong' : 'moreBytes';
      out.candidate = undefined;
    }
    return out;
  }

  #u8(): number {
    if (this.#position >= this.#end) {
      this.#ranOut = true;
      return 0;
    }
    return this.#bytes[this.#position++]!;
  }
  #signed(count: number): bigint {
    if (count === 1) return BigInt((this.#u8() << 24) >> 24);
    let low = 0;
    for (let i = 0; i < Math.min(count, 4); i++) low |= this.#u8() << (8 * i);
    if (count === 2) return BigInt((low << 16) >> 16);
    if (count === 4) return BigInt(low);
    let high = 0;
    for (let i = 0; i < 4; i++) high |= this.#u8() << (8 * i);
    return (BigInt(high) << 32n) | BigInt(low >>> 0);
  }

  /** Consumes prefixes and gives the first opcode byte. */
  #prefixes(): number {
    const out = this.out;
    this.#rex = 0;
    this.#operandPrefix = this.#addressPrefix = false;
    for (;;) {
      const byte = this.#u8();
      if (this.#ranOut) return 0;
      if (this.#codeBits === 64 && (byte & 0xf0) === 0x40) {
        this.#rex = byte;
        continue;
      }
      const isPrefix = this.#legacyPrefix(byte);
      if (!isPrefix) {
        out.hasRex = this.#rex !== 0;
        return byte;
      }
      // A REX prefix counts only right before the opcode.
      this.#rex = 0;
    }
  }
  #legacyPrefix(byte: number): boolean {
    const out = this.out;
    switch (byte) {
      case 0x66:
        this.#operandPrefix = true;
        return true;
      case 0x67:
        this.#addressPrefix = true;
        return true;
      case 0xf0:
        out.lock = true;
        return true;
      case 0xf2:
        out.repne = true;
        out.rep = false;
        return true;
      case 0xf3:
        out.rep = true;
        out.repne = false;
        return true;
      case 0x26:
      case 0x2e:
      case 0x36:
      case 0x3e:
        // In 64-bit mode these four mean nothing, and do not undo an earlier FS or GS.
        if (this.#codeBits !== 64) out.segmentOverride = SEGMENT_PREFIX[byte]!;
        return true;
      case 0x64:
      case 0x65:
        out.segmentOverride = SEGMENT_PREFIX[byte]!;
        return true;
      default:
        return false;
    }
  }

  #instruction(first: number): DecodeStatus {
    const out = this.out;
    if (this.#ranOut) return 'moreBytes';
    let map = 0;
    let opcode = first;
    if (this.#isVex(first)) {
      const found = this.#vexPrefix(first);
      if (found === undefined) return 'invalid';
      map = found;
      opcode = this.#u8();
    } else if (first === 0x0f) {
      map = 1;
      opcode = this.#u8();
      if (opcode === 0x38 || opcode === 0x3a) {
        map = opcode === 0x38 ? 2 : 3;
        opcode = this.#u8();
      }
    }
    out.opcode = opcode;
    out.addressBits = this.#addressBits();
    const candidates = MAPS[map]![opcode]!;
    if (!candidates.length) return 'invalid';
    const hasModrm = candidates[0]!.hasModrm;
    const modrm = hasModrm ? this.#u8() : -1;
    const found = this.#match(candidates, modrm);
    if (!found) return 'invalid';
    if (this.#vex && !found.usesVvvv && out.vvvv) return 'invalid';
    out.candidate = found;
    out.bits = this.#operandBits(found);
    if (hasModrm) this.#modrm(found, modrm);
    else out.rm = (opcode & 7) | ((this.#rex & 1) << 3);
    if (found.isVsib && !this.#isVsib(modrm)) return 'invalid';
    for (const [n, operand] of found.table.form.operands.entries()) this.#immediate(operand, n);
    // D8–DF have no immediate: its place holds FOP.
    if (map === 0 && (opcode & 0xf8) === 0xd8) out.immediate = BigInt(((opcode & 7) << 8) | modrm);
    if (out.base === RIP) out.displacement += BigInt(this.#position - this.#start);
    this.#segment();
    if (out.lock && !(found.table.form.lock && out.isMemory)) return 'invalid';
    return found.table.instruction.supported ? 'ok' : 'invalid';
  }

  /** C4 and C5 are LES and LDS outside 64-bit mode unless what follows names a register. SDM vol 2A §2.3.5. */
  #isVex(first: number): boolean {
    if (first !== 0xc4 && first !== 0xc5) return false;
    return this.#codeBits === 64 || (this.#bytes[this.#position] ?? 0) >= 0xc0;
  }
  /** Reads a VEX prefix, whose register bits are inverted; gives the opcode map or undefined for #UD. */
  #vexPrefix(first: number): number | undefined {
    const { out } = this;
    const isLong = this.#codeBits === 64;
    const isRefused = this.#operandPrefix || out.rep || out.repne || out.lock || this.#rex !== 0;
    const second = this.#u8();
    const last = first === 0xc4 ? this.#u8() : second & 0x7f;
    const extensions = first === 0xc4 ? ~second >> 5 : (~second >> 5) & 4;
    const w = last >= 0x80;
    this.#rex = isLong ? (extensions & 7) | (w ? 8 : 0) : 0;
    this.#vex = { prefix: VEX_PREFIXES[last & 3]!, w, l: last & 4 ? 1 : 0 };
    out.vvvv = (~last >> 3) & (isLong ? 15 : 7);
    out.hasRex = isLong;
    return isRefused ? undefined : vexMap(first === 0xc4 ? second & 0x1f : 1);
  }
  /** A vsib operand needs a SIB byte, and three different registers. SDM vol 2A §2.3.12, table 2-27. */
  #isVsib(modrm: number): boolean {
    const { out } = this;
    if (out.addressBits === 16 || (modrm & 7) !== 4) return false;
    return out.reg !== out.vvvv && out.reg !== out.index && out.vvvv !== out.index;
  }

  #addressBits(): 16 | 32 | 64 {
    if (this.#codeBits === 64) return this.#addressPrefix ? 32 : 64;
    return (this.#codeBits === 32) !== this.#addressPrefix ? 32 : 16;
  }

  #match(candidates: readonly Candidate[], modrm: number): Candidate | undefined {
    const isMode64 = this.#codeBits === 64;
    const isRegister = modrm >= 0xc0;
    for (const c of candidates) {
      const mode = c.table.form.mode;
      if (mode !== undefined && (mode === '64') !== isMode64) continue;
      if (!this.#prefixMatches(c.prefix)) continue;
      if (c.rexW !== undefined && c.rexW !== this.#wide(c)) continue;
      if (c.vexL !== undefined && c.vexL !== this.#vex?.l) continue;
      if (c.hasModrm) {
        if (c.digit >= 0 && ((modrm >> 3) & 7) !== c.digit) continue;
        if (c.modrmFirst >= 0 && (modrm < c.modrmFirst || modrm > c.modrmLast)) continue;
        if (!c.ignoresMod && !(isRegister ? c.allowsRegister : c.allowsMemory)) continue;
      }
      if (c.features.some((f) => this.#lacking.has(f))) {
        if (c.table.form.elseIgnored) continue;
        return undefined;
      }
      return c;
    }
    return undefined;
  }
  #wide(c: Candidate): boolean {
    return this.#vex && !c.isGeneral ? this.#vex.w : (this.#rex & 8) > 0;
  }
  #prefixMatches(prefix: Candidate['prefix']): boolean {
    const out = this.out;
    if (this.#vex) return prefix === this.#vex.prefix;
    switch (prefix) {
      case 'any':
        return true;
      case 'f3':
        return out.rep;
      case 'f2':
        return out.repne;
      case '66':
        return this.#operandPrefix && !out.rep && !out.repne;
      case 'none':
        return !this.#operandPrefix && !out.rep && !out.repne;
    }
  }

  #operandBits(c: Candidate): number {
    if (c.bits.length === 1) return c.bits[0]!;
    const wide = (this.#rex & 8) > 0;
    if (!c.bits.includes(16)) return wide ? 64 : 32;
    if (this.#codeBits !== 64) return (this.#codeBits === 32) !== this.#operandPrefix ? 32 : 16;
    const { size64 } = c.table.form;
    if (wide || size64 === 'always') return 64;
    if (this.#operandPrefix) return 16;
    return size64 === 'default' ? 64 : 32;
  }

  #modrm(c: Candidate, modrm: number): void {
    const out = this.out;
    out.reg = ((modrm >> 3) & 7) | ((this.#rex & 4) << 1);
    out.rm = (modrm & 7) | ((this.#rex & 1) << 3);
    out.isMemory = modrm < 0xc0 && !c.ignoresMod;
    if (!out.isMemory) return;
    if (out.addressBits === 16) this.#address16(modrm);
    else this.#address32(modrm, c);
  }
  #address16(modrm: number): void {
    const out = this.out;
    const mod = modrm >> 6;
    const rm = modrm & 7;
    if (mod === 0 && rm === 6) {
      out.displacement = this.#signed(2) & 0xffffn;
      return;
    }
    out.base = BASE16[rm]!;
    out.index = INDEX16[rm]!;
    if (mod === 1) out.displacement = this.#signed(1);
    else if (mod === 2) out.displacement = this.#signed(2);
    if (out.base === 5) out.segment = SEGMENT.ss;
  }
  #address32(modrm: number, c: Candidate): void {
    const out = this.out;
    const mod = modrm >> 6;
    const isWide = this.#codeBits === 64;
    if ((modrm & 7) === 4) this.#sib(mod, c.isVsib);
    else if (mod === 0 && (modrm & 7) === 5) {
      out.base = isWide ? RIP : -1;
      out.displacement = this.#wideDisplacement(4);
      return;
    } else out.base = out.rm;
    if (mod === 1) out.displacement = this.#signed(1);
    else if (mod === 2) out.displacement = this.#wideDisplacement(4);
    if (out.base === 4 || out.base === 5) out.segment = SEGMENT.ss;
  }
  #sib(mod: number, isVsib: boolean): void {
    const out = this.out;
    const sib = this.#u8();
    const index = ((sib >> 3) & 7) | ((this.#rex & 2) << 2);
    out.scale = sib >> 6;
    out.index = index === 4 && !isVsib ? -1 : index;
    if (mod === 0 && (sib & 7) === 5) out.displacement = this.#wideDisplacement(4);
    else out.base = (sib & 7) | ((this.#rex & 1) << 3);
  }

  #wideDisplacement(count: number): bigint {
    this.out.displacementAt = this.#position - this.#start;
    return this.#signed(count);
  }

  #immediate(operand: OperandSpec, position: number): void {
    const out = this.out;
    const sizeZ = out.bits === 16 ? 2 : 4;
    if (out.immediateAt < 0) out.immediateAt = this.#position - this.#start;
    switch (operand.source) {
      case 'immediate': {
        const count = operand.size === 'b' ? 1 : operand.size === 'w' ? 2 : out.bits / 8;
        const value = BigInt.asUintN(count * 8, this.#signed(count));
        // ENTER has two: size and nesting level.
        const isSecond =
          position > 0 && out.candidate!.table.form.operands[position - 1]!.source === 'immediate';
        out.immediate = isSecond ? out.immediate | (value << 16n) : value;
        return;
      }
      case 'immediateSigned': {
        const value = this.#signed(operand.size === 'b' ? 1 : sizeZ);
        out.immediate = out.bits < 32 ? BigInt.asUintN(Math.max(out.bits, 8), value) : value;
        return;
      }
      case 'xmmIs4':
        out.is4 = (this.#u8() >> 4) & (this.#codeBits === 64 ? 15 : 7);
        return;
      case 'relative':
        out.immediate = this.#signed(operand.size === 'b' ? 1 : this.#codeBits === 64 ? 4 : sizeZ);
        return;
      case 'far': {
        const offset = BigInt.asUintN(sizeZ * 8, this.#signed(sizeZ));
        out.immediate = offset | (BigInt.asUintN(16, this.#signed(2)) << 32n);
        return;
      }
      case 'moffs': {
        const count = out.addressBits / 8;
        out.displacement = BigInt.asUintN(count * 8, this.#wideDisplacement(count));
        out.isMemory = true;
        return;
      }
      default:
        return;
    }
  }

  #segment(): void {
    const out = this.out;
    if (out.segmentOverride >= 0) out.segment = out.segmentOverride;
  }
}

const decoder = new Decoder();

/** Decodes one instruction; the result is overwritten by the next call. `lacking`: features that the processor has not. */
export function decodeInstruction(
  bytes: Uint8Array,
  start: number,
  end: number,
  codeBits: 16 | 32 | 64,
  lacking: ReadonlySet<string> = NOTHING,
): Decoded {
  return decoder.decode(bytes, start, end, codeBits, lacking);
}

/** State offset of a register that ModRM.reg, ModRM.rm or the opcode names, by the operand's kind; numbers stay numbers. */
export function registerStateOffset(
  operand: OperandSpec,
  number: number,
  bits: number,
  hasRex: boolean,
): number {
  switch (operand.source) {
    case 'xmm':
    case 'xmmRm':
    case 'xmmRmRegister':
    case 'xmmVvvv':
    case 'xmmIs4':
      return arrayRegisterOffset(S.xmm, number);
    case 'mmx':
    case 'mmxRm':
    case 'mmxRmRegister':
      return arrayRegisterOffset(S.x87Significand, number & 7);
    case 'segment':
    case 'sti':
      return number & 7;
    case 'control':
    case 'debug':
      return number;
    default:
      return generalRegisterOffset(number, operand.size === 'b' ? 8 : bits, hasRex);
  }
}

/** State offset of a vector register that is an index. */
export function vectorIndexOffset(register: number): number {
  return at(S.xmm, register);
}

/** State offset of a memory operand's base or index: a constant zero when there is none. */
export function addressRegisterOffset(register: number): number {
  if (register === RIP) return S.ripBase.offset;
  return register < 0 ? S.zero.offset : at(S.gpr, register);
}
