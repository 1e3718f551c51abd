// Rules for one operation whose operands are simple already: constants fold, neutral operands vanish, conversions and
// masks that change no bit go. What is left takes fewer bytes, never more.

import { BINARY, UNARY } from '../../lift/fold.ts';
import type { Node } from '../../lift/ir.ts';
import { constant } from '../../lift/value.ts';
import type { ValueType } from '../../wasm/opcodes.ts';
import { isDroppable, isSame } from './purity.ts';
import { lowZeros, type Widths, widthOf } from './width.ts';

export type OpNode = Node & { readonly kind: 'op' };
type Rule = (a: Node, b: Node, node: OpNode, widths: Widths) => Node | undefined;

export function op(name: string, type: ValueType, ...args: Node[]): OpNode {
  return { kind: 'op', type, op: name, args };
}

export function numberOf(node: Node): bigint | undefined {
  if (node.kind !== 'const' || node.value instanceof Uint8Array) return undefined;
  if (typeof node.value === 'bigint') return BigInt.asIntN(64, node.value);
  return node.type === 'i32' ? BigInt(node.value | 0) : undefined;
}
function isConst(node: Node, value: number): boolean {
  if (node.kind !== 'const') return false;
  // An i32 may be written without sign.
  if (node.type === 'i32') return ((node.value as number) | 0) === value;
  return node.type === 'i64' && node.value === BigInt(value);
}
function isOp(node: Node, name: string): node is OpNode {
  return node.kind === 'op' && node.op === name;
}
const number = (type: ValueType, value: bigint): Node =>
  type === 'i64'
    ? constant('i64', BigInt.asIntN(64, value)).node
    : constant('i32', Number(BigInt.asIntN(32, value))).node;

const COMMUTES = /\.(add|mul|and|or|xor|eq|ne)$/;
/** The comparison that is true when this one is false. */
const OPPOSITE: Readonly<Record<string, string>> = {
  eq: 'ne', ne: 'eq', lt_s: 'ge_s', ge_s: 'lt_s', lt_u: 'ge_u', ge_u: 'lt_u',
  gt_s: 'le_s', le_s: 'gt_s', gt_u: 'le_u', le_u: 'gt_u',
}; // biome-ignore format: pairs

function opposite(node: Node): Node | undefined {
  if (node.kind !== 'op') return undefined;
  const [type, name] = node.op.split('.');
  if (type !== 'i32' && type !== 'i64') return undefined;
  const other = OPPOSITE[name!];
  return other ? { ...node, op: `${type}.${other}` } : undefined;
}

/** What decides an `if` or a `select`: not zero means true. `isInverted`: it decides the other way round. */
export function condition(node: Node): { node: Node; isInverted: boolean } {
  let isInverted = false;
  let at: Node = node;
  for (;;) {
    if (at.kind !== 'op') return { node: at, isInverted };
    const first: Node = at.args[0]!;
    if (at.op === 'i32.eqz') isInverted = !isInverted;
    else if (at.op !== 'i32.ne' || !isConst(at.args[1]!, 0)) return { node: at, isInverted };
    at = first;
  }
}

// --- masks and shifts ---

/** The node, or one that has the same `bits` low bits and is simpler. */
function low(node: Node, bits: number, widths: Widths): Node {
  if (node.kind !== 'op') return node;
  const [a, b] = node.args as [Node, Node];
  switch (node.op) {
    case 'i32.and':
    case 'i64.and': {
      const mask = numberOf(b);
      if (mask !== undefined && BigInt.asUintN(bits, ~mask) === 0n) return low(a, bits, widths);
      return node;
    }
    case 'i32.or':
    case 'i64.or':
    case 'i32.xor':
    case 'i64.xor': {
      if (lowZeros(b) >= bits && isDroppable(b)) return low(a, bits, widths);
      if (lowZeros(a) >= bits && isDroppable(a)) return low(b, bits, widths);
      const [x, y] = [low(a, bits, widths), low(b, bits, widths)];
      return x === a && y === b ? node : { ...node, args: [x, y] };
    }
    case 'i32.extend8_s':
    case 'i64.extend8_s':
      return bits <= 8 ? low(a, bits, widths) : node;
    case 'i32.extend16_s':
    case 'i64.extend16_s':
      return bits <= 16 ? low(a, bits, widths) : node;
    case 'i64.extend32_s':
      return bits <= 32 ? low(a, bits, widths) : node;
    case 'i64.extend_i32_s':
      return bits <= 32 ? op('i64.extend_i32_u', 'i64', low(a, bits, widths)) : node;
    case 'i64.extend_i32_u':
    case 'i32.wrap_i64': {
      const inner = low(a, Math.min(bits, 32), widths);
      return inner === a ? node : simplifyOperation({ ...node, args: [inner] }, widths);
    }
    default:
      return node;
  }
}

