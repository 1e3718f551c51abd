// What computing an expression does besides giving its value, and what else than its operands the value depends on.

import type { FunctionRef } from '../../lift/function.ts';
import type { Node } from '../../lift/ir.ts';
import { statementsOf } from './settled-state.ts';

export type OperationKind =
  /** Depends on its operands only. */
  | 'pure'
  /** Pure, but some operands trap; whoever lifted has seen to it that these do not come here. */
  | 'partial'
  /** Writes memory, or orders what others write. */
  | 'effect';

const kinds = new Map<string, OperationKind>();

export function operationKind(name: string): OperationKind {
  let kind = kinds.get(name);
  if (kind === undefined) {
    if (/atomic|memory\./.test(name)) kind = 'effect';
    else if (/^i(32|64)\.(div|rem|trunc_f)/.test(name)) kind = 'partial';
    else kind = 'pure';
    kinds.set(name, kind);
  }
  return kind;
}

/** Not computing it at all would go unnoticed. A load of our own memory cannot fault. */
export function isDroppable(node: Node): boolean {
  switch (node.kind) {
    case 'const':
    case 'local':
      return true;
    case 'op':
      return operationKind(node.op) !== 'effect' && node.args.every(isDroppable);
    case 'select':
      return (
        isDroppable(node.whenTrue) && isDroppable(node.otherwise) && isDroppable(node.condition)
      );
    case 'load':
      return isDroppable(node.address) && (!node.value || isDroppable(node.value));
    case 'call':
      return onlyComputes(node.callee) && node.args.every(isDroppable);
  }
}

const computing = new Map<FunctionRef, boolean>();

/** Whether a function does nothing but give a value: straight code without stores, faults and atomics. */
function onlyComputes(ref: FunctionRef): boolean {
  let known = computing.get(ref);
  if (known === undefined) {
    const mayFault = ref.faults || ref.zeroOnFault === true;
    // A recursive call would not end.
    computing.set(ref, false);
    known = !mayFault && (ref.build !== undefined || ref.statements !== undefined);
    known &&= statementsOf(ref).every(
      (s) => (s.kind === 'set' || s.kind === 'return') && (!s.value || isDroppable(s.value)),
    );
    computing.set(ref, known);
  }
  return known;
}

/** An address in the vCPU's state, known or not, as opposed to guest memory, a TLB or anything else. */
export function isStateAddress(address: Node): boolean {
  if (address.kind === 'local') return address.local.parameter === 0;
  return address.kind === 'op' && address.op === 'i32.add' && isStateAddress(address.args[0]!);
}

/** Both compute the same when evaluated at the same moment. */
export function isSame(a: Node, b: Node): boolean {
  if (a === b) return true;
  if (a.kind !== b.kind || a.type !== b.type) return false;
  switch (a.kind) {
    case 'const': {
      const other = (b as typeof a).value;
      if (a.value instanceof Uint8Array || other instanceof Uint8Array) return false;
      return Object.is(a.value, other);
    }
    case 'local':
      return isSameLocal(a, b as typeof a);
    case 'op': {
      const other = b as typeof a;
      if (a.op !== other.op || operationKind(a.op) === 'effect') return false;
      if ((a.lanes ?? other.lanes) && a.lanes?.join() !== other.lanes?.join()) return false;
      return a.args.every((arg, n) => isSame(arg, other.args[n]!));
    }
    case 'select': {
      const other = b as typeof a;
      return (
        isSame(a.condition, other.condition) &&
        isSame(a.whenTrue, other.whenTrue) &&
        isSame(a.otherwise, other.otherwise)
      );
    }
    case 'load': {
      const other = b as typeof a;
      if (a.op !== other.op || a.offset !== other.offset || a.value || other.value) return false;
      return isSame(a.address, other.address);
    }
    case 'call':
      return false;
  }
}

/** Each lift has its own object for a parameter. */
function isSameLocal(a: Node & { kind: 'local' }, b: Node & { kind: 'local' }): boolean {
  if (a.local.parameter !== undefined) return a.local.parameter === b.local.parameter;
  return a.local === b.local;
}
