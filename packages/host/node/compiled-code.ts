// V8's machine code of a WebAssembly module as bytes that a later process can go on with. Node offers no way to it, V8
// has one for its own tests (src/runtime/runtime-test-wasm.cc). Where that is missing, or V8 refuses what it is given
// (another version, other flags, another processor), modules are compiled from their WebAssembly as ever.

import { createHash } from 'node:crypto';
import v8 from 'node:v8';

export const DIGEST_BYTES = 32;

type Bytes = Uint8Array<ArrayBuffer>;

/** V8's functions for its tests. */
interface Natives {
  /** Aborts the process when TurboFan has compiled none of the module's functions. */
  serialize(module: WebAssembly.Module): ArrayBuffer;
  deserialize(code: ArrayBuffer, bytes: Bytes): WebAssembly.Module | undefined;
  /** Aborts the process for anything but a function of a WebAssembly module. */
  isOptimised(f: unknown): boolean;
}

/** What came of a kept module. */
export interface TakenModule {
  readonly module: WebAssembly.Module;
  /** V8 took the machine code; else it compiles anew, lazily. */
  readonly hasCode: boolean;
}

/** How many of a module's functions TurboFan has compiled. `functions`: of `moduleFunctions`. */
export function optimisedCount(functions: readonly unknown[]): number {
  return use(({ isOptimised }) => functions.filter(isOptimised).length) ?? 0;
}

/**
 * Code of a module; undefined when there is none worth keeping. `bytesDigest`: of what it was made from; `functions`: of
 * `moduleFunctions`.
 */
export function compiledCode(
  module: WebAssembly.Module,
  bytesDigest: Uint8Array,
  functions: readonly unknown[],
): Bytes | undefined {
  const code = use(({ isOptimised, serialize }) =>
    functions.some(isOptimised) ? new Uint8Array(serialize(module)) : undefined,
  );
  if (!code) return undefined;
  const all = new Uint8Array(DIGEST_BYTES + code.length);
  all.set(codeDigest(code, bytesDigest));
  all.set(code, DIGEST_BYTES);
  return all;
}

/**
 * The module made from `bytes`, with the code that `compiledCode` gave if it is whole, belongs to these bytes, and is of
 * use to this V8. Undefined when the bytes are no module.
 */
export function moduleOf(bytes: Bytes, code: Bytes | undefined): TakenModule | undefined {
  const module = code && fromCode(bytes, code);
  if (module) return { module, hasCode: true };
  try {
    return { module: new WebAssembly.Module(bytes), hasCode: false };
  } catch {
    return undefined;
  }
}

function fromCode(bytes: Bytes, code: Bytes): WebAssembly.Module | undefined {
  const content = new Uint8Array(code.subarray(DIGEST_BYTES));
  // V8 believes what it reads: of code of another module too.
  if (!codeDigest(content, digest(bytes)).equals(code.subarray(0, DIGEST_BYTES))) return undefined;
  return use(({ deserialize }) => deserialize(content.buffer, bytes));
}

function codeDigest(code: Bytes, bytesDigest: Uint8Array): Buffer {
  return createHash('sha256').update(bytesDigest).update(code).digest();
}

export function digest(content: Uint8Array): Buffer {
  return createHash('sha256').update(content).digest();
}

/**
 * Functions that a module of ours defines, in an instance that never runs: those that it exports, and those of its table.
 * What it imports it exports under the same name at most.
 */
export function moduleFunctions(
  module: WebAssembly.Module,
  memory: WebAssembly.Memory,
): readonly unknown[] {
  const imports: Record<string, Record<string, unknown>> = {};
  const imported = new Set<string>();
  for (const { module: from, name, kind } of WebAssembly.Module.imports(module)) {
    imports[from] ??= {};
    imports[from][name] = dummy(kind, memory);
    imported.add(name);
  }
  const { exports } = new WebAssembly.Instance(module, imports);
  const functions: unknown[] = Object.entries(exports)
    .filter(([name, value]) => typeof value === 'function' && !imported.has(name))
    .map(([, value]) => value);
  const { table } = exports;
  if (table instanceof WebAssembly.Table)
    for (let n = 0; n < table.length; n++) if (table.get(n)) functions.push(table.get(n));
  return functions;
}

function dummy(kind: WebAssembly.ExternalKind, memory: WebAssembly.Memory): unknown {
  if (kind === 'memory') return memory;
  if (kind === 'table') return new WebAssembly.Table({ element: 'anyfunc', initial: 0 });
  return kind === 'function' ? () => 0 : 0;
}

const FLAG = 'allow-natives-syntax';
let count = 0;

/**
 * Has `action` use V8's functions; undefined when there are none. The flag that makes them known is on only while they
 * are parsed: V8 compares its flags with those of then when it takes code. They are parsed anew each time, in new words,
 * since V8 throws away compiled JavaScript that was not used for a while, and could not parse it again.
 */
function use<T>(action: (natives: Natives) => T | undefined): T | undefined {
  try {
    return action(natives());
  } catch {
    // Unknown to this V8; or another thread has just switched the flag off: no code this time.
    return undefined;
  }
}

function natives(): Natives {
  v8.setFlagsFromString(`--${FLAG}`);
  try {
    // The parentheses have each function compiled at once.
    return new Function(`return { // ${count++}
      serialize: (function (module) { return %SerializeWasmModule(module); }),
      deserialize: (function (code, bytes) { return %DeserializeWasmModule(code, bytes); }),
      isOptimised: (function (f) { return %IsTurboFanFunction(f); }),
    };`)() as Natives;
  } finally {
    v8.setFlagsFromString(`--no-${FLAG}`);
  }
}
