// Instructions of one shape, which have their operation and registers in common, mean the same but for a displacement, an
// immediate and their place: one of them is lifted, and the others get copies with their own numbers and locals.

import type { TableForm } from '../interpreter/handlers.ts';
import { R } from '../interpreter/record.ts';
import type { FlagOrigin, Hole, Local, Node, Statement } from '../lift/ir.ts';
import { newLocal } from '../lift/lift.ts';
import { eachStatement } from '../lift/traverse.ts';
import type { ValueType } from '../wasm/opcodes.ts';

/** Templates that are kept: about 3 KB each. When there are more, all go and come anew. */
const TEMPLATES_MAX = 3000;

/** A local of a template: its place in the list of those that a copy has of its own. */
interface TemplateLocal extends Local {
  readonly slot: number;
}

/** Statements with holes and locals of their own. */
export interface TemplateBody {
  readonly statements: readonly Statement[];
  /** Types of the locals, those that are given first. */
  readonly types: readonly ValueType[];
}

/** The statements with numbered locals; `given` are those of whoever uses the copy, in their order. */
export function templateBody(
  statements: readonly Statement[],
  given: readonly Local[],
): TemplateBody {
  const locals = new Map<Local, Node & { kind: 'local' }>();
  const types: ValueType[] = [];
  const add = (local: Local) => {
    if (locals.has(local)) return;
    const own: TemplateLocal = { type: local.type, id: local.id, slot: types.length };
    types.push(local.type);
    locals.set(local, { kind: 'local', type: local.type, local: own });
  };
  for (const local of given) add(local);
  eachStatement(statements, (s) => {
    if (s.kind === 'set' && s.local.register === undefined) add(s.local);
  });
  const copy = new Copy(
    (local) => locals.get(local),
    (node) => node,
    undefined,
  );
  return { statements: copy.list(statements), types };
}

/** What a copy has of its own. */
export interface Particulars {
  /** Locals by slot; those that are not given are made. */
  readonly given: readonly Local[];
  readonly immediate: bigint;
  readonly displacement: bigint;
  readonly offset: number;
  readonly next: number;
  /** Where jumps with a known target lead. */
  readonly target: number;
  /** Where to read a field that is not to be in the code. */
  readonly read?: { readonly [field in Hole['field']]?: FieldAddress };
}
/** Address of a field's eight bytes: what a local holds plus an offset. */
export interface FieldAddress {
  readonly base: Local;
  readonly offset: number;
}

/** A copy of a template's statements with locals of its own and the holes filled. */
export function fill(body: TemplateBody, own: Particulars): readonly Statement[] {
  const nodes = body.types.map((type, slot): Node & { kind: 'local' } => {
    const local = own.given[slot] ?? newLocal(type);
    return { kind: 'local', type, local };
  });
  const loads: Statement[] = [];
  const copy = new Copy(
    (local) => nodes[(local as TemplateLocal).slot],
    (node) => {
      const from = own.read?.[node.hole.field];
      if (!from) return { kind: 'const', type: node.type, value: filling(node, own) };
      const local = newLocal(node.type);
      loads.push({ kind: 'set', local, value: load(node, from) });
      return { kind: 'local', type: node.type, local };
    },
    own.target,
  );
  const statements = copy.list(body.statements);
  return loads.length ? [...loads, ...statements] : statements;
}

function load({ type, hole }: ConstNode & { hole: Hole }, { base, offset }: FieldAddress): Node {
  const address: Node = { kind: 'local', type: 'i32', local: base };
  const op = hole.extended ? `load32_${hole.extended}` : 'load';
  return { kind: 'load', type, op: `${type}.${op}`, address, offset };
}

function filling({ type, hole }: ConstNode & { hole: Hole }, own: Particulars) {
  const { field, extended } = hole;
  const whole = own[field];
  if (type === 'i32') return typeof whole === 'number' ? whole : Number(BigInt.asIntN(32, whole));
  const value = BigInt(whole);
  if (extended === 'u') return BigInt.asUintN(32, value);
  return extended === 's' ? BigInt.asIntN(32, value) : value;
}

type LocalNode = Node & { kind: 'local' };
type ConstNode = Node & { kind: 'const' };

/** Copies statements with other locals and constants; what has neither is shared. */
class Copy {
  readonly #local: (local: Local) => LocalNode | undefined;
  readonly #constant: (node: ConstNode & { hole: Hole }) => Node;
  readonly #target: number | undefined;
  /** The copies of the constants and of the origin met last: whoever compares them compares objects. */
  #lastConstant: ConstNode | undefined;
  #lastConstantCopy: Node | undefined;
  #lastOrigin: FlagOrigin | undefined;
  #lastOriginCopy: FlagOrigin | undefined;

  constructor(
    local: (local: Local) => LocalNode | undefined,
    constant: (node: ConstNode & { hole: Hole }) => Node,
    target: number | undefined,
  ) {
    this.#local = local;
    this.#constant = constant;
    this.#target = target;
  }

