// Builds functions of the lift language and runs them, on WebAssembly or on the evaluator.

import { calls } from '../../interpreter/access.ts';
import { assemble } from '../assemble.ts';
import type { FunctionRef } from '../function.ts';
import type { Local, Statement } from '../ir.ts';
import { Lift, newLocal } from '../lift.ts';
import { Value } from '../value.ts';

/** The vCPU's base address in these tests. */
export const CPU_BASE = 0x1_0000;
const PAGES = 4;

export type Run = (name: string, ...args: (number | bigint)[]) => number | bigint | undefined;

export interface Compiled {
  readonly view: DataView;
  readonly bytes: Uint8Array;
  readonly run: Run;
}

/** Assembles the functions; those that they call come along. Host functions by name. */
export function compile(
  roots: readonly FunctionRef[],
  host: Readonly<Record<string, (...args: never[]) => unknown>> = {},
): Compiled {
  const { bytes } = assemble({
    access: calls,
    memoryPagesMax: PAGES,
    roots,
    handEmitted: [],
    table: [],
  });
  const memory = new WebAssembly.Memory({ initial: PAGES, maximum: PAGES, shared: true });
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes), {
    env: { memory },
    host,
  });
  const functions = exports as Readonly<
    Record<string, (...args: (number | bigint)[]) => number | bigint | undefined>
  >;
  return {
    view: new DataView(memory.buffer),
    bytes: new Uint8Array(memory.buffer),
    run: (name, ...args) => functions[name]!(CPU_BASE, ...args),
  };
}

/** What a function builds, with the locals of its parameters. */
export function build(ref: FunctionRef): {
  statements: readonly Statement[];
  params: readonly Local[];
} {
  if (ref.statements) return { statements: ref.statements, params: [] };
  const params = ref.params.map((type, n) => newLocal(type, n + 1));
  const l = new Lift({ cpu: newLocal('i32', 0), access: calls, mayFault: ref.faults });
  ref.build!(
    l,
    params.map((local) => new Value({ kind: 'local', type: local.type, local })),
  );
  return { statements: l.statements, params };
}