/** Bits of an all-ones mask from bit 0, or undefined for any other mask. */
function maskBits(mask: bigint): number | undefined {
  if (mask <= 0n || (mask & (mask + 1n)) !== 0n) return undefined;
  return mask.toString(2).length;
}

function and(type: 'i32' | 'i64'): Rule {
  const size = type === 'i64' ? 64 : 32;
  return (a, b, node, widths) => {
    const mask = numberOf(b);
    if (mask === undefined) return isSame(a, b) ? a : undefined;
    if (mask === 0n) return isDroppable(a) ? b : undefined;
    if (mask === -1n) return a;
    const bits = maskBits(BigInt.asUintN(size, mask));
    if (bits !== undefined) {
      if (widthOf(a, widths) <= bits) return a;
      const simple = low(a, bits, widths);
      if (simple !== a) return simplifyOperation({ ...node, args: [simple, b] }, widths);
      if (bits === 32 && type === 'i64')
        return simplifyOperation(
          op('i64.extend_i32_u', 'i64', simplifyOperation(op('i32.wrap_i64', 'i32', a), widths)),
          widths,
        );
    }
    if (isOp(a, node.op)) {
      const inner = numberOf(a.args[1]!);
      if (inner !== undefined)
        return simplifyOperation(
          { ...node, args: [a.args[0]!, number(type, inner & mask)] },
          widths,
        );
    }
    // One side of an insertion may lie outside the mask.
    if (isOp(a, `${type}.or`)) {
      const [x, y] = a.args as [Node, Node];
      if (isOutside(y, mask, size, widths) && isDroppable(y))
        return simplifyOperation({ ...node, args: [x, b] }, widths);
      if (isOutside(x, mask, size, widths) && isDroppable(x))
        return simplifyOperation({ ...node, args: [y, b] }, widths);
    }
    return undefined;
  };
}
/** None of the node's bits can be set where the mask has ones. */
function isOutside(node: Node, mask: bigint, size: number, widths: Widths): boolean {
  const width = widthOf(node, widths);
  if (width < size && BigInt.asUintN(width, mask) === 0n) return true;
  const zeros = lowZeros(node);
  return zeros > 0 && BigInt.asUintN(size, mask) >> BigInt(zeros) === 0n;
}

function shift(name: 'shl' | 'shr_u' | 'shr_s', type: 'i32' | 'i64'): Rule {
  const size = type === 'i64' ? 64 : 32;
  return (a, b, node, widths) => {
    const given = numberOf(b);
    if (given === undefined) return undefined;
    const count = Number(given & BigInt(size - 1));
    if (count === 0) return a;
    if (name === 'shr_u' && widthOf(a, widths) <= count && isDroppable(a)) return number(type, 0n);
    if (name === 'shr_s') return signExtension(type, a, size - count);
    // Shifted there and back: nothing, when there was nothing to lose.
    if (name === 'shr_u' && isOp(a, `${type}.shl`) && isConst(a.args[1]!, count)) {
      if (widthOf(a.args[0]!, widths) <= size - count) return a.args[0];
    }
    if (isOp(a, node.op)) {
      const inner = numberOf(a.args[1]!);
      if (inner === undefined) return undefined;
      const sum = count + Number(inner & BigInt(size - 1));
      if (sum < size) return { ...node, args: [a.args[0]!, number(type, BigInt(sum))] };
      return isDroppable(a) ? number(type, 0n) : undefined;
    }
    return undefined;
  };
}
/** `(x << k) >> k` where that is an operation of its own. */
function signExtension(type: 'i32' | 'i64', a: Node, bits: number): Node | undefined {
  const isThere = bits === 8 || bits === 16 || (bits === 32 && type === 'i64');
  const count = (type === 'i64' ? 64 : 32) - bits;
  if (!isThere || !isOp(a, `${type}.shl`) || !isConst(a.args[1]!, count)) return undefined;
  return op(`${type}.extend${bits}_s`, type, a.args[0]!);
}

