import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MachineError } from './errors.ts';
import { mapAddressSpace, type WalkSource, walkPages } from './page-walk.ts';

const CR0_PG = 1n << 31n;
const PSE = 1n << 4n;
const PAE = 1n << 5n;
const LMA = 1n << 10n;

/** Guest memory with the given 32- or 64-bit entries at their addresses, and the control registers. */
function source(
  registers: Record<string, bigint>,
  entries: readonly (readonly [at: number, entry: bigint])[],
  entryBytes: 4 | 8 = 8,
): WalkSource {
  const memory = new DataView(new ArrayBuffer(1 << 16));
  for (const [at, entry] of entries) {
    if (entryBytes === 4) memory.setUint32(at, Number(entry), true);
    else memory.setBigUint64(at, entry, true);
  }
  return {
    readMemory: async (gpa, count) => new Uint8Array(memory.buffer.slice(gpa, gpa + count)),
    readRegisters: async () => registers,
  };
}

const LONG = { cr0: CR0_PG, cr3: 0x1000n, cr4: PAE, efer: LMA };
const LONG_ENTRIES = [
  [0x1000 + 511 * 8, 0x2003n], // PML4, upper half
  [0x2000 + 510 * 8, 0x3003n], // PDPT
  [0x3000 + 1 * 8, 0x4003n], // PD
  [0x3000 + 2 * 8, 0x20_0000n | 0x83n | (1n << 63n)], // PD, 2 MiB, no execute
  [0x4000 + 5 * 8, 0x9003n], // PT
  [0x4000 + 6 * 8, 0xa001n], // PT, read-only
] as const;
const KERNEL = 0xffff_ffff_8000_0000n;

test('a 4-level walk shows each entry and ends at a 4 KiB page', async () => {
  const walk = await walkPages(source(LONG, LONG_ENTRIES), KERNEL + 0x20_5123n);
  assert.equal(walk.gpa, 0x9123);
  assert.equal(walk.pageBytes, 4096);
  assert.deepEqual(
    walk.steps.map(({ table, entryAt, flags }) => [table, entryAt, flags]),
    [
      ['PML4', 0x1ff8, 'P RW'],
      ['PDPT', 0x2ff0, 'P RW'],
      ['PD', 0x3008, 'P RW'],
      ['PT', 0x4028, 'P RW'],
    ],
  );
});

test('a large page ends the walk early; an absent entry ends it without an address', async () => {
  const memory = source(LONG, LONG_ENTRIES);
  const large = await walkPages(memory, KERNEL + 0x41_2345n);
  assert.equal(large.gpa, 0x21_2345);
  assert.equal(large.pageBytes, 2 << 20);
  const absent = await walkPages(memory, KERNEL + 0x20_7000n);
  assert.equal(absent.gpa, undefined);
  assert.equal(absent.steps.length, 4);
});

test('32-bit tables, with 4 MiB pages above 4 GiB', async () => {
  const entries = [
    [0x1000 + 1 * 4, 0x2007n],
    [0x2000 + 3 * 4, 0x5003n],
    [0x1000 + 2 * 4, 0x0080_0083n | (1n << 13n)],
  ] as const;
  const memory = source({ cr0: CR0_PG, cr3: 0x1000n, cr4: PSE, efer: 0n }, entries, 4);
  assert.equal((await walkPages(memory, 0x40_3abcn)).gpa, 0x5abc);
  assert.equal((await walkPages(memory, 0x80_0010n)).gpa, 0x1_0080_0010);
});

test('PAE has four entries at the top, at any multiple of 32', async () => {
  const entries = [
    [0x1020 + 3 * 8, 0x2001n],
    [0x2000, 0x3003n],
    [0x3000 + 8, 0x7003n],
  ] as const;
  const memory = source({ cr0: CR0_PG, cr3: 0x1020n, cr4: PAE, efer: 0n }, entries);
  const walk = await walkPages(memory, 0xc000_1004n);
  assert.equal(walk.gpa, 0x7004);
  assert.equal(walk.mode, 'PAE');
  // The top entry has no rights bits and takes none away.
  assert.deepEqual(await mapAddressSpace(memory), [
    { gva: 0xc000_1000n, sizeBytes: 4096n, flags: '-rwx' },
  ]);
});

test('the map joins neighbours with the same rights', async () => {
  assert.deepEqual(await mapAddressSpace(source(LONG, LONG_ENTRIES)), [
    { gva: KERNEL + 0x20_5000n, sizeBytes: 4096n, flags: '-rwx' },
    { gva: KERNEL + 0x20_6000n, sizeBytes: 4096n, flags: '-r-x' },
    { gva: KERNEL + 0x40_0000n, sizeBytes: 2n << 20n, flags: '-rw-' },
  ]);
});

test('without paging an address is its own; there is no map', async () => {
  const memory = source({ cr0: 0n, cr3: 0n, cr4: 0n, efer: 0n }, []);
  assert.equal((await walkPages(memory, 0x1234n)).gpa, 0x1234);
  await assert.rejects(mapAddressSpace(memory), { code: 'BAD_ADDRESS' });
});

test('a table outside RAM maps nothing; a machine that fails is told of', async () => {
  const entries = [...LONG_ENTRIES, [0x1000, 0x5_0003n]] as const;
  const memory = source(LONG, entries);
  const failing = (code: 'BAD_ADDRESS' | 'BAD_STATE'): WalkSource => ({
    ...memory,
    readMemory: async (gpa, count) => {
      if (gpa >= 0x5_0000) throw new MachineError(code, 'it fails');
      return await memory.readMemory(gpa, count);
    },
  });
  const all = await mapAddressSpace(source(LONG, LONG_ENTRIES));
  assert.deepEqual(await mapAddressSpace(failing('BAD_ADDRESS')), all);
  await assert.rejects(mapAddressSpace(failing('BAD_STATE')), { code: 'BAD_STATE' });
});

test('tables that point at themselves are walked for a bounded time', async () => {
  const entries = Array.from({ length: 512 }, (_, index) => [0x1000 + index * 8, 0x1003n] as const);
  const ranges = await mapAddressSpace(source(LONG, entries));
  assert.ok(ranges.length > 0);
});
