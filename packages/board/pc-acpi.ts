// The ACPI tables of the PC board, from its address map and from what was put on it.

import {
  ACPI_DISABLE,
  ACPI_ENABLE,
  ACPI_PM,
  HPET_BLOCK_ID,
  pirqOf,
  RTC_CENTURY,
} from '@mimic/devices';
import type { AcpiDescription, IsaPart } from './acpi/description.ts';
import * as resources from './acpi/resources.ts';
import { IRQ, MEMORY, PCI_SLOT, PIRQ_CHOICES, PIRQ_PIN_BASE, PORT } from './address-map.ts';

/** SLP_TYP of soft off in the PIIX4. 290562 §7.2.3. */
export const SLEEP_TYPE_S5 = 0;
/** Reset control register: system reset, and the bit that triggers it. */
const RESET_VALUE = 0x06;
/** Boards of this kind give the I/O APIC the first id after the processors'; 0 is its reset value. */
const IOAPIC_ID = 0;

export function describePc(facts: { cpuCount: number; serialCount: number }): AcpiDescription {
  return {
    cpuCount: facts.cpuCount,
    localApicAddress: MEMORY.localApic,
    ioApic: { id: IOAPIC_ID, address: MEMORY.ioApic },
    hpet: { address: MEMORY.hpet, capabilities: HPET_BLOCK_ID },
    powerManagement: {
      sciIrq: IRQ.sci,
      eventPort: PORT.powerManagement + ACPI_PM.event,
      controlPort: PORT.powerManagement + ACPI_PM.control,
      timerPort: PORT.powerManagement + ACPI_PM.timer,
      gpePort: PORT.powerManagement + ACPI_PM.gpe0,
      gpeLength: ACPI_PM.gpe0Size,
      smiCommandPort: PORT.smiCommand,
      acpiEnable: ACPI_ENABLE,
      acpiDisable: ACPI_DISABLE,
      sleepTypeS5: SLEEP_TYPE_S5,
      resetPort: PORT.resetControl,
      resetValue: RESET_VALUE,
    },
    centuryIndex: RTC_CENTURY,
    hasI8042: true,
    hasVga: false,
    isaParts: isaParts(facts.serialCount),
    pciMemory: { min: MEMORY.pciWindow, max: MEMORY.pciWindowEnd - 1 },
    pciPorts: [{ min: 0x0d00, max: 0xffff }],
    isaBridgeSlot: PCI_SLOT.isaBridge,
    pirqChoices: PIRQ_CHOICES,
    pirqOf,
    pirqGsiBase: PIRQ_PIN_BASE,
  };
}

function isaParts(serialCount: number): IsaPart[] {
  const { ioPorts, isaIrq } = resources;
  return [
    {
      name: 'PIC',
      id: 'PNP0000',
      resources: [ioPorts(PORT.picMaster, 2), ioPorts(PORT.picSlave, 2), ioPorts(PORT.elcr, 2)],
    },
    { name: 'TMR', id: 'PNP0100', resources: [ioPorts(PORT.pit, 4), isaIrq(IRQ.pit)] },
    { name: 'SPKR', id: 'PNP0800', resources: [ioPorts(PORT.systemControlB, 1)] },
    { name: 'RTC', id: 'PNP0B00', resources: [ioPorts(PORT.rtc, 2), isaIrq(IRQ.rtc)] },
    {
      name: 'KBD',
      id: 'PNP0303',
      resources: [ioPorts(PORT.i8042Data, 1), ioPorts(PORT.i8042Command, 1), isaIrq(IRQ.keyboard)],
    },
    { name: 'MOU', id: 'PNP0F13', resources: [isaIrq(IRQ.mouse)] },
    ...PORT.com.slice(0, serialCount).map((port, index) => ({
      name: `COM${index + 1}`,
      id: 'PNP0501',
      uid: index + 1,
      resources: [ioPorts(port, 8), isaIrq(IRQ.com[index]!)],
    })),
  ];
}