// --- arithmetic ---

function sum(name: 'add' | 'sub', type: 'i32' | 'i64'): Rule {
  return (a, b) => {
    if (name === 'sub' && isSame(a, b) && isDroppable(a)) return number(type, 0n);
    const right = numberOf(b);
    if (right === undefined) return undefined;
    if (right === 0n) return a;
    if (!isOp(a, `${type}.add`) && !isOp(a, `${type}.sub`)) return undefined;
    const inner = numberOf(a.args[1]!);
    if (inner === undefined) return undefined;
    const signed = (value: bigint, isSub: boolean) => (isSub ? -value : value);
    const total = signed(right, name === 'sub') + signed(inner, a.op.endsWith('sub'));
    const reduced = number(type, total);
    if (isConst(reduced, 0)) return a.args[0];
    return op(`${type}.add`, type, a.args[0]!, reduced);
  };
}

function or(type: 'i32' | 'i64', name: 'or' | 'xor'): Rule {
  return (a, b, node) => {
    if (isSame(a, b)) {
      if (name === 'or') return a;
      return isDroppable(a) ? number(type, 0n) : undefined;
    }
    const mask = numberOf(b);
    if (mask === 0n) return a;
    if (isConst(a, 0)) return b;
    if (mask === undefined) return undefined;
    if (mask === -1n && name === 'or') return isDroppable(a) ? b : undefined;
    const inner = isOp(a, node.op) ? numberOf(a.args[1]!) : undefined;
    if (inner === undefined) return undefined;
    const merged = number(type, name === 'or' ? inner | mask : inner ^ mask);
    const first = (a as OpNode).args[0]!;
    return isConst(merged, 0) ? first : { ...node, args: [first, merged] };
  };
}

function mul(type: 'i32' | 'i64'): Rule {
  return (a, b) => {
    if (isConst(b, 1)) return a;
    return isConst(b, 0) && isDroppable(a) ? number(type, 0n) : undefined;
  };
}

// --- comparisons ---

function equal(type: 'i32' | 'i64', name: 'eq' | 'ne'): Rule {
  return (a, b, _node, widths) => {
    if (isSame(a, b) && isDroppable(a)) return number('i32', name === 'eq' ? 1n : 0n);
    if (isConst(b, 0)) {
      if (name === 'eq') return simplifyOperation(op(`${type}.eqz`, 'i32', a), widths);
      if (type === 'i32' && widthOf(a, widths) === 1) return a;
      const tested = zeroTest(a);
      if (tested) return simplifyOperation(op(`${tested.type}.ne`, 'i32', ...tested.args), widths);
    }
    return narrowComparison(`i32.${name}`, type, a, b, widths);
  };
}
const DIFFERENCES = new Set(['i32.sub', 'i64.sub', 'i32.xor', 'i64.xor']);
/** What is zero just when the node is: a pair to compare. */
function zeroTest(node: Node): { type: 'i32' | 'i64'; args: [Node, Node] } | undefined {
  if (node.kind !== 'op') return undefined;
  const [a, b] = node.args as [Node, Node];
  if (node.op === 'i64.extend_i32_u' || node.op === 'i64.extend_i32_s')
    return { type: 'i32', args: [a, number('i32', 0n)] };
  if (DIFFERENCES.has(node.op)) return { type: node.type as 'i32' | 'i64', args: [a, b] };
  return undefined;
}
/** A comparison of zero-extended values compares what was extended; `name` orders as i32. */
function narrowComparison(
  name: string,
  type: 'i32' | 'i64',
  a: Node,
  b: Node,
  widths: Widths,
): Node | undefined {
  if (type !== 'i64' || !isOp(a, 'i64.extend_i32_u')) return undefined;
  const right = narrow(b);
  if (!right || widthOf(b, widths) > 32) return undefined;
  return simplifyOperation(op(name, 'i32', a.args[0]!, right), widths);
}

