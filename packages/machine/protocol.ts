// What the host's thread and the machine's worker say to each other.
// Commands go through the mailbox in shared memory (mailbox.ts), reports come by postMessage.

import type { DisassembledInstruction, PartReport } from './computer.ts';
import type { JitReport } from './jit-report.ts';

export const TRACE_KINDS = [
  'instructions',
  'exceptions',
  'ports',
  'mmio',
  'interrupts',
  'jit',
] as const;
export type TraceKind = (typeof TRACE_KINDS)[number];

/** What each command takes and gives back. */
export interface Commands {
  resume: { takes: object; gives: null };
  pause: { takes: object; gives: null };
  reset: { takes: object; gives: null };
  stop: { takes: object; gives: null };
  pressPowerButton: { takes: object; gives: boolean };
  /** To all processors. */
  nmi: { takes: object; gives: null };
  /** Which processor registers, virtual memory and code are of from now on: the first, until this is given. */
  selectProcessor: { takes: { index: number }; gives: null };
  processors: { takes: object; gives: ProcessorReport[] };
  readRegisters: { takes: { names: string[] }; gives: Record<string, bigint> };
  writeRegister: { takes: { register: string; value: bigint }; gives: null };
  readMemory: { takes: { gpa: number; lengthBytes: number }; gives: Uint8Array };
  writeMemory: { takes: { gpa: number; bytes: Uint8Array }; gives: null };
  readVirtual: { takes: { gva: bigint; lengthBytes: number }; gives: Uint8Array };
  writeVirtual: { takes: { gva: bigint; bytes: Uint8Array }; gives: null };
  translate: { takes: { gva: bigint }; gives: { gpa: number } | null };
  disassemble: { takes: { gva: bigint; count: number }; gives: DisassembledInstruction[] };
  parts: { takes: object; gives: PartReport[] };
  jit: { takes: object; gives: JitReport };
  /** Null where there is none to share. */
  wasmMemory: { takes: object; gives: WebAssembly.Memory | null };
  stateHash: { takes: object; gives: StateHash };
  setTrace: { takes: { kinds: TraceKind[] }; gives: null };
}

/** A processor in the monitor's list. */
export interface ProcessorReport {
  readonly index: number;
  readonly rip: bigint;
  readonly instructionCount: number;
}

export type CommandName = keyof Commands;

export interface CommandFrame<Name extends CommandName = CommandName> {
  readonly id: number;
  readonly name: Name;
  readonly argument: Commands[Name]['takes'];
}

/** A computer's state in one value. */
export interface StateHash {
  readonly sha256: string;
  /** Instructions run so far. */
  readonly count: number;
}

/** How a deterministic machine ended; `ns` is its own clock. */
export interface FinalState extends StateHash {
  readonly ns: number;
}

/** An error on its way from worker to host. */
export interface ErrorReport {
  readonly code: string;
  readonly message: string;
  readonly hint: string | undefined;
}

/** Why a machine ended, as its worker knows it. */
export type WorkerEnd =
  | { readonly reason: 'power-off' | 'reset' | 'stopped' }
  /** Of a deterministic machine: it ran as many instructions as it was to; its replay is not what was recorded. */
  | { readonly reason: 'instruction-limit' }
  | { readonly reason: 'diverged'; readonly message: string }
  | { readonly reason: 'triple-fault'; readonly registers: Record<string, bigint> }
  | { readonly reason: 'crashed'; readonly message: string; readonly stack: string };

/** Worker to host. Bytes are acknowledged through the mailbox once they are disposed of. */
export type Report =
  | { readonly kind: 'ready' }
  | { readonly kind: 'failed'; readonly error: ErrorReport }
  | { readonly kind: 'reply'; readonly id: number; readonly value: unknown }
  | { readonly kind: 'refused'; readonly id: number; readonly error: ErrorReport }
  | { readonly kind: 'serial' | 'trace'; readonly bytes: Uint8Array<ArrayBuffer> }
  | { readonly kind: 'console'; readonly index: number; readonly bytes: Uint8Array<ArrayBuffer> }
  | { readonly kind: 'reset' }
  /** A line of the recording. */
  | { readonly kind: 'recorded'; readonly line: string }
  | { readonly kind: 'ended'; readonly end: WorkerEnd; readonly final?: FinalState };
