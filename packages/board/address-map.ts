// The PC's address map: ports and physical addresses of every part, in one place. Numbers are those of the
// i440FX with PIIX (Intel 290549, 290550, 290562) and of the usual ISA cards.

export const PORT = {
  picMaster: 0x20,
  pit: 0x40,
  i8042Data: 0x60,
  systemControlB: 0x61,
  i8042Command: 0x64,
  rtc: 0x70,
  post: 0x80,
  systemControlA: 0x92,
  picSlave: 0xa0,
  smiCommand: 0xb2,
  debugConsole: 0xe9,
  coprocessorError: 0xf0,
  com: [0x3f8, 0x2f8, 0x3e8, 0x2e8],
  elcr: 0x4d0,
  powerManagement: 0x600,
  pciConfig: 0xcf8,
  resetControl: 0xcf9,
} as const;

export const IRQ = {
  pit: 0,
  keyboard: 1,
  com: [4, 3, 4, 3],
  rtc: 8,
  sci: 9,
  mouse: 12,
  coprocessor: 13,
} as const;

/** Guest-physical addresses. */
export const MEMORY = {
  firmwareRom: 0xe_0000,
  firmwareRomEnd: 0x10_0000,
  /** RAM ends here at the latest; what lies above belongs to PCI and the chips. */
  ramEndMax: 0xe000_0000,
  pciWindow: 0xe000_0000,
  pciWindowEnd: 0xfec0_0000,
  ioApic: 0xfec0_0000,
  hpet: 0xfed0_0000,
  /** Of the processors: never reaches the board, except as messages of devices. */
  localApic: 0xfee0_0000,
  localApicEnd: 0xfef0_0000,
} as const;

/** Ports for PCI BARs, above all fixed parts. */
export const PCI_PORTS = { min: 0xc000, max: 0xfeff } as const;

/** Size of the address spaces. */
export const PORT_SPACE = 0x1_0000;
export const MEMORY_SPACE = 2 ** 52;

/** Device numbers on PCI bus 0. */
export const PCI_SLOT = { hostBridge: 0, isaBridge: 1, firstCard: 2, count: 32 } as const;
/** PIIX functions. */
export const PIIX_FUNCTION = { isa: 0, powerManagement: 3 } as const;

/** I/O APIC pins of PIRQA to PIRQD. */
export const PIRQ_PIN_BASE = 16;
/** I/O APIC pin of ISA interrupt 0; all others have their own number. */
export const PIT_PIN = 2;
/** ISA interrupts for PIRQ links, and those that firmware gives to PIRQA to PIRQD. */
export const PIRQ_CHOICES = [5, 10, 11] as const;
export const PIRQ_DEFAULTS = [10, 10, 11, 11] as const;
