// Removes what nobody reads: locals, sets of registers that are set again before anyone looks, tests of nothing, and
// what control does not reach. Goes backwards once; a register's state is a bit in two words.

import type { Local, Node, Statement } from '../../lift/ir.ts';
import { eachOperand } from '../../lift/traverse.ts';
import { forEachSet, type PassContext, variablesOf } from './pass.ts';
import { isDroppable } from './purity.ts';

interface Words {
  readonly low: number;
  readonly high: number;
}

/** Bits of a word that are used. Variables beyond both words are taken to be read always. */
const WORD = 31;
const ALL = -1;

class Elimination {
  readonly #context: PassContext;
  readonly #variables: ReadonlySet<Local>;
  readonly #bits = new Map<Local, number>();
  /** Locals read further on, anywhere. */
  readonly #read = new Set<Local>();
  /** Variables of the block alone that are set further on. */
  readonly #setLater = new Set<Local>();
  /** How many sets of them lie in front. */
  readonly #setsBefore = new Map<Local, number>();
  readonly #labels = new Map<number, Words>();
  readonly #assumed = new Map<ReadonlySet<Local>, Words>();
  /** Variables that are read before they are set again, from here. */
  #low = 0;
  #high = 0;

  constructor(context: PassContext, variables: ReadonlySet<Local>) {
    this.#context = context;
    this.#variables = variables;
    for (const local of variables) this.#bits.set(local, this.#bits.size);
  }

