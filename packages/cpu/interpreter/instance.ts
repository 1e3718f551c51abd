// One instance of the engine's module on a machine's memory, for one vCPU: the exported functions with their types,
// and the host functions that microcode calls.

import { writeTables } from '../microcode/tables.ts';
import { vcpuBase } from '../state/memory-map.ts';
import { type Engine, engine } from './engine.ts';

/** Host functions by name; what the module asks for and is not here stops the machine when it is called. */
export type HostFunctions = Readonly<
  Record<string, (...args: never[]) => number | bigint | undefined>
>;

export interface EngineInstance {
  run(budget: number): number;
  call(name: string, ...args: (number | bigint)[]): number | bigint | undefined;
  /** All functions and the table, for translated code. */
  readonly exports: Readonly<Record<string, unknown>>;
}

export function instantiate(options: {
  memory: WebAssembly.Memory;
  index: number;
  host: HostFunctions;
  engine?: Engine;
}): EngineInstance {
  const { module, imports } = options.engine ?? engine();
  writeTables(options.memory);
  const cpu = vcpuBase(options.index);
  const host: Record<string, unknown> = {};
  for (const name of imports) {
    const implementation = options.host[name] as ((...args: unknown[]) => unknown) | undefined;
    host[name] = implementation
      ? // Written out, since a rest parameter makes an array for each call: RDTSC is part of Linux's every system call.
        (_cpu: number, a: unknown, b: unknown, c: unknown) => implementation(a, b, c)
      : () => {
          throw new Error(`the host function ${name} is missing`);
        };
  }
  const { exports } = new WebAssembly.Instance(module, { env: { memory: options.memory }, host });
  const functions = exports as Readonly<
    Record<string, (cpu: number, ...args: (number | bigint)[]) => number | bigint | undefined>
  >;
  const run = functions.run!;
  return {
    run: (budget) => run(cpu, budget) as number,
    call: (name, ...args) => functions[name]!(cpu, ...args),
    exports,
  };
}
