// What the ACPI tables are built from: the facts of a board that an operating system has to be told.

import type { Aml } from './aml.ts';

/** A part on the ISA bus that the DSDT names. */
export interface IsaPart {
  /** Name segment in the DSDT: 'COM1'. */
  readonly name: string;
  /** EISA id: 'PNP0501'. */
  readonly id: string;
  /** Tells apart parts with the same id. */
  readonly uid?: number;
  /** What it decodes, as `_CRS`. */
  readonly resources: readonly Aml[];
}

export interface PciWindow {
  readonly min: number;
  /** Inclusive. */
  readonly max: number;
}

/** Fixed hardware of ACPI 6.5 §4.8, in ports. */
export interface PowerManagement {
  readonly sciIrq: number;
  /** PM1 event (4 bytes), PM1 control (2), timer (4), general-purpose event block and its length. */
  readonly eventPort: number;
  readonly controlPort: number;
  readonly timerPort: number;
  readonly gpePort: number;
  readonly gpeLength: number;
  readonly smiCommandPort: number;
  readonly acpiEnable: number;
  readonly acpiDisable: number;
  /** SLP_TYP for S5. */
  readonly sleepTypeS5: number;
  readonly resetPort: number;
  readonly resetValue: number;
}

export interface AcpiDescription {
  readonly cpuCount: number;
  readonly localApicAddress: number;
  readonly ioApic: { readonly id: number; readonly address: number };
  readonly hpet: { readonly address: number; readonly capabilities: number } | undefined;
  readonly powerManagement: PowerManagement;
  /** CMOS index of the century, 0 if there is none. */
  readonly centuryIndex: number;
  readonly hasI8042: boolean;
  readonly hasVga: boolean;
  readonly isaParts: readonly IsaPart[];
  /** Memory that the PCI host bridge passes on to its bus. */
  readonly pciMemory: PciWindow;
  /** Ports that the host bridge passes on, besides those below its own at 0xCF8. */
  readonly pciPorts: readonly PciWindow[];
  /** Device number of the PIIX, in whose configuration space the PIRQ registers lie. */
  readonly isaBridgeSlot: number;
  /** ISA interrupts that PIRQ links may be routed to. */
  readonly pirqChoices: readonly number[];
  /** Link (0 = PIRQA, 3 = PIRQD) of an interrupt pin (0 = INTA) of a slot. */
  readonly pirqOf: (slot: number, pin: number) => number;
  /** First I/O APIC pin of the four that PIRQA to PIRQD are wired to. */
  readonly pirqGsiBase: number;
}
