// What `lift` builds: typed expressions over WebAssembly operations, and statements in structured control flow.
// Expressions are pure or read only what their place in the statement order fixes; everything else is a statement.

import type { ValueType } from '../wasm/opcodes.ts';
import type { FunctionRef } from './function.ts';

/** A variable of one function; the emitter assigns it a WebAssembly local. */
export interface Local {
  readonly type: ValueType;
  readonly id: number;
  /** Parameters have fixed WebAssembly indices. */
  readonly parameter?: number;
  /** The translator's number of a register or flag that is kept in a local. */
  readonly register?: number;
}

/**
 * A constant that stands for a field of an instruction: what is built with it holds for other values too, as long as
 * nobody has looked at this one.
 */
export interface Hole {
  readonly field: 'immediate' | 'displacement' | 'offset' | 'next';
  /** An i64 that extends the low half. */
  readonly extended?: 'u' | 's';
  /** Whether someone looked. */
  readonly use: { isRead: boolean };
}

/** The operation that flags come from, with its operands as locals or constants. */
export interface FlagOrigin {
  readonly kind: 'add' | 'adc' | 'sub' | 'sbb' | 'inc' | 'dec';
  readonly bits: number;
  readonly a: Node;
  readonly b: Node;
  /** Sign-extended to i64. */
  readonly result: Node;
}

export type Node =
  | { readonly kind: 'const'; readonly type: ValueType; readonly value: number | bigint | Uint8Array; readonly hole?: Hole }
  | { readonly kind: 'local'; readonly type: ValueType; readonly local: Local }
  | {
      readonly kind: 'op';
      readonly type: ValueType;
      readonly op: string;
      readonly args: readonly Node[];
      /** Lane index, or the 16 lanes of a shuffle. */
      readonly lanes?: readonly number[];
      /** CF, OF or AF of this operation. */
      readonly origin?: FlagOrigin;
      /** The condition code that the node tests (lift/flags.ts). */
      readonly condition?: number;
    }
  | { readonly kind: 'select'; readonly type: ValueType; readonly condition: Node; readonly whenTrue: Node; readonly otherwise: Node }
  /** A load from memory at address + offset. */
  | { readonly kind: 'load'; readonly type: ValueType; readonly op: string; readonly address: Node; readonly offset: number; readonly value?: Node; readonly lane?: number }
  | { readonly kind: 'call'; readonly type: ValueType; readonly callee: FunctionRef; readonly args: readonly Node[] }; // biome-ignore format: one alternative a line

export type Label = { readonly id: number };

/** How an instruction ends other than by falling through to the next one. */
export type InstructionExit = 'fault' | 'jump' | 'retry' | 'again';

export type Statement =
  /** `isPlace`: the local is only given its place here; it is set again before it is read. */
  | { readonly kind: 'set'; readonly local: Local; readonly value: Node; readonly isPlace?: true }
  | { readonly kind: 'store'; readonly op: string; readonly address: Node; readonly offset: number; readonly value: Node; readonly lane?: number }
  | { readonly kind: 'effect'; readonly op: string; readonly args: readonly Node[] }
  | { readonly kind: 'call'; readonly callee: FunctionRef; readonly args: readonly Node[] }
  | { readonly kind: 'if'; readonly condition: Node; readonly whenTrue: readonly Statement[]; readonly otherwise: readonly Statement[]; readonly likely: boolean | undefined }
  | { readonly kind: 'switch'; readonly selector: Node; readonly cases: readonly (readonly Statement[])[]; readonly otherwise: readonly Statement[] }
  | { readonly kind: 'loop'; readonly label: Label; readonly body: readonly Statement[] }
  | { readonly kind: 'block'; readonly label: Label; readonly body: readonly Statement[] }
  | { readonly kind: 'branch'; readonly label: Label }
  | { readonly kind: 'return'; readonly value: Node | undefined }
  /** Abandons the instruction (microcode returns through all its callers for 'fault'). */
  /** `target`: what a jump leads to, where whoever lifted knows (the translator's page offsets). */
  | { readonly kind: 'exit'; readonly exit: InstructionExit; readonly target?: number }
  | { readonly kind: 'trap' }; // biome-ignore format: one alternative a line
