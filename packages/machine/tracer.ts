// Writes down what the guest does: a line for each instruction, port access, device memory access or interrupt.

import type { Access, Pc } from '@mimic/board';
import type { ExitReason, Vcpu } from '@mimic/cpu';
import type { TraceKind } from './protocol.ts';

export class Tracer {
  readonly #vcpu: Vcpu;
  readonly #board: Pc;
  readonly #trace: (line: string) => void;
  #kinds: ReadonlySet<TraceKind> = new Set();

  constructor(wires: { vcpu: Vcpu; board: Pc; trace: (line: string) => void }) {
    this.#vcpu = wires.vcpu;
    this.#board = wires.board;
    this.#trace = wires.trace;
  }

  /** Traces these kinds from now on, and no others. */
  set(kinds: readonly TraceKind[]): void {
    this.#kinds = new Set(kinds);
    const { ports, memory } = this.#board;
    ports.onAccess = this.#kinds.has('ports')
      ? (access) => this.#access('port', access)
      : undefined;
    memory.onAccess = this.#kinds.has('mmio')
      ? (access) => this.#access('mmio', access)
      : undefined;
  }

  run(instructionsMax: number): ExitReason {
    return this.#vcpu.run(instructionsMax);
  }

  #access(what: string, { kind, address, size, value, name }: Access): void {
    const arrow = kind === 'read' ? '->' : '<-';
    const at = `0x${address.toString(16).padStart(4, '0')}`;
    const data = `0x${value.toString(16).padStart(2 * size, '0')}`;
    this.#trace(`${what} ${kind} ${at} ${arrow} ${data} ${name ?? 'nobody'}`);
  }
}
