// Gathers functions into one WebAssembly module: what the roots call, what those call, and what the host supplies.

import { type FunctionBody, ModuleBuilder } from '../wasm/module.ts';
import type { ValueType } from '../wasm/opcodes.ts';
import { Emitter } from './emit.ts';
import type { FunctionRef } from './function.ts';
import type { InstructionExit, Node, Statement } from './ir.ts';
import { type AccessStrategy, Lift, newLocal } from './lift.ts';
import { Value } from './value.ts';

/** A function whose body is emitted by hand (the interpreter's loop), given the indices of all others. */
export interface HandEmitted {
  readonly ref: FunctionRef;
  readonly uses: readonly FunctionRef[];
  emit(functionIndex: (callee: FunctionRef) => number, module: ModuleBuilder): FunctionBody;
}

/** Statements of a function, with how each instruction exit leaves it. */
interface Built {
  readonly ref: FunctionRef;
  readonly statements: readonly Statement[];
  readonly exits: Readonly<Partial<Record<InstructionExit, number>>>;
}

export interface AssembleOptions {
  readonly access: AccessStrategy;
  readonly memoryPagesMax: number;
  /** Exported under their names. */
  readonly roots: readonly FunctionRef[];
  readonly handEmitted: readonly HandEmitted[];
  /** Functions of the indirect-call table, in order; they give the exit's number, 0 for falling through. */
  readonly table: readonly FunctionRef[];
}

/** The exit's number as a handler function returns it. */
export const EXIT_CODES: Readonly<Record<InstructionExit, number>> = {
  jump: 1,
  fault: 2,
  retry: 3,
  again: 4,
};
/** What translated code gives instead of a fault: S.rip is set already. */
export const TRANSLATED_FAULT = 5;

/** Encodes the module; `imports` lists the host functions it needs, from module "host". */
export function assemble(options: AssembleOptions): {
  bytes: Uint8Array<ArrayBuffer>;
  imports: readonly FunctionRef[];
} {
  const built = new Map<FunctionRef, Built>();
  const imports = new Set<FunctionRef>();
  const names = new Map<string, FunctionRef>();
  const handlers = new Set(options.table);
  const queue: FunctionRef[] = [...options.roots, ...options.table];
  for (const h of options.handEmitted) queue.push(...h.uses);
  const hand = new Set(options.handEmitted.map((h) => h.ref));
  for (let ref = queue.pop(); ref; ref = queue.pop()) {
    if (built.has(ref) || imports.has(ref) || hand.has(ref)) continue;
    const other = names.get(ref.name);
    if (other) throw new Error(`two functions are named ${ref.name}`);
    names.set(ref.name, ref);
    if (!ref.build) {
      imports.add(ref);
      continue;
    }
    const b = buildFunction(ref, options.access, handlers.has(ref));
    built.set(ref, b);
    calleesOf(b.statements, (callee) => queue.push(callee));
  }
  const module = new ModuleBuilder({ memoryPagesMax: options.memoryPagesMax });
  const indices = new Map<FunctionRef, number>();
  const typeOf = (ref: FunctionRef) => ({
    params: ['i32' as const, ...ref.params],
    results: ref.result ? [ref.result] : [],
  });
  for (const ref of imports) indices.set(ref, module.importFunction('host', ref.name, typeOf(ref)));
  for (const { ref } of [...built.values(), ...options.handEmitted])
    indices.set(ref, module.declareFunction(ref.name, typeOf(ref)));
  const functionIndex = (ref: FunctionRef) => {
    const index = indices.get(ref);
    if (index === undefined) throw new Error(`${ref.name} was not gathered`);
    return index;
  };
  for (const b of built.values())
    module.defineFunction(functionIndex(b.ref), emitFunction(b, functionIndex));
  for (const h of options.handEmitted)
    module.defineFunction(functionIndex(h.ref), h.emit(functionIndex, module));
  // Microcode is exported as a whole: the host calls some of it, translated code all of it.
  const isMicrocode = (ref: FunctionRef) => !handlers.has(ref);
  for (const ref of [...built.keys(), ...hand].filter(isMicrocode)) {
    module.exportFunction(ref.name, functionIndex(ref));
  }
  for (const ref of imports) module.exportFunction(ref.name, functionIndex(ref));
  module.setTable(options.table.map(functionIndex));
  return { bytes: module.encode(), imports: [...imports] };
}

function buildFunction(ref: FunctionRef, access: AccessStrategy, isHandler: boolean): Built {
  const exits = isHandler ? EXIT_CODES : {};
  if (ref.statements) return { ref, statements: ref.statements, exits };
  const cpu = newLocal('i32', 0);
  const args = ref.params.map(
    (type, i) => new Value({ kind: 'local', type, local: newLocal(type, i + 1) }),
  );
  const l = new Lift({ cpu, access, mayFault: ref.faults || ref.zeroOnFault === true });
  ref.build!(l, args);
  return { ref, statements: l.statements, exits };
}

function emitFunction(b: Built, functionIndex: (callee: FunctionRef) => number): FunctionBody {
  const emitter = new Emitter({
    params: ['i32', ...b.ref.params],
    functionIndex,
    exit: (e, exit) => {
      const exitCode = b.exits[exit];
      if (exitCode !== undefined) e.code.i32(exitCode).return();
      else if (exit === 'fault') {
        if (b.ref.result) zero(e, b.ref.result);
        e.code.return();
      } else throw new Error(`${b.ref.name}: '${exit}' outside an instruction`);
    },
  });
  emitter.body(b.statements);
  // A body that ends in a return never gets here; the value only satisfies validation.
  if (b.ref.result) zero(emitter, b.ref.result);
  return emitter.finish();
}

function zero(e: Emitter, type: ValueType): void {
  e.expression({
    kind: 'const',
    type,
    value: type === 'v128' ? new Uint8Array(16) : type === 'i64' ? 0n : 0,
  });
}

/** Reports every function that the statements call. */
export function calleesOf(
  statements: readonly Statement[],
  found: (callee: FunctionRef) => void,
): void {
  const inNode = (node: Node): void => {
    if (node.kind === 'call') found(node.callee);
    if (node.kind === 'call' || node.kind === 'op') node.args.forEach(inNode);
    else if (node.kind === 'load') {
      inNode(node.address);
      if (node.value) inNode(node.value);
    } else if (node.kind === 'select')
      [node.condition, node.whenTrue, node.otherwise].forEach(inNode);
  };
  for (const s of statements) {
    if (s.kind === 'set') inNode(s.value);
    else if (s.kind === 'store') [s.address, s.value].forEach(inNode);
    else if (s.kind === 'effect') s.args.forEach(inNode);
    else if (s.kind === 'call') {
      found(s.callee);
      s.args.forEach(inNode);
    } else if (s.kind === 'if') {
      inNode(s.condition);
      calleesOf(s.whenTrue, found);
      calleesOf(s.otherwise, found);
    } else if (s.kind === 'switch') {
      inNode(s.selector);
      for (const c of s.cases) calleesOf(c, found);
      calleesOf(s.otherwise, found);
    } else if (s.kind === 'loop' || s.kind === 'block') calleesOf(s.body, found);
    else if (s.kind === 'return' && s.value) inNode(s.value);
  }
}
