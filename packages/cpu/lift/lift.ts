// The language that meanings are written in: a builder of statements over values. One `Lift` builds one function
// or one instruction. It knows nothing of the engine that it builds for: operands, guest memory accesses and the
// instruction's surroundings come in as strategies.

import type { Field } from '../state/layout.ts';
import { at, S } from '../state/layout.ts';
import type { ValueType } from '../wasm/opcodes.ts';
import { wasmOp } from '../wasm/opcodes.ts';
import type { FunctionRef } from './function.ts';
import type { InstructionExit, Label, Local, Node, Statement } from './ir.ts';
import { constant, constantOf, lanewise, type Operand, op, Value } from './value.ts';

/** Bytes of one guest memory access. 1, 2 and 4 load as i32 (zero-extended), 8 as i64, 16 as v128. */
export type AccessBytes = 1 | 2 | 4 | 8 | 16;

export interface AccessOptions {
  /** An implicit supervisor access (descriptor tables, TSS) whatever the CPL. */
  readonly system?: boolean;
  /** A stack access: an address that is not canonical raises #SS(0). */
  readonly stack?: boolean;
}

/** A read-modify-write access: the write cannot fault any more, except that a locked one may ask for a retry. */
export interface UpdateAccess {
  readonly value: Value;
  write(value: Value): void;
}

/** How guest memory is reached; the interpreter calls functions or inlines the TLB, the translator has range slots. */
export interface AccessStrategy {
  /** Other processors share the memory: locked accesses have to be atomic. */
  readonly isShared?: boolean;
  /** The host does not keep x86's memory order by itself (interpreter/ordered.ts). */
  readonly isOrdered?: boolean;
  load(l: Lift, bytes: AccessBytes, linear: Value, options: AccessOptions): Value;
  store(l: Lift, bytes: AccessBytes, linear: Value, value: Value, options: AccessOptions): void;
  update(l: Lift, bytes: AccessBytes, linear: Value, locked: boolean): UpdateAccess;
}

/** A mutable variable. */
export interface Variable {
  get(): Value;
  set(value: Operand): void;
}

let nextLocal = 1;
let nextLabel = 1;

/** FAULT_PENDING marks `S.fault` as set; the low byte is the vector. */
export const FAULT_PENDING = 0x100;
/** The fault pushes an error code. */
export const FAULT_HAS_CODE = 0x200;
/** A non-canonical address: #SS when the access was through SS, else #GP. Resolved when the fault is delivered. */
export const FAULT_NON_CANONICAL = 0x400;
/** Not a fault of the guest's: the instruction runs again, as the only one of its block (microcode/exact.ts). */
export const FAULT_RUN_ALONE = 0x800;

/** Memory whose contents are known while building (a decoded record): what a load from an address gives, if it is known. */
export type KnownMemory = (load: string, address: number) => Value | undefined;

export class Lift {
  /** Base address of the vCPU's state. */
  readonly cpu: Value;
  readonly #access: AccessStrategy;
  readonly #mayFault: boolean;
  readonly #known: KnownMemory | undefined;
  readonly #definitions = new Map<Local, Node>();
  #statements: Statement[] = [];

  constructor(options: {
    cpu: Local;
    access: AccessStrategy;
    mayFault: boolean;
    known?: KnownMemory;
  }) {
    this.#known = options.known;
    this.cpu = new Value({ kind: 'local', type: 'i32', local: options.cpu });
    this.#access = options.access;
    this.#mayFault = options.mayFault;
  }
  /** What has been built. */
  get statements(): readonly Statement[] {
    return this.#statements;
  }

  /** Other processors share the memory. */
  get isShared(): boolean {
    return this.#access.isShared === true;
  }

  get isOrdered(): boolean {
    return this.#access.isOrdered === true;
  }

  // --- values and variables ---