  run(statements: readonly Statement[]): readonly Statement[] {
    forEachSet(statements, (local) => {
      if (this.#variables.has(local) && !this.#context.mutable.has(local))
        this.#setsBefore.set(local, (this.#setsBefore.get(local) ?? 0) + 1);
    });
    this.#assume(this.#context.liveAtEnd ?? this.#context.mutable);
    return this.#list(statements);
  }

  // --- which variables are live ---

  #assume(live: ReadonlySet<Local>): void {
    let words = this.#assumed.get(live);
    if (!words) {
      this.#low = 0;
      this.#high = 0;
      for (const local of live) this.#revive(local);
      words = { low: this.#low, high: this.#high };
      this.#assumed.set(live, words);
    }
    this.#low = words.low;
    this.#high = words.high;
  }
  #revive(local: Local): void {
    const bit = this.#bits.get(local);
    if (bit === undefined) return;
    if (bit < WORD) this.#low |= 1 << bit;
    else if (bit < 2 * WORD) this.#high |= 1 << (bit - WORD);
  }
  #kill(local: Local): void {
    const bit = this.#bits.get(local)!;
    if (bit < WORD) this.#low &= ~(1 << bit);
    else if (bit < 2 * WORD) this.#high &= ~(1 << (bit - WORD));
  }
  #isLive(local: Local): boolean {
    const bit = this.#bits.get(local)!;
    if (bit < WORD) return (this.#low & (1 << bit)) !== 0;
    return bit >= 2 * WORD || (this.#high & (1 << (bit - WORD))) !== 0;
  }
  readonly #use = (node: Node): void => {
    if (node.kind === 'local') {
      this.#read.add(node.local);
      this.#revive(node.local);
    } else if (node.kind !== 'const') eachOperand(node, this.#use);
  };

  readonly #countDown = (local: Local): void => {
    const count = this.#setsBefore.get(local);
    if (count !== undefined) this.#setsBefore.set(local, count - 1);
  };

  // --- statements, last first ---

  #list(given: readonly Statement[]): readonly Statement[] {
    const statements = reachable(given);
    let kept: Statement[] | undefined;
    if (statements !== given) {
      kept = [];
      forEachSet(given.slice(statements.length), this.#countDown);
    }
    for (let n = statements.length - 1; n >= 0; n--) {
      const s = statements[n]!;
      const result = this.#statement(s);
      if (result === s) kept?.push(s);
      else {
        kept ??= statements.slice(n + 1).reverse();
        if (result) kept.push(result);
      }
    }
    return kept ? kept.reverse() : statements;
  }

  #statement(s: Statement): Statement | undefined {
    switch (s.kind) {
      case 'set':
        return this.#set(s);
      case 'store':
        this.#use(s.address);
        this.#use(s.value);
        return s;
      case 'effect':
      case 'call':
        s.args.forEach(this.#use);
        return s;
      case 'if':
        return this.#if(s);
      case 'switch':
        return this.#switch(s);
      case 'loop':
      case 'block':
        return this.#labelled(s);
      case 'branch': {
        const live = this.#labels.get(s.label.id);
        this.#low = live?.low ?? ALL;
        this.#high = live?.high ?? ALL;
        return s;
      }
      case 'exit':
        this.#assume(this.#context.liveAtExit?.(s) ?? this.#context.mutable);
        return s;
      case 'return':
        this.#low = ALL;
        this.#high = ALL;
        if (s.value) this.#use(s.value);
        return s;
      case 'trap':
        this.#low = 0;
        this.#high = 0;
        return s;
    }
  }

  #set(s: Statement & { kind: 'set' }): Statement | undefined {
    const { local, value } = s;
    if (!this.#variables.has(local)) {
      if (!this.#read.has(local)) return this.#drop(s);
      this.#use(value);
      return s;
    }
    this.#countDown(local);
    if (this.#isLive(local)) {
      this.#kill(local);
      this.#setLater.add(local);
      this.#use(value);
      return s;
    }
    // The emitter finds a variable's place where it is first set; a set further in cannot be the first.
    const isPlace =
      this.#setsBefore.get(local) === 0 && (this.#read.has(local) || this.#setLater.has(local));
    if (!isPlace) return this.#drop(s);
    if (!isDroppable(value)) {
      this.#use(value);
      return s;
    }
    return s.isPlace ? s : { kind: 'set', local, value: zero(local), isPlace: true };
  }
  /** Nobody reads the local; what computing its value does stays. */
  #drop(s: Statement & { kind: 'set' }): Statement | undefined {
    const { value } = s;
    if (isDroppable(value)) return undefined;
    this.#use(value);
    return value.kind === 'call' ? { kind: 'call', callee: value.callee, args: value.args } : s;
  }

  #if(s: Statement & { kind: 'if' }): Statement | undefined {
    const low = this.#low;
    const high = this.#high;
    const otherwise = this.#list(s.otherwise);
    const otherLow = this.#low;
    const otherHigh = this.#high;
    this.#low = low;
    this.#high = high;
    const whenTrue = this.#list(s.whenTrue);
    this.#low |= otherLow;
    this.#high |= otherHigh;
    if (!whenTrue.length && !otherwise.length && isDroppable(s.condition)) return undefined;
    this.#use(s.condition);
    if (whenTrue === s.whenTrue && otherwise === s.otherwise) return s;
    return { ...s, whenTrue, otherwise };
  }
  #switch(s: Statement & { kind: 'switch' }): Statement | undefined {
    const [low, high] = [this.#low, this.#high];
    let [anyLow, anyHigh] = [0, 0];
    const arm = (list: readonly Statement[]) => {
      this.#low = low;
      this.#high = high;
      const result = this.#list(list);
      anyLow |= this.#low;
      anyHigh |= this.#high;
      return result;
    };
    const otherwise = arm(s.otherwise);
    const cases = s.cases.toReversed().map(arm).reverse();
    this.#low = anyLow;
    this.#high = anyHigh;
    const isEmpty = !otherwise.length && cases.every((list) => !list.length);
    if (isEmpty && isDroppable(s.selector)) return undefined;
    this.#use(s.selector);
    return { ...s, cases, otherwise };
  }
  #labelled(s: Statement & { kind: 'loop' | 'block' }): Statement | undefined {
    // Behind a branch to a loop's head anything may be read.
    const live =
      s.kind === 'block' ? { low: this.#low, high: this.#high } : { low: ALL, high: ALL };
    this.#labels.set(s.label.id, live);
    const body = this.#list(s.body);
    if (!body.length) return undefined;
    return body === s.body ? s : { ...s, body };
  }
}

/** The statements up to the first that control does not go past. */
function reachable(statements: readonly Statement[]): readonly Statement[] {
  for (let n = 0; n < statements.length - 1; n++)
    if (ENDS.has(statements[n]!.kind)) return statements.slice(0, n + 1);
  return statements;
}
const ENDS: ReadonlySet<Statement['kind']> = new Set(['branch', 'exit', 'return', 'trap']);

function zero({ type }: Local): Node {
  const value = type === 'v128' ? new Uint8Array(16) : type === 'i64' ? 0n : 0;
  return { kind: 'const', type, value };
}

export function removeDead(
  statements: readonly Statement[],
  context: PassContext,
): readonly Statement[] {
  return new Elimination(context, variablesOf(statements, context)).run(statements);
}
