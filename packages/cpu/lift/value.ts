// Values of the lift language: a fluent face on expression nodes. Operations choose i32 or i64 by their operand;
// plain numbers and bigints become constants of the other operand's type.

import type { ValueType } from '../wasm/opcodes.ts';
import { wasmOp } from '../wasm/opcodes.ts';
import { BINARY, UNARY } from './fold.ts';
import type { Hole, Node } from './ir.ts';

export type Operand = Value | number | bigint;

export class Value {
  readonly node: Node;
  constructor(node: Node) {
    this.node = node;
  }
  get type(): ValueType {
    return this.node.type;
  }

  add(b: Operand): Value {
    return isZero(b) ? this : this.#binary('add', b);
  }
  sub(b: Operand): Value {
    return isZero(b) ? this : this.#binary('sub', b);
  }
  mul(b: Operand): Value {
    return this.#binary('mul', b);
  }
  and(b: Operand): Value {
    return this.#binary('and', b);
  }
  or(b: Operand): Value {
    return isZero(b) ? this : this.#binary('or', b);
  }
  xor(b: Operand): Value {
    return isZero(b) ? this : this.#binary('xor', b);
  }
  /** Shifts take their count modulo the width, as WebAssembly does; a count of the other integer type is converted. */
  shl(b: Operand): Value {
    return isZero(b) ? this : this.#shift('shl', b);
  }
  shru(b: Operand): Value {
    return isZero(b) ? this : this.#shift('shr_u', b);
  }
  shrs(b: Operand): Value {
    return isZero(b) ? this : this.#shift('shr_s', b);
  }
  rotl(b: Operand): Value {
    return this.#shift('rotl', b);
  }
  rotr(b: Operand): Value {
    return this.#shift('rotr', b);
  }
  /** Division traps on zero and overflow: check before. */
  divu(b: Operand): Value {
    return this.#binary('div_u', b);
  }
  divs(b: Operand): Value {
    return this.#binary('div_s', b);
  }
  remu(b: Operand): Value {
    return this.#binary('rem_u', b);
  }
  rems(b: Operand): Value {
    return this.#binary('rem_s', b);
  }
  not(): Value {
    return this.xor(this.type === 'i64' ? -1n : -1);
  }
  /** Negation: integer 0 - x, or the float's sign flipped. */
  neg(): Value {
    return isFloat(this) ? this.unary('neg') : constant(this.type, 0).sub(this);
  }
  clz(): Value {
    return this.unary('clz');
  }
  ctz(): Value {
    return this.unary('ctz');
  }
  popcnt(): Value {
    return this.unary('popcnt');
  }

  /** Comparisons give i32 0 or 1. */
  eq(b: Operand): Value {
    return this.#binary('eq', b);
  }
  ne(b: Operand): Value {
    return this.#binary('ne', b);
  }
  eqz(): Value {
    return this.unary('eqz');
  }
  nez(): Value {
    return this.#binary('ne', 0);
  }
  ltu(b: Operand): Value {
    return this.#binary('lt_u', b);
  }
  lts(b: Operand): Value {
    return this.#binary('lt_s', b);
  }
  leu(b: Operand): Value {
    return this.#binary('le_u', b);
  }
  les(b: Operand): Value {
    return this.#binary('le_s', b);
  }
  gtu(b: Operand): Value {
    return this.#binary('gt_u', b);
  }
  gts(b: Operand): Value {
    return this.#binary('gt_s', b);
  }
  geu(b: Operand): Value {
    return this.#binary('ge_u', b);
  }
  ges(b: Operand): Value {
    return this.#binary('ge_s', b);
  }
  /** Float comparisons. */
  lt(b: Operand): Value {
    return this.#binary('lt', b);
  }
  le(b: Operand): Value {
    return this.#binary('le', b);
  }
  gt(b: Operand): Value {
    return this.#binary('gt', b);
  }
  ge(b: Operand): Value {
    return this.#binary('ge', b);
  }
  div(b: Operand): Value {
    return this.#binary('div', b);
  }
  sqrt(): Value {
    return this.unary('sqrt');
  }
  abs(): Value {
    return this.unary('abs');
  }

  /** To i32: the low half of an i64, or itself. */
  i32(): Value {
    return this.type === 'i64' ? op('i32.wrap_i64', this) : this;
  }
  /** To i64 without sign, or itself. */
  u64(): Value {
    return this.type === 'i32' ? op('i64.extend_i32_u', this) : this;
  }
  /** To i64 with sign, or itself. */
  s64(): Value {
    return this.type === 'i32' ? op('i64.extend_i32_s', this) : this;
  }
  /** Keeps the type and extends the low 8, 16 or 32 bits; from the full width it is the value itself. */
  sext(bits: number): Value {
    if (bits === (this.type === 'i64' ? 64 : 32)) return this;
    return this.unary(`extend${bits}_s`);
  }
  zext(bits: number): Value {
    if (bits === (this.type === 'i64' ? 64 : 32)) return this;
    return this.and(this.type === 'i64' ? (1n << BigInt(bits)) - 1n : 2 ** bits - 1);
  }
  /** The bit at `index` as 0 or 1, i32. */
  bit(index: number): Value {
    return this.shru(index).and(1).i32();
  }
  /** Float bits as an integer and back. */
  bits(): Value {
    return this.type === 'f64' ? op('i64.reinterpret_f64', this) : op('i32.reinterpret_f32', this);
  }
  float(): Value {
    return this.type === 'i64' ? op('f64.reinterpret_i64', this) : op('f32.reinterpret_i32', this);
  }

