// Turns loads and stores of general registers and arithmetic flags into WebAssembly locals, one for each register of a
// region. Parts of a register (AL, AH, AX) become shifts and masks of the whole.

import type { Local, Node, Statement } from '../lift/ir.ts';
import { newLocal } from '../lift/lift.ts';
import { constant, Value } from '../lift/value.ts';
import { S } from '../state/layout.ts';
import type { ValueType } from '../wasm/opcodes.ts';
import { isPromoted, stateOffset } from './effects.ts';

const FLAG_FIELDS = [S.flagZ, S.flagSP, S.flagO, S.flagC, S.flagA] as const;
/** Bits that a load or store of this name covers. */
const WIDTH: Readonly<Record<string, number>> = {
  'i64.load': 64, 'i32.load': 32, 'i32.load16_u': 16, 'i32.load8_u': 8, 'i64.load32_u': 32, 'i64.load16_u': 16, 'i64.load8_u': 8,
  'i64.store': 64, 'i32.store': 32, 'i32.store16': 16, 'i32.store8': 8,
}; // biome-ignore format: loads, then stores

/** A register or flag that a region keeps in a local. */
export interface Promoted {
  readonly offset: number;
  readonly type: ValueType;
  readonly local: Local;
}

/** The locals of one region. */
export class RegisterLocals {
  readonly #byOffset = new Map<number, Promoted>();

  get all(): readonly Promoted[] {
    return [...this.#byOffset.values()];
  }
  /** Rewrites statements of one instruction. Gives undefined when it uses a register in a way that has no rule. */
  rewrite(statements: readonly Statement[]): readonly Statement[] | undefined {
    try {
      return statements.map((s) => this.#statement(s));
    } catch (error) {
      if (error === UNKNOWN_ACCESS) return undefined;
      throw error;
    }
  }

  #place(offset: number): { promoted: Promoted; shift: number } {
    const flag = FLAG_FIELDS.find((f) => f.offset === offset);
    const start = flag ? offset : offset - (offset % 8);
    let promoted = this.#byOffset.get(start);
    if (!promoted) {
      const type = flag?.type ?? 'i64';
      promoted = { offset: start, type, local: newLocal(type) };
      this.#byOffset.set(start, promoted);
    }
    return { promoted, shift: (offset - start) * 8 };
  }

  #load(name: string, offset: number): Node {
    const { promoted, shift } = this.#place(offset);
    const whole = new Value({ kind: 'local', type: promoted.type, local: promoted.local });
    const width = WIDTH[name];
    if (promoted.type === 'i32') return name === 'i32.load' ? whole.node : fail();
    if (width === undefined || (width === 64 && shift)) return fail();
    if (width === 64) return whole.node;
    const part = name.startsWith('i64') ? whole.shru(shift) : whole.shru(shift).i32();
    return width === 32 && part.type === 'i32' ? part.node : part.zext(width).node;
  }

  #store(name: string, offset: number, value: Value): Statement {
    const { promoted, shift } = this.#place(offset);
    const { local, type } = promoted;
    const width = WIDTH[name];
    if (type === 'i32')
      return name === 'i32.store' ? { kind: 'set', local, value: value.node } : fail();
    if (width === undefined || (width === 64 && shift)) return fail();
    if (width === 64) return { kind: 'set', local, value: value.node };
    const mask = ((1n << BigInt(width)) - 1n) << BigInt(shift);
    const kept = new Value({ kind: 'local', type, local }).and(~mask);
    const inserted = value
      .u64()
      .and((1n << BigInt(width)) - 1n)
      .shl(shift);
    return { kind: 'set', local, value: kept.or(inserted).node };
  }

  #node(node: Node): Node {
    switch (node.kind) {
      case 'load': {
        const at = stateOffset(node.address, node.offset);
        if (at === 'unknown') return fail();
        if (at !== undefined && isPromoted(at)) return this.#load(node.op, at);
        if (at === S.zero.offset && node.op === 'i64.load') return constant('i64', 0).node;
        return { ...node, address: this.#node(node.address) };
      }
      case 'op':
        return { ...node, args: node.args.map((arg) => this.#node(arg)) };
      case 'call':
        return { ...node, args: node.args.map((arg) => this.#node(arg)) };
      case 'select':
        return {
          ...node,
          condition: this.#node(node.condition),
          whenTrue: this.#node(node.whenTrue),
          otherwise: this.#node(node.otherwise),
        };
      default:
        return node;
    }
  }

  #list(statements: readonly Statement[]): readonly Statement[] {
    return statements.map((s) => this.#statement(s));
  }

  #statement(s: Statement): Statement {
    switch (s.kind) {
      case 'set':
        return { ...s, value: this.#node(s.value) };
      case 'store': {
        const at = stateOffset(s.address, s.offset);
        if (at === 'unknown') return fail();
        const value = this.#node(s.value);
        if (at !== undefined && isPromoted(at)) return this.#store(s.op, at, new Value(value));
        return { ...s, address: this.#node(s.address), value };
      }
      case 'effect':
      case 'call':
        return { ...s, args: s.args.map((arg) => this.#node(arg)) };
      case 'if':
        return {
          ...s,
          condition: this.#node(s.condition),
          whenTrue: this.#list(s.whenTrue),
          otherwise: this.#list(s.otherwise),
        };
      case 'switch':
        return {
          ...s,
          selector: this.#node(s.selector),
          cases: s.cases.map((c) => this.#list(c)),
          otherwise: this.#list(s.otherwise),
        };
      case 'loop':
      case 'block':
        return { ...s, body: this.#list(s.body) };
      case 'return':
        return s.value ? { ...s, value: this.#node(s.value) } : s;
      default:
        return s;
    }
  }
}

/** Thrown and caught within this file only. */
const UNKNOWN_ACCESS = new Error('an access to registers without a rule');
function fail(): never {
  throw UNKNOWN_ACCESS;
}
