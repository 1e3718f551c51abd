// What firmware leaves behind for a system, without its code: ACPI and SMBIOS tables, the memory map, and a
// loaded kernel with the processor state that its boot protocol asks for.

import type { GuestMemory } from '@mimic/base';
import { acpiTables } from './acpi/tables.ts';
import { MEMORY } from './address-map.ts';
import type { KernelFiles } from './board.ts';
import { loadKernel } from './boot/boot.ts';
import { type ProcessorState, writePieces } from './boot/image.ts';
import { LAYOUT, memoryMap } from './boot/layout.ts';
import type { FirmwareRom } from './firmware-rom.ts';
import { describePc } from './pc-acpi.ts';
import { smbiosTables } from './smbios/tables.ts';

/** Windows of the chips, as firmware reserves them in its memory map. */
const CHIPS = [
  { gpa: MEMORY.ioApic, sizeBytes: 0x1000 },
  { gpa: MEMORY.hpet, sizeBytes: 0x1000 },
  { gpa: MEMORY.localApic, sizeBytes: 0x1000 },
] as const;

export interface FirmwareFacts {
  readonly ram: GuestMemory;
  readonly rom: FirmwareRom;
  readonly cpuCount: number;
  readonly serialCount: number;
}

/** Writes tables and kernel into RAM; returns how the boot processor starts. Throws a `BootError`. */
export function bootKernel(files: KernelFiles, facts: FirmwareFacts): ProcessorState {
  const { ram, rom, cpuCount } = facts;
  const tables = acpiTables(describePc(facts), ram.sizeBytes);
  const ramEnd = tables.reclaimable.gpa;
  const image = loadKernel({
    ...files,
    ramEnd,
    memoryMap: memoryMap({
      acpiReclaimable: ramEnd,
      acpiNvs: tables.facs.gpa,
      end: ram.sizeBytes,
      chips: CHIPS,
    }),
  });
  writePieces([tables.reclaimable, tables.facs, ...image.pieces], ram);
  const smbios = smbiosTables({ cpuCount, ramBytes: ram.sizeBytes }, LAYOUT.smbios);
  for (const [gpa, bytes] of [
    [LAYOUT.rsdp, tables.rsdp],
    [LAYOUT.smbios, smbios],
  ] as const) {
    rom.program(gpa - MEMORY.firmwareRom, bytes);
    // Refused where the machine has no RAM under the ROM; then the ROM answers.
    ram.write(gpa, bytes);
  }
  return image.processor;
}
