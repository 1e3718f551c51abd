// What must hold of built statements before they are emitted, and after every pass over them: types, labels, and that
// a local is set before it is read. The emitter gives a local's place away when the scope that first set it ends, so
// a local belongs to that scope; being set there, it is set on every path to each of its uses.

import { type ValueType, wasmOp } from '../wasm/opcodes.ts';
import type { InstructionExit, Local, Node, Statement } from './ir.ts';

export interface VerifyOptions {
  /** Type that `return` gives; undefined for none. */
  readonly result: ValueType | undefined;
  /** Ways in which the statements may leave the instruction. */
  readonly exits: readonly InstructionExit[];
  /** Locals that whoever runs the statements has set; parameters need not be among them. */
  readonly given?: readonly Local[];
  /** The statements must end in a return, an exit or a trap on every path. */
  readonly mustEnd?: boolean;
}

const LANES: Readonly<Record<string, number>> = {
  i8x16: 16,
  i16x8: 8,
  i32x4: 4,
  f32x4: 4,
  i64x2: 2,
  f64x2: 2,
};

class Verifier {
  readonly problems: string[] = [];
  readonly #options: VerifyOptions;
  readonly #scopes: Set<Local>[] = [];
  /** Open labels, and whether a branch has gone to each. */
  readonly #labels: { id: number; isLoop: boolean; isTaken: boolean }[] = [];

  constructor(options: VerifyOptions) {
    this.#options = options;
    this.#scopes.push(new Set(options.given));
  }

  /** Gives whether control can reach the end. */
  body(statements: readonly Statement[]): boolean {
    this.#scopes.push(new Set());
    let isReachable = true;
    for (const statement of statements) isReachable = this.#statement(statement) && isReachable;
    this.#scopes.pop();
    return isReachable;
  }

  #statement(s: Statement): boolean {
    switch (s.kind) {
      case 'set':
        this.#expect(s.value, s.local.type, 'a local');
        if (s.local.parameter === undefined && !this.#isSet(s.local))
          this.#scopes.at(-1)!.add(s.local);
        return true;
      case 'store':
        this.#store(s);
        return true;
      case 'effect':
        this.#operands(s.op, s.args);
        return true;
      case 'call':
        this.#arguments(s.callee, s.args);
        return true;
      case 'if':
        return this.#if(s);
      case 'switch': {
        this.#expect(s.selector, 'i32', 'a selector');
        return [...s.cases, s.otherwise].map((arm) => this.body(arm)).some(Boolean);
      }
      case 'loop':
      case 'block': {
        const label = { id: s.label.id, isLoop: s.kind === 'loop', isTaken: false };
        this.#labels.push(label);
        const isReachable = this.body(s.body);
        this.#labels.pop();
        return isReachable || (label.isTaken && !label.isLoop);
      }
      case 'branch': {
        const label = this.#labels.findLast((l) => l.id === s.label.id);
        if (!label) this.#problem('a branch to a label that is not open');
        else label.isTaken = true;
        return false;
      }
      case 'return':
        if (s.value?.type !== this.#options.result)
          this.#problem(`returns ${s.value?.type}, not ${this.#options.result}`);
        if (s.value) this.#node(s.value);
        return false;
      case 'exit':
        if (!this.#options.exits.includes(s.exit))
          this.#problem(`exit '${s.exit}' is not possible here`);
        return false;
      case 'trap':
        return false;
    }
  }
  #if(s: Statement & { kind: 'if' }): boolean {
    this.#expect(s.condition, 'i32', 'a condition');
    const arms = [this.body(s.whenTrue), this.body(s.otherwise)];
    return arms.some(Boolean);
  }
  #store(s: Statement & { kind: 'store' }): void {
    const op = wasmOp(s.op);
    if (op.result || op.params.length !== 2) this.#problem(`${s.op} is no store`);
    this.#expect(s.address, 'i32', `the address of ${s.op}`);
    this.#expect(s.value, op.params[1]!, `what ${s.op} stores`);
    this.#offset(s.op, s.offset);
  }