  unary(name: string): Value {
    return op(`${this.type}.${name}`, this);
  }
  #binary(name: string, b: Operand): Value {
    return op(`${this.type}.${name}`, this, b);
  }
  #shift(name: string, b: Operand): Value {
    const count = b instanceof Value ? (this.type === 'i64' ? b.u64() : b.i32()) : b;
    return op(`${this.type}.${name}`, this, count);
  }
}

function isZero(b: Operand): boolean {
  if (b instanceof Value)
    return b.node.kind === 'const' && !isFloat(b) && (b.node.value === 0 || b.node.value === 0n);
  return b === 0 || b === 0n;
}

function isFloat(v: Value): boolean {
  return v.type === 'f32' || v.type === 'f64';
}

/** A constant of the given type. */
export function constant(type: ValueType, value: number | bigint | Uint8Array): Value {
  if (type === 'i64' && typeof value === 'number')
    return new Value({ kind: 'const', type, value: BigInt(value) });
  if (type !== 'i64' && typeof value === 'bigint')
    return new Value({ kind: 'const', type, value: Number(BigInt.asIntN(32, value)) });
  return new Value({ kind: 'const', type, value });
}

/** A v128 constant from its 16 bytes, lowest first. */
export function v128(bytes: readonly number[]): Value {
  return constant('v128', Uint8Array.from(bytes));
}

/** Any WebAssembly operation by its text name; numbers become constants of the parameter's type. Folds constants. */
export function op(name: string, ...args: Operand[]): Value {
  return lanewise(name, undefined, ...args);
}

/** An operation with lane immediates: extract_lane, replace_lane (one lane) or i8x16.shuffle (sixteen). */
export function lanewise(
  name: string,
  lanes: readonly number[] | undefined,
  ...args: Operand[]
): Value {
  const { params, result } = wasmOp(name);
  if (!result) throw new Error(`${name} gives no value`);
  if (args.length !== params.length) throw new Error(`${name}: ${args.length} operands`);
  const nodes: Node[] = [];
  for (let n = 0; n < args.length; n++) {
    const arg = args[n]!;
    const want = params[n]!;
    const { node } = arg instanceof Value ? arg : constant(want, arg);
    if (node.type !== want) throw new Error(`${name}: operand ${n} is ${node.type}, not ${want}`);
    nodes.push(node);
  }
  const folded = fold(name, nodes);
  if (folded) return folded;
  if (lanes) return new Value({ kind: 'op', type: result, op: name, args: nodes, lanes });
  return new Value({ kind: 'op', type: result, op: name, args: nodes });
}

type Folder = (a: bigint, b: bigint, bits: number) => bigint;

/** What lifts and the operand code of records are made of; the passes fold all (passes/algebra.ts). */
const FOLDED = ['add', 'sub', 'mul', 'and', 'or', 'xor', 'shl', 'shr_u', 'eq', 'ne'] as const;
/** By the full name: the function, the bits of its operands, and the type of what it gives. */
const foldings = new Map<string, { fold: Folder; bits: number; result: 'i32' | 'i64' }>([
  ['i32.wrap_i64', { fold: unary('wrap_i64'), bits: 64, result: 'i32' }],
  ['i64.extend_i32_u', { fold: unary('extend_i32_u'), bits: 32, result: 'i64' }],
  ['i64.extend_i32_s', { fold: unary('extend_i32_s'), bits: 32, result: 'i64' }],
]);
for (const [type, bits] of [
  ['i32', 32],
  ['i64', 64],
] as const) {
  foldings.set(`${type}.eqz`, { fold: unary('eqz'), bits, result: 'i32' });
  for (const name of FOLDED) {
    const result = name === 'eq' || name === 'ne' ? 'i32' : type;
    foldings.set(`${type}.${name}`, { fold: BINARY[name]!, bits, result });
  }
}
function unary(name: string): Folder {
  return (a, _b, bits) => UNARY[name]!(a, bits);
}

function fold(name: string, nodes: readonly Node[]): Value | undefined {
  const [a, b] = nodes;
  if (a?.kind !== 'const' || (b && b.kind !== 'const')) return undefined;
  const folding = foldings.get(name);
  if (!folding) return undefined;
  const { bits, result } = folding;
  const value = folding.fold(look(a, bits), b ? look(b, bits) : 0n, bits);
  const folded = constant(
    result,
    result === 'i64' ? BigInt.asIntN(64, value) : Number(BigInt.asIntN(32, value)),
  );
  const hole = a.hole && converted(name, a.hole);
  if (hole && folded.node.kind === 'const') return new Value({ ...folded.node, hole });
  if (a.hole) a.hole.use.isRead = true;
  if (b?.hole) b.hole.use.isRead = true;
  return folded;
}
function look(node: Node & { kind: 'const' }, bits: number): bigint {
  return BigInt.asIntN(bits, BigInt(node.value as number | bigint));
}
/** The half of a field, or that half extended, is a field still. */
function converted(name: string, hole: Hole): Hole | undefined {
  const { field, use } = hole;
  if (name === 'i32.wrap_i64') return { field, use };
  if (name === 'i64.extend_i32_u') return { field, use, extended: 'u' };
  return name === 'i64.extend_i32_s' ? { field, use, extended: 's' } : undefined;
}

/** The number a constant value has, or undefined. */
export function constantOf(value: Value): bigint | undefined {
  if (value.node.kind !== 'const' || value.node.value instanceof Uint8Array) return undefined;
  if (value.node.hole) value.node.hole.use.isRead = true;
  return BigInt(value.node.value);
}
