// Encodes one instruction of a given form with random operands, prefixes and addresses, and says what its operands ask
// of registers and memory: addresses that hit the data pages and their edges, return addresses, selectors, x87 images.

import type { Encoding } from '../../packages/cpu/decode/opcode-map.ts';
import { rmKinds, type TableForm, variantBits } from '../../packages/cpu/interpreter/handlers.ts';
import type { OperandSpec } from '../../packages/cpu/isa/instruction.ts';
import { ENCODINGS } from './forms.ts';
import { CODE, CODE_BYTES_MAX, DATA, PAGE, STACK } from './layout.ts';
import type { Random } from './random.ts';
import { SELECTORS, type SegmentName, segmentBase, type World } from './worlds.ts';

const STRING = /^(MOVS|CMPS|SCAS|LODS|STOS|INS|OUTS)[BW]?$/;
const FAR = /^(CALL|JMP)$/;
const FRAME = /^(RET|RETF|IRET|POP|POPF|LEAVE)$/;
const SELECTOR_READER = /^(LAR|LSL|VERR|VERW|ARPL)$/;
const POINTER_LOAD = /^L[DEFGS]S$/;
const BIT_TEST = /^BT[SRC]?$/;
/** Map in which F2 and F3 are prefixes without meaning (or BND, XACQUIRE, XRELEASE, which do nothing). */
const TAKES_REPEAT_PREFIX = 0;
/** PAUSE; and AMD's LOOPE and LOOPNE, which take their condition from such a prefix. SDM vol 2A §2.1.1: reserved. */
const MINDS_REPEAT_PREFIX = new Set([0x90, 0xe0, 0xe1]);
const OVERRIDES: Readonly<Record<SegmentName, number>> = {
  es: 0x26,
  cs: 0x2e,
  ss: 0x36,
  ds: 0x3e,
  fs: 0x64,
  gs: 0x65,
};

/** Bytes that a case wants at a linear address. */
export interface Poke {
  readonly address: number;
  readonly bytes: readonly number[];
}
/** Where memory operands of a longer program shall lie: through registers that hold known addresses all along. */
export interface Aim {
  target(random: Random, segment: SegmentName): number;
  /** Registers that hold these linear addresses, in segments of base 0, and registers that hold these small numbers. */
  readonly pointers: readonly (readonly [number, number])[];
  readonly indices: readonly (readonly [number, number])[];
}
export interface Built {
  readonly bytes: number[];
  /** The instruction's REX prefix or 0, and the numbers of ModRM.reg and ModRM.rm (REX included) where they are registers. */
  readonly rex: number;
  readonly reg: number | undefined;
  readonly rm: number | undefined;
  /** Number of the register in the opcode. */
  readonly inOpcode: number | undefined;
  /** Place in `bytes` of a displacement that counts from the instruction's end. */
  readonly relativeAt: number | undefined;
  readonly registers: ReadonlyMap<number, bigint>;
  /** Vector registers that are indices: four 64-bit words each. */
  readonly vectors: ReadonlyMap<number, readonly bigint[]>;
  readonly pokes: readonly Poke[];
  /** Linear address of the memory operand, where the generator chose it. */
  readonly target: number | undefined;
  readonly isMemory: boolean;
  readonly bits: number;
}

export const littleEndian = (value: bigint, count: number): number[] =>
  Array.from({ length: count }, (_, n) => Number((value >> BigInt(8 * n)) & 0xffn));

/** What is drawn once for an instruction before its operands. */
interface Choice {
  readonly bits: number;
  readonly addressBits: 64 | 32 | 16;
  readonly override: SegmentName | undefined;
  rex: number;
}

export function isString(t: TableForm): boolean {
  return STRING.test(t.instruction.name);
}

export class InstructionBuilder {
  readonly #random: Random;
  readonly #t: TableForm;
  readonly #e: Encoding;
  readonly #world: World;
  readonly #registers = new Map<number, bigint>();
  readonly #vectors = new Map<number, readonly bigint[]>();
  readonly #pokes: Poke[] = [];
  #target: number | undefined;
  #rip: { readonly target: number; readonly immediateBytes: number } | undefined;
  #rmNumber: number | undefined;
  #regNumber: number | undefined;
  readonly #aim: Aim | undefined;

  constructor(random: Random, t: TableForm, world: World, aim?: Aim) {
    this.#random = random;
    this.#aim = aim;
    this.#t = t;
    this.#e = ENCODINGS.get(t)!;
    this.#world = world;
  }

