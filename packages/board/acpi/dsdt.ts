// The DSDT: processors, PCI root with its windows and interrupt routing, PIIX links, ISA parts, HPET, S5.
// ACPI 6.5 chapters 6 to 8; PIRQ routing registers: 82371SB (PIIX3) datasheet §2.2.11.

import * as aml from './aml.ts';
import { type Aml, integer, name, packageOf } from './aml.ts';
import type { AcpiDescription, IsaPart } from './description.ts';
import * as resources from './resources.ts';
import { table } from './table.ts';

const LINK_NAMES = ['LNKA', 'LNKB', 'LNKC', 'LNKD'] as const;
const LINK_REGISTERS = ['PRQA', 'PRQB', 'PRQC', 'PRQD'] as const;
/** PCI configuration offset of the four PIRQ route control registers. */
const PIRQ_ROUTE_CONTROL = 0x60;
/** Set: the link is not routed. */
const PIRQ_DISABLE = 0x80;
const PCI_SLOT_COUNT = 32;
const PCI_PIN_COUNT = 4;
/** Set by \_PIC: 0 for PICs, 1 for I/O APICs. */
const INTERRUPT_MODEL = 'PICM';
/** Revision 2 makes integers 64 bits wide. ACPI 6.5 §5.2.11.1. */
const DSDT_REVISION = 2;

export function dsdt(description: AcpiDescription): Uint8Array {
  return table(
    'DSDT',
    DSDT_REVISION,
    aml.join(
      name(`\\${INTERRUPT_MODEL}`, integer(0)),
      aml.method('\\_PIC', { arguments: 1 }, aml.store(aml.argument(0), aml.path(INTERRUPT_MODEL))),
      sleepStates(description),
      aml.scope(
        '\\_SB',
        ...processors(description.cpuCount),
        ...LINK_NAMES.map((_, link) => pirqLink(description, link)),
        pciRoot(description),
        ...hpet(description),
      ),
    ),
  );
}

/** SLP_TYP for PM1a, PM1b and two reserved elements. §7.4.2. */
function sleepStates(description: AcpiDescription): Aml {
  const sleepType = integer(description.powerManagement.sleepTypeS5);
  return name('\\_S5', packageOf(sleepType, sleepType, integer(0), integer(0)));
}

/** Processors as devices, which carry the `_UID` that the MADT refers to. §8.4. */
function processors(count: number): Aml[] {
  return Array.from({ length: count }, (_, index) =>
    aml.device(
      `C${index.toString(16).toUpperCase().padStart(3, '0')}`,
      name('_HID', aml.string('ACPI0007')),
      name('_UID', integer(index)),
    ),
  );
}

function pciRoot(description: AcpiDescription): Aml {
  const windows = [
    resources.window({ kind: 'busNumber', min: 0, max: 0xff }),
    resources.ioPorts(0xcf8, 8),
    resources.window({ kind: 'io', min: 0x0000, max: 0x0cf7 }),
    ...description.pciPorts.map((ports) => resources.window({ kind: 'io', ...ports })),
    resources.window({ kind: 'memory', min: 0xa_0000, max: 0xb_ffff, cacheable: true }),
    resources.window({ kind: 'memory', ...description.pciMemory }),
  ];
  return aml.device(
    'PCI0',
    name('_HID', aml.eisaId('PNP0A03')),
    name('_UID', integer(0)),
    name('_BBN', integer(0)),
    name('_CRS', resources.resourceTemplate(...windows)),
    name(
      'PRTP',
      routing((link) => [aml.path(`\\_SB.${LINK_NAMES[link]}`), integer(0)], description),
    ),
    name(
      'PRTA',
      routing((link) => [integer(0), integer(description.pirqGsiBase + link)], description),
    ),
    aml.method(
      '_PRT',
      {},
      aml.ifThen(aml.path(`\\${INTERRUPT_MODEL}`), aml.returns(aml.path('PRTA'))),
      aml.returns(aml.path('PRTP')),
    ),
    isaBridge(description),
  );
}

