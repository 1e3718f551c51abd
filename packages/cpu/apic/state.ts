// All state of a local APIC as one plain object, and what it is after power-up. SDM vol 3A §11.4.7.1.

import { APIC_BASE_DEFAULT, LVT_MASKED, type LvtName } from './registers.ts';
import { type ApicTimerState, resetTimerState } from './timer.ts';
import { emptyVectorSet, type VectorSet } from './vector-set.ts';

/** IA32_APIC_BASE's EN and EXTD together. §11.12.1, table 11-5. */
export type ApicMode = 'disabled' | 'xapic' | 'x2apic';

export interface LocalApicState {
  mode: ApicMode;
  /** Guest-physical address of the xAPIC page. */
  baseAddress: number;
  id: number;
  taskPriority: number;
  logicalDestination: number;
  destinationFormat: number;
  spuriousVector: number;
  interruptRequest: VectorSet;
  inService: VectorSet;
  triggerMode: VectorSet;
  errorStatus: number;
  /** Errors met since the error status register was last written. */
  pendingErrors: number;
  icrLow: number;
  icrHigh: number;
  lvt: Record<LvtName, number>;
  timer: ApicTimerState;
  /** Levels of the pins as wired. */
  lint0: boolean;
  lint1: boolean;
  /** An ExtINT message was accepted: the next acknowledge goes to the PIC. */
  extIntRequested: boolean;
}

/** After power-up. §11.4.7.1. */
export function resetApicState(id: number): LocalApicState {
  return {
    mode: 'xapic',
    baseAddress: APIC_BASE_DEFAULT,
    id,
    taskPriority: 0,
    logicalDestination: 0,
    destinationFormat: 0xffff_ffff,
    spuriousVector: 0xff,
    interruptRequest: emptyVectorSet(),
    inService: emptyVectorSet(),
    triggerMode: emptyVectorSet(),
    errorStatus: 0,
    pendingErrors: 0,
    icrLow: 0,
    icrHigh: 0,
    lvt: {
      timer: LVT_MASKED,
      thermal: LVT_MASKED,
      performance: LVT_MASKED,
      lint0: LVT_MASKED,
      lint1: LVT_MASKED,
      error: LVT_MASKED,
    },
    timer: resetTimerState(),
    lint0: false,
    lint1: false,
    extIntRequested: false,
  };
}
