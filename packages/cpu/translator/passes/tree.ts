// Moves what is computed once and used once into its use: a local less, and a set and a get less. Nothing may happen
// between that could change the value: loads stay in front of stores and calls, and in their order among loads of guest
// memory, reads of a register in front of its next set, and nothing moves into a loop.

import type { Local, Node, Statement } from '../../lift/ir.ts';

import { eachExpression, eachOperand, mapOperands } from '../../lift/traverse.ts';
import { ending, mapExpressions, type PassContext, variablesOf } from './pass.ts';
import { isStateAddress, operationKind } from './purity.ts';

/** A set that may move, and what its value depends on. */
interface Movable {
  readonly value: Node;
  readonly list: (Statement | undefined)[];
  readonly index: number;
  readonly time: number;
  readonly loop: number;
  readonly reads: 'nothing' | 'state' | 'memory';
  readonly variables: readonly Local[];
}

const NO_LOCALS: Local[] = [];

class TreeBuilder {
  readonly #variables: ReadonlySet<Local>;
  readonly #readOnce: ReadonlySet<Local>;
  readonly #movable = new Map<Local, Movable>();
  /** When a variable was last set. */
  readonly #setTimes = new Map<Local, number>();
  /** When memory was last written, and when anything but the state was last read. */
  #writeTime = 0;
  #readTime = 0;
  #time = 0;
  #loop = 0;
  #loops = 0;
  /** What the expressions of the statement at hand read, and whether computing them does more than that. */
  #reads: Movable['reads'] = 'nothing';
  #readVariables: Local[] = NO_LOCALS;
  #hasEffect = false;

  constructor(variables: ReadonlySet<Local>, once: ReadonlySet<Local>) {
    this.#variables = variables;
    this.#readOnce = once;
  }

  list(statements: readonly Statement[]): readonly Statement[] {
    if (!statements.length) return statements;
    const result: (Statement | undefined)[] = [];
    let isChanged = false;
    for (let n = 0; n < statements.length; n++) {
      const s = statements[n]!;
      const placed = this.#statement(s);
      if (placed !== s) isChanged = true;
      if (placed.kind === 'set') this.#offer(placed, result);
      result.push(placed);
    }
    if (!isChanged && !result.includes(undefined)) return statements;
    return result.filter((s) => s !== undefined);
  }

  #statement(given: Statement): Statement {
    this.#reads = 'nothing';
    this.#readVariables = NO_LOCALS;
    this.#hasEffect = false;
    const s = mapExpressions(given, this.#node);
    switch (s.kind) {
      case 'set':
        if (this.#variables.has(s.local)) this.#setTimes.set(s.local, ++this.#time);
        return s;
      case 'store':
      case 'effect':
      case 'call':
        this.#writes();
        return s;
      case 'if': {
        const whenTrue = this.#arm(s.whenTrue);
        const otherwise = this.#arm(s.otherwise);
        if (whenTrue === s.whenTrue && otherwise === s.otherwise) return s;
        return { ...s, whenTrue, otherwise };
      }
      case 'switch':
        return {
          ...s,
          cases: s.cases.map((arm) => this.#arm(arm)),
          otherwise: this.#arm(s.otherwise),
        };
      case 'block': {
        const body = this.list(s.body);
        return body === s.body ? s : { ...s, body };
      }
      case 'loop': {
        const outer = this.#loop;
        this.#loop = ++this.#loops;
        const body = this.list(s.body);
        this.#loop = outer;
        return body === s.body ? s : { ...s, body };
      }
      default:
        return s;
    }
  }
  #arm(statements: readonly Statement[]): readonly Statement[] {
    const { length } = statements;
    if (!length) return statements;
    const writeTime = this.#writeTime;
    const readTime = this.#readTime;
    const result = this.list(statements);
    if (ending(statements) === 'leaves') {
      // What it does to memory is done on another path than what follows here.
      this.#writeTime = writeTime;
      this.#readTime = readTime;
    }
    return result;
  }
  #writes(): void {
    this.#hasEffect = true;
    this.#writeTime = ++this.#time;
    this.#readTime = this.#time;
  }

  readonly #node = (node: Node): Node => {
    if (node.kind === 'const') return node;
    if (node.kind === 'local') return this.#take(node);
    const result = mapOperands(node, this.#node);
    if (result.kind === 'call') this.#writes();
    else if (result.kind === 'op') {
      if (operationKind(result.op) === 'effect') this.#writes();
    } else if (result.kind === 'load') {
      if (isStateAddress(result.address)) this.#noteRead('state');
      else {
        this.#readTime = ++this.#time;
        this.#noteRead('memory');
      }
    }
    return result;
  };

  /** The value in place of its local, if it would still be the same here. */
  #take(node: Node & { kind: 'local' }): Node {
    const m = this.#movable.get(node.local);
    if (!m || !this.#lasts(m)) {
      if (this.#variables.has(node.local)) this.#noteVariable(node.local);
      return node;
    }
    m.list[m.index] = undefined;
    // It is read here, from now on.
    if (m.reads === 'memory') this.#readTime = ++this.#time;
    this.#noteRead(m.reads);
    for (const local of m.variables) this.#noteVariable(local);
    return m.value;
  }
  #lasts(m: Movable): boolean {
    if (m.loop !== this.#loop) return false;
    if (m.reads !== 'nothing' && this.#writeTime > m.time) return false;
    if (m.reads === 'memory' && this.#readTime > m.time) return false;
    for (const local of m.variables) if ((this.#setTimes.get(local) ?? 0) > m.time) return false;
    return true;
  }

  #noteRead(what: Movable['reads']): void {
    if (what === 'memory' || this.#reads === 'nothing') this.#reads = what;
  }
  #noteVariable(local: Local): void {
    if (this.#readVariables === NO_LOCALS) this.#readVariables = [local];
    else this.#readVariables.push(local);
  }

  /** Remembers a set that its only use may take. */
  #offer(s: Statement & { kind: 'set' }, list: (Statement | undefined)[]): void {
    const { local, value } = s;
    if (this.#hasEffect || !this.#readOnce.has(local) || this.#variables.has(local)) return;
    this.#movable.set(local, {
      value,
      list,
      index: list.length,
      time: this.#time,
      loop: this.#loop,
      reads: this.#reads,
      variables: this.#readVariables,
    });
  }
}

/** Locals that are read once. */
function readOnce(statements: readonly Statement[]): ReadonlySet<Local> {
  const once = new Set<Local>();
  const often = new Set<Local>();
  const visit = (node: Node): void => {
    if (node.kind === 'local') {
      if (often.has(node.local)) return;
      if (!once.delete(node.local)) once.add(node.local);
      else often.add(node.local);
    } else if (node.kind !== 'const') eachOperand(node, visit);
  };
  const walk = (list: readonly Statement[]): void => {
    for (const s of list) {
      eachExpression(s, visit);
      if (s.kind === 'if') {
        walk(s.whenTrue);
        walk(s.otherwise);
      } else if (s.kind === 'loop' || s.kind === 'block') walk(s.body);
      else if (s.kind === 'switch') {
        s.cases.forEach(walk);
        walk(s.otherwise);
      }
    }
  };
  walk(statements);
  return once;
}

export function buildTrees(
  statements: readonly Statement[],
  context: PassContext,
): readonly Statement[] {
  const variables = variablesOf(statements, context);
  return new TreeBuilder(variables, readOnce(statements)).list(statements);
}