function order(name: string, type: 'i32' | 'i64'): Rule {
  return (a, b, _node, widths) => {
    if (isConst(b, 0) && isDroppable(a)) {
      if (name === 'lt_u') return number('i32', 0n);
      if (name === 'ge_u') return number('i32', 1n);
    }
    if (isSame(a, b) && isDroppable(a)) return number('i32', /e_/.test(name) ? 1n : 0n);
    // Both are below 2^32, so that both orders of i64 are the unsigned one of i32.
    return narrowComparison(`i32.${name.slice(0, 2)}_u`, type, a, b, widths);
  };
}

function eqz(type: 'i32' | 'i64'): Rule {
  return (a, _b, _node, widths) => {
    const tested = zeroTest(a);
    if (tested) return simplifyOperation(op(`${tested.type}.eq`, 'i32', ...tested.args), widths);
    if (type === 'i64') return undefined;
    if (isOp(a, 'i32.eqz')) {
      const [x] = a.args as [Node];
      return widthOf(x, widths) === 1 ? x : undefined;
    }
    return opposite(a);
  };
}

// --- conversions ---

/** The low half of an i64 where it costs nothing. */
function narrow(node: Node): Node | undefined {
  if (node.kind === 'const') return number('i32', numberOf(node) ?? 0n);
  if (isOp(node, 'i64.extend_i32_u') || isOp(node, 'i64.extend_i32_s')) return node.args[0];
  return undefined;
}
const NARROW_LOADS: Readonly<Record<string, string>> = {
  'i64.load': 'i32.load', 'i64.load32_u': 'i32.load', 'i64.load32_s': 'i32.load', 'i64.load16_u': 'i32.load16_u',
  'i64.load16_s': 'i32.load16_s', 'i64.load8_u': 'i32.load8_u', 'i64.load8_s': 'i32.load8_s',
}; // biome-ignore format: pairs
const WIDE_LOADS: Readonly<Record<string, string>> = {
  'i32.load': 'i64.load32_u', 'i32.load16_u': 'i64.load16_u', 'i32.load8_u': 'i64.load8_u',
}; // biome-ignore format: pairs

/** The low half of the result needs only the low halves of the operands. */
const NARROWED = new Set(['i64.add', 'i64.sub', 'i64.mul', 'i64.and', 'i64.or', 'i64.xor']);

const wrap: Rule = (a, _b, _node, widths) => {
  const free = narrow(a);
  if (free) return free;
  if (a.kind === 'load') {
    const load = NARROW_LOADS[a.op];
    return load ? { ...a, op: load, type: 'i32' } : undefined;
  }
  if (a.kind !== 'op') return undefined;
  const simple = low(a, 32, widths);
  if (simple !== a) return simplifyOperation(op('i32.wrap_i64', 'i32', simple), widths);
  const [x, y] = a.args as [Node, Node];
  const name = a.op.slice(4);
  const [left, right] = [narrow(x), y && narrow(y)];
  // A constant alone is no reason, except for a mask, which may vanish.
  const isWorthIt = left && x.kind !== 'const' && right;
  if (right && NARROWED.has(a.op)) {
    if (isWorthIt) return simplifyOperation(op(`i32.${name}`, 'i32', left, right), widths);
    if (name === 'and' && y.kind === 'const')
      return simplifyOperation(
        op('i32.and', 'i32', simplifyOperation(op('i32.wrap_i64', 'i32', x), widths), right),
        widths,
      );
  }
  const count = y && numberOf(y);
  if (count === undefined || count < 0n || count > 31n) return undefined;
  if (a.op === 'i64.shl' && left) return op('i32.shl', 'i32', left, right!);
  if (a.op === 'i64.shr_u' && isOp(x, 'i64.extend_i32_u'))
    return op('i32.shr_u', 'i32', left!, right!);
  return undefined;
};

