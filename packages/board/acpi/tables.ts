// The fixed ACPI tables and their layout in memory. ACPI 6.5 §5.2; HPET: IA-PC HPET specification 1.0a §3.2.4.
// Root pointer and tables carry both 32- and 64-bit addresses, so ACPI 1.0 systems find them too.

import { assert } from '@mimic/base';
import { join, littleEndian } from './aml.ts';
import type { AcpiDescription } from './description.ts';
import { dsdt } from './dsdt.ts';
import {
  ascii,
  checksum,
  HEADER_SIZE,
  ioAddress,
  memoryAddress,
  NO_ADDRESS,
  OEM_ID,
  table,
} from './table.ts';

const FADT_REVISION = 5;
/** Total length that revision 5 has: up to and including the sleep status register. */
const FADT_SIZE = 268;
const MADT_REVISION = 3;
const HPET_REVISION = 1;
const FACS_SIZE = 64;

/** FADT flags that we set. §5.2.9, table 5.10. */
const FADT_FLAGS = {
  wbinvd: 1 << 0,
  procC1: 1 << 2,
  sleepButtonAbsent: 1 << 5,
  timerIs32Bits: 1 << 8,
  resetRegister: 1 << 10,
} as const;

/** IAPC_BOOT_ARCH. §5.2.9.3, table 5.11. */
const BOOT_ARCHITECTURE = { legacyDevices: 1 << 0, i8042: 1 << 1, vgaAbsent: 1 << 2 } as const;

/** MPS INTI flags. §5.2.12.5, table 5.26. */
const LEVEL_ACTIVE_HIGH = 0x000d;
const BUS_CONFORMING = 0x0000;
const ALL_PROCESSORS = 0xff;

/** Fixed hardware, in the order of §5.2.9, table 5.9. FACS and DSDT lie below 4 GiB. */
export function fadt(description: AcpiDescription, at: { facs: number; dsdt: number }): Uint8Array {
  const pm = description.powerManagement;
  const boot =
    BOOT_ARCHITECTURE.legacyDevices |
    (description.hasI8042 ? BOOT_ARCHITECTURE.i8042 : 0) |
    (description.hasVga ? 0 : BOOT_ARCHITECTURE.vgaAbsent);
  const flags =
    FADT_FLAGS.wbinvd |
    FADT_FLAGS.procC1 |
    FADT_FLAGS.sleepButtonAbsent |
    FADT_FLAGS.timerIs32Bits |
    FADT_FLAGS.resetRegister;
  const desktop = 1;
  // A latency above 100 (C2) or 1000 µs (C3) says that there is no such state.
  const noC2 = 101;
  const noC3 = 1001;
  const u16 = (value: number): number[] => littleEndian(value, 2);
  const u32 = (value: number): number[] => littleEndian(value, 4);
  const u64 = (value: number): number[] => littleEndian(value, 8);
  const body = [
    ...u32(at.facs),
    ...u32(at.dsdt),
    ...[0, desktop, ...u16(pm.sciIrq)],
    ...[...u32(pm.smiCommandPort), pm.acpiEnable, pm.acpiDisable, 0, 0],
    ...[...u32(pm.eventPort), ...u32(0), ...u32(pm.controlPort), ...u32(0), ...u32(0)],
    ...[...u32(pm.timerPort), ...u32(pm.gpePort), ...u32(0)],
    // Lengths: PM1 event, PM1 control, PM2 control, timer, GPE0, GPE1; GPE1 base; C-state control.
    ...[4, 2, 0, 4, pm.gpeLength, 0, 0, 0],
    ...[...u16(noC2), ...u16(noC3), ...u16(0), ...u16(0)],
    // Duty offset and width, day and month alarms, century.
    ...[0, 0, 0, 0, description.centuryIndex],
    ...[...u16(boot), 0, ...u32(flags)],
    ...[...ioAddress(pm.resetPort, 1), pm.resetValue, ...u16(0), 0],
    // The FACS has its 32-bit address; giving both would name it twice.
    ...u64(0),
    ...u64(at.dsdt),
    ...ioAddress(pm.eventPort, 2, 32),
    ...NO_ADDRESS,
    ...ioAddress(pm.controlPort, 2),
    ...NO_ADDRESS,
    ...NO_ADDRESS,
    ...ioAddress(pm.timerPort, 4),
    ...ioAddress(pm.gpePort, 1, pm.gpeLength * 8),
    // GPE1, sleep control, sleep status.
    ...[...NO_ADDRESS, ...NO_ADDRESS, ...NO_ADDRESS],
  ];
  assert(HEADER_SIZE + body.length === FADT_SIZE, 'the FADT has the length of its revision');
  return table('FACP', FADT_REVISION, Uint8Array.from(body));
}

/** Firmware ACPI control structure: no checksum; the global lock in it is written by the guest. §5.2.10. */
export function facs(): Uint8Array {
  const bytes = new Uint8Array(FACS_SIZE);
  const version = 2;
  bytes.set(ascii('FACS'));
  bytes.set(littleEndian(FACS_SIZE, 4), 4);
  bytes[32] = version;
  return bytes;
}

