// Writes down what the guest does: a line for each instruction, exception, interrupt, port or device memory access.

import type { Access, Pc } from '@mimic/board';
import type { ExitReason, TranslationEvent, Vcpu } from '@mimic/cpu';
import { codeBitsOf } from '@mimic/cpu/outline';
import type { TraceKind } from './protocol.ts';

/** Mnemonics of the exceptions that have an error code or a name. SDM vol 3A table 6-1. */
const EXCEPTIONS: Readonly<Record<number, string>> = {
  0: '#DE',
  1: '#DB',
  3: '#BP',
  4: '#OF',
  5: '#BR',
  6: '#UD',
  7: '#NM',
  8: '#DF',
  10: '#TS',
  11: '#NP',
  12: '#SS',
  13: '#GP',
  14: '#PF',
  16: '#MF',
  17: '#AC',
  18: '#MC',
  19: '#XM',
};
const PAGE_FAULT = 14;

/** Traces the accesses that reach a board, whichever processor makes them. */
export class BoardTracer {
  readonly #board: () => Pc;
  readonly #write: (line: string) => void;

  /** `board` is asked for when there is something to trace: it may not be built yet. */
  constructor(board: () => Pc, write: (line: string) => void) {
    this.#board = board;
    this.#write = write;
  }

  set(kinds: readonly TraceKind[]): void {
    const { ports, memory } = this.#board();
    ports.onAccess = kinds.includes('ports') ? (access) => this.#access('port', access) : undefined;
    memory.onAccess = kinds.includes('mmio') ? (access) => this.#access('mmio', access) : undefined;
  }

  #access(what: string, { kind, address, size, value, name }: Access): void {
    const at = `0x${address.toString(16).padStart(4, '0')}`;
    const data = `0x${value.toString(16).padStart(2 * size, '0')}`;
    this.#write(
      `${what} ${kind} ${at} ${kind === 'read' ? '->' : '<-'} ${data} ${name ?? 'nobody'}`,
    );
  }
}

export class Tracer {
  readonly #vcpu: Vcpu;
  /** Where the board is another worker's, that one traces it. */
  readonly #board: BoardTracer | undefined;
  readonly #trace: (line: string) => void;
  /** Lines of the instruction under way, which come behind its own. */
  #held: string[] | undefined;
  #stepping = false;

  constructor(wires: { vcpu: Vcpu; board?: () => Pc; trace: (line: string) => void }) {
    this.#vcpu = wires.vcpu;
    this.#trace = wires.trace;
    if (wires.board) this.#board = new BoardTracer(wires.board, (line) => this.#write(line));
  }

  /** Traces these kinds from now on, and no others. */
  set(kinds: readonly TraceKind[]): void {
    const asked = new Set(kinds);
    this.#board?.set(kinds);
    this.#vcpu.setTrace({
      ...(asked.has('exceptions') ? { fault: (fault) => this.#fault(fault) } : {}),
      ...(asked.has('interrupts') ? { interrupt: (vector) => this.#interrupt(vector) } : {}),
      ...(asked.has('jit') ? { translation: (event) => this.#translation(event) } : {}),
    });
    this.#stepping = asked.has('instructions');
  }

  /** In place of the processor's own `run`. */
  run(instructionsMax: number): ExitReason {
    if (!this.#stepping) return this.#vcpu.run(instructionsMax);
    for (let count = 0; count < instructionsMax; count++) {
      const cause = this.#step();
      if (cause !== 'budget') return cause;
    }
    return 'budget';
  }

  #step(): ExitReason {
    const vcpu = this.#vcpu;
    const retiredBefore = vcpu.instructionCount;
    const line = this.#nextInstruction();
    const held: string[] = [];
    this.#held = held;
    const cause = vcpu.step();
    this.#held = undefined;
    // A processor that halts, or takes an interrupt first, may not have run what was next.
    if (vcpu.instructionCount !== retiredBefore) this.#trace(line);
    for (const consequence of held) this.#trace(consequence);
    return cause;
  }

  #nextInstruction(): string {
    const vcpu = this.#vcpu;
    const base = vcpu.codeBits === 64 ? 0n : (vcpu.readRegister('cs.base') ?? 0n);
    const gva = (vcpu.readRegister('rip') ?? 0n) + base;
    const [instruction] = vcpu.disassemble(gva, 1);
    return `instruction ${this.#place()} ${instruction?.text ?? '(not mapped)'}`;
  }

  #fault({
    vector,
    code,
    address,
  }: {
    vector: number;
    code: number | undefined;
    address: bigint;
  }): void {
    const name = EXCEPTIONS[vector] ?? `vector ${vector}`;
    const errorCode = code === undefined ? '' : ` code 0x${code.toString(16)}`;
    const about = vector === PAGE_FAULT ? ` address 0x${address.toString(16)}` : '';
    this.#write(`exception ${name}${errorCode}${about} at ${this.#place()}`);
  }

  #interrupt(vector: number): void {
    this.#write(`interrupt vector 0x${vector.toString(16)} before ${this.#place()}`);
  }

  #translation(event: TranslationEvent): void {
    switch (event.kind) {
      case 'taken':
      case 'outdated': {
        const { entries, mode, instructions, bytes, slot } = event.region;
        const others = entries.length > 1 ? ` and ${entries.length - 1} more entries` : '';
        const what = event.kind === 'taken' ? 'translated' : 'outdated';
        const size = `${instructions} instructions, ${bytes} bytes`;
        this.#write(
          `jit ${what} ${hex(entries[0]!)} mode ${codeBitsOf(mode)} ${size}, slot ${slot}${others}`,
        );
        break;
      }
      case 'dropped': {
        const { gpa, sizeBytes, blocks, translated } = event;
        const what = `${blocks} blocks dropped, ${translated} of them translated`;
        this.#write(`jit write to code ${hex(gpa)} ${sizeBytes} bytes: ${what}`);
        break;
      }
      case 'failed':
        // All processors have one translator.
        if (this.#vcpu.index !== 0) break;
        this.#write(`jit failed (${event.count}): ${event.text.split('\n').slice(0, 2).join(' ')}`);
        break;
    }
  }

  /** '0010:ffffffff81000000' */
  #place(): string {
    const cs = (this.#vcpu.readRegister('cs') ?? 0n).toString(16).padStart(4, '0');
    const digits = this.#vcpu.codeBits === 64 ? 16 : 8;
    return `${cs}:${(this.#vcpu.readRegister('rip') ?? 0n).toString(16).padStart(digits, '0')}`;
  }

  #write(line: string): void {
    if (this.#held === undefined) this.#trace(line);
    else this.#held.push(line);
  }
}

function hex(gpa: number): string {
  return `0x${gpa.toString(16).padStart(9, '0')}`;
}
