// How many low bits of an integer can be set: all bits above are known to be zero. And how many low bits are zero.

import type { Local, Node } from '../../lift/ir.ts';

/** Known widths of locals, now; one that is not there has its type's. */
export type Widths = ReadonlyMap<Local, number>;

const LOADS: Readonly<Record<string, number>> = {
  'i32.load8_u': 8, 'i32.load16_u': 16, 'i64.load8_u': 8, 'i64.load16_u': 16, 'i64.load32_u': 32,
}; // biome-ignore format: one fact a load
/** Operands are looked into as deep as this. */
const DEPTH_MAX = 6;

export function fullWidth(node: Node): number {
  return node.type === 'i64' ? 64 : 32;
}

export function widthOf(node: Node, widths: Widths, depth = 0): number {
  switch (node.kind) {
    case 'const':
      return constantWidth(node);
    case 'local':
      return widths.get(node.local) ?? fullWidth(node);
    case 'load':
      return LOADS[node.op] ?? fullWidth(node);
    case 'select': {
      if (depth === DEPTH_MAX) return fullWidth(node);
      const [a, b] = [node.whenTrue, node.otherwise];
      return Math.max(widthOf(a, widths, depth + 1), widthOf(b, widths, depth + 1));
    }
    case 'op':
      return depth === DEPTH_MAX ? fullWidth(node) : operationWidth(node, widths, depth + 1);
    case 'call':
      return fullWidth(node);
  }
}

function constantWidth(node: Node & { kind: 'const' }): number {
  const { value } = node;
  if (typeof value === 'number') return node.type === 'i32' ? 32 - Math.clz32(value) : 32;
  if (typeof value !== 'bigint' || value < 0n) return 64;
  if (value <= 0xffff_ffffn) return 32 - Math.clz32(Number(value));
  return value.toString(2).length;
}

const COMPARISON = /^[if](32|64)\.(eqz?|ne|[lg][te](_[su])?)$/;
const comparisons = new Map<string, boolean>();
function isComparison(name: string): boolean {
  let known = comparisons.get(name);
  if (known === undefined) {
    known = COMPARISON.test(name);
    comparisons.set(name, known);
  }
  return known;
}

function operationWidth(node: Node & { kind: 'op' }, widths: Widths, depth: number): number {
  const full = fullWidth(node);
  const of = (n: number) => widthOf(node.args[n]!, widths, depth);
  switch (node.op) {
    case 'i64.extend_i32_u':
      return of(0);
    case 'i32.wrap_i64':
      return Math.min(32, of(0));
    case 'i32.and':
    case 'i64.and':
      return Math.min(of(0), of(1));
    case 'i32.or':
    case 'i64.or':
    case 'i32.xor':
    case 'i64.xor':
      return Math.max(of(0), of(1));
    case 'i32.add':
    case 'i64.add':
      return Math.min(full, Math.max(of(0), of(1)) + 1);
    case 'i32.mul':
    case 'i64.mul':
      return Math.min(full, of(0) + of(1));
    case 'i32.shr_u':
    case 'i64.shr_u': {
      const count = shiftCount(node.args[1]!, full);
      return count === undefined ? of(0) : Math.max(0, of(0) - count);
    }
    case 'i32.shl':
    case 'i64.shl': {
      const count = shiftCount(node.args[1]!, full);
      return count === undefined ? full : Math.min(full, of(0) + count);
    }
    default:
      return isComparison(node.op) ? 1 : full;
  }
}
function shiftCount(node: Node, size: number): number | undefined {
  return node.kind === 'const' ? Number(node.value) & (size - 1) : undefined;
}

/** Low bits that are certainly zero. */
export function lowZeros(node: Node, depth = 0): number {
  if (node.kind === 'const') {
    if (node.value instanceof Uint8Array) return 0;
    const value = BigInt.asUintN(fullWidth(node), BigInt(node.value));
    if (value === 0n) return fullWidth(node);
    return (value & -value).toString(2).length - 1;
  }
  if (node.kind !== 'op' || depth === DEPTH_MAX) return 0;
  const of = (n: number) => lowZeros(node.args[n]!, depth + 1);
  switch (node.op) {
    case 'i32.and':
    case 'i64.and':
      return Math.max(of(0), of(1));
    case 'i32.or':
    case 'i64.or':
      return Math.min(of(0), of(1));
    case 'i32.shl':
    case 'i64.shl': {
      const full = fullWidth(node);
      const count = shiftCount(node.args[1]!, full);
      return count === undefined ? of(0) : Math.min(full, of(0) + count);
    }
    case 'i64.extend_i32_u':
    case 'i64.extend_i32_s': {
      const zeros = of(0);
      return zeros === 32 ? 64 : zeros;
    }
    case 'i32.wrap_i64':
      return Math.min(32, of(0));
    default:
      return 0;
  }
}
