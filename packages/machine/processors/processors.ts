// The processors of a computer as its board and its loop see them. One runs in the board's worker (local.ts); several
// have a worker each (remote.ts).

import type { InterruptSink, IrqLine } from '@mimic/base';
import type { SharedGuestMemory, Slices, StartState } from '@mimic/cpu';
import type { Processor, ProcessorView } from '../computer.ts';
import type { JitReport } from '../jit-report.ts';
import type { TraceKind } from '../protocol.ts';

export interface Processors {
  readonly memory: SharedGuestMemory;
  /** Where slices end by time: the one processor of this worker, translated. */
  readonly slices: Slices | undefined;
  /** For I/O APICs and message-signalled interrupts. */
  readonly interrupts: InterruptSink;
  /** LINT0 of the boot processor. */
  readonly intr: IrqLine;
  /** All of them, as the loop runs them. */
  readonly processor: Processor;
  /** Each of them, to look into. */
  readonly views: readonly ProcessorView[];
  /** Which of them `processor` shows. */
  select(index: number): void;
  /** Power-on: the first begins where the board says, the others wait to be started. */
  start(state: StartState): void;
  /** States of the local APICs. */
  apics(): object[];
  /** All that the guest can see of them, for a hash. */
  visibleStates(): object[];
  /** What translation has come to. */
  jit(): JitReport;
  readonly wasmMemory: WebAssembly.Memory;
  setTrace(kinds: readonly TraceKind[]): void;
}
