// Where the boot loaders put what is theirs below 640 KiB, and the memory map that goes with it.
//
// ACPI tables go to the top of RAM and not to 0xE0000-0xFFFFF: the guest writes into the FACS (global lock),
// the DSDT grows with processors, and that segment may be ROM. Only what systems find by scanning lies there:
// the ACPI root pointer and the SMBIOS anchors with their table.

/** Guest-physical addresses. Everything ends below the extended BIOS data area at 0x9FC00. */
export const LAYOUT = {
  gdt: 0x1000,
  /** The stack grows down from here. */
  stackEnd: 0x7000,
  /** Linux boot_params ("zero page"), or hvm_start_info with memory map and module list behind it. */
  parameters: 0x7000,
  /** Six pages. */
  pageTables: 0x9000,
  commandLine: 0x2_0000,
  /** Longest command line with its zero; Linux takes 2048 bytes. */
  commandLineSize: 0x1_0000,
  lowMemoryEnd: 0x9_fc00,
  /** The ACPI root pointer, on a 16-byte boundary of the area that systems scan (ACPI 6.5 §5.2.5.1). */
  rsdp: 0xe_0000,
  smbios: 0xf_0000,
  highMemoryStart: 0x10_0000,
} as const;

/** E820 types. ACPI 6.5 §15, table 15.1; hvm_start_info uses the same numbers. */
export const MEMORY_TYPE = { ram: 1, reserved: 2, acpiReclaimable: 3, acpiNvs: 4 } as const;

/** One range of the memory map. */
export interface MemoryRange {
  readonly gpa: number;
  readonly sizeBytes: number;
  readonly type: (typeof MEMORY_TYPE)[keyof typeof MEMORY_TYPE];
}

/** What the board keeps for itself, from which the memory map follows. */
export interface ReservedMemory {
  /** First byte of the ACPI tables, the end of plain RAM. */
  readonly acpiReclaimable: number;
  /** First byte of the FACS. */
  readonly acpiNvs: number;
  /** End of RAM, at most 3.5 GiB. */
  readonly end: number;
  /** Windows of chips that systems should not place anything in: I/O APIC, HPET, local APIC. */
  readonly chips: readonly { readonly gpa: number; readonly sizeBytes: number }[];
}

/** The machine's memory map, sorted. */
export function memoryMap(reserved: ReservedMemory): MemoryRange[] {
  const between = (gpa: number, end: number, type: MemoryRange['type']): MemoryRange => ({
    gpa,
    sizeBytes: end - gpa,
    type,
  });
  const { lowMemoryEnd, highMemoryStart } = LAYOUT;
  return [
    between(0, lowMemoryEnd, MEMORY_TYPE.ram),
    between(lowMemoryEnd, highMemoryStart, MEMORY_TYPE.reserved),
    between(highMemoryStart, reserved.acpiReclaimable, MEMORY_TYPE.ram),
    between(reserved.acpiReclaimable, reserved.acpiNvs, MEMORY_TYPE.acpiReclaimable),
    between(reserved.acpiNvs, reserved.end, MEMORY_TYPE.acpiNvs),
    ...reserved.chips.map((chip) => ({ ...chip, type: MEMORY_TYPE.reserved })),
  ];
}
