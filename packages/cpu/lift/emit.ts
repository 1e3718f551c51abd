// Turns built statements into one WebAssembly function body. Locals live as long as the block that first set them
// and are reused after it, which keeps the number of locals of the interpreter's large function small.

import { CodeWriter, type FunctionBody } from '../wasm/module.ts';
import type { ValueType } from '../wasm/opcodes.ts';
import { wasmOp } from '../wasm/opcodes.ts';
import type { FunctionRef } from './function.ts';
import type { InstructionExit, Local, Node, Statement } from './ir.ts';
import { eachExpression, eachOperand, eachStatement, innerLists } from './traverse.ts';

export interface EmitOptions {
  readonly params: readonly ValueType[];
  readonly functionIndex: (callee: FunctionRef) => number;
  /** Emits what an instruction exit does here. */
  readonly exit: (emitter: Emitter, exit: InstructionExit, target: number | undefined) => void;
  /** Told of each set, in the order of the code. */
  readonly set?: (local: Local) => void;
}

/** What exits with the target `id` do before they leave: said once for all of them, between the first and the last. */
export interface Detour {
  readonly id: number;
  readonly stores: readonly Statement[];
  readonly exit: InstructionExit;
}
/** Most functions are shorter. */
const CODE_BYTES = 4096;
const DETOURS = 4_000_000;
const DETOUR_ENDS = 1_000_000_000;

interface Way extends Detour {
  /** Statements of the sequence between which it is taken; -1: nowhere. */
  first: number;
  last: number;
}

/** Which statement of a sequence is the last that uses a local. */
class LastUses {
  readonly ways: Way[];
  readonly #uses = new Map<Local, number>();
  #n = 0;

