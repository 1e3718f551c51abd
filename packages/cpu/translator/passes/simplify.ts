// Constant folding and algebra (algebra.ts) over all expressions, and what follows for statements: an `if` on a constant
// is one of its arms, and one that only has an else is turned round. Knows how wide the values of locals are.

import type { Local, Node, Statement } from '../../lift/ir.ts';
import { mapList, mapOperands } from '../../lift/traverse.ts';
import { condition, numberOf, op, simplifyOperation, simplifyStored } from './algebra.ts';
import { ending, forEachSet, mapExpressions, type PassContext, variablesOf } from './pass.ts';
import { isDroppable, isSame } from './purity.ts';
import { fullWidth, widthOf } from './width.ts';

class Simplifier {
  readonly #variables: ReadonlySet<Local>;
  readonly #widths = new Map<Local, number>();
  /** Changes of `#widths` inside arms, with what was there before. */
  readonly #trail: { local: Local; before: number | undefined }[] = [];
  readonly #setLog: Local[] = [];
  #depth = 0;

  constructor(variables: ReadonlySet<Local>) {
    this.#variables = variables;
  }

  readonly #node = (node: Node): Node => {
    if (node.kind === 'local' || node.kind === 'const') return node;
    const simple = mapOperands(node, this.#node);
    if (simple.kind === 'op') return simplifyOperation(simple, this.#widths);
    if (simple.kind === 'select') return this.#select(simple);
    if (simple.kind === 'load') return foldOffset(simple);
    return simple;
  };
  #select(node: Node & { kind: 'select' }): Node {
    const { whenTrue, otherwise } = node;
    const decided = condition(node.condition);
    const known = numberOf(decided.node);
    if (known !== undefined) {
      const [taken, other] =
        (known !== 0n) !== decided.isInverted ? [whenTrue, otherwise] : [otherwise, whenTrue];
      return isDroppable(other) ? taken : node;
    }
    if (isSame(whenTrue, otherwise) && isDroppable(node)) return whenTrue;
    if (decided.node === node.condition) return node;
    // The arms are evaluated in their order.
    const mayTurn = !decided.isInverted || (isDroppable(whenTrue) && isDroppable(otherwise));
    if (!mayTurn) return node;
    return decided.isInverted
      ? { ...node, condition: decided.node, whenTrue: otherwise, otherwise: whenTrue }
      : { ...node, condition: decided.node };
  }

  list(statements: readonly Statement[]): readonly Statement[] {
    let changed: Statement[] | undefined;
    for (let n = 0; n < statements.length; n++) {
      const s = statements[n]!;
      const result = this.#statement(s);
      if (result === s) changed?.push(s);
      else {
        changed ??= statements.slice(0, n);
        if ('kind' in result) changed.push(result);
        else changed.push(...result);
      }
    }
    return changed ?? statements;
  }

  #statement(given: Statement): Statement | readonly Statement[] {
    const s = mapExpressions(given, this.#node);
    switch (s.kind) {
      case 'set':
        this.#learn(s.local, s.value);
        return s;
      case 'store': {
        const value = simplifyStored(s.op, s.value, this.#widths);
        const stored = value === s.value ? s : { ...s, value };
        return foldOffset(stored);
      }
      case 'if':
        return this.#if(s);
      case 'switch': {
        const known = numberOf(s.selector);
        if (known !== undefined)
          return this.list((known < 0n ? undefined : s.cases[Number(known)]) ?? s.otherwise);
        const mark = this.#setLog.length;
        const cases = mapList(s.cases, (arm) => this.#arm(arm));
        const otherwise = this.#arm(s.otherwise);
        this.#join(mark);
        return cases === s.cases && otherwise === s.otherwise ? s : { ...s, cases, otherwise };
      }
      case 'loop':
      case 'block': {
        const mark = this.#setLog.length;
        if (s.kind === 'loop') forEachSet(s.body, (local) => this.#change(local, undefined));
        const body = this.#arm(s.body);
        this.#join(mark);
        return body === s.body ? s : { ...s, body };
      }
      default:
        return s;
    }
  }

  #if(s: Statement & { kind: 'if' }): Statement | readonly Statement[] {
    const decided = condition(s.condition);
    const known = numberOf(decided.node);
    if (known !== undefined)
      return this.list((known !== 0n) !== decided.isInverted ? s.whenTrue : s.otherwise);
    const mark = this.#setLog.length;
    const whenTrue = this.#arm(s.whenTrue);
    const otherwise = this.#arm(s.otherwise);
    this.#join(mark);
    if (!otherwise.length && decided.isInverted && whenTrue.length)
      return this.#test(s, s.condition, whenTrue, otherwise, s.likely);
    if (!whenTrue.length && otherwise.length) {
      const test = decided.isInverted ? decided.node : op('i32.eqz', 'i32', decided.node);
      const flipped = s.likely === undefined ? undefined : !s.likely;
      return this.#test(s, simplifyTest(test, this.#widths), otherwise, [], flipped);
    }
    // Only an arm that is there is worth a test.
    if (!decided.isInverted) return this.#test(s, decided.node, whenTrue, otherwise, s.likely);
    const flipped = s.likely === undefined ? undefined : !s.likely;
    return this.#test(s, decided.node, otherwise, whenTrue, flipped);
  }
  #test(
    s: Statement & { kind: 'if' },
    decision: Node,
    whenTrue: readonly Statement[],
    otherwise: readonly Statement[],
    likely: boolean | undefined,
  ): Statement {
    const isUnchanged =
      decision === s.condition && whenTrue === s.whenTrue && otherwise === s.otherwise;
    return isUnchanged ? s : { ...s, condition: decision, whenTrue, otherwise, likely };
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
      if (before === undefined) this.#widths.delete(local);
      else this.#widths.set(local, before);
    }
    // Nobody behind sees what it set.
    if (ending(statements) === 'leaves') this.#setLog.length = sets;
    return result;
  }
  /** The paths meet again: nothing is known of what any of them set. */
  #join(mark: number): void {
    for (let n = mark; n < this.#setLog.length; n++) this.#change(this.#setLog[n]!, undefined);
  }

  #learn(local: Local, value: Node): void {
    const isVariable = this.#variables.has(local);
    if (isVariable) this.#setLog.push(local);
    if (local.type !== 'i32' && local.type !== 'i64') return;
    const width = widthOf(value, this.#widths);
    if (width < fullWidth(value)) this.#change(local, width);
    else if (isVariable) this.#change(local, undefined);
  }
  #change(local: Local, width: number | undefined): void {
    if (this.#depth) this.#trail.push({ local, before: this.#widths.get(local) });
    if (width === undefined) this.#widths.delete(local);
    else this.#widths.set(local, width);
  }
}

function simplifyTest(test: Node, widths: ReadonlyMap<Local, number>): Node {
  return test.kind === 'op' ? simplifyOperation(test, widths) : test;
}

/** A constant added to the vCPU's base is an offset. Elsewhere the sum may wrap, which an offset does not. */
function foldOffset<T extends { readonly address: Node; readonly offset: number }>(access: T): T {
  const { address, offset } = access;
  if (address.kind !== 'op' || address.op !== 'i32.add') return access;
  const [base, added] = address.args as [Node, Node];
  if (base.kind !== 'local' || base.local.parameter !== 0) return access;
  const by = numberOf(added);
  if (by === undefined || by < 0n) return access;
  return { ...access, address: base, offset: offset + Number(by) };
}

export function simplify(
  statements: readonly Statement[],
  context: PassContext,
): readonly Statement[] {
  return new Simplifier(variablesOf(statements, context)).list(statements);
}
