// What the machine's loop drives: a processor and a board, behind the smallest interface that says so.
// `pc.ts` assembles the real ones; tests of the loop drive a scripted one.

import type { ByteSink, GuestMemory, TimerQueue } from '@mimic/base';
import type { Slices } from '@mimic/cpu';
import type { JitReport } from './jit-report.ts';
import type { Mailbox } from './mailbox.ts';
import type { TraceKind } from './protocol.ts';

/**
 * Why `run` came back. 'budget': enough instructions for now; 'halted': HLT, and nothing to wake for;
 * 'event': something that the loop should look at; 'shutdown': triple fault.
 */
export type StopCause = 'budget' | 'halted' | 'event' | 'shutdown';

/** Guest-virtual to guest-physical, by the current page tables and without side effects. */
export interface Translation {
  readonly gpa: number;
}

export interface DisassembledInstruction {
  readonly gva: bigint;
  readonly bytes: Uint8Array;
  readonly text: string;
}

/** One processor as monitor and debugger see it. */
export interface ProcessorView {
  nmi(): void;
  /** Instructions run; in a deterministic machine a clock that never falls (VcpuOptions.exact). */
  readonly instructionCount: number;
  /** Undefined for a register that does not exist. Lower case: 'rax', 'cs', 'cr3', 'xmm0', 'st0', 'efer'. */
  readRegister(name: string): bigint | undefined;
  /** False for a register that does not exist. */
  writeRegister(name: string, value: bigint): boolean;
  translate(gva: bigint): Translation | undefined;
  disassemble(gva: bigint, count: number): DisassembledInstruction[];
  /** The names that `readRegister` knows, in the order to print them. */
  readonly registerNames: readonly string[];
}

/** What the loop runs: one processor, or all of several at once. To look into, it is the first, or the one that failed. */
export interface Processor extends ProcessorView {
  run(instructionsMax: number): StopCause;
  /** Makes a `run` that is under way return soon; called from within it, by a device. */
  stop(): void;
  /** Lets none run on between calls of `run`, as several may. */
  hold(): void;
}

/** A part for the monitor's list. */
export interface PartReport {
  readonly name: string;
  readonly where: string;
  readonly state: object;
}

/** A whole computer, in the worker's thread. */
export interface Computer {
  readonly processor: Processor;
  /** Each of the processors. */
  readonly processors: readonly ProcessorView[];
  /** Which of them `processor` shows; it exists. A reset shows the first again. */
  selectProcessor(index: number): void;
  readonly memory: GuestMemory;
  /** Where the loop says when its slices end, if a ticker ends them. */
  readonly slices: Slices | undefined;
  /** Cold start: all parts reset, kernel loaded again, processor at the kernel's entry. */
  boot(): void;
  /** False if the guest does not listen to the button. */
  pressPowerButton(): boolean;
  /** Types to the first serial port; returns how many bytes it took. */
  serialInput(bytes: Uint8Array): number;
  /** The same for a port of the virtio console. */
  consoleInput(index: number, bytes: Uint8Array): number;
  parts(): PartReport[];
  jit(): JitReport;
  /** What processors and board share: to be looked at while they run. Undefined for a computer that has none. */
  readonly wasmMemory: WebAssembly.Memory | undefined;
  /** All that the guest can see besides RAM, as plain data by part and name: for comparing, not for restoring. */
  visibleState(): Readonly<Record<string, object>>;
  /** SHA-256 of RAM and the visible state. */
  stateHash(): string;
  setTrace(kinds: readonly TraceKind[]): void;
}

/** What a computer needs of the machine around it. */
export interface ComputerWires {
  readonly clock: TimerQueue;
  /** Its bell wakes this worker. */
  readonly mailbox: Mailbox;
  readonly serialOutput: ByteSink;
  /** The serial port takes input again after it refused some; may be called during an access by the guest. */
  readonly serialRoom: () => void;
  /** One for each port of the virtio console. */
  readonly consoleOutputs: readonly ByteSink[];
  /** The console port takes input again; as with `serialRoom`. */
  readonly consoleRoom: (index: number) => void;
  /** One line of trace, without its newline. */
  readonly trace: (line: string) => void;
  /** Such lines from another worker, with their newlines. */
  readonly traceText: (lines: Uint8Array) => void;
  /** The guest turned itself off (ACPI S5). */
  readonly powerOff: () => void;
  /** The guest asked for a reset (i8042, port 0xCF9, ACPI reset register). */
  readonly reset: () => void;
}