  constructor(detours: readonly Detour[]) {
    this.ways = detours.map((d) => ({ ...d, first: -1, last: -1 }));
  }
  of(local: Local): number {
    return this.#uses.get(local) ?? -1;
  }
  note(s: Statement, n: number): void {
    this.#n = n;
    this.#statement(s);
    if (s.kind === 'if') {
      eachStatement(s.whenTrue, this.#statement);
      eachStatement(s.otherwise, this.#statement);
    } else for (const list of innerLists(s)) eachStatement(list, this.#statement);
  }
  /** What a detour stores is used by the last statement that takes it. */
  noteDetours(): void {
    for (const { stores, last } of this.ways) {
      this.#n = last;
      for (const s of stores) eachExpression(s, this.#expression);
    }
  }

  readonly #statement = (s: Statement): void => {
    if (s.kind === 'exit') {
      if (!s.target) return;
      for (const way of this.ways) {
        if (way.id !== s.target) continue;
        if (way.first < 0) way.first = this.#n;
        way.last = this.#n;
      }
      return;
    }
    if (s.kind === 'set') this.#uses.set(s.local, this.#n);
    eachExpression(s, this.#expression);
  };
  readonly #expression = (node: Node): void => {
    if (node.kind === 'local') {
      if (this.of(node.local) < this.#n) this.#uses.set(node.local, this.#n);
    } else eachOperand(node, this.#expression);
  };
}

export class Emitter {
  readonly code = new CodeWriter(CODE_BYTES);
  readonly #options: EmitOptions;
  readonly #locals: ValueType[] = [];
  readonly #indices = new Map<Local, number>();
  readonly #free = new Map<ValueType, number[]>();
  readonly #scopes: Local[][] = [[]];
  readonly #labels: number[] = [];
  readonly #hints: { offset: number; likely: boolean }[] = [];

  constructor(options: EmitOptions) {
    this.#options = options;
  }

  finish(): FunctionBody {
    return { locals: this.#locals, code: this.code.take(), hints: this.#hints };
  }

  /** Emits statements in a scope of their own. */
  body(statements: readonly Statement[]): void {
    this.#scopes.push([]);
    for (const statement of statements) this.#statement(statement);
    for (const local of this.#scopes.pop()!) this.#release(local);
  }
  /** Emits statements in the scope that is open; a local that they set for themselves gives its place away behind its last use. */
  sequence(
    statements: readonly Statement[],
    keep: ReadonlySet<Local>,
    detours: readonly Detour[] = [],
  ): void {
    const uses = new LastUses(detours);
    for (let n = 0; n < statements.length; n++) uses.note(statements[n]!, n);
    uses.noteDetours();
    const own: Local[] = [];
    this.#scopes.push(own);
    for (let n = 0; n < statements.length; n++) {
      for (const way of uses.ways) if (way.first === n) this.#openDetour(way);
      this.#statement(statements[n]!);
      for (const way of uses.ways) if (way.last === n) this.#closeDetour(way);
      let kept = 0;
      for (const local of own) {
        if (keep.has(local) || uses.of(local) > n) own[kept++] = local;
        else this.#release(local);
      }
      own.length = kept;
    }
    this.#scopes.pop();
    this.#scopes.at(-1)!.push(...own);
  }
  #openDetour({ id }: Detour): void {
    this.open('block', DETOUR_ENDS + id);
    this.open('block', DETOURS + id);
  }
  #closeDetour({ id, stores, exit }: Detour): void {
    this.code.br(this.depth(DETOUR_ENDS + id));
    this.close();
    this.body(stores);
    this.#options.exit(this, exit, undefined);
    this.close();
  }
  /** Branches to a detour of the sequence that is being emitted; false when there is no such detour. */
  detour(id: number): boolean {
    if (this.#labels.lastIndexOf(DETOURS + id) < 0) return false;
    this.code.br(this.depth(DETOURS + id));
    return true;
  }
  #release(local: Local): void {
    const index = this.#indices.get(local)!;
    this.#indices.delete(local);
    this.#freeList(local.type).push(index);
  }
  /** Opens a label around what is emitted until `close`; `depth` finds it for a branch. */
  open(kind: 'block' | 'loop', label: number): void {
    if (kind === 'block') this.code.block();
    else this.code.loop();
    this.#labels.push(label);
  }
  close(): void {
    this.#labels.pop();
    this.code.end();
  }
  depth(label: number): number {
    const index = this.#labels.lastIndexOf(label);
    if (index < 0) throw new Error('branch to a label that is not open');
    return this.#labels.length - 1 - index;
  }
  /** The WebAssembly index of a local; the first use allocates it in the current scope. */
  local(local: Local): number {
    if (local.parameter !== undefined) return local.parameter;
    const known = this.#indices.get(local);
    if (known !== undefined) return known;
    const index =
      this.#freeList(local.type).pop() ??
      this.#options.params.length + this.#locals.push(local.type) - 1;
    this.#indices.set(local, index);
    this.#scopes.at(-1)!.push(local);
    return index;
  }
  hint(likely: boolean): void {
    this.#hints.push({ offset: this.code.length, likely });
  }

  #freeList(type: ValueType): number[] {
    let list = this.#free.get(type);
    if (!list) {
      list = [];
      this.#free.set(type, list);
    }
    return list;
  }

  #statement(s: Statement): void {
    const { code } = this;
    switch (s.kind) {
      case 'set':
        if (s.isPlace) this.local(s.local);
        else {
          this.expression(s.value);
          code.localSet(this.local(s.local));
          this.#options.set?.(s.local);
        }
        return;
      case 'store':
        this.expression(s.address);
        this.expression(s.value);
        code.memoryOp(wasmOp(s.op), s.offset, s.lane);
        return;
      case 'effect':
        for (const arg of s.args) this.expression(arg);
        code.op(wasmOp(s.op));
        return;
      case 'call':
        this.#call(s.callee, s.args);
        if (s.callee.result) code.drop();
        return;
      case 'if':
        this.#if(s);
        return;
      case 'switch':
        this.#switch(s);
        return;
      case 'loop':
      case 'block':
        this.open(s.kind, s.label.id);
        this.body(s.body);
        this.close();
        return;
      case 'branch':
        code.br(this.depth(s.label.id));
        return;
      case 'return':
        if (s.value) this.expression(s.value);
        code.return();
        return;
      case 'exit':
        this.#options.exit(this, s.exit, s.target);
        return;
      case 'trap':
        code.unreachable();
    }
  }

  #if(s: Statement & { kind: 'if' }): void {
    const { code } = this;
    this.expression(s.condition);
    if (s.likely !== undefined) this.hint(s.likely);
    code.if();
    this.#labels.push(0);
    this.body(s.whenTrue);
    if (s.otherwise.length) {
      code.else();
      this.body(s.otherwise);
    }
    this.close();
  }

  #switch(s: Statement & { kind: 'switch' }): void {
    // Nested blocks, innermost first: case n jumps out of n + 1 of them and ends by leaving the outermost.
    const { code } = this;
    const count = s.cases.length;
    for (let i = 0; i < count + 2; i++) this.open('block', 0);
    this.expression(s.selector);
    code.brTable(
      s.cases.map((_, i) => i),
      count,
    );
    for (let i = 0; i < count; i++) {
      this.close();
      this.body(s.cases[i]!);
      code.br(count - i);
    }
    this.close();
    this.body(s.otherwise);
    this.close();
  }

  #call(callee: FunctionRef, args: readonly Node[]): void {
    this.code.localGet(0);
    for (const arg of args) this.expression(arg);
    this.code.call(this.#options.functionIndex(callee));
  }

  expression(node: Node): void {
    const { code } = this;
    switch (node.kind) {
      case 'const':
        emitConstant(code, node.type, node.value);
        return;
      case 'local':
        code.localGet(this.local(node.local));
        return;
      case 'op':
        this.#operation(node);
        return;
      case 'select':
        this.expression(node.whenTrue);
        this.expression(node.otherwise);
        this.expression(node.condition);
        code.select();
        return;
      case 'load':
        this.expression(node.address);
        if (node.value) this.expression(node.value);
        code.memoryOp(wasmOp(node.op), node.offset, node.lane);
        return;
      case 'call':
        this.#call(node.callee, node.args);
    }
  }

  #operation(node: Node & { kind: 'op' }): void {
    const op = wasmOp(node.op);
    for (const arg of node.args) this.expression(arg);
    if (op.immediate === 'memory') this.code.memoryOp(op, 0);
    else {
      this.code.op(op);
      if (op.immediate === 'zero') this.code.byte(0);
      if (node.lanes) this.code.bytes(node.lanes);
    }
  }
}

function emitConstant(
  code: CodeWriter,
  type: ValueType,
  value: number | bigint | Uint8Array,
): void {
  if (value instanceof Uint8Array) code.bytes([0xfd, 12]).bytes(value);
  else if (type === 'i32') code.i32(Number(value));
  else if (type === 'i64') code.i64(BigInt(value));
  else if (type === 'f32') code.byte(0x43).f32(Number(value));
  else if (type === 'f64') code.byte(0x44).f64(Number(value));
  else code.bytes([0xfd, 12]).bytes(new Uint8Array(16));
}
