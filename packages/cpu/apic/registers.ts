// Registers of the local APIC. SDM vol 3A ch. 11; offsets from table 11-1, fields from the figures named.

import { bit, bits } from '@mimic/base';

/** Offsets in the xAPIC page; the x2APIC MSR of a register is 0x800 + (offset >> 4). Table 11-1, table 11-6. */
export const REGISTER = {
  id: 0x020,
  version: 0x030,
  taskPriority: 0x080,
  arbitrationPriority: 0x090,
  processorPriority: 0x0a0,
  endOfInterrupt: 0x0b0,
  remoteRead: 0x0c0,
  logicalDestination: 0x0d0,
  destinationFormat: 0x0e0,
  spuriousVector: 0x0f0,
  inService: 0x100,
  triggerMode: 0x180,
  interruptRequest: 0x200,
  errorStatus: 0x280,
  icrLow: 0x300,
  icrHigh: 0x310,
  lvtTimer: 0x320,
  lvtThermal: 0x330,
  lvtPerformance: 0x340,
  lvtLint0: 0x350,
  lvtLint1: 0x360,
  lvtError: 0x370,
  timerInitialCount: 0x380,
  timerCurrentCount: 0x390,
  timerDivide: 0x3e0,
  /** x2APIC only. */
  selfIpi: 0x3f0,
} as const;

/** Version 0x14 (integrated), six LVT entries, no suppression of EOI broadcasts. Figure 11-7. */
export const VERSION = 0x0005_0014;

/** First x2APIC MSR, and the last of its range. */
export const X2APIC_MSR_FIRST = 0x800;
export const X2APIC_MSR_LAST = 0x8ff;

/** Spurious-interrupt vector register. Figure 11-23; focus checking (bit 9) is accepted and ignored. */
export const SVR = { vector: bits(7, 0), enabled: bit(8) } as const;
export const SVR_WRITABLE = 0x3ff;

/** Local vector table entries. Figure 11-8. */
export const LVT = {
  vector: bits(7, 0),
  deliveryMode: bits(10, 8),
  activeLow: bit(13),
  remoteIrr: bit(14),
  level: bit(15),
  masked: bit(16),
  timerMode: bits(18, 17),
} as const;
export const LVT_MASKED = 1 << 16;

export type LvtName = 'timer' | 'thermal' | 'performance' | 'lint0' | 'lint1' | 'error';

/** Bits of each entry that software may write. */
export const LVT_WRITABLE: Readonly<Record<LvtName, number>> = {
  timer: 0x7_00ff,
  thermal: 0x1_07ff,
  performance: 0x1_07ff,
  lint0: 0x1_a7ff,
  lint1: 0x1_a7ff,
  error: 0x1_00ff,
};

export const TIMER_MODE = { oneShot: 0, periodic: 1, tscDeadline: 2 } as const;

/** Interrupt command register. Figure 11-12. */
export const ICR = {
  vector: bits(7, 0),
  deliveryMode: bits(10, 8),
  logical: bit(11),
  assert: bit(14),
  level: bit(15),
  shorthand: bits(19, 18),
} as const;
export const ICR_LOW_WRITABLE = 0x000c_cfff;
export const ICR_HIGH_WRITABLE = 0xff00_0000;
export const SHORTHAND = { none: 0, self: 1, all: 2, others: 3 } as const;

/** Delivery modes of messages and LVT entries. §11.5.1, §11.6.1. */
export const DELIVERY = {
  fixed: 0,
  lowestPriority: 1,
  smi: 2,
  nmi: 4,
  init: 5,
  startUp: 6,
  extInt: 7,
} as const;

/** Error status register. Figure 11-9. */
export const ESR = {
  redirectableIpi: 1 << 4,
  sendIllegalVector: 1 << 5,
  receivedIllegalVector: 1 << 6,
  illegalRegister: 1 << 7,
} as const;

/** IA32_APIC_BASE. Figure 11-5 and §11.12.1. */
export const APIC_BASE = {
  bootstrap: 1n << 8n,
  extended: 1n << 10n,
  enabled: 1n << 11n,
} as const;
export const APIC_BASE_DEFAULT = 0xfee0_0000;

/** Vectors below this are reserved for exceptions: an APIC takes them for errors. §11.5.2. */
export const VECTOR_MIN = 16;

/** Destinations that mean all processors; 0xff is also what an 8-bit message says to an APIC in x2APIC mode. */
export const BROADCAST_8 = 0xff;
export const BROADCAST_32 = 0xffff_ffff;

/** The LVT entry at a register offset. */
export const LVT_AT: ReadonlyMap<number, LvtName> = new Map([
  [REGISTER.lvtTimer, 'timer'],
  [REGISTER.lvtThermal, 'thermal'],
  [REGISTER.lvtPerformance, 'performance'],
  [REGISTER.lvtLint0, 'lint0'],
  [REGISTER.lvtLint1, 'lint1'],
  [REGISTER.lvtError, 'error'],
]);

/** Bits that a WRMSR to an x2APIC register may set. */
export function x2apicWritable(register: number): number {
  const lvt = LVT_AT.get(register);
  if (lvt) return LVT_WRITABLE[lvt];
  switch (register) {
    case REGISTER.taskPriority:
    case REGISTER.selfIpi:
      return 0xff;
    case REGISTER.spuriousVector:
      return SVR_WRITABLE;
    case REGISTER.timerInitialCount:
      return 0xffff_ffff;
    case REGISTER.timerDivide:
      return 0b1011;
    default:
      // EOI and ESR take only zero.
      return 0;
  }
}
