// What the board's worker tells the worker of a vCPU to do, between slices of guest code.

import type { RunCounters, StartState } from '@mimic/cpu';
import type { DisassembledInstruction, Translation } from '../computer.ts';
import type { TraceKind } from '../protocol.ts';

export interface ProcessorCommands {
  /** Runs from now on; guest time is the host's minus this. */
  run: { takes: { offsetNs: number }; gives: null };
  /** Runs no guest code until told to. */
  hold: { takes: object; gives: null };
  /** Power-on, by a boot protocol or waiting for SIPI. */
  start: { takes: { state: StartState | null }; gives: null };
  instructionCount: { takes: object; gives: number };
  /** As text that is the same for the same state. */
  visibleState: { takes: object; gives: string };
  nmi: { takes: object; gives: null };
  readRegister: { takes: { register: string }; gives: bigint | null };
  writeRegister: { takes: { register: string; value: bigint }; gives: boolean };
  translate: { takes: { gva: bigint }; gives: Translation | null };
  disassemble: { takes: { gva: bigint; count: number }; gives: DisassembledInstruction[] };
  runCounters: { takes: object; gives: RunCounters };
  apic: { takes: object; gives: object };
  setTrace: { takes: { kinds: TraceKind[] }; gives: null };
}

export type ProcessorCommandName = keyof ProcessorCommands;

export interface ProcessorFrame<Name extends ProcessorCommandName = ProcessorCommandName> {
  readonly name: Name;
  readonly argument: ProcessorCommands[Name]['takes'];
}

/** A command that failed has its error's text; that is a bug, and ends the machine. */
export type ProcessorReply = { readonly value: unknown } | { readonly error: string };