  /** `linear`: where the instruction will lie. */
  build(linear: number): Built {
    const e = this.#e;
    const choice = this.#choose();
    const prefixes = this.#prefixes(choice);
    const kinds = rmKinds(this.#t.form);
    const hasModrm = e.hasModrm || this.#t.form.operands.some((o) => MODRM_SOURCES.test(o.source));
    const ignoresMod = this.#t.form.operands.some(
      (o) => o.source === 'control' || o.source === 'debug',
    );
    const isMemory =
      hasModrm &&
      e.modrmFirst < 0 &&
      !ignoresMod &&
      kinds.memory &&
      (!kinds.register || this.#random.chance(45));
    // AMD takes VERR and VERW with LOCK, and MOV CR0 as MOV CR8; the manual has #UD.
    const rarely = ignoresMod || /^VER[RW]$/.test(this.#t.instruction.name) ? 0 : 1;
    if (this.#random.chance(this.#t.form.lock && isMemory ? 15 : rarely)) prefixes.push(0xf0);
    const opcode = e.opcode + (e.opcodeCount > 1 ? this.#random.below(8) : 0);
    const tail = hasModrm ? this.#modrm(choice, isMemory) : [];
    this.#implicitOperands(choice);
    const mandatory = e.prefix === 'f3' ? [0xf3] : e.prefix === 'f2' ? [0xf2] : [];
    const opcodeMap = [[], [0x0f], [0x0f, 0x38], [0x0f, 0x3a]][e.map] ?? [];
    const rex = choice.rex ? [choice.rex] : [];
    const before = this.#isVex
      ? [...prefixes, ...vexPrefix(this.#random, this.#t, this.#world, choice)]
      : [...prefixes, ...mandatory, ...rex, ...opcodeMap];
    const bytes = [...before, opcode, ...tail, ...this.#immediates(choice)];
    this.#fixRipRelative(bytes, linear);
    return {
      bytes,
      rex: choice.rex,
      reg: this.#regNumber,
      rm: this.#rmNumber,
      inOpcode: e.opcodeCount > 1 ? (opcode & 7) | ((choice.rex & 1) << 3) : undefined,
      relativeAt: this.#rip ? bytes.length - this.#rip.immediateBytes - 4 : undefined,
      registers: this.#registers,
      vectors: this.#vectors,
      pokes: this.#pokes,
      target: this.#target,
      isMemory,
      bits: choice.bits,
    };
  }

  #choose(): Choice {
    const r = this.#random;
    const { form } = this.#t;
    const all = variantBits(form);
    const isLong = this.#world.bits === 64;
    const sizes = isLong || all.length === 1 ? all : all.filter((b) => b !== 64);
    // SDM vol 2A, CALL and Jcc: near branches with a 66 prefix in 64-bit mode differ between manufacturers.
    const bits = isLong && form.size64 === 'always' ? 64 : r.pick(sizes);
    let rex = isLong && r.chance(this.#isVex ? 50 : 15) ? 0x40 | r.below(8) : 0;
    if (isLong && ((bits === 64 && all.length > 1 && form.size64 === undefined) || this.#e.rexW))
      rex |= 0x48;
    if (this.#e.rexW === false || (all.length > 1 && bits !== 64)) rex &= ~8;
    const isSmall = r.chance(this.#world.bits === 64 ? 4 : 12);
    const addressBits =
      this.#world.bits === 64
        ? isSmall
          ? 32
          : 64
        : (this.#world.bits === 32) === isSmall
          ? 16
          : 32;
    const override = r.chance(8) ? r.pick(Object.keys(OVERRIDES) as SegmentName[]) : undefined;
    return { bits, addressBits, override, rex };
  }

  #prefixes(c: Choice): number[] {
    const r = this.#random;
    const prefixes: number[] = [];
    if (this.#isVex) return this.#vexPrefixes(c);
    const isSized = variantBits(this.#t.form).length > 1 && this.#e.prefix !== 'none';
    if (isSized && (this.#world.bits === 16 ? c.bits === 32 : c.bits === 16)) prefixes.push(0x66);
    if (this.#e.prefix === '66' && !prefixes.length) prefixes.push(0x66);
    if (isString(this.#t) && r.chance(60)) prefixes.push(r.pick([0xf2, 0xf3]));
    else if (
      this.#e.map === TAKES_REPEAT_PREFIX &&
      !MINDS_REPEAT_PREFIX.has(this.#e.opcode) &&
      r.chance(2)
    )
      prefixes.push(r.pick([0xf2, 0xf3]));
    if (c.addressBits !== this.#world.bits) prefixes.push(0x67);
    if (c.override) prefixes.push(OVERRIDES[c.override]);
    return prefixes;
  }

  get #isVex(): boolean {
    return this.#e.map > 3;
  }
  /** Address size, segment, and now and then one that VEX does not suffer. */
  #vexPrefixes(c: Choice): number[] {
    const prefixes: number[] = [];
    if (c.addressBits !== this.#world.bits) prefixes.push(0x67);
    if (c.override) prefixes.push(OVERRIDES[c.override]);
    if (this.#random.chance(1)) prefixes.push(this.#random.pick([0x66, 0xf2, 0xf3, 0xf0]));
    return prefixes;
  }

  #modrm(c: Choice, isMemory: boolean): number[] {
    const r = this.#random;
    const e = this.#e;
    if (e.modrmFirst >= 0) return [e.modrmFirst + r.below(e.modrmLast - e.modrmFirst + 1)];
    const digit = e.digit >= 0 ? e.digit : r.below(8);
    if (e.digit < 0) this.#regNumber = digit | ((c.rex & 4) << 1);
    if (this.#t.form.operands.some((o) => o.source === 'vsib')) return this.#vsib(digit, c);
    if (isMemory) {
      const bytes = c.addressBits === 16 ? this.#address16(digit, c) : this.#address(digit, c);
      if (this.#target !== undefined) this.#fillTarget(this.#target, c);
      return bytes;
    }
    const rm = r.below(8);
    const number = rm | ((c.rex & 1) << 3);
    this.#rmNumber = number;
    const value = this.#pointerValue();
    // rSP stays a stack.
    if (value !== undefined && number !== 4) this.#registers.set(number, value);
    return [0xc0 | (digit << 3) | rm];
  }

  /** A linear address in or just outside the pages that a segment reaches, often at an edge. */
  #pickTarget(segment: SegmentName): number {
    const r = this.#random;
    if (this.#aim) return this.#aim.target(r, segment);
    const isStack =
      segment === 'ss' && this.#world.bits !== 64 && segmentBase(this.#world, 'ss') !== 0;
    if (isStack) return STACK + PAGE / 2 - 128 + 8 * r.below(32) + (r.chance(30) ? r.below(8) : 0);
    if (r.chance(55)) {
      const inside = r.pick([
        DATA + 16 * r.below(7),
        DATA + PAGE - 64 + 16 * r.below(8),
        DATA + 2 * PAGE - 64 + 16 * r.below(3),
      ]);
      return inside + (r.chance(30) ? r.below(16) : 0);
    }
    return r.pick([DATA, DATA + PAGE, DATA + 2 * PAGE]) - 24 + r.below(48);
  }
  /** The offset in a segment that reaches a linear address. */
  #offset(segment: SegmentName, target: number): bigint {
    return BigInt(target) - BigInt(segmentBase(this.#world, segment));
  }

  /** ModRM and displacement of 16-bit addressing. SDM vol 2A table 2-1. */
  #address16(digit: number, c: Choice): number[] {
    const r = this.#random;
    const rm = r.below(8);
    const kind = r.below(3);
    const usesBp = rm === 2 || rm === 3 || (rm === 6 && kind > 0);
    const segment = c.override ?? (usesBp ? 'ss' : 'ds');
    const target = this.#pickTarget(segment);
    const offset = this.#offset(segment, target) & 0xffffn;
    if (((BigInt(segmentBase(this.#world, segment)) + offset) & 0xffff_ffffn) === BigInt(target))
      this.#target = target;
    if (kind === 0 && rm === 6) return [(digit << 3) | 6, ...littleEndian(offset, 2)];
    const displacement =
      kind === 0 ? 0n : kind === 1 ? BigInt(r.below(256) - 128) : BigInt(r.below(0x10000));
    const [base, index] = [[3, 6], [3, 7], [5, 6], [5, 7], [6], [7], [5], [3]][rm]!;
    const high = r.u64() & ~0xffffn;
    const indexValue = index === undefined ? 0n : BigInt(r.below(512));
    if (index !== undefined) this.#registers.set(index, indexValue | (r.u64() & 0xffff_0000n));
    this.#registers.set(
      base!,
      ((offset - displacement - indexValue) & 0xffffn) | (high & 0xffff_0000n),
    );
    return [(kind << 6) | (digit << 3) | rm, ...littleEndian(displacement & 0xffffn, kind)];
  }

  /** ModRM, SIB and displacement; picks register values so that the address is the target. */
  #address(digit: number, c: Choice): number[] {
    const r = this.#random;
    const isLong = this.#world.bits === 64;
    if (this.#aim?.pointers.length && !c.override && r.chance(75))
      return this.#aimedAddress(digit, c, this.#aim);
    const kind = r.below(10);
    const small = BigInt(r.below(256) - 128);
    const base = r.pick([0, 1, 2, 3, 4, 5, 6, 7]);
    const baseNumber = base | ((c.rex & 1) << 3);
    const hasBase = kind > 1;
    const segment =
      c.override && !(isLong && !/[fg]s/.test(c.override))
        ? c.override
        : hasBase && (base === 4 || base === 5) && !(c.rex & 1)
          ? 'ss'
          : 'ds';
    const target = this.#pickTarget(segment);
    const offset = BigInt.asUintN(c.addressBits, this.#offset(segment, target));
    this.#target = target;
    // No index: REX.X would make it r12.
    if (kind === 0) c.rex &= ~2;
    if (kind === 0) return [(digit << 3) | 4, 0x25, ...littleEndian(offset, 4)];
    if (kind === 1 && !isLong) return [(digit << 3) | 5, ...littleEndian(offset, 4)];
    if (kind === 1) {
      this.#rip = {
        target: Number(BigInt.asIntN(64, offset)),
        immediateBytes: this.#immediateBytes(c),
      };
      return [(digit << 3) | 5, 0, 0, 0, 0];
    }
    const useDisp8 = r.chance(60);
    const displacement = useDisp8 ? small : BigInt(r.below(0x10000) - 0x8000);
    const dispBytes = littleEndian(displacement, useDisp8 ? 1 : 4);
    const mod = useDisp8 ? 0x40 : 0x80;
    const wrapped = (value: bigint) => {
      const low = BigInt.asUintN(c.addressBits, value);
      return c.addressBits === 32 && isLong && r.chance(30) ? low | (r.u64() & ~0xffff_ffffn) : low;
    };
    if (kind < 6) {
      this.#registers.set(baseNumber, wrapped(offset - displacement));
      if (base === 4) return [mod | (digit << 3) | 4, 0x24, ...dispBytes];
      return [mod | (digit << 3) | base, ...dispBytes];
    }
    const index = r.pick([0, 1, 2, 3, 5, 6, 7]);
    const indexNumber = index | ((c.rex & 2) << 2);
    const scale = r.below(4);
    const indexValue = BigInt(r.below(256) - 100);
    if (indexNumber === baseNumber) {
      const factor = BigInt(1 + (1 << scale));
      const value = (offset - displacement) / factor;
      this.#target = target - Number(offset - displacement - value * factor);
      this.#registers.set(baseNumber, wrapped(value));
    } else {
      this.#registers.set(indexNumber, wrapped(indexValue));
      this.#registers.set(
        baseNumber,
        wrapped(offset - displacement - (indexValue << BigInt(scale))),
      );
    }
    return [mod | (digit << 3) | 4, (scale << 6) | (index << 3) | base, ...dispBytes];
  }
  /** Memory at indices in a vector register, most of them near each other. */
  #vsib(digit: number, c: Choice): number[] {
    const r = this.#random;
    const base = r.pick([0, 1, 2, 3, 6, 7]);
    const index = r.below(8);
    const scale = r.below(4);
    const displacement = BigInt(r.below(256) - 128);
    const segment = c.override && this.#world.bits !== 64 ? c.override : 'ds';
    const other = c.override && /[fg]s/.test(c.override) ? c.override : segment;
    const target = this.#pickTarget(other);
    const start = BigInt.asUintN(c.addressBits, this.#offset(other, target) - displacement);
    this.#registers.set(base | ((c.rex & 1) << 3), start);
    const isWide = /GATHERQ/.test(this.#t.instruction.name);
    const value = () => BigInt(r.chance(90) ? r.below(16) : r.below(1000) - 500);
    const word = () =>
      isWide
        ? BigInt.asUintN(64, value())
        : BigInt.asUintN(32, value()) | (BigInt.asUintN(32, value()) << 32n);
    this.#vectors.set(index | ((c.rex & 2) << 2), [word(), word(), word(), word()]);
    const sib = (scale << 6) | (index << 3) | base;
    return [0x40 | (digit << 3) | 4, sib, ...littleEndian(displacement, 1)];
  }
  /** An address through registers that hold what the aim says. */
  #aimedAddress(digit: number, c: Choice, aim: Aim): number[] {
    const r = this.#random;
    const isLong = this.#world.bits === 64;
    const [base, address] = r.pick(aim.pointers);
    const target = this.#pickTarget('ds');
    this.#target = target;
    c.rex = (c.rex & ~3) | (base >> 3);
    const index = aim.indices.length && r.chance(30) ? r.pick(aim.indices) : undefined;
    const scale = r.below(4);
    const offset = target - address - (index ? index[1] << scale : 0);
    const isShort = offset >= -128 && offset < 128;
    const mod = offset === 0 && (base & 7) !== 5 ? 0 : isShort ? 0x40 : 0x80;
    const width = mod === 0 ? 0 : isShort ? 1 : 4;
    const displacement = littleEndian(BigInt.asUintN(32, BigInt(offset)), width);
    if (index && isLong) c.rex |= (index[0] >> 3) << 1;
    if (c.rex && isLong) c.rex |= 0x40;
    const modrm = mod | (digit << 3);
    if (index)
      return [modrm | 4, (scale << 6) | ((index[0] & 7) << 3) | (base & 7), ...displacement];
    if ((base & 7) === 4) return [modrm | 4, 0x24, ...displacement];
    return [modrm | (base & 7), ...displacement];
  }
  /** rip-relative displacements count from the end of the instruction; the displacement sits before the immediate. */
  #fixRipRelative(bytes: number[], linear: number): void {
    if (!this.#rip) return;
    const at = bytes.length - this.#rip.immediateBytes - 4;
    const displacement = BigInt(this.#rip.target - (linear + bytes.length));
    littleEndian(BigInt.asUintN(32, displacement), 4).forEach((byte, n) => {
      bytes[at + n] = byte;
    });
  }

  /** A near or far code address, most often one that leads into the code pages. */
  #codeOffset(): bigint {
    const r = this.#random;
    // Behind every place where a case's own code may lie.
    const linear = BigInt(
      CODE + (r.chance(50) ? 2300 + r.below(1700) : PAGE + 200 + r.below(PAGE - 200)),
    );
    return r.chance(80) ? linear - BigInt(segmentBase(this.#world, 'cs')) : r.integer();
  }
  #selector(): bigint {
    const r = this.#random;
    return BigInt(r.chance(90) ? r.pick(SELECTORS) : r.below(0x10000));
  }
  /** What a register operand must hold to be useful: a code address or a selector. */
  #pointerValue(): bigint | undefined {
    const { name } = this.#t.instruction;
    const isSegmentMove = name === 'MOV' && this.#t.form.operands[0]?.source === 'segment';
    if (SELECTOR_READER.test(name) || isSegmentMove)
      return this.#selector() | (this.#random.u64() & ~0xffffn);
    if (FAR.test(name)) return this.#codeOffset();
    return undefined;
  }

  /** Puts something useful where the memory operand points. */
  #fillTarget(target: number, c: Choice): void {
    const r = this.#random;
    const { name } = this.#t.instruction;
    const put = (bytes: readonly number[]) => this.#pokes.push({ address: target, bytes });
    const isFar = FAR.test(name) && this.#t.form.operands[0]?.size === 'n';
    if (isFar || POINTER_LOAD.test(name)) {
      const width = c.bits / 8;
      put([
        ...littleEndian(isFar ? this.#codeOffset() : r.integer(), width),
        ...littleEndian(this.#selector(), 2),
      ]);
      return;
    }
    const value = this.#pointerValue();
    if (value !== undefined) put(littleEndian(value, 8));
    else if (/^V?LDMXCSR$/.test(name))
      put(littleEndian(BigInt(r.chance(90) ? r.below(0x10000) : r.u32()), 4));
    else if (name === 'BOUND') put(littleEndian(r.integer(), 8));
    else if (/^F|^XRSTOR|^FXRSTOR/.test(name)) put(this.#floatingPoint(c));
  }
  #floatingPoint(c: Choice): number[] {
    const r = this.#random;
    const { name } = this.#t.instruction;
    const size = this.#t.form.operands[0]?.size;
    const extended = () => littleEndian(r.extended(), 10);
    if (name === 'FBLD') {
      const digits = Array.from({ length: 9 }, () => r.below(10) | (r.below(10) << 4));
      return [...digits, r.chance(50) ? 0x80 : 0];
    }
    const control = littleEndian(BigInt(r.chance(70) ? 0x37f : r.below(0x2000)), 2);
    const status = littleEndian(BigInt(r.chance(70) ? r.below(8) << 11 : r.below(0x10000)), 2);
    const tags = littleEndian(BigInt(r.below(0x10000)), 2);
    const registers = Array.from({ length: 8 }, extended);
    if (name === 'FXRSTOR') {
      const mxcsr = littleEndian(BigInt(r.chance(90) ? r.below(0x10000) : r.u32()), 4);
      const head = [
        ...control,
        ...status,
        tags[0]!,
        0,
        0,
        0,
        ...Array<number>(16).fill(0),
        ...mxcsr,
        0xff,
        0xff,
        0,
        0,
      ];
      return [...head, ...registers.flatMap((bytes) => [...bytes, 0, 0, 0, 0, 0, 0])];
    }
    if (name === 'FLDENV' || name === 'FRSTOR') {
      const wide = (bytes: number[]) => (c.bits === 16 ? bytes : [...bytes, 0, 0]);
      const pointers = Array<number>(c.bits === 16 ? 8 : 16).fill(0);
      const environment = [...wide(control), ...wide(status), ...wide(tags), ...pointers];
      return name === 'FLDENV' ? environment : [...environment, ...registers.flat()];
    }
    if (size === 't') return extended();
    if (name.startsWith('FI')) return littleEndian(r.integer(), 8);
    return littleEndian(size === 'd' ? r.single() : r.double(), 8);
  }

  /** Registers and stack of instructions that use them without saying so. */
  #implicitOperands(c: Choice): void {
    const r = this.#random;
    const { name } = this.#t.instruction;
    const pointer = (segment: SegmentName) => {
      const target = this.#pickTarget(segment);
      this.#target ??= target;
      return BigInt.asUintN(c.addressBits, this.#offset(segment, target));
    };
    if (isString(this.#t)) {
      this.#registers.set(1, BigInt(r.chance(80) ? r.below(12) : r.below(300)));
      this.#registers.set(6, pointer(c.override ?? 'ds'));
      this.#registers.set(7, pointer('es'));
    } else if (name === 'XLAT')
      this.#registers.set(3, BigInt.asUintN(c.addressBits, pointer(c.override ?? 'ds') - 128n));
    else if (/^V?MASKMOV(Q|DQU)$/.test(name)) this.#registers.set(7, pointer(c.override ?? 'ds'));
    else if (name === 'ENTER' || name === 'LEAVE') this.#registers.set(5, this.#stackOffset());
    else if (BIT_TEST.test(name) && this.#t.form.operands[1]?.source === 'reg' && r.chance(80))
      this.#bitOffset();
    else if (/^(LOOP|JCXZ)/.test(name))
      this.#registers.set(1, r.chance(50) ? BigInt(r.below(3)) : r.integer());
    if (FRAME.test(name)) this.#stackFrame(c);
  }
  #stackOffset(): bigint {
    const base = segmentBase(this.#world, 'ss');
    return BigInt(STACK + PAGE / 2 - 16 + 8 * this.#random.below(8) - base);
  }
  /** BT with a register reaches far from its operand: keeps most of them near. */
  #bitOffset(): void {
    const near = () => BigInt.asUintN(64, BigInt(this.#random.below(1200) - 600));
    if (this.#aim) {
      if (this.#regNumber !== undefined) this.#registers.set(this.#regNumber, near());
      return;
    }
    for (let n = 0; n < 16; n++) {
      if (!this.#registers.has(n) && n !== 4) this.#registers.set(n, near());
    }
  }
  /** A return frame on the stack: rip, CS, RFLAGS, rSP, SS; or a selector for POP. */
  #stackFrame(c: Choice): void {
    const r = this.#random;
    const { name } = this.#t.instruction;
    const isWide = this.#world.bits === 64 && this.#t.form.size64 !== undefined && c.bits !== 16;
    const width = isWide ? 8 : Math.max(c.bits, 16) / 8;
    const offset = this.#stackOffset();
    this.#registers.set(4, offset);
    if (name === 'POP' && (this.#t.form.operands[0]?.register ?? 0) < 16) return;
    const flags = BigInt(r.u32() & 0x25_4dd5) | 2n;
    const word = (value: bigint) => littleEndian(BigInt.asUintN(8 * width, value), width);
    const frame =
      name === 'POP' ? [this.#selector()] : name === 'POPF' ? [flags]
        : [this.#codeOffset(), this.#selector(), flags, r.integer(), this.#selector()]; // biome-ignore format: one line a kind
    this.#pokes.push({
      address: Number(offset) + segmentBase(this.#world, 'ss'),
      bytes: frame.flatMap(word),
    });
  }

  #operandBytes(o: OperandSpec, c: Choice): number {
    if (o.source === 'moffs') return c.addressBits / 8;
    if (o.source === 'far') return c.bits / 8 + 2;
    if (o.source === 'xmmIs4') return 1;
    if (o.source === 'relative') return o.size === 'b' ? 1 : c.bits === 16 ? 2 : 4;
    if (o.source !== 'immediate' && o.source !== 'immediateSigned') return 0;
    if (o.size === 'b') return 1;
    if (o.size === 'w') return 2;
    return o.source === 'immediate' ? c.bits / 8 : c.bits === 16 ? 2 : 4;
  }
  #immediateBytes(c: Choice): number {
    return this.#t.form.operands.reduce((sum, o) => sum + this.#operandBytes(o, c), 0);
  }
  #immediates(c: Choice): number[] {
    return this.#t.form.operands.flatMap((o) => {
      const count = this.#operandBytes(o, c);
      return count ? littleEndian(this.#immediate(o, c), count) : [];
    });
  }
  #immediate(o: OperandSpec, c: Choice): bigint {
    const r = this.#random;
    const { name } = this.#t.instruction;
    if (o.source === 'moffs') {
      const target = this.#pickTarget('ds');
      return BigInt.asUintN(c.addressBits, this.#offset(c.override ?? 'ds', target));
    }
    if (o.source === 'far')
      return BigInt.asUintN(c.bits, this.#codeOffset()) | (this.#selector() << BigInt(c.bits));
    // Branches go to the next instruction or behind the case's code, which the pages fill with INT3.
    if (o.source === 'relative') return BigInt(r.chance(20) ? 0 : CODE_BYTES_MAX + r.below(32));
    // INT 80 is Linux's system call.
    if (name === 'INT')
      return BigInt(r.chance(30) ? r.pick([1, 2, 3, 4]) : (0x81 + r.below(255)) & 0xff);
    if (name === 'ENTER')
      return BigInt(o.size === 'w' ? r.below(64) : r.chance(70) ? r.below(4) : r.below(256));
    if (/^RETF?$/.test(name)) return BigInt(r.below(64));
    return r.integer();
  }
}

const MODRM_SOURCES = /^(rm|reg|xmm|mmx|segment|control|debug|vsib)/;

const VEX_PP = { any: 0, none: 0, '66': 1, f3: 2, f2: 3 } as const;
/** Chance in percent of a vvvv that should be 1111b and is not. */
const BAD_VVVV = 2;

/** A VEX prefix of two or three bytes with random bits where the form leaves them open. SDM vol 2A §2.3.5. */
function vexPrefix(r: Random, t: TableForm, world: World, c: Choice): number[] {
  const e = ENCODINGS.get(t)!;
  const isLong = world.bits === 64;
  const isSized = variantBits(t.form).length > 1;
  const w = e.rexW ?? (isSized && isLong ? c.bits === 64 : r.chance(isSized ? 10 : 50));
  const l = e.vexL ?? r.below(2);
  const usesVvvv = t.form.operands.some((o) => /vvvv/i.test(o.source));
  const vvvv = usesVvvv || r.chance(BAD_VVVV) ? r.below(isLong ? 16 : 8) : 0;
  const last = ((~vvvv & 15) << 3) | (l << 2) | VEX_PP[e.prefix];
  const inverted = isLong ? ~c.rex & 7 : 7;
  const isShort = e.map === 4 && !w && (inverted & 3) === 3;
  if (isShort && r.chance(60)) return [0xc5, ((inverted & 4) << 5) | last];
  // What names registers beyond 7 means nothing outside 64-bit mode; R and X tell VEX from LES.
  const b = isLong ? inverted : 6 | r.below(2);
  return [0xc4, (b << 5) | (e.map - 3), (w ? 0x80 : 0) | last];
}
