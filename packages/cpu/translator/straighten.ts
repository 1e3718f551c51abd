// Shortens what an instruction's lift built, once for its template, so that every stage behind has less to look at: copies
// and constants are read as what they are, and a pure value that is read once is computed where it is read. What flags
// are computed from stays in locals that never change, so that the flags can wait (flag-sinking.ts).

import type { FlagOrigin, Local, Node, Statement } from '../lift/ir.ts';
import { eachExpression, eachNode, eachStatement, mapOperands } from '../lift/traverse.ts';
import { FLAGS_FROM } from './registers.ts';

/**
 * The same with fewer locals; those of `kept` are read elsewhere. Nothing changes in code with loops: what moved into one
 * would be computed again.
 */
export function straighten(
  statements: readonly Statement[],
  kept: readonly Local[],
): readonly Statement[] {
  let hasLoop = false;
  eachStatement(statements, (s) => {
    hasLoop ||= s.kind === 'loop';
  });
  return hasLoop ? statements : new Straightener(statements, kept).list(statements);
}

interface Waiting {
  readonly value: Node;
  readonly registers: readonly number[];
  readonly time: number;
  /** Where its set stands, to be taken away. */
  readonly list: (Statement | undefined)[];
  readonly index: number;
}

class Straightener {
  readonly #sets = new Map<Local, number>();
  readonly #uses = new Map<Local, number>();
  readonly #known = new Map<Local, Node>();
  readonly #waiting = new Map<Local, Waiting>();
  /** When a register was last set. */
  readonly #setTimes = new Map<number, number>();
  #time = 0;
  /** In the value of a flag. */
  #isFlag = false;
  #lastOrigin: FlagOrigin | undefined;
  #lastOriginCopy: FlagOrigin | undefined;

  constructor(statements: readonly Statement[], kept: readonly Local[]) {
    // As if the region set them once more.
    for (const local of kept) this.#sets.set(local, 1);
    const count = (map: Map<Local, number>, local: Local) =>
      map.set(local, (map.get(local) ?? 0) + 1);
    const use = (node: Node) => {
      if (node.kind === 'local') count(this.#uses, node.local);
      else if (node.kind === 'op' && node.origin)
        for (const part of [node.origin.a, node.origin.b, node.origin.result])
          if (part.kind === 'local') count(this.#uses, part.local);
    };
    eachStatement(statements, (s) => {
      if (s.kind === 'set') count(this.#sets, s.local);
      eachExpression(s, (node) => eachNode(node, use));
    });
  }

  list(statements: readonly Statement[]): readonly Statement[] {
    const out: (Statement | undefined)[] = [];
    for (const s of statements) this.#statement(s, out);
    return out.filter((s) => s !== undefined);
  }

  #statement(s: Statement, out: (Statement | undefined)[]): void {
    switch (s.kind) {
      case 'set':
        this.#set(s, out);
        return;
      case 'store':
        out.push({ ...s, address: this.#node(s.address), value: this.#node(s.value) });
        return;
      case 'effect':
      case 'call':
        out.push({ ...s, args: s.args.map(this.#node) });
        return;
      case 'if':
        out.push({
          ...s,
          condition: this.#node(s.condition),
          whenTrue: this.list(s.whenTrue),
          otherwise: this.list(s.otherwise),
        });
        return;
      case 'switch':
        out.push({
          ...s,
          selector: this.#node(s.selector),
          cases: s.cases.map((list) => this.list(list)),
          otherwise: this.list(s.otherwise),
        });
        return;
      case 'loop':
      case 'block':
        out.push({ ...s, body: this.list(s.body) });
        return;
      case 'return':
        out.push(s.value ? { ...s, value: this.#node(s.value) } : s);
        return;
      default:
        out.push(s);
    }
  }

  #set(s: Statement & { kind: 'set' }, out: (Statement | undefined)[]): void {
    const { local } = s;
    this.#isFlag = local.register !== undefined && local.register >= FLAGS_FROM;
    const value = this.#node(s.value);
    this.#isFlag = false;
    if (local.register !== undefined) this.#setTimes.set(local.register, ++this.#time);
    else if (this.#isOnce(local)) {
      if (value.kind === 'const' || (value.kind === 'local' && this.#isOnce(value.local))) {
        this.#known.set(local, value);
        return;
      }
      const registers = this.#uses.get(local) === 1 ? this.#registersOf(value) : undefined;
      if (registers) {
        const place = { list: out, index: out.length };
        this.#waiting.set(local, { value, registers, time: this.#time, ...place });
      }
    }
    out.push({ kind: 'set', local, value });
  }
  /** Set by one statement here: it never changes. */
  #isOnce(local: Local): boolean {
    return local.register === undefined && this.#sets.get(local) === 1;
  }
  /** Registers that a value is made of, if it is made of nothing else that could change. */
  #registersOf(value: Node): readonly number[] | undefined {
    const registers: number[] = [];
    let isPure = true;
    eachNode(value, (node) => {
      if (node.kind === 'local') {
        if (node.local.register !== undefined) registers.push(node.local.register);
        else if ((this.#sets.get(node.local) ?? 0) > 1) isPure = false;
      } else if (node.kind === 'op') isPure &&= MOVABLE.test(node.op) && !node.origin;
      else isPure &&= node.kind === 'const' || node.kind === 'select';
    });
    return isPure ? registers : undefined;
  }

  readonly #node = (node: Node): Node => {
    if (node.kind === 'const') return node;
    if (node.kind === 'local') return this.#known.get(node.local) ?? this.#take(node);
    const mapped = mapOperands(node, this.#node);
    if (mapped.kind !== 'op') return mapped;
    if (mapped.origin) return { ...mapped, origin: this.#origin(mapped.origin) };
    return neutral(mapped) ?? mapped;
  };
  #take(node: Node & { kind: 'local' }): Node {
    const waiting = this.#waiting.get(node.local);
    if (!waiting || this.#isFlag) return node;
    for (const register of waiting.registers)
      if ((this.#setTimes.get(register) ?? 0) > waiting.time) return node;
    waiting.list[waiting.index] = undefined;
    return waiting.value;
  }
  /** Flags of one operation have one origin. */
  #origin(origin: FlagOrigin): FlagOrigin {
    if (origin !== this.#lastOrigin || !this.#lastOriginCopy) {
      const { a, b, result } = origin;
      this.#lastOrigin = origin;
      this.#lastOriginCopy = {
        ...origin,
        ...{ a: this.#read(a), b: this.#read(b), result: this.#read(result) },
      };
    }
    return this.#lastOriginCopy;
  }
  #read(node: Node): Node {
    return (node.kind === 'local' && this.#known.get(node.local)) || node;
  }
}

/** Cheap operations on integers that never trap. */
const MOVABLE =
  /^i(32|64)\.(add|sub|mul|and|or|xor|shl|shr_[su]|rot[lr]|extend\w+|wrap_i64|eqz?|ne|[lg][te]_[su])$/;

/** What an operation with a zero gives. */
function neutral(node: Node & { kind: 'op' }): Node | undefined {
  const [a, b] = node.args;
  if (!a || !b || node.condition !== undefined) return undefined;
  if (isZero(b) && /^i(32|64)\.(add|sub|or|xor|sh[lr]\w*)$/.test(node.op)) return a;
  if (isZero(a) && /^i(32|64)\.(add|or|xor)$/.test(node.op)) return b;
  return isZero(a) && /^i(32|64)\.shl$/.test(node.op) ? a : undefined;
}
function isZero(node: Node): boolean {
  return node.kind === 'const' && !node.hole && (node.value === 0 || node.value === 0n);
}
