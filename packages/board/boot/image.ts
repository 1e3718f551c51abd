// What every boot loader produces: bytes for memory and the state in which the processor starts.

import type { GuestMemory } from '@mimic/base';
import { BootError } from './errors.ts';

/** Bytes and where they go. `zeroBytes` more are cleared behind them (a kernel's .bss). */
export interface Piece {
  readonly gpa: number;
  readonly bytes: Uint8Array;
  readonly zeroBytes?: number;
}

/**
 * A segment register with its hidden part. `limit` is in bytes, scaled. `attributes` are laid out as the
 * VMCS access rights (SDM vol 3C table 25-2): type 3:0, S 4, DPL 6:5, P 7, AVL 12, L 13, D/B 14, G 15.
 */
export interface SegmentState {
  readonly selector: number;
  readonly base: number;
  readonly limit: number;
  readonly attributes: number;
}

export interface DescriptorTableState {
  readonly base: number;
  readonly limit: number;
}

/** The state of the boot processor at the kernel's entry; registers not named here are 0. */
export interface ProcessorState {
  readonly mode: 'protected32' | 'long64';
  readonly rip: number;
  readonly rsp: number;
  readonly rbx: number;
  readonly rsi: number;
  readonly rflags: number;
  readonly cr0: number;
  readonly cr3: number;
  readonly cr4: number;
  readonly efer: number;
  readonly cs: SegmentState;
  readonly ds: SegmentState;
  readonly es: SegmentState;
  readonly fs: SegmentState;
  readonly gs: SegmentState;
  readonly ss: SegmentState;
  readonly tr: SegmentState;
  readonly ldtr: SegmentState;
  readonly gdtr: DescriptorTableState;
  readonly idtr: DescriptorTableState;
}

/** A kernel ready to start. Pieces may share memory with the files they came from. */
export interface BootImage {
  readonly format: 'linux64' | 'linux32' | 'pvh';
  readonly pieces: readonly Piece[];
  readonly processor: ProcessorState;
}

const ZERO_CHUNK = new Uint8Array(0x1_0000);

/** Copies the pieces into RAM, in order. */
export function writePieces(pieces: readonly Piece[], memory: GuestMemory): void {
  for (const { gpa, bytes, zeroBytes = 0 } of pieces) {
    let written = memory.write(gpa, bytes);
    const end = gpa + bytes.length + zeroBytes;
    for (let at = gpa + bytes.length; at < end && written; at += ZERO_CHUNK.length) {
      written = memory.write(at, ZERO_CHUNK.subarray(0, Math.min(end - at, ZERO_CHUNK.length)));
    }
    if (!written) {
      const where = `0x${gpa.toString(16)} to 0x${end.toString(16)}`;
      throw new BootError('BOOT_NOT_ENOUGH_MEMORY', `The kernel wants memory from ${where}.`, {
        hint: 'Give the machine more memory.',
      });
    }
  }
}
