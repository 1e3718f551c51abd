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

/** Finds out what reads or writes a part of the vCPU's state. */
class Touching {
  readonly #isPart: (offset: number) => boolean;
  readonly #isStore: (s: Statement & { kind: 'store' }) => boolean;
  readonly #known = new Map<FunctionRef, boolean>();

  /** `isStore`: further stores that count. */
  constructor(
    isPart: (offset: number) => boolean,
    isStore: (s: Statement & { kind: 'store' }) => boolean = () => false,
  ) {
    this.#isPart = isPart;
    this.#isStore = isStore;
  }

  /** Whether the function, or one that it calls, does. */
  byFunction(ref: FunctionRef): boolean {
    const cached = this.#known.get(ref);
    if (cached !== undefined) return cached;
    // A recursive call adds nothing new.
    this.#known.set(ref, false);
    // The host looks at registers between two runs only.
    const result = ref.build !== undefined && this.by(build(ref));
    this.#known.set(ref, result);
    return result;
  }

  by(statements: readonly Statement[]): boolean {
    return someStatement(
      statements,
      (s) =>
        (s.kind === 'store' && (this.#reaches(s.address, s.offset) || this.#isStore(s))) ||
        (s.kind === 'call' && this.byFunction(s.callee)) ||
        someNode(
          s,
          (node) =>
            this.#isCall(node) ||
            (node.kind === 'load' && this.#reaches(node.address, node.offset)),
        ),
    );
  }
  /** Whether a call among the statements goes to a function that does. */
  byCalls(statements: readonly Statement[]): boolean {
    return someStatement(
      statements,
      (s) => (s.kind === 'call' && this.byFunction(s.callee)) || someNode(s, this.#isCall),
    );
  }
  #isCall = (node: Node): boolean => node.kind === 'call' && this.byFunction(node.callee);

  #reaches(address: Node, offset: number): boolean {
    const at = stateOffset(address, offset);
    // An index that is not known stays within its array, which `offset` names.
    if (at === 'unknown') return this.#isPart(offset);
    return at !== undefined && this.#isPart(at);
  }
}

const registers = new Touching(isPromoted, setsTlb);
const flags = new Touching(
  (offset) =>
    (offset >= S.flagZ.offset && offset < end(S.flagA)) ||
    (offset >= S.flagsKind.offset && offset < end(S.flagsRight)),
);

/** Whether the function, or one that it calls, reads or writes registers or flags. */
export function touchesRegisters(ref: FunctionRef): boolean {
  return registers.byFunction(ref);
}
/** Whether any of the statements reads or writes registers or flags, or chooses another TLB. */
export function touches(statements: readonly Statement[]): boolean {
  return registers.by(statements);
}
/** Whether a call among the statements goes to a function that touches registers. */
export function callsWithRegisters(statements: readonly Statement[]): boolean {
  return registers.byCalls(statements);
}
/** Whether any of the statements reads or writes arithmetic flags, or the note of them. */
export function touchesFlags(statements: readonly Statement[]): boolean {
  return flags.by(statements);
}
