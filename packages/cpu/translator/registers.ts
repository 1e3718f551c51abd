// Turns loads and stores of general registers, XMM registers and arithmetic flags into WebAssembly locals, one for each
// register of a region. Parts of a register (AL, AH, AX, a lane) become shifts and masks or lane operations of the whole.

import type { Local, Node, Statement } from '../lift/ir.ts';
import { newLocal } from '../lift/lift.ts';
import { mapOperands, mapStatement } from '../lift/traverse.ts';
import { constant, lanewise, Value } from '../lift/value.ts';
import { type Field, S } from '../state/layout.ts';
import type { ValueType } from '../wasm/opcodes.ts';
import { isPromoted, stateOffset } from './effects.ts';

/** The arithmetic flags, in the order of their bits in a set of flags. */
export const FLAG_FIELDS = [S.flagZ, S.flagSP, S.flagO, S.flagC, S.flagA] as const;
const VECTOR_BYTES = 16;
/** Bits that a load or store of this name covers. */
const WIDTH: Readonly<Record<string, number>> = {
  'v128.load': 128, 'i64.load': 64, 'i32.load': 32, 'i32.load16_u': 16, 'i32.load8_u': 8, 'i64.load32_u': 32, 'i64.load16_u': 16,
  'i64.load8_u': 8, 'f64.load': 64, 'f32.load': 32,
  'v128.store': 128, 'i64.store': 64, 'i32.store': 32, 'i32.store16': 16, 'i32.store8': 8, 'i64.store32': 32, 'i64.store16': 16,
  'i64.store8': 8, 'f64.store': 64, 'f32.store': 32,
}; // biome-ignore format: loads, then stores

/** A register or flag, and the local that all regions keep it in. */
interface Register {
  readonly number: number;
  readonly offset: number;
  readonly type: ValueType;
  readonly local: Local;
  /** Bit in a set of flags; 0 for registers. */
  readonly flag: number;
}

/** General registers, then XMM registers by 16 bytes, then flags. */
const REGISTERS: readonly Register[] = [
  ...places(S.gpr, 8).map((offset) => ({ offset, type: 'i64' as const, flag: 0 })),
  ...places(S.xmm, VECTOR_BYTES).map((offset) => ({ offset, type: 'v128' as const, flag: 0 })),
  ...FLAG_FIELDS.map(({ offset, type }, n) => ({ offset, type, flag: 1 << n })),
].map((r, number) => ({ ...r, number, local: { ...newLocal(r.type), register: number } }));
/** Number of the first flag. */
export const FLAGS_FROM = REGISTERS.length - FLAG_FIELDS.length;
const numbers = new Map(REGISTERS.map(({ offset, number }) => [offset, number]));

function places(field: Field, bytes: number): number[] {
  const count = (field.stride * field.count) / bytes;
  return Array.from({ length: count }, (_, n) => field.offset + n * bytes);
}

/** A register or flag that a region keeps in a local. */
export interface Promoted extends Register {
  /** The region sets it somewhere. */
  isWritten: boolean;
}

/** The locals of one region. */
export class RegisterLocals {
  readonly #promoted: (Promoted | undefined)[] = new Array(REGISTERS.length).fill(undefined);
  readonly all: Promoted[] = [];
  readonly #ripBase: Local;

  /** `ripBase` holds S.ripBase. */
  constructor(ripBase: Local) {
    this.#ripBase = ripBase;
  }

  /** The register or flag that a local stands for. */
  of(local: Local): Promoted | undefined {
    return local.register === undefined ? undefined : this.#promoted[local.register];
  }
  /** The region uses a register, and sets it or not. */
  use(number: number, isWritten: boolean): Promoted {
    let promoted = this.#promoted[number];
    if (!promoted) {
      promoted = { ...REGISTERS[number]!, isWritten: false };
      this.#promoted[number] = promoted;
      this.all.push(promoted);
    }
    if (isWritten) promoted.isWritten = true;
    return promoted;
  }
  /** The local of a flag (FLAG_FIELDS). */
  flag(field: Field): Local {
    return this.#place(field.offset).promoted.local;
  }
  /** Rewrites statements of one instruction. Gives undefined when it uses a register in a way that has no rule. */
  rewrite(statements: readonly Statement[]): readonly Statement[] | undefined {
    try {
      return this.#list(statements);
    } catch (error) {
      if (error === UNKNOWN_ACCESS) return undefined;
      throw error;
    }
  }