/** Interrupt controllers and what is wired differently from identity. §5.2.12. */
export function madt(description: AcpiDescription): Uint8Array {
  const pcAtCompatible = 1;
  const enabled = 1;
  const isaBus = 0;
  const structures: number[] = [];
  for (let index = 0; index < description.cpuCount; index++) {
    structures.push(0, 8, index, index, ...littleEndian(enabled, 4));
  }
  const { id, address } = description.ioApic;
  structures.push(1, 12, id, 0, ...littleEndian(address, 4), ...littleEndian(0, 4));
  const override = (irq: number, gsi: number, flags: number): void => {
    structures.push(2, 10, isaBus, irq, ...littleEndian(gsi, 4), ...littleEndian(flags, 2));
  };
  override(0, 2, BUS_CONFORMING);
  const { sciIrq } = description.powerManagement;
  override(sciIrq, sciIrq, LEVEL_ACTIVE_HIGH);
  const lint1 = 1;
  structures.push(4, 6, ALL_PROCESSORS, ...littleEndian(BUS_CONFORMING, 2), lint1);
  const head = [
    ...littleEndian(description.localApicAddress, 4),
    ...littleEndian(pcAtCompatible, 4),
  ];
  return table('APIC', MADT_REVISION, Uint8Array.from([...head, ...structures]));
}

/** IA-PC HPET specification 1.0a §3.2.4. */
export function hpet(timer: { address: number; capabilities: number }): Uint8Array {
  const number = 0;
  // In periodic mode the shortest period without losing interrupts, in ticks of the main counter.
  const minimumTicks = 0x0080;
  const noPageProtection = 0;
  return table(
    'HPET',
    HPET_REVISION,
    join(
      littleEndian(timer.capabilities, 4),
      memoryAddress(timer.address),
      [number],
      littleEndian(minimumTicks, 2),
      [noPageProtection],
    ),
  );
}

/** Root pointer, revision 2. §5.2.5.3. */
export function rsdp(at: { rsdt: number; xsdt: number }): Uint8Array {
  const bytes = new Uint8Array(36);
  bytes.set(ascii('RSD PTR '));
  bytes.set(ascii(OEM_ID), 9);
  bytes[15] = 2;
  bytes.set(littleEndian(at.rsdt, 4), 16);
  bytes.set(littleEndian(bytes.length, 4), 20);
  bytes.set(littleEndian(at.xsdt, 8), 24);
  bytes[8] = checksum(bytes.subarray(0, 20));
  bytes[32] = checksum(bytes);
  return bytes;
}

/** The tables in place. All but the root pointer lie between `base` and `base + sizeBytes`. */
export interface AcpiTables {
  /** The FACS in its own page: memory that the system must leave alone. */
  readonly facs: { readonly gpa: number; readonly bytes: Uint8Array };
  /** Everything else, from RSDT to DSDT; the system may use the memory once it has read them. */
  readonly reclaimable: { readonly gpa: number; readonly bytes: Uint8Array };
  readonly rsdp: Uint8Array;
}

const PAGE_SIZE = 4096;
const TABLE_ALIGNMENT = 16;

/** Builds all tables so that they end at `endGpa`, a page boundary below 4 GiB. */
export function acpiTables(description: AcpiDescription, endGpa: number): AcpiTables {
  const dsdtBytes = dsdt(description);
  const hpetBytes = description.hpet === undefined ? [] : [hpet(description.hpet)];
  const others = [madt(description), ...hpetBytes];
  const pointed = 1 + others.length;
  const rootSizes = [HEADER_SIZE + 4 * pointed, HEADER_SIZE + 8 * pointed];
  const sizes = [...rootSizes, FADT_SIZE, dsdtBytes.length, ...others.map((each) => each.length)];
  const offsets: number[] = [];
  let length = 0;
  for (const size of sizes) {
    offsets.push(length);
    length = alignUp(length + size, TABLE_ALIGNMENT);
  }
  const facsGpa = endGpa - PAGE_SIZE;
  const base = facsGpa - alignUp(length, PAGE_SIZE);
  const at = (index: number): number => base + offsets[index]!;
  const fadtBytes = fadt(description, { facs: facsGpa, dsdt: at(3) });
  const entries = [at(2), ...others.map((_, index) => at(4 + index))];
  const rsdt = table('RSDT', 1, join(...entries.map((entry) => littleEndian(entry, 4))));
  const xsdt = table('XSDT', 1, join(...entries.map((entry) => littleEndian(entry, 8))));
  const bytes = new Uint8Array(facsGpa - base);
  for (const [index, each] of [rsdt, xsdt, fadtBytes, dsdtBytes, ...others].entries()) {
    bytes.set(each, offsets[index]!);
  }
  return {
    facs: { gpa: facsGpa, bytes: facs() },
    reclaimable: { gpa: base, bytes },
    rsdp: rsdp({ rsdt: at(0), xsdt: at(1) }),
  };
}

function alignUp(value: number, alignment: number): number {
  return Math.ceil(value / alignment) * alignment;
}
