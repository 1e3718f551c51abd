// Common subexpressions: a local that would compute what another one holds already is read as that one. Covers what is
// pure and more than one operation, and loads of vCPU state that only the block itself could change. A check of a unit
// is left out behind the same one.

import type { FunctionRef } from '../../lift/function.ts';
import type { Local, Node, Statement } from '../../lift/ir.ts';
import { eachOperand, mapList, mapOperands } from '../../lift/traverse.ts';
import { repeats } from '../../microcode/unit-check.ts';
import { forEachSet, mapExpressions, type PassContext, variablesOf } from './pass.ts';
import { isSame, isStateAddress, operationKind } from './purity.ts';
import { changesSettled, isSettled, reachesSettled } from './settled-state.ts';

/** No value that is worth keeping. */
const NONE = -1;

interface Known {
  readonly local: Local;
  readonly value: Node;
  readonly time: number;
  readonly readsState: boolean;
  readonly variables: readonly Local[];
}

const NO_LOCALS: Local[] = [];

class Finder {
  readonly #variables: ReadonlySet<Local>;
  readonly #known = new Map<number, Known>();
  /** Entries made inside arms, with what they replaced. */
  readonly #trail: { key: number; before: Known | undefined }[] = [];
  readonly #setTimes = new Map<Local, number>();
  #stateTime = 0;
  #time = 0;
  #depth = 0;
  /** Locals that are left out, and what is read instead: neither ever changes. */
  readonly #aliases = new Map<Local, Node>();
  /** What the expression that `#key` looked at reads. */
  #readsState = false;
  #readVariables: Local[] = NO_LOCALS;
  /** Checks of units that every way to here has passed. */
  readonly #checks: (Statement & { kind: 'if' })[] = [];

  constructor(variables: ReadonlySet<Local>) {
    this.#variables = variables;
  }

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

  readonly #node = (node: Node): Node => {
    if (node.kind === 'local') return this.#aliases.get(node.local) ?? node;
    return node.kind === 'const' ? node : mapOperands(node, this.#node);
  };

