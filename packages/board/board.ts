// What a machine needs of a board: its buses, its interrupt pins, its parts, and starting a kernel on it.

import type { AccessSize, Device } from '@mimic/devices';
import type { AddressSpace } from './address-space.ts';
import type { ProcessorState } from './boot/image.ts';

/** A part as snapshots and the monitor know it. */
export interface Part {
  /** Unique on the board: 'com1', 'pci-3-virtio-block'. */
  readonly name: string;
  readonly device: Device;
}

/** Saved states by part name. */
export type BoardState = Record<string, object>;

export interface KernelFiles {
  readonly kernel: Uint8Array;
  readonly initrd?: Uint8Array;
  readonly commandLine: string;
}

/** Accesses come from the guest and never throw; addresses are unsigned, 16 bits for ports. */
export interface Board {
  /** For tracing (`onAccess`) and the monitor (`ranges`). */
  readonly ports: AddressSpace;
  readonly memory: AddressSpace;

  portRead(port: number, size: AccessSize): number;
  portWrite(port: number, size: AccessSize, value: number): void;
  /** What is no RAM. The local APIC's window is the processor's and never gets here. */
  memoryRead(gpa: number, size: AccessSize): number;
  memoryWrite(gpa: number, size: AccessSize, value: number): void;
  memoryRead64(gpa: number): bigint;
  memoryWrite64(gpa: number, value: bigint): void;

  /** INTA cycle: the vector of the PICs, after their `intr` line went high. */
  acknowledgeInterrupt(): number;
  /** A local APIC's EOI broadcast for a level-triggered vector. */
  endOfInterrupt(vector: number): void;

  /** All parts with state, in the order in which they are reset and restored. */
  parts(): readonly Part[];
  save(): BoardState;
  /** Throws a `BoardError` if the state is that of another board. */
  restore(state: BoardState): void;
  /** Cold start of everything on the board. The processors are reset by whoever owns them. */
  reset(): void;
  /**
   * Acts as firmware: sets up PCI, puts tables and kernel into RAM and says how the boot processor starts.
   * Call it after `reset`. Throws a `BootError`.
   */
  boot(files: KernelFiles): ProcessorState;
  /** False if the guest does not listen to the button. */
  pressPowerButton(): boolean;
  /** Waits until the host has no request of a part in hand; before `save`. */
  drain(): Promise<void>;
  /** Goes on after `drain`, also after `restore` once guest memory is back too. */
  resume(): void;
}
