// A second meaning of built statements, as plain as can be: every local has a place of its own, control flow is
// JavaScript's. What the emitter makes of them must do the same.

import type { ValueType } from '../../wasm/opcodes.ts';
import { wasmOp } from '../../wasm/opcodes.ts';
import {
  BYTES,
  evaluate as evaluateOp,
  integerBytes,
  integerOf,
} from '../../wasm/testing/semantics.ts';
import type { FunctionRef } from '../function.ts';
import type { Local, Node, Statement } from '../ir.ts';
import { build, CPU_BASE } from './run.ts';

type Outcome =
  | { readonly kind: 'next' | 'return' }
  | { readonly kind: 'branch'; readonly label: number };
const NEXT: Outcome = { kind: 'next' };

/** Runs one function on a copy of memory; values are unsigned. */
export class Evaluator {
  readonly memory: Uint8Array;
  #locals = new Map<Local, bigint>();
  #result: bigint | undefined;

  constructor(memory: Uint8Array) {
    this.memory = memory.slice();
  }

  call(ref: FunctionRef, args: readonly bigint[]): bigint | undefined {
    const outer = { locals: this.#locals, result: this.#result };
    const { statements, params } = build(ref);
    this.#locals = new Map(params.map((local, n) => [local, args[n]!]));
    this.#result = undefined;
    this.#body(statements);
    const result = this.#result ?? (ref.result ? 0n : undefined);
    this.#locals = outer.locals;
    this.#result = outer.result;
    return result;
  }

  #body(statements: readonly Statement[]): Outcome {
    for (const s of statements) {
      const outcome = this.#statement(s);
      if (outcome.kind !== 'next') return outcome;
    }
    return NEXT;
  }
  #statement(s: Statement): Outcome {
    switch (s.kind) {
      case 'set':
        this.#locals.set(s.local, this.#node(s.value));
        return NEXT;
      case 'store': {
        const width =
          Number(/store(\d+)/.exec(s.op)?.[1] ?? BYTES[wasmOp(s.op).params[1]!] * 8) / 8;
        this.memory.set(
          integerBytes(this.#node(s.value), width),
          Number(this.#node(s.address)) + s.offset,
        );
        return NEXT;
      }
      case 'call':
        this.call(
          s.callee,
          s.args.map((arg) => this.#node(arg)),
        );
        return NEXT;
      case 'if':
        return this.#body(this.#node(s.condition) ? s.whenTrue : s.otherwise);
      case 'switch':
        return this.#body(s.cases[Number(this.#node(s.selector))] ?? s.otherwise);
      case 'block': {
        const outcome = this.#body(s.body);
        return outcome.kind === 'branch' && outcome.label === s.label.id ? NEXT : outcome;
      }
      case 'loop':
        for (;;) {
          const outcome = this.#body(s.body);
          if (outcome.kind !== 'branch' || outcome.label !== s.label.id) return outcome;
        }
      case 'branch':
        return { kind: 'branch', label: s.label.id };
      case 'return':
        this.#result = s.value && this.#node(s.value);
        return { kind: 'return' };
      case 'exit':
        return { kind: 'return' };
      default:
        throw new Error(`the evaluator has no ${s.kind}`);
    }
  }
  #node(node: Node): bigint {
    switch (node.kind) {
      case 'const':
        return BigInt.asUintN(BYTES[node.type] * 8, BigInt(node.value as number | bigint));
      case 'local': {
        if (node.local.parameter === 0) return BigInt(CPU_BASE);
        const value = this.#locals.get(node.local);
        if (value === undefined) throw new Error('a local is read before it is set');
        return value;
      }
      case 'op':
        return this.#operation(node);
      case 'select': {
        const [condition, yes, no] = [node.condition, node.whenTrue, node.otherwise].map((n) =>
          this.#node(n),
        );
        return condition ? yes! : no!;
      }
      case 'load': {
        const at = Number(this.#node(node.address)) + node.offset;
        const width = Number(/load(\d+)/.exec(node.op)?.[1] ?? BYTES[node.type] * 8) / 8;
        const value = integerOf(this.memory.subarray(at, at + width));
        return node.op.endsWith('_s')
          ? BigInt.asUintN(BYTES[node.type] * 8, BigInt.asIntN(width * 8, value))
          : value;
      }
      case 'call':
        return this.call(
          node.callee,
          node.args.map((arg) => this.#node(arg)),
        )!;
    }
  }
  #operation(node: Node & { kind: 'op' }): bigint {
    const params: readonly ValueType[] = wasmOp(node.op).params;
    const args = node.args.map((arg, n) => integerBytes(this.#node(arg), BYTES[params[n]!]));
    return integerOf(evaluateOp(node.op, args, node.lanes ?? [])!);
  }
}