/** One package for each pin of each slot: address, pin, source, index in source. §6.2.13. */
function routing(source: (link: number) => [Aml, Aml], description: AcpiDescription): Aml {
  const rows: Aml[] = [];
  for (let slot = 0; slot < PCI_SLOT_COUNT; slot++) {
    const anyFunction = slot * 0x1_0000 + 0xffff;
    for (let pin = 0; pin < PCI_PIN_COUNT; pin++) {
      const wire = source(description.pirqOf(slot, pin));
      rows.push(packageOf(integer(anyFunction), integer(pin), ...wire));
    }
  }
  return packageOf(...rows);
}

function isaBridge(description: AcpiDescription): Aml {
  return aml.device(
    'ISA',
    name('_ADR', integer(description.isaBridgeSlot * 0x1_0000)),
    aml.operationRegion('PIRQ', 'pciConfig', { offset: PIRQ_ROUTE_CONTROL, length: 4 }),
    aml.byteFields('PIRQ', LINK_REGISTERS),
    ...description.isaParts.map(isaPart),
  );
}

function isaPart(part: IsaPart): Aml {
  return aml.device(
    part.name,
    name('_HID', aml.eisaId(part.id)),
    ...(part.uid === undefined ? [] : [name('_UID', integer(part.uid))]),
    name('_CRS', resources.resourceTemplate(...part.resources)),
  );
}

/**
 * An interrupt link over one PIRQ route control register. §6.2.10-12 (_CRS, _DIS, _PRS, _SRS).
 * The descriptor's interrupt mask is the word at offset 1 of the buffer.
 */
function pirqLink(description: AcpiDescription, link: number): Aml {
  const register = aml.path(`\\_SB.PCI0.ISA.${LINK_REGISTERS[link]}`);
  const mask = aml.path('IRQM');
  const present = 0x0b;
  const disabled = 0x09;
  const isDisabled = aml.and(register, integer(PIRQ_DISABLE));
  return aml.device(
    LINK_NAMES[link]!,
    name('_HID', aml.eisaId('PNP0C0F')),
    name('_UID', integer(link)),
    name('_PRS', resources.resourceTemplate(resources.sharedIrqs(description.pirqChoices))),
    aml.method(
      '_STA',
      {},
      aml.ifThen(isDisabled, aml.returns(integer(disabled))),
      aml.returns(integer(present)),
    ),
    aml.method('_DIS', {}, aml.or(register, integer(PIRQ_DISABLE), register)),
    aml.method(
      '_CRS',
      { serialized: true },
      name('BUF0', resources.resourceTemplate(resources.sharedIrqs([]))),
      aml.createWordField(aml.path('BUF0'), 1, 'IRQM'),
      aml.ifThen(
        aml.equal(isDisabled, integer(0)),
        aml.store(aml.shiftLeft(integer(1), aml.and(register, integer(0x0f))), mask),
      ),
      aml.returns(aml.path('BUF0')),
    ),
    aml.method(
      '_SRS',
      { arguments: 1, serialized: true },
      aml.createWordField(aml.argument(0), 1, 'IRQM'),
      aml.findSetRightBit(mask, aml.local(0)),
      aml.ifThen(aml.local(0), aml.subtract(aml.local(0), integer(1), register)),
    ),
  );
}

/** IA-PC HPET specification 1.0a §3.2.5. */
function hpet(description: AcpiDescription): Aml[] {
  if (description.hpet === undefined) return [];
  const registers = resources.fixedMemory(description.hpet.address, 0x400, false);
  return [
    aml.device(
      'HPET',
      name('_HID', aml.eisaId('PNP0103')),
      name('_UID', integer(0)),
      name('_CRS', resources.resourceTemplate(registers)),
    ),
  ];
}
