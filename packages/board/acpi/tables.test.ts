import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join as joinPath } from 'node:path';
import { test } from 'node:test';
import type { AcpiDescription } from './description.ts';
import { dsdt } from './dsdt.ts';
import * as resources from './resources.ts';
import { checksum } from './table.ts';
import { acpiTables, facs, fadt, hpet, madt } from './tables.ts';

const DESCRIPTION: AcpiDescription = {
  cpuCount: 3,
  localApicAddress: 0xfee0_0000,
  ioApic: { id: 0, address: 0xfec0_0000 },
  hpet: { address: 0xfed0_0000, capabilities: 0x8086_a201 },
  powerManagement: {
    sciIrq: 9,
    eventPort: 0x600,
    controlPort: 0x604,
    timerPort: 0x608,
    gpePort: 0x620,
    gpeLength: 4,
    smiCommandPort: 0xb2,
    acpiEnable: 0xf1,
    acpiDisable: 0xf0,
    sleepTypeS5: 0,
    resetPort: 0xcf9,
    resetValue: 0x06,
  },
  centuryIndex: 0x32,
  hasI8042: true,
  hasVga: false,
  isaParts: [
    {
      name: 'COM1',
      id: 'PNP0501',
      uid: 1,
      resources: [resources.ioPorts(0x3f8, 8), resources.isaIrq(4)],
    },
  ],
  pciMemory: { min: 0xe000_0000, max: 0xfebf_ffff },
  pciPorts: [{ min: 0xd00, max: 0xffff }],
  isaBridgeSlot: 1,
  pirqChoices: [5, 10, 11],
  pirqOf: (slot, pin) => (slot + pin) & 3,
  pirqGsiBase: 16,
};

