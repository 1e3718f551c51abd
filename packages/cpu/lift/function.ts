// Functions of the lift language: microcode and instruction handlers. A function is built when something calls it,
// once for each module. Every function gets the vCPU's base address as its first, hidden parameter.

import { assert } from '@mimic/base';
import type { ValueType } from '../wasm/opcodes.ts';
import type { Statement } from './ir.ts';
import type { Lift } from './lift.ts';
import type { Value } from './value.ts';

export type Params = Readonly<Record<string, ValueType>>;
export type Arguments<P extends Params> = { readonly [K in keyof P]: Value };

export interface FunctionRef {
  readonly name: string;
  readonly params: readonly ValueType[];
  readonly result: ValueType | undefined;
  /** The function can record a guest fault; its callers look and pass it on. */
  readonly faults: boolean;
  /** It can record a fault and gives 0 then, and only then: its callers look at what it gives. */
  readonly zeroOnFault?: boolean;
  /** Undefined: a host function, imported under its name. */
  readonly build: ((l: Lift, args: readonly Value[]) => void) | undefined;
  /** What `build` would build, when it has been built already. */
  readonly statements?: readonly Statement[];
}

export interface FunctionOptions<P extends Params> {
  readonly params: P;
  readonly result?: ValueType;
  /** Set when the body raises, touches guest memory, or calls something that does. */
  readonly faults?: boolean;
  /** As `faults`, but callers are told by a 0. */
  readonly zeroOnFault?: boolean;
  readonly build: (l: Lift, args: Arguments<P>) => void;
}

/** Declares a microcode function. Names are unique: they show in profiles and disassembly. */
export function fn<const P extends Params>(name: string, options: FunctionOptions<P>): FunctionRef {
  const names = Object.keys(options.params);
  return {
    name,
    params: Object.values(options.params),
    result: options.result,
    faults: options.faults ?? false,
    ...(options.zeroOnFault && { zeroOnFault: true }),
    build: (l, args) =>
      options.build(l, Object.fromEntries(names.map((key, i) => [key, args[i]!])) as Arguments<P>),
  };
}

/** Parameters of a host function at most (interpreter/instance.ts). */
const IMPORT_PARAMS_MAX = 3;

/** Declares a function that the host supplies: a call takes a hundred times as long as one of microcode. */
export function imported(
  name: string,
  params: Params,
  result?: ValueType,
  options: { faults?: boolean } = {},
): FunctionRef {
  assert(Object.keys(params).length <= IMPORT_PARAMS_MAX, `${name} has too many parameters`);
  return {
    name,
    params: Object.values(params),
    result,
    faults: options.faults ?? false,
    build: undefined,
  };
}