const extendUnsigned: Rule = (a, _b, _node, widths) => {
  if (isOp(a, 'i32.wrap_i64') && widthOf(a.args[0]!, widths) <= 32) return a.args[0];
  if (a.kind !== 'load') return undefined;
  const load = WIDE_LOADS[a.op];
  return load ? { ...a, op: load, type: 'i64' } : undefined;
};

const extendSigned: Rule = (a, _b, _node, widths) => {
  if (isOp(a, 'i32.wrap_i64'))
    return simplifyOperation(op('i64.extend32_s', 'i64', a.args[0]!), widths);
  return widthOf(a, widths) < 32
    ? simplifyOperation(op('i64.extend_i32_u', 'i64', a), widths)
    : undefined;
};

/** Sign extension from inside the type. */
function extendWithin(bits: number): Rule {
  return (a, _b, node, widths) => {
    if (widthOf(a, widths) < bits) return a;
    const simple = low(a, bits, widths);
    return simple === a ? undefined : simplifyOperation({ ...node, args: [simple] }, widths);
  };
}

const RULES = new Map<string, Rule>([
  ['i32.wrap_i64', wrap],
  ['i64.extend_i32_u', extendUnsigned],
  ['i64.extend_i32_s', extendSigned],
  ['i64.extend32_s', extendWithin(32)],
]);
for (const type of ['i32', 'i64'] as const) {
  for (const name of ['add', 'sub'] as const) RULES.set(`${type}.${name}`, sum(name, type));
  for (const name of ['or', 'xor'] as const) RULES.set(`${type}.${name}`, or(type, name));
  for (const name of ['eq', 'ne'] as const) RULES.set(`${type}.${name}`, equal(type, name));
  for (const name of ['shl', 'shr_u', 'shr_s'] as const)
    RULES.set(`${type}.${name}`, shift(name, type));
  for (const name of ['lt_s', 'lt_u', 'gt_s', 'gt_u', 'le_s', 'le_u', 'ge_s', 'ge_u'])
    RULES.set(`${type}.${name}`, order(name, type));
  for (const bits of [8, 16]) RULES.set(`${type}.extend${bits}_s`, extendWithin(bits));
  RULES.set(`${type}.and`, and(type));
  RULES.set(`${type}.mul`, mul(type));
  RULES.set(`${type}.eqz`, eqz(type));
}

/** The operation itself, or something simpler that gives the same. Its operands are simple already. */
export function simplifyOperation(node: OpNode, widths: Widths): Node {
  const rule = RULES.get(node.op);
  if (!rule) return foldConstants(node) ?? node;
  const [a, b] = node.args as [Node, Node];
  if (a.kind === 'const') {
    const folded = foldConstants(node);
    if (folded) return folded;
    if (COMMUTES.test(node.op)) return simplifyOperation({ ...node, args: [b, a] }, widths);
  }
  return rule(a, b, node, widths) ?? node;
}

function foldConstants(node: OpNode): Node | undefined {
  const [first, second] = node.args;
  if (first?.kind !== 'const') return undefined;
  const a = numberOf(first);
  if (a === undefined) return undefined;
  const bits = first.type === 'i64' ? 64 : 32;
  if (!second) {
    const result = UNARY[node.op.slice(4)]?.(a, bits);
    return result === undefined ? undefined : number(node.type, result);
  }
  const b = numberOf(second);
  const result = b === undefined ? undefined : BINARY[node.op.slice(4)]?.(a, b, bits);
  return result === undefined ? undefined : number(node.type, result);
}

// --- what a store keeps ---

const STORED_BITS: Readonly<Record<string, number>> = {
  'i32.store8': 8, 'i64.store8': 8, 'i32.store16': 16, 'i64.store16': 16, 'i64.store32': 32,
}; // biome-ignore format: pairs

/** What is stored by a store that keeps only some low bits. */
export function simplifyStored(name: string, value: Node, widths: Widths): Node {
  const bits = STORED_BITS[name];
  return bits === undefined ? value : low(value, bits, widths);
}