  #place(offset: number, isWritten = false): { promoted: Promoted; byte: number } {
    const number = numbers.get(offset);
    if (number !== undefined) return { promoted: this.use(number, isWritten), byte: 0 };
    // All begin at multiples of their size from the first of their kind.
    const isVector = offset >= S.xmm.offset && offset < S.xmm.offset + S.xmm.stride * S.xmm.count;
    const byte = isVector ? (offset - S.xmm.offset) % VECTOR_BYTES : (offset - S.gpr.offset) % 8;
    const start = numbers.get(offset - byte);
    return start === undefined ? fail() : { promoted: this.use(start, isWritten), byte };
  }

  #load(name: string, offset: number): Node {
    const { promoted, byte } = this.#place(offset);
    const whole = new Value({ kind: 'local', type: promoted.type, local: promoted.local });
    const width = WIDTH[name];
    if (width === undefined) return fail();
    if (promoted.type === 'v128') return extract(whole, name, width, byte).node;
    if (promoted.type === 'i32') return name === 'i32.load' ? whole.node : fail();
    if (width === 64 && name === 'i64.load') return byte ? fail() : whole.node;
    if (name.startsWith('f')) return fail();
    const shifted = whole.shru(byte * 8);
    const part = name.startsWith('i64') ? shifted : shifted.i32();
    return width === 32 && part.type === 'i32' ? part.node : part.zext(width).node;
  }

  #store(name: string, offset: number, value: Value): Statement {
    const { promoted, byte } = this.#place(offset, true);
    const { local, type } = promoted;
    const width = WIDTH[name];
    if (width === undefined) return fail();
    const whole = new Value({ kind: 'local', type, local });
    if (type === 'v128')
      return { kind: 'set', local, value: insert(whole, name, width, byte, value).node };
    if (type === 'i32')
      return name === 'i32.store' ? { kind: 'set', local, value: value.node } : fail();
    if (name.startsWith('f') || width + byte * 8 > 64) return fail();
    if (width === 64) return { kind: 'set', local, value: value.node };
    const mask = ((1n << BigInt(width)) - 1n) << BigInt(byte * 8);
    const inserted = value
      .u64()
      .zext(width)
      .shl(byte * 8);
    return { kind: 'set', local, value: whole.and(BigInt.asIntN(64, ~mask)).or(inserted).node };
  }

  #node = (node: Node): Node => {
    if (node.kind !== 'load')
      return isAddressOfRegister(node) ? fail() : mapOperands(node, this.#node);
    const at = stateOffset(node.address, node.offset);
    if (at === 'unknown') return isPromoted(node.offset) ? fail() : mapOperands(node, this.#node);
    if (at !== undefined && isPromoted(at)) return node.value ? fail() : this.#load(node.op, at);
    if (at === S.ripBase.offset && node.op === 'i64.load')
      return { kind: 'local', type: 'i64', local: this.#ripBase };
    if (at === S.zero.offset && node.op === 'i64.load') return constant('i64', 0).node;
    return typeof at === 'number' ? node : mapOperands(node, this.#node);
  };
  #list = (statements: readonly Statement[]): readonly Statement[] =>
    statements.map((s) => this.#statement(s));

  #statement(s: Statement): Statement {
    if (s.kind === 'store') {
      const at = stateOffset(s.address, s.offset);
      if (at === 'unknown' && isPromoted(s.offset)) return fail();
      if (typeof at === 'number' && isPromoted(at))
        return s.lane === undefined
          ? this.#store(s.op, at, new Value(this.#node(s.value)))
          : fail();
      if (typeof at === 'number') return { ...s, value: this.#node(s.value) };
    }
    return mapStatement(s, this.#node, this.#list);
  }
}

/** A register's place as a number, kept or handed on: what is read and written through it later is not seen here. */
function isAddressOfRegister(node: Node): boolean {
  const at = node.kind === 'op' ? stateOffset(node, 0) : undefined;
  return typeof at === 'number' && isPromoted(at);
}

const SHAPES: Readonly<Record<number, string>> = {
  8: 'i8x16',
  16: 'i16x8',
  32: 'i32x4',
  64: 'i64x2',
};

/** A part of a vector as a load of that name gives it. */
function extract(whole: Value, name: string, width: number, byte: number): Value {
  if (width === 128) return byte ? fail() : whole;
  if (byte % (width / 8)) return fail();
  const lane = [(byte * 8) / width];
  if (name.startsWith('f')) return lanewise(`f${width}x${128 / width}.extract_lane`, lane, whole);
  const sign = width < 32 ? '_u' : '';
  const part = lanewise(`${SHAPES[width]}.extract_lane${sign}`, lane, whole);
  return name.startsWith('i64') ? part.u64() : part;
}

/** The vector with a part replaced as a store of that name does. */
function insert(whole: Value, name: string, width: number, byte: number, value: Value): Value {
  if (width === 128) return byte ? fail() : value;
  if (byte % (width / 8)) return fail();
  const lane = [(byte * 8) / width];
  if (value.type === 'f64' || value.type === 'f32')
    return lanewise(`f${width}x${128 / width}.replace_lane`, lane, whole, value);
  const part = width < 64 && name.startsWith('i64') ? value.i32() : value;
  const { node } = part;
  // A float's bits go straight into the lane.
  if (node.kind === 'op' && node.op.includes('.reinterpret_f'))
    return insert(whole, name, width, byte, new Value(node.args[0]!));
  return lanewise(`${SHAPES[width]}.replace_lane`, lane, whole, part);
}

/** Thrown and caught within this file only. */
const UNKNOWN_ACCESS = new Error('an access to registers without a rule');
function fail(): never {
  throw UNKNOWN_ACCESS;
}