  #statement(given: Statement): Statement | undefined {
    const s = this.#aliases.size ? mapExpressions(given, this.#node) : given;
    switch (s.kind) {
      case 'set':
        return this.#set(s);
      case 'store':
        if (isStateAddress(s.address) && (isDynamic(s.address) || reachesSettled(s.op, s.offset)))
          this.#stateTime = ++this.#time;
        return s;
      case 'effect':
        this.#stateTime = ++this.#time;
        return s;
      case 'call':
        s.args.forEach(this.#noticeCalls);
        this.#called(s.callee);
        return s;
      case 'if': {
        if (this.#isPassed(s)) return undefined;
        const whenTrue = this.#arm(s.whenTrue);
        const otherwise = this.#arm(s.otherwise);
        if (whenTrue === s.whenTrue && otherwise === s.otherwise) return s;
        return { ...s, whenTrue, otherwise };
      }
      case 'switch': {
        const cases = mapList(s.cases, (arm) => this.#arm(arm));
        const otherwise = this.#arm(s.otherwise);
        return cases === s.cases && otherwise === s.otherwise ? s : { ...s, cases, otherwise };
      }
      case 'block':
      case 'loop': {
        if (s.kind === 'loop') this.#enterLoop(s.body);
        const body = this.#arm(s.body);
        return body === s.body ? s : { ...s, body };
      }
      default:
        return s;
    }
  }
  /** Whether a unit is checked that was found usable before. Why it might not be is read anew when that may change. */
  #isPassed(s: Statement & { kind: 'if' }): boolean {
    const callee = checkOf(s);
    if (!callee || !this.#isFixed(s.condition)) return false;
    const isIt = (other: Statement & { kind: 'if' }) =>
      checkOf(other) === callee && isSame(other.condition, s.condition);
    if (this.#checks.some(isIt)) return true;
    if (!this.#depth) this.#checks.push(s);
    return false;
  }
  /** Reads nothing that could change. */
  #isFixed(node: Node): boolean {
    if (node.kind === 'local') return !this.#variables.has(node.local);
    if (node.kind === 'op')
      return operationKind(node.op) === 'pure' && node.args.every((arg) => this.#isFixed(arg));
    return node.kind === 'const';
  }
  /** Control comes back to the head: what the body changes has changed there. */
  #enterLoop(body: readonly Statement[]): void {
    this.#stateTime = ++this.#time;
    forEachSet(body, (local) => this.#setTimes.set(local, this.#time));
  }
  #called(callee: FunctionRef): void {
    if (changesSettled(callee)) this.#stateTime = ++this.#time;
  }
  #arm(statements: readonly Statement[]): readonly Statement[] {
    if (!statements.length) return statements;
    const mark = this.#trail.length;
    this.#depth++;
    const result = this.list(statements);
    this.#depth--;
    while (this.#trail.length > mark) {
      const { key, before } = this.#trail.pop()!;
      if (before) this.#known.set(key, before);
      else this.#known.delete(key);
    }
    return result;
  }

  #set(s: Statement & { kind: 'set' }): Statement | undefined {
    const { local, value } = s;
    if (this.#variables.has(local)) {
      this.#noticeCalls(value);
      this.#setTimes.set(local, ++this.#time);
      return s;
    }
    this.#readsState = false;
    this.#readVariables = NO_LOCALS;
    const key = isWorthKeeping(value) ? this.#key(value) : NONE;
    if (key === NONE) {
      this.#noticeCalls(value);
      return s;
    }
    const known = this.#known.get(key);
    if (known && this.#isValid(known) && isSame(known.value, value)) {
      this.#aliases.set(local, { kind: 'local', type: local.type, local: known.local });
      return undefined;
    }
    if (this.#depth) this.#trail.push({ key, before: known });
    this.#known.set(key, {
      local,
      value,
      time: this.#time,
      readsState: this.#readsState,
      variables: this.#readVariables,
    });
    return s;
  }
  /** A number that equal expressions share; notes what they read. */
  #key(node: Node): number {
    switch (node.kind) {
      case 'const':
        if (node.value instanceof Uint8Array) return NONE;
        return Number(node.value) & 0x7fff_ffff;
      case 'local':
        if (node.local.parameter !== undefined) return node.local.parameter;
        if (this.#variables.has(node.local)) {
          if (this.#readVariables === NO_LOCALS) this.#readVariables = [node.local];
          else this.#readVariables.push(node.local);
        }
        return node.local.id & 0x7fff_ffff;
      case 'op': {
        if (operationKind(node.op) !== 'pure' || node.lanes) return NONE;
        return this.#combine(nameKey(node.op), node.args);
      }
      case 'select':
        return this.#combine(1, [node.condition, node.whenTrue, node.otherwise]);
      case 'load': {
        const isKept =
          isStateAddress(node.address) && !isDynamic(node.address) && isSettled(node.offset);
        this.#readsState = true;
        return isKept ? ((node.offset * 31) ^ nameKey(node.op)) & 0x7fff_ffff : NONE;
      }
      case 'call':
        return NONE;
    }
  }
  #combine(first: number, args: readonly Node[]): number {
    let key = first;
    for (const arg of args) {
      const part = this.#key(arg);
      if (part === NONE) return NONE;
      key = (Math.imul(key, 0x9e37_79b1) + part) & 0x7fff_ffff;
    }
    return key;
  }
  #isValid(known: Known): boolean {
    if (known.readsState && this.#stateTime > known.time) return false;
    for (const local of known.variables)
      if ((this.#setTimes.get(local) ?? 0) > known.time) return false;
    return true;
  }
  readonly #noticeCalls = (node: Node): void => {
    if (node.kind === 'call') this.#called(node.callee);
    if (node.kind !== 'const' && node.kind !== 'local') eachOperand(node, this.#noticeCalls);
  };
}

/** The check that is called if the condition holds. */
function checkOf(s: Statement & { kind: 'if' }): FunctionRef | undefined {
  const [first] = s.whenTrue;
  if (first?.kind !== 'call' || s.otherwise.length) return undefined;
  return repeats(first.callee) ? first.callee : undefined;
}

/** One operation on locals and constants is as short as reading a local. */
function isWorthKeeping(value: Node): boolean {
  return value.kind === 'load' || value.kind === 'select' || value.kind === 'op';
}

/** An address in the state that only running the code tells. */
function isDynamic(address: Node): boolean {
  return address.kind !== 'local';
}

const nameKeys = new Map<string, number>();
function nameKey(name: string): number {
  let key = nameKeys.get(name);
  if (key === undefined) {
    key = (nameKeys.size + 1) * 0x1_0001;
    nameKeys.set(name, key);
  }
  return key;
}

export function shareSubexpressions(
  statements: readonly Statement[],
  context: PassContext,
): readonly Statement[] {
  return new Finder(variablesOf(statements, context)).list(statements);
}