  list(statements: readonly Statement[]): readonly Statement[] {
    const result: Statement[] = [];
    for (let n = 0; n < statements.length; n++) result.push(this.#statement(statements[n]!));
    return result;
  }

  #statement(s: Statement): Statement {
    switch (s.kind) {
      case 'set':
        return {
          kind: 'set',
          local: this.#local(s.local)?.local ?? s.local,
          value: this.#node(s.value),
        };
      case 'store':
        return { ...s, address: this.#node(s.address), value: this.#node(s.value) };
      case 'effect':
      case 'call':
        return { ...s, args: this.#nodes(s.args) };
      case 'if':
        return {
          kind: 'if',
          condition: this.#node(s.condition),
          whenTrue: this.list(s.whenTrue),
          otherwise: this.list(s.otherwise),
          likely: s.likely,
        };
      case 'switch':
        return {
          ...s,
          selector: this.#node(s.selector),
          cases: s.cases.map((list) => this.list(list)),
          otherwise: this.list(s.otherwise),
        };
      case 'loop':
      case 'block':
        return { ...s, body: this.list(s.body) };
      case 'exit':
        if (s.target === undefined || this.#target === undefined) return s;
        return { kind: 'exit', exit: s.exit, target: this.#target };
      case 'return':
        return s.value ? { kind: 'return', value: this.#node(s.value) } : s;
      default:
        return s;
    }
  }

  #nodes(nodes: readonly Node[]): readonly Node[] {
    let changed: Node[] | undefined;
    for (let n = 0; n < nodes.length; n++) {
      const node = this.#node(nodes[n]!);
      if (node !== nodes[n]) changed ??= nodes.slice();
      if (changed) changed[n] = node;
    }
    return changed ?? nodes;
  }

  #node(node: Node): Node {
    switch (node.kind) {
      case 'const':
        return node.hole ? this.#filled(node as ConstNode & { hole: Hole }) : node;
      case 'local':
        return this.#local(node.local) ?? node;
      case 'op':
        return this.#operation(node);
      case 'select':
        return {
          kind: 'select',
          type: node.type,
          condition: this.#node(node.condition),
          whenTrue: this.#node(node.whenTrue),
          otherwise: this.#node(node.otherwise),
        };
      case 'load': {
        const address = this.#node(node.address);
        if (node.value) return { ...node, address, value: this.#node(node.value) };
        return address === node.address ? node : { ...node, address };
      }
      case 'call':
        return { ...node, args: this.#nodes(node.args) };
    }
  }
  #filled(node: ConstNode & { hole: Hole }): Node {
    if (node !== this.#lastConstant || !this.#lastConstantCopy) {
      this.#lastConstant = node;
      this.#lastConstantCopy = this.#constant(node);
    }
    return this.#lastConstantCopy;
  }
  #operation(node: Node & { kind: 'op' }): Node {
    const args = this.#nodes(node.args);
    if (node.origin) return { ...node, args, origin: this.#origin(node.origin) };
    if (args === node.args) return node;
    if (node.lanes || node.condition !== undefined) return { ...node, args };
    return { kind: 'op', type: node.type, op: node.op, args };
  }
  #origin(origin: FlagOrigin): FlagOrigin {
    if (origin !== this.#lastOrigin || !this.#lastOriginCopy) {
      const [a, b, result] = [origin.a, origin.b, origin.result].map((node) => this.#node(node));
      this.#lastOrigin = origin;
      this.#lastOriginCopy = { ...origin, a: a!, b: b!, result: result! };
    }
    return this.#lastOriginCopy;
  }
}

// --- finding one ---

/** What of an instruction a template is found by. */
export interface Shape {
  readonly table: TableForm;
  /** The instruction's record, of 32 bytes. */
  readonly record: Int32Array;
  /** All else that its meaning depends on, in 16 bits. */
  readonly rest: number;
}

/** Fields that a template holds for one value of. */
export const EXACT = { immediate: 1, displacement: 2 } as const;

interface Entry<T> {
  readonly table: TableForm;
  readonly words: Int32Array;
  readonly exact: number;
  readonly template: T;
}

/** Bits of the record's words that no template depends on: length, place in the page. */
const [LENGTH_BITS, PLACE_BITS] = [0xff << (8 * R.length), 0xffff];
const [DISPLACEMENT_WORD, IMMEDIATE_WORD] = [R.displacement / 4, R.immediate / 4];

/** Templates by shape. */
export class Templates<T> {
  #entries = new Map<number, Entry<T>[]>();
  #count = 0;

  find({ table, record, rest }: Shape): T | undefined {
    const list = this.#entries.get(hash(record, rest));
    if (!list) return undefined;
    for (let n = 0; n < list.length; n++) {
      const { words, exact, template, table: of } = list[n]!;
      if (of !== table || words[1] !== second(record, rest) || words[0] !== first(record)) continue;
      if (words[2] !== record[2] || words[3] !== record[3]) continue;
      if (exact & EXACT.immediate && !isSamePair(words, record, IMMEDIATE_WORD)) continue;
      if (exact & EXACT.displacement && !isSamePair(words, record, DISPLACEMENT_WORD)) continue;
      return template;
    }
    return undefined;
  }
  add({ table, record, rest }: Shape, exact: number, template: T): void {
    if (this.#count >= TEMPLATES_MAX) {
      this.#entries = new Map();
      this.#count = 0;
    }
    const words = record.slice();
    words[0] = first(record);
    words[1] = second(record, rest);
    const key = hash(record, rest);
    const list = this.#entries.get(key);
    const entry = { table, words, exact, template };
    if (list) list.unshift(entry);
    else this.#entries.set(key, [entry]);
    this.#count++;
  }
}

function first(record: Int32Array): number {
  return record[0]! & ~LENGTH_BITS;
}
function second(record: Int32Array, rest: number): number {
  return (record[1]! & ~PLACE_BITS) | rest;
}
function isSamePair(a: Int32Array, b: Int32Array, n: number): boolean {
  return a[n] === b[n] && a[n + 1] === b[n + 1];
}
function hash(record: Int32Array, rest: number): number {
  let h = first(record);
  h = Math.imul(h ^ second(record, rest), 0x9e37_79b1);
  h = Math.imul((h ^ (h >>> 15)) + record[2]!, 0x85eb_ca6b);
  h = Math.imul((h ^ (h >>> 13)) + record[3]!, 0xc2b2_ae35);
  return (h ^ (h >>> 16)) & 0x3fff_ffff;
}
