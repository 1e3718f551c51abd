// What a local APIC is connected to: its processor, the system's interrupt messages, time.

import type { Clock, InterruptMessage } from '@mimic/base';
import type { ApicFace } from './posted-interrupts.ts';
import type { TscConversion } from './timer.ts';

/** Interprocessor interrupts on their way out. */
export interface IpiSink {
  send(message: InterruptMessage): void;
  /** To all processors but the one that sends. */
  sendToOthers(message: InterruptMessage): void;
}

export interface LocalApicWires {
  readonly clock: Clock;
  readonly tsc: TscConversion;
  readonly ipis: IpiSink;
  /** `isInterruptPending` has changed. */
  pendingChanged(isPending: boolean): void;
  /** A level-triggered interrupt was ended: for the I/O APICs. */
  endOfInterrupt(vector: number): void;
  nmi(): void;
  smi(): void;
  /** INIT for the processor; it calls `init()` here as part of it. */
  init(): void;
  startUp(vector: number): void;
  /** What others must know to address this APIC may have changed. */
  faceChanged?(face: ApicFace): void;
  /** The vector from the PIC, for ExtINT. */
  acknowledgeExternal(): number;
}

export interface LocalApicOptions {
  readonly id: number;
  /** The bootstrap processor's BSP flag. */
  readonly isBootstrap: boolean;
  /** Input of the timer's divider; CPUID leaf 0x15 tells the guest. */
  readonly timerHz: number;
  /** MAXPHYADDR, for the reserved bits of IA32_APIC_BASE. */
  readonly physicalAddressBits: number;
}