  i32(value: number): Value {
    return constant('i32', value);
  }
  i64(value: number | bigint): Value {
    return constant('i64', value);
  }
  /** Computes a value here and now, once; the result never changes. */
  let(value: Value): Value {
    if (value.node.kind === 'const' || this.#isStateAddress(value.node)) return value;
    const local: Local = { type: value.type, id: nextLocal++ };
    this.#definitions.set(local, value.node);
    this.#statements.push({ kind: 'set', local, value: value.node });
    return new Value({ kind: 'local', type: value.type, local });
  }
  /** The vCPU's base plus a constant: cheaper computed again than kept, and passes can tell what it names. */
  #isStateAddress(node: Node): boolean {
    if (node === this.cpu.node) return true;
    if (node.kind !== 'op' || node.op !== 'i32.add') return false;
    const [a, b] = node.args;
    return a === this.cpu.node && b?.kind === 'const';
  }
  /** What a value was computed from, if `let` made it. */
  definition(node: Node): Node {
    return (node.kind === 'local' && this.#definitions.get(node.local)) || node;
  }
  /** A mutable variable with its initial value. */
  var(type: ValueType, initial: Operand): Variable {
    const local: Local = { type, id: nextLocal++ };
    const set = (value: Operand) => {
      const node = (value instanceof Value ? value : constant(type, value)).node;
      if (node.type !== type) throw new Error(`variable is ${type}, value is ${node.type}`);
      this.#statements.push({ kind: 'set', local, value: node });
    };
    set(initial);
    // A read is captured: a later `set` does not change what was read before.
    return { get: () => this.let(new Value({ kind: 'local', type, local })), set };
  }
  /** Sets a local of whoever builds the function around this. */
  assign(local: Local, value: Value): void {
    this.#statements.push({ kind: 'set', local, value: value.node });
  }
  /** Adds statements that were built elsewhere. */
  append(statements: readonly Statement[]): void {
    this.#statements.push(...statements);
  }
  /** Both values are computed; the condition picks one. */
  select(condition: Value, then: Operand, otherwise: Operand): Value {
    const type =
      then instanceof Value ? then.type : otherwise instanceof Value ? otherwise.type : 'i32';
    const known = constantOf(condition);
    const a = then instanceof Value ? then : constant(type, then);
    const b = otherwise instanceof Value ? otherwise : constant(type, otherwise);
    if (known !== undefined) return known ? a : b;
    if (a.type !== b.type) throw new Error(`select of ${a.type} and ${b.type}`);
    return new Value({
      kind: 'select',
      type,
      condition: condition.node,
      whenTrue: a.node,
      otherwise: b.node,
    });
  }
  /** Any WebAssembly operation by name, for example SIMD. */
  op(name: string, ...args: Operand[]): Value {
    return op(name, ...args);
  }
  /** An operation with lane immediates. */
  lanes(name: string, lanes: readonly number[], ...args: Operand[]): Value {
    return lanewise(name, lanes, ...args);
  }

  // --- vCPU state and raw memory ---

  /** The field's value now. Later changes of the field do not change the value. */
  get(field: Field, index = 0): Value {
    return this.loadRaw(`${field.type}.load`, this.cpu, at(field, index));
  }
  set(field: Field, value: Operand, index = 0): void {
    const v = value instanceof Value ? value : constant(field.type, value);
    this.storeRaw(`${field.type}.store`, this.cpu, at(field, index), v);
  }
  /** An element whose byte offset from the field's start is only known at run time. */
  getAt(field: Field, byteOffset: Value): Value {
    return this.loadRaw(`${field.type}.load`, this.cpu.add(byteOffset), field.offset);
  }
  setAt(field: Field, byteOffset: Value, value: Value): void {
    this.storeRaw(`${field.type}.store`, this.cpu.add(byteOffset), field.offset, value);
  }
  /** A load from our own memory (not a guest address), for example 'i32.load16_u'. */
  loadRaw(name: string, address: Value, offset = 0): Value {
    const { result } = wasmOp(name);
    if (this.#known && address.node.kind === 'const') {
      const at = constantOf(address);
      const known = at === undefined ? undefined : this.#known(name, Number(at) + offset);
      if (known) return known;
    }
    return this.let(
      new Value({ kind: 'load', type: result!, op: name, address: address.node, offset }),
    );
  }
  /** A lane load: the vector with one lane replaced from memory. */
  storeRaw(name: string, address: Value, offset: number, value: Value): void {
    const { params } = wasmOp(name);
    if (params[1] !== value.type) throw new Error(`${name} of ${value.type}`);
    this.#statements.push({
      kind: 'store',
      op: name,
      address: address.node,
      offset,
      value: value.node,
    });
  }
  /** An atomic read-modify-write of our own memory ('i32.atomic.rmw.cmpxchg'); gives the old value. */
  atomic(name: string, address: Value, offset: number, ...values: Value[]): Value {
    const { params, result } = wasmOp(name);
    if (values.length !== params.length - 1) throw new Error(`${name}: ${values.length} values`);
    const sum = offset ? address.add(offset) : address;
    return this.let(
      new Value({
        kind: 'op',
        type: result!,
        op: name,
        args: [sum.node, ...values.map((v) => v.node)],
      }),
    );
  }
  /** memory.copy or memory.fill. */
  effect(name: 'memory.copy' | 'memory.fill', ...args: Value[]): void {
    this.#statements.push({ kind: 'effect', op: name, args: args.map((a) => a.node) });
  }

  // --- guest memory, by linear address ---

  load(bytes: AccessBytes, linear: Value, options: AccessOptions = {}): Value {
    return this.#access.load(this, bytes, linear, options);
  }
  store(bytes: AccessBytes, linear: Value, value: Value, options: AccessOptions = {}): void {
    this.#access.store(this, bytes, linear, value, options);
  }
  /** Reads with write intent, so that the write that follows cannot fault. */
  update(bytes: AccessBytes, linear: Value, locked = false): UpdateAccess {
    return this.#access.update(this, bytes, linear, locked);
  }

  // --- control flow ---

  if(condition: Value, then: () => void, otherwise?: () => void, likely?: boolean): void {
    const known = constantOf(condition);
    if (known !== undefined) {
      if (known) then();
      else otherwise?.();
      return;
    }
    this.#statements.push({
      kind: 'if',
      condition: condition.node,
      whenTrue: this.#nested(then),
      otherwise: otherwise ? this.#nested(otherwise) : [],
      likely,
    });
  }
  /** An `if` that is rarely true: its code is moved out of the hot path. */
  unlikely(condition: Value, then: () => void, otherwise?: () => void): void {
    this.if(condition, then, otherwise, false);
  }
  /** Only the arm that is taken is computed. */
  choose(condition: Value, type: ValueType, then: () => Value, otherwise: () => Value): Value {
    const known = constantOf(condition);
    if (known !== undefined) return known ? then() : otherwise();
    const result: Local = { type, id: nextLocal++ };
    const assign = (compute: () => Value) => () => {
      this.#statements.push({ kind: 'set', local: result, value: compute().node });
    };
    this.#statements.push({
      kind: 'set',
      local: result,
      value: constant(type, type === 'v128' ? new Uint8Array(16) : 0).node,
    });
    this.if(condition, assign(then), assign(otherwise));
    return new Value({ kind: 'local', type, local: result });
  }
  /** Case n for selector n; anything else is `otherwise`. Cases do not fall through. */
  switch(selector: Value, cases: readonly (() => void)[], otherwise: () => void = () => {}): void {
    const known = constantOf(selector);
    if (known !== undefined) {
      (cases[Number(known)] ?? otherwise)();
      return;
    }
    this.#statements.push({
      kind: 'switch',
      selector: selector.node,
      cases: cases.map((c) => this.#nested(c)),
      otherwise: this.#nested(otherwise),
    });
  }
  /** Repeats for ever; `again` continues, `done` leaves. Falling off the end leaves too. */
  loop(body: (again: () => void, done: () => void) => void): void {
    const again: Label = { id: nextLabel++ };
    const done: Label = { id: nextLabel++ };
    const inner = this.#nested(() =>
      body(
        () => this.#statements.push({ kind: 'branch', label: again }),
        () => this.#statements.push({ kind: 'branch', label: done }),
      ),
    );
    this.#statements.push({
      kind: 'block',
      label: done,
      body: [{ kind: 'loop', label: again, body: inner }],
    });
  }
  /** While the condition, computed anew before each round, holds. */
  while(condition: () => Value, body: () => void): void {
    this.loop((again) => {
      this.if(condition(), () => {
        body();
        again();
      });
    });
  }
  /** A block that can be left early. */
  block(body: (leave: () => void) => void): void {
    const label: Label = { id: nextLabel++ };
    const inner = this.#nested(() => body(() => this.#statements.push({ kind: 'branch', label })));
    this.#statements.push({ kind: 'block', label, body: inner });
  }
  return(value?: Operand, type: ValueType = 'i32'): void {
    const node =
      value === undefined
        ? undefined
        : (value instanceof Value ? value : constant(type, value)).node;
    this.#statements.push({ kind: 'return', value: node });
  }
  /** Ends the instruction other than by falling through. */
  exit(exit: InstructionExit, target?: number): void {
    this.#statements.push(
      target === undefined ? { kind: 'exit', exit } : { kind: 'exit', exit, target },
    );
  }
  /** A state that cannot happen: stops the machine with a report. */
  trap(): void {
    this.#statements.push({ kind: 'trap' });
  }

  // --- calls and faults ---

  /** Calls microcode for its value. A fault inside abandons the caller too. */
  call(callee: FunctionRef, ...args: Operand[]): Value {
    if (!callee.result) throw new Error(`${callee.name} gives no value`);
    const node: Node = {
      kind: 'call',
      type: callee.result,
      callee,
      args: this.#arguments(callee, args),
    };
    const value = this.let(new Value(node));
    if (callee.zeroOnFault) {
      this.#requireFaults(callee.name);
      this.unlikely(value.eqz(), () => this.exit('fault'));
    } else this.#checkFault(callee);
    return value;
  }
  /** Calls microcode for its effect. */
  run(callee: FunctionRef, ...args: Operand[]): void {
    const nodes = this.#arguments(callee, args);
    this.#statements.push({ kind: 'call', callee, args: nodes });
    this.#checkFault(callee);
  }
  /** Calls microcode and leaves a fault of it recorded, for whoever delivers faults. */
  attempt(callee: FunctionRef, ...args: Operand[]): void {
    this.#statements.push({ kind: 'call', callee, args: this.#arguments(callee, args) });
  }
  /** Raises an exception: records it and abandons the instruction. No state may have changed before. */
  raise(vector: number, errorCode?: Operand): void {
    this.#requireFaults('raise');
    this.set(S.fault, FAULT_PENDING | (errorCode === undefined ? 0 : FAULT_HAS_CODE) | vector);
    if (errorCode !== undefined)
      this.set(S.faultCode, errorCode instanceof Value ? errorCode.i32() : errorCode);
    this.exit('fault');
  }
  raiseIf(condition: Value, vector: number, errorCode?: Operand): void {
    this.unlikely(condition, () => this.raise(vector, errorCode));
  }

  #arguments(callee: FunctionRef, args: readonly Operand[]): Node[] {
    if (args.length !== callee.params.length)
      throw new Error(`${callee.name}: ${args.length} arguments`);
    return args.map((arg, i) => {
      const value = arg instanceof Value ? arg : constant(callee.params[i]!, arg);
      if (value.type !== callee.params[i])
        throw new Error(`${callee.name}: argument ${i} is ${value.type}`);
      return value.node;
    });
  }
  #checkFault(callee: FunctionRef): void {
    if (!callee.faults) return;
    this.#requireFaults(callee.name);
    this.unlikely(this.get(S.fault), () => this.exit('fault'));
  }
  #requireFaults(what: string): void {
    if (!this.#mayFault) throw new Error(`${what} in a function that is not declared to fault`);
  }
  #nested(build: () => void): readonly Statement[] {
    const outer = this.#statements;
    const inner: Statement[] = [];
    this.#statements = inner;
    build();
    this.#statements = outer;
    return inner;
  }
}

/** A fresh local, for those who build functions. */
export function newLocal(type: ValueType, parameter?: number): Local {
  return parameter === undefined ? { type, id: nextLocal++ } : { type, id: nextLocal++, parameter };
}
