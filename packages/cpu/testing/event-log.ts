// A TestCpu in 64-bit mode with an IDT whose handlers write down what was delivered and where it interrupted.

import { SEGMENT } from '../state/layout.ts';
import { TestCpu } from './check.ts';

const GDT = 0x7000;
const IDT = 0x8000;
const HANDLERS = 0x9000;
const HANDLER_BYTES = 48;
const LOG = 0xc000;
const LOG_ENTRY_BYTES = 16;
const CODE_SELECTOR = 8;
const R15 = 15;
/** Vectors that push an error code. SDM vol 3A table 6-1. */
const HAS_CODE = new Set([8, 10, 11, 12, 13, 14, 17]);

/** One delivery: the vector, and the rip that the handler found on its stack. */
export interface Delivery {
  readonly vector: number;
  readonly rip: bigint;
}

/**
 * push rax; mov rax, [rsp + ripAt]; mov [r15], rax; mov dword [r15+8], vector; add r15, 16; pop rax;
 * (add rsp, 8;) iretq. R15 belongs to the handlers.
 */
function handler(vector: number): number[] {
  const hasCode = HAS_CODE.has(vector);
  return [
    0x50,
    ...[0x48, 0x8b, 0x44, 0x24, hasCode ? 16 : 8],
    ...[0x49, 0x89, 0x07],
    ...[0x41, 0xc7, 0x47, 0x08, vector, 0, 0, 0],
    ...[0x49, 0x83, 0xc7, LOG_ENTRY_BYTES],
    0x58,
    ...(hasCode ? [0x48, 0x83, 0xc4, 0x08] : []),
    ...[0x48, 0xcf],
  ];
}

/** Ring 0, 64-bit, faults delivered, interrupts disabled. R15 and the stack are set. */
export class EventCpu extends TestCpu {
  /** Vectors that the interrupt controller has waiting; the next is taken when the processor asks. */
  readonly pending: number[];

  constructor() {
    const pending: number[] = [];
    super({
      takeInterrupt: () => {
        const vector = pending.shift() ?? -1;
        if (!pending.length) this.set('events', (this.get('events') as number) & ~1);
        return vector;
      },
    });
    this.pending = pending;
    this.reset(64);
    this.#tables();
  }
  #tables(): void {
    const gate = (n: number) => {
      const at = HANDLERS + n * HANDLER_BYTES;
      this.write(at, handler(n));
      return [
        at & 0xff,
        (at >> 8) & 0xff,
        CODE_SELECTOR,
        0,
        0,
        0x8e,
        at >> 16,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
      ];
    };
    for (let n = 0; n < 64; n++) this.write(IDT + n * 16, gate(n));
    // A 64-bit code segment and a data segment, both flat and of ring 0.
    this.write(GDT + 8, [0xff, 0xff, 0, 0, 0, 0x9b, 0xaf, 0, 0xff, 0xff, 0, 0, 0, 0x93, 0xcf, 0]);
    this.set('gdtrBase', GDT);
    this.set('gdtrLimit', 0x17);
    this.set('idtrBase', IDT);
    this.set('idtrLimit', 64 * 16 - 1);
    this.set('segSelector', CODE_SELECTOR, SEGMENT.cs);
    this.set('segSelector', 0x10, SEGMENT.ss);
    this.set('stopOnFault', 0);
    this.set('gpr', LOG, R15);
    this.set('gpr', 0x30_0000n, 4);
    this.call('updateMode');
  }
  /** Asserts INTR with this vector. */
  interrupt(vector: number): void {
    this.pending.push(vector);
    this.set('events', (this.get('events') as number) | 1);
  }
  nmi(): void {
    this.set('events', (this.get('events') as number) | 2);
  }
  /** What was delivered so far, in order. */
  get log(): Delivery[] {
    const count = (Number(this.get('gpr', R15)) - LOG) / LOG_ENTRY_BYTES;
    return Array.from({ length: count }, (_, n) => {
      const entry = this.read(LOG + n * LOG_ENTRY_BYTES, LOG_ENTRY_BYTES);
      const view = new DataView(entry.buffer);
      return { vector: view.getUint32(8, true), rip: view.getBigUint64(0, true) };
    });
  }
}