/** Disassembles a table, compiles the source again and gives the source and what the compiler said. */
function throughIasl(name: string, table: Uint8Array): { source: string; messages: string } {
  const folder = mkdtempSync(joinPath(tmpdir(), 'mimic-acpi-'));
  try {
    const path = joinPath(folder, `${name}.aml`);
    writeFileSync(path, table);
    const run = (...args: string[]): string =>
      execFileSync('iasl', args, { cwd: folder, encoding: 'utf8', stdio: 'pipe' });
    const disassembly = run('-d', path);
    assert.doesNotMatch(disassembly, /error|invalid|incorrect/i);
    const source = readFileSync(joinPath(folder, `${name}.dsl`), 'utf8');
    const messages = run(joinPath(folder, `${name}.dsl`));
    return { source, messages };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test('the tests have the ACPI compiler at hand (Debian: acpica-tools)', () => {
  assert.match(execFileSync('iasl', ['-v'], { encoding: 'utf8' }), /ASL\+ Optimizing Compiler/);
});

test('the DSDT disassembles, compiles again without a warning and names every part', () => {
  const { source, messages } = throughIasl('dsdt', dsdt(DESCRIPTION));
  assert.match(messages, /0 Errors, 0 Warnings/);
  for (const expected of [
    /Name \(\\?_S5, Package \(0x04\)/,
    /Device \(C000\)/,
    /Device \(C002\)/,
    /Name \(_HID, "ACPI0007"/,
    /Device \(PCI0\)/,
    /EisaId \("PNP0A03"\)/,
    /Device \(ISA\)/,
    /OperationRegion \(PIRQ, PCI_Config, 0x60, 0x04\)/,
    /EisaId \("PNP0501"\)/,
    /Device \(LNKD\)/,
    /Method \(_SRS, 1, Serialized\)/,
    /Device \(HPET\)/,
    /Method \(_PRT, 0, NotSerialized\)/,
    /0xFEBFFFFF, {9}\/\/ Range Maximum/,
  ]) {
    assert.match(source, expected);
  }
  assert.doesNotMatch(source, /_S3/);
  assert.doesNotMatch(source, /Device \(C003\)/);
});

test('the DSDT routes each pin to a link with PICs and to a pin of the I/O APIC without', () => {
  const { source } = throughIasl('dsdt', dsdt(DESCRIPTION));
  const slot1 = [...source.matchAll(/0x0001FFFF,\s*(\S+?),\s*(\S+?),\s*(\S+)\s*\}/g)];
  assert.deepEqual(
    slot1.map((row) => row.slice(1).join(' ')),
    [
      'Zero \\_SB.LNKB Zero',
      'One \\_SB.LNKC Zero',
      '0x02 \\_SB.LNKD Zero',
      '0x03 \\_SB.LNKA Zero',
      'Zero Zero 0x11',
      'One Zero 0x12',
      '0x02 Zero 0x13',
      '0x03 Zero 0x10',
    ],
  );
});

const AT = { facs: 0x1fff_f000, dsdt: 0x1fff_e000 };
const DATA_TABLES: [string, Uint8Array, RegExp[]][] = [
  [
    'facp',
    fadt(DESCRIPTION, AT),
    [
      /Revision : 05/,
      /SCI Interrupt : 0009/,
      /PM1A Event Block Address : 00000600/,
      /Reset Register Supported \(V2\) : 1/,
      /8042 Present on ports 60\/64 \(V2\) : 1/,
      /VGA Not Present \(V4\) : 1/,
      /MSI Not Supported \(V4\) : 0/,
      /RTC Century Index : 32/,
      /Address : 0000000000000CF9/,
      /Value to cause reset : 06/,
      /DSDT Address : 000000001FFFE000/,
    ],
  ],
  [
    'apic',
    madt(DESCRIPTION),
    [
      /Local Apic Address : FEE00000/,
      /PC-AT Compatibility : 1/,
      /Local Apic ID : 02/,
      /I\/O Apic ID : 00\s+.*\s+.*FEC00000/,
      /Source : 00\s+.*Interrupt : 00000002/,
      /Source : 09\s+.*Interrupt : 00000009\s+.*000D/,
      /Interrupt Input LINT : 01/,
    ],
  ],
  [
    'hpet',
    hpet(DESCRIPTION.hpet!),
    [/Hardware Block ID : 8086A201/, /Address : 00000000FED00000/, /Sequence Number : 00/],
  ],
  ['facs', facs(), [/Length : 00000040/, /Version : 02/]],
];

for (const [name, bytes, expected] of DATA_TABLES) {
  test(`${name} has the fields that its specification asks for`, () => {
    const { source } = throughIasl(name, bytes);
    for (const pattern of expected) assert.match(source, pattern);
    assert.doesNotMatch(source, /Invalid|Unknown/);
    if (name !== 'facs') assert.equal(checksum(bytes), 0);
  });
}

test('root pointer, RSDT and XSDT lead to the same tables inside their area', () => {
  const end = 0x2000_0000;
  const tables = acpiTables(DESCRIPTION, end);
  const { gpa, bytes } = tables.reclaimable;
  assert.equal(tables.facs.gpa, end - 0x1000);
  assert.equal(gpa + bytes.length, tables.facs.gpa);
  assert.equal(gpa % 0x1000, 0);
  assert.equal(checksum(tables.rsdp.subarray(0, 20)), 0);
  assert.equal(checksum(tables.rsdp), 0);
  const root = new DataView(tables.rsdp.buffer);
  const view = new DataView(bytes.buffer);
  const read = (at: number): { signature: string; length: number } => {
    const length = view.getUint32(at - gpa + 4, true);
    assert.equal(checksum(bytes.subarray(at - gpa, at - gpa + length)), 0);
    const signature = String.fromCharCode(...bytes.subarray(at - gpa, at - gpa + 4));
    return { signature, length };
  };
  const rsdt = root.getUint32(16, true);
  const xsdt = Number(root.getBigUint64(24, true));
  assert.equal(read(rsdt).signature, 'RSDT');
  assert.equal(read(xsdt).signature, 'XSDT');
  const pointed: string[] = [];
  for (let index = 0; index < (read(rsdt).length - 36) / 4; index++) {
    const address = view.getUint32(rsdt - gpa + 36 + 4 * index, true);
    assert.equal(Number(view.getBigUint64(xsdt - gpa + 36 + 8 * index, true)), address);
    pointed.push(read(address).signature);
  }
  assert.deepEqual(pointed, ['FACP', 'APIC', 'HPET']);
  const fadtAt = view.getUint32(rsdt - gpa + 36, true);
  assert.equal(view.getUint32(fadtAt - gpa + 36, true), tables.facs.gpa);
  assert.equal(read(view.getUint32(fadtAt - gpa + 40, true)).signature, 'DSDT');
});

test('255 processors still fit', () => {
  const many = acpiTables({ ...DESCRIPTION, cpuCount: 255 }, 0x100_0000);
  const { messages } = throughIasl('dsdt', dsdt({ ...DESCRIPTION, cpuCount: 255 }));
  assert.match(messages, /0 Errors, 0 Warnings/);
  assert.ok(many.reclaimable.bytes.length < 0x1_0000);
});