  #node(node: Node): void {
    switch (node.kind) {
      case 'const':
        this.#constant(node);
        return;
      case 'local':
        if (node.local.type !== node.type)
          this.#problem(`a local of ${node.local.type} is read as ${node.type}`);
        if (node.local.parameter === undefined && !this.#isSet(node.local))
          this.#problem(`local ${node.local.id} is read outside the scope that set it`);
        return;
      case 'op': {
        const { result } = wasmOp(node.op);
        if (result !== node.type) this.#problem(`${node.op} gives ${result}, not ${node.type}`);
        this.#operands(node.op, node.args);
        this.#lanes(node);
        return;
      }
      case 'select':
        this.#expect(node.condition, 'i32', 'a condition');
        this.#expect(node.whenTrue, node.type, 'a selected value');
        this.#expect(node.otherwise, node.type, 'a selected value');
        return;
      case 'load': {
        const op = wasmOp(node.op);
        if (op.result !== node.type || op.params.length !== (node.value ? 2 : 1))
          this.#problem(`${node.op} as a load of ${node.type}`);
        this.#expect(node.address, 'i32', `the address of ${node.op}`);
        if (node.value) this.#expect(node.value, 'v128', `the vector of ${node.op}`);
        this.#offset(node.op, node.offset);
        return;
      }
      case 'call':
        if (node.callee.result !== node.type)
          this.#problem(`${node.callee.name} gives ${node.callee.result}, not ${node.type}`);
        this.#arguments(node.callee, node.args);
    }
  }
  #constant(node: Node & { kind: 'const' }): void {
    const { type, value } = node;
    const fits =
      type === 'v128'
        ? value instanceof Uint8Array && value.length === 16
        : type === 'i64'
          ? typeof value === 'bigint'
          : typeof value === 'number';
    if (!fits) this.#problem(`${String(value)} is no constant of ${type}`);
    const isWhole =
      type !== 'i32' ||
      (Number.isInteger(value) && Number(value) >= -(2 ** 31) && Number(value) < 2 ** 32);
    if (!isWhole) this.#problem(`${String(value)} does not fit i32`);
  }
  #lanes(node: Node & { kind: 'op' }): void {
    const { immediate } = wasmOp(node.op);
    const wanted = immediate === 'shuffle' ? 16 : immediate === 'lane' ? 1 : 0;
    const limit = immediate === 'shuffle' ? 32 : (LANES[node.op.split('.')[0]!] ?? 0);
    const lanes = node.lanes ?? [];
    if (lanes.length !== wanted || lanes.some((lane) => !(lane >= 0 && lane < limit)))
      this.#problem(`${node.op} with lanes ${lanes.join()}`);
  }
  #operands(name: string, args: readonly Node[]): void {
    const { params } = wasmOp(name);
    if (params.length !== args.length) this.#problem(`${name} with ${args.length} operands`);
    args.forEach((arg, n) => {
      this.#expect(arg, params[n], `operand ${n} of ${name}`);
    });
  }
  #arguments(
    callee: { name: string; params: readonly ValueType[]; faults: boolean },
    args: readonly Node[],
  ): void {
    if (callee.params.length !== args.length)
      this.#problem(`${callee.name} with ${args.length} arguments`);
    args.forEach((arg, n) => {
      this.#expect(arg, callee.params[n], `argument ${n} of ${callee.name}`);
    });
  }
  #expect(node: Node, type: ValueType | undefined, what: string): void {
    if (node.type !== type) this.#problem(`${what} is ${node.type}, not ${type}`);
    this.#node(node);
  }
  #offset(name: string, offset: number): void {
    if (!(Number.isInteger(offset) && offset >= 0 && offset < 2 ** 32))
      this.#problem(`${name} at offset ${offset}`);
  }
  #isSet(local: Local): boolean {
    return this.#scopes.some((scope) => scope.has(local));
  }
  #problem(text: string): void {
    this.problems.push(text);
  }
}

/** What is wrong with the statements of a function or an instruction; empty when nothing is. */
export function verify(statements: readonly Statement[], options: VerifyOptions): string[] {
  const verifier = new Verifier(options);
  const reachesEnd = verifier.body(statements);
  if (reachesEnd && options.mustEnd)
    verifier.problems.push('control reaches the end without a value');
  return verifier.problems;
}
