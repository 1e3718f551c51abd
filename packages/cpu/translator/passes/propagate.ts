// Copy and constant propagation: a local that holds what another one holds, or a small constant, is read as that, for as
// long as it is true. Where a register takes the value of a local, the local is read as the register from then on: with
// its other uses gone it needs no place of its own.

import type { Local, Node, Statement } from '../../lift/ir.ts';
import { mapOperands } from '../../lift/traverse.ts';
import { ending, forEachSet, mapExpressions, type PassContext, variablesOf } from './pass.ts';

/** An i64 constant beyond this takes more bytes than reading a local. */
const SMALL = 1n << 31n;

class Propagation {
  readonly #variables: ReadonlySet<Local>;
  /** What to read instead of a local, now. */
  readonly #known = new Map<Local, Node>();
  /** The i32 local that an i64 one extends. */
  readonly #extended = new Map<Local, Node>();
  /** Locals that were, at some time, read as this variable. */
  readonly #dependents = new Map<Local, Local[]>();
  /** Changes of `#known` with what was there before, so that leaving an arm can take them back. */
  readonly #trail: { local: Local; before: Node | undefined }[] = [];
  /** Variables set, so that joining the paths of an `if` can forget them. */
  readonly #setLog: Local[] = [];
  /** Locals that the block has set: the others (the vCPU's base) are never read as a register. */
  readonly #own = new Set<Local>();
  /** Arms open: what changes in none is never taken back. */
  #depth = 0;

  constructor(variables: ReadonlySet<Local>) {
    this.#variables = variables;
  }

  readonly #node = (node: Node): Node => {
    if (node.kind === 'local') return this.#known.get(node.local) ?? node;
    if (node.kind === 'const') return node;
    if (node.kind === 'op' && node.op === 'i32.wrap_i64') {
      const [half] = node.args as [Node];
      const narrow = half.kind === 'local' && this.#extended.get(half.local);
      if (narrow) return narrow;
    }
    return mapOperands(node, this.#node);
  };

  list(statements: readonly Statement[]): readonly Statement[] {
    let changed: Statement[] | undefined;
    for (let n = 0; n < statements.length; n++) {
      const s = statements[n]!;
      const result = this.#statement(s);
      if (result === s) changed?.push(s);
      else {
        changed ??= statements.slice(0, n);
        if (result) changed.push(result);
      }
    }
    return changed ?? statements;
  }

  #statement(s: Statement): Statement | undefined {
    const resolved = mapExpressions(s, this.#node);
    switch (resolved.kind) {
      case 'set':
        return this.#set(resolved);
      case 'if': {
        const mark = this.#setLog.length;
        const whenTrue = this.#arm(resolved.whenTrue);
        const otherwise = this.#arm(resolved.otherwise);
        this.#join(mark);
        if (whenTrue === resolved.whenTrue && otherwise === resolved.otherwise) return resolved;
        return { ...resolved, whenTrue, otherwise };
      }
      case 'switch': {
        const mark = this.#setLog.length;
        const cases = resolved.cases.map((arm) => this.#arm(arm));
        const otherwise = this.#arm(resolved.otherwise);
        this.#join(mark);
        return { ...resolved, cases, otherwise };
      }
      case 'loop':
      case 'block': {
        const mark = this.#setLog.length;
        // What a loop sets is not known at its head either: control comes back there.
        if (resolved.kind === 'loop') forEachSet(resolved.body, (local) => this.#forget(local));
        const body = this.#arm(resolved.body);
        this.#join(mark);
        return body === resolved.body ? resolved : { ...resolved, body };
      }
      default:
        return resolved;
    }
  }

  #set(s: Statement & { kind: 'set' }): Statement | undefined {
    const { local, value } = s;
    const isVariable = this.#variables.has(local);
    if (value.kind === 'local' && value.local === local) return undefined;
    if (isVariable) {
      this.#forget(local);
      this.#setLog.push(local);
    } else this.#own.add(local);
    if (value.kind === 'op') this.#extension(local, value);
    else if (value.kind === 'const') {
      if (isCheap(value) && !s.isPlace) this.#learn(local, value);
    } else if (value.kind === 'local') {
      const source = value.local;
      if (isVariable && this.#own.has(source)) {
        this.#learn(source, { kind: 'local', type: local.type, local });
        this.#depend(local, source);
      } else {
        this.#learn(local, value);
        if (this.#variables.has(source)) this.#depend(source, local);
      }
    }
    return s;
  }

  #extension(local: Local, value: Node & { kind: 'op' }): void {
    if (value.op !== 'i64.extend_i32_u' && value.op !== 'i64.extend_i32_s') return;
    const [narrow] = value.args as [Node];
    if (narrow.kind !== 'local') return;
    const isVariable = this.#variables.has(narrow.local);
    // Half a register is read from it: the other local may have no other use.
    if (this.#variables.has(local) && !isVariable) return;
    this.#extended.set(local, narrow);
    if (isVariable) this.#depend(narrow.local, local);
  }

  #arm(statements: readonly Statement[]): readonly Statement[] {
    if (!statements.length) return statements;
    const trail = this.#trail.length;
    const sets = this.#setLog.length;
    this.#depth++;
    const result = this.list(statements);
    this.#depth--;
    while (this.#trail.length > trail) {
      const { local, before } = this.#trail.pop()!;
      if (before) this.#known.set(local, before);
      else this.#known.delete(local);
    }
    for (let n = sets; n < this.#setLog.length; n++) this.#extended.delete(this.#setLog[n]!);
    // What it set does not matter to anyone behind.
    if (ending(statements) === 'leaves') this.#setLog.length = sets;
    return result;
  }
  #join(mark: number): void {
    for (let n = mark; n < this.#setLog.length; n++) this.#forget(this.#setLog[n]!);
  }

  #learn(local: Local, value: Node): void {
    if (this.#depth) this.#trail.push({ local, before: this.#known.get(local) });
    this.#known.set(local, value);
  }
  #depend(variable: Local, dependent: Local): void {
    const list = this.#dependents.get(variable);
    if (list) list.push(dependent);
    else this.#dependents.set(variable, [dependent]);
  }
  /** The variable changes: nothing is known of it, and nothing is read as it. */
  #forget(variable: Local): void {
    this.#unlearn(variable);
    this.#extended.delete(variable);
    const dependents = this.#dependents.get(variable);
    if (!dependents) return;
    for (const local of dependents) {
      const known = this.#known.get(local);
      if (known?.kind === 'local' && known.local === variable) this.#unlearn(local);
      const narrow = this.#extended.get(local);
      if (narrow?.kind === 'local' && narrow.local === variable) this.#extended.delete(local);
    }
    if (!this.#depth) dependents.length = 0;
  }
  #unlearn(local: Local): void {
    const before = this.#known.get(local);
    if (!before) return;
    if (this.#depth) this.#trail.push({ local, before });
    this.#known.delete(local);
  }
}

function isCheap(node: Node & { kind: 'const' }): boolean {
  const { value } = node;
  if (node.type === 'i32') return true;
  return typeof value === 'bigint' && value >= -SMALL && value < SMALL;
}

export function propagate(
  statements: readonly Statement[],
  context: PassContext,
): readonly Statement[] {
  return new Propagation(variablesOf(statements, context)).list(statements);
}
