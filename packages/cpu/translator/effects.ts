// Which functions touch what the translator keeps in locals: general registers and arithmetic flags. Microcode that
// does not (TLB misses, unit checks) can be called with the registers where they are.

import { calls } from '../interpreter/access.ts';
import type { FunctionRef } from '../lift/function.ts';
import type { Node, Statement } from '../lift/ir.ts';
import { Lift, newLocal } from '../lift/lift.ts';
import { Value } from '../lift/value.ts';
import { S } from '../state/layout.ts';

/** Registers and flags lie between these offsets of the vCPU's state; `zero`, `rip` and `ripBase` among them do not count. */
const FIRST = S.gpr.offset;
const GPR_END = S.gpr.offset + 128;
const FLAGS_FIRST = S.flagZ.offset;
const FLAGS_END = S.flagA.offset + 4;

/** Whether an offset in the vCPU's state is kept in a local. */
export function isPromoted(offset: number): boolean {
  return (offset >= FIRST && offset < GPR_END) || (offset >= FLAGS_FIRST && offset < FLAGS_END);
}

const known = new Map<FunctionRef, boolean>();

/** Whether the function, or one that it calls, reads or writes registers or flags. */
export function touchesRegisters(ref: FunctionRef): boolean {
  const cached = known.get(ref);
  if (cached !== undefined) return cached;
  // A recursive call adds nothing new.
  known.set(ref, false);
  // A host function may look at anything.
  const result = ref.build === undefined || touches(build(ref));
  known.set(ref, result);
  return result;
}

function build(ref: FunctionRef): readonly Statement[] {
  if (ref.statements) return ref.statements;
  const l = new Lift({ cpu: newLocal('i32', 0), access: calls, mayFault: ref.faults });
  ref.build!(
    l,
    ref.params.map((type, n) => new Value({ kind: 'local', type, local: newLocal(type, n + 1) })),
  );
  return l.statements;
}

/** State offset that an address reaches: of the vCPU's base plus what is known; undefined for any other address. */
export function stateOffset(address: Node, offset: number): number | 'unknown' | undefined {
  if (address.kind === 'local') return address.local.parameter === 0 ? offset : undefined;
  if (address.kind !== 'op' || address.op !== 'i32.add') return undefined;
  const [a, b] = address.args as [Node, Node];
  const base = stateOffset(a, offset);
  if (base === undefined) return undefined;
  return b.kind === 'const' && base !== 'unknown' ? base + Number(b.value) : 'unknown';
}

function touchesAddress(address: Node, offset: number): boolean {
  const at = stateOffset(address, offset);
  // An index that is not known stays within its array, which `offset` names.
  if (at === 'unknown') return isPromoted(offset);
  return at !== undefined && isPromoted(at);
}

function touchesNode(node: Node): boolean {
  switch (node.kind) {
    case 'load':
      return touchesAddress(node.address, node.offset) || touchesNode(node.address);
    case 'op':
      return node.args.some(touchesNode);
    case 'call':
      return touchesRegisters(node.callee) || node.args.some(touchesNode);
    case 'select':
      return [node.condition, node.whenTrue, node.otherwise].some(touchesNode);
    default:
      return false;
  }
}

/** Whether any of the statements reads or writes registers or flags. */
export function touches(statements: readonly Statement[]): boolean {
  return statements.some((s) => {
    switch (s.kind) {
      case 'set':
        return touchesNode(s.value);
      case 'store':
        return (
          touchesAddress(s.address, s.offset) || touchesNode(s.address) || touchesNode(s.value)
        );
      case 'effect':
        return s.args.some(touchesNode);
      case 'call':
        return touchesRegisters(s.callee) || s.args.some(touchesNode);
      case 'if':
        return touchesNode(s.condition) || touches(s.whenTrue) || touches(s.otherwise);
      case 'switch':
        return touchesNode(s.selector) || s.cases.some(touches) || touches(s.otherwise);
      case 'loop':
      case 'block':
        return touches(s.body);
      case 'return':
        return s.value !== undefined && touchesNode(s.value);
      default:
        return false;
    }
  });
}

/** Whether a call among the statements goes to a function that touches registers. */
export function callsWithRegisters(statements: readonly Statement[]): boolean {
  let found = false;
  const inNode = (node: Node): void => {
    if (node.kind === 'call') found ||= touchesRegisters(node.callee);
    if (node.kind === 'call' || node.kind === 'op') node.args.forEach(inNode);
    else if (node.kind === 'load') inNode(node.address);
    else if (node.kind === 'select')
      [node.condition, node.whenTrue, node.otherwise].forEach(inNode);
  };
  const walk = (list: readonly Statement[]): void => {
    for (const s of list) {
      if (s.kind === 'set') inNode(s.value);
      else if (s.kind === 'store') [s.address, s.value].forEach(inNode);
      else if (s.kind === 'effect') s.args.forEach(inNode);
      else if (s.kind === 'call') {
        found ||= touchesRegisters(s.callee);
        s.args.forEach(inNode);
      } else if (s.kind === 'if') {
        inNode(s.condition);
        walk(s.whenTrue);
        walk(s.otherwise);
      } else if (s.kind === 'switch') {
        inNode(s.selector);
        s.cases.forEach(walk);
        walk(s.otherwise);
      } else if (s.kind === 'loop' || s.kind === 'block') walk(s.body);
      else if (s.kind === 'return' && s.value) inNode(s.value);
    }
  };
  walk(statements);
  return found;
}
