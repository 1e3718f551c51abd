// Which functions touch what the translator keeps in locals: general registers, XMM registers and arithmetic flags.
// Microcode that does not (TLB misses, unit checks) can be called with the registers where they are.

import { calls } from '../interpreter/access.ts';
import type { FunctionRef } from '../lift/function.ts';
import type { Node, Statement } from '../lift/ir.ts';
import { Lift, newLocal } from '../lift/lift.ts';
import { eachExpression, eachNode, someStatement } from '../lift/traverse.ts';
import { Value } from '../lift/value.ts';
import { type Field, S } from '../state/layout.ts';

const end = (f: Field): number => f.offset + f.stride * f.count;

/** Whether an offset in the vCPU's state is kept in a local. `rip` and `zero` lie between registers and flags and are not. */
export function isPromoted(offset: number): boolean {
  return (
    (offset >= S.gpr.offset && offset < end(S.gpr)) ||
    (offset >= S.flagZ.offset && offset < end(S.flagA)) ||
    (offset >= S.xmm.offset && offset < end(S.xmm))
  );
}

const known = new Map<FunctionRef, boolean>();

/** Whether the function, or one that it calls, reads or writes registers or flags. */
export function touchesRegisters(ref: FunctionRef): boolean {
  const cached = known.get(ref);
  if (cached !== undefined) return cached;
  // A recursive call adds nothing new.
  known.set(ref, false);
  // The host looks at registers between two runs only.
  const result = ref.build !== undefined && touches(build(ref));
  known.set(ref, result);
  return result;
}

function build(ref: FunctionRef): readonly Statement[] {
  if (ref.statements) return ref.statements;
  const l = new Lift({ cpu: newLocal('i32', 0), access: calls, mayFault: true });
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

function reachesPromoted(address: Node, offset: number): boolean {
  const at = stateOffset(address, offset);
  // An index that is not known stays within its array, which `offset` names.
  if (at === 'unknown') return isPromoted(offset);
  return at !== undefined && isPromoted(at);
}

/** The region has the TLB in force in a local, too. */
function setsTlb(s: Statement & { kind: 'store' }): boolean {
  return stateOffset(s.address, s.offset) === S.tlb.offset;
}

function someNode(s: Statement, is: (node: Node) => boolean): boolean {
  let found = false;
  eachExpression(s, (expression) =>
    eachNode(expression, (node) => {
      found ||= is(node);
    }),
  );
  return found;
}

const callsToucher = (node: Node) => node.kind === 'call' && touchesRegisters(node.callee);

/** Whether any of the statements reads or writes registers or flags, or chooses another TLB. */
export function touches(statements: readonly Statement[]): boolean {
  const isToucher = (node: Node) =>
    callsToucher(node) || (node.kind === 'load' && reachesPromoted(node.address, node.offset));
  return someStatement(
    statements,
    (s) =>
      (s.kind === 'store' && (reachesPromoted(s.address, s.offset) || setsTlb(s))) ||
      (s.kind === 'call' && touchesRegisters(s.callee)) ||
      someNode(s, isToucher),
  );
}

/** Whether a call among the statements goes to a function that touches registers. */
export function callsWithRegisters(statements: readonly Statement[]): boolean {
  return someStatement(
    statements,
    (s) => (s.kind === 'call' && touchesRegisters(s.callee)) || someNode(s, callsToucher),
  );
}
