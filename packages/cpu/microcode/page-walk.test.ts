// The page walk against a second one, written here from SDM vol 3A §4.3–§4.7 and kept as plain as the manual: random
// tables, random modes, every kind of access. Compared are the address, the exact error code, and the A and D bits.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TestCpu } from '../testing/check.ts';
import { PF } from './page-walk.ts';
import { PHYSICAL_BITS } from './physical-memory.ts';

type Paging = 'legacy' | 'pae' | 'long';

/** One random configuration: modes, the entry of each level (highest first), and the access. */
interface Case {
  readonly paging: Paging;
  readonly linear: bigint;
  readonly entries: readonly bigint[];
  readonly wp: boolean;
  readonly pse: boolean;
  readonly smep: boolean;
  readonly nxe: boolean;
  /** SMAP is on and not overridden by AC. */
  readonly smap: boolean;
  readonly user: boolean;
  readonly kind: 'read' | 'write' | 'fetch';
}

type Outcome =
  | { readonly gpa: bigint; readonly entries: readonly bigint[] }
  | { readonly errorCode: number };

const bit = (value: bigint, n: number): boolean => ((value >> BigInt(n)) & 1n) === 1n;
/** Bits high..low of a value, in place. */
const range = (value: bigint, high: number, low: number): bigint =>
  value & (((1n << BigInt(high - low + 1)) - 1n) << BigInt(low));

/** How a level translates: linear-address bits below its index, whether its entry may be a page. */
const LEVELS: Readonly<Record<Paging, readonly { shift: number; mayBePage: boolean }[]>> = {
  legacy: [
    { shift: 22, mayBePage: true },
    { shift: 12, mayBePage: false },
  ],
  pae: [
    { shift: 21, mayBePage: true },
    { shift: 12, mayBePage: false },
  ],
  long: [
    { shift: 39, mayBePage: false },
    { shift: 30, mayBePage: true },
    { shift: 21, mayBePage: true },
    { shift: 12, mayBePage: false },
  ],
};

function isReserved(c: Case, entry: bigint, shift: number, isPage: boolean): boolean {
  if (c.paging === 'legacy') return isPage && shift === 22 && bit(entry, 21);
  if (bit(entry, 63) && !c.nxe) return true;
  if (range(entry, c.paging === 'pae' ? 62 : 51, PHYSICAL_BITS)) return true;
  if (shift === 39 && bit(entry, 7)) return true;
  return isPage && shift > 12 && range(entry, shift - 1, 13) !== 0n;
}

function pageAddress(c: Case, entry: bigint, shift: number): bigint {
  if (c.paging === 'legacy' && shift === 22)
    return range(entry, 31, 22) | (range(entry, 20, 13) << 19n);
  return range(entry, PHYSICAL_BITS - 1, shift);
}

function reference(c: Case): Outcome {
  const tellsFetch = c.smep || (c.nxe && c.paging !== 'legacy');
  const base =
    (c.kind === 'write' ? 2 : 0) | (c.user ? 4 : 0) | (c.kind === 'fetch' && tellsFetch ? 16 : 0);
  const entries = [...c.entries];
  let [writable, userPage, noExecute] = [true, true, false];
  for (const [n, { shift, mayBePage }] of LEVELS[c.paging].entries()) {
    const entry = entries[n]!;
    if (!bit(entry, 0)) return { errorCode: base };
    const isPage = shift === 12 || (mayBePage && bit(entry, 7) && (c.paging !== 'legacy' || c.pse));
    if (isReserved(c, entry, shift, isPage)) return { errorCode: base | 9 };
    writable &&= bit(entry, 1);
    userPage &&= bit(entry, 2);
    noExecute ||= c.paging !== 'legacy' && bit(entry, 63);
    entries[n] = entry | 0x20n;
    if (!isPage) continue;
    if (!allowed(c, { writable, userPage, noExecute })) return { errorCode: base | 1 };
    if (c.kind === 'write') entries[n]! |= 0x40n;
    return { gpa: pageAddress(c, entry, shift) | range(c.linear, shift - 1, 0), entries };
  }
  throw new Error('the last level is always a page');
}

/** SDM vol 3A §4.6.1. */
function allowed(
  c: Case,
  page: { writable: boolean; userPage: boolean; noExecute: boolean },
): boolean {
  if (c.kind === 'fetch' && page.noExecute) return false;
  if (c.user) return page.userPage && (c.kind !== 'write' || page.writable);
  if (page.userPage && c.kind === 'fetch') return !c.smep;
  if (page.userPage && c.smap) return false;
  return c.kind !== 'write' || page.writable || !c.wp;
}

// --- random cases ---

let seed = 0x2545_f491;
function random(below: number): number {
  seed ^= seed << 13;
  seed ^= seed >>> 17;
  seed ^= seed << 5;
  return (seed >>> 0) % below;
}
const chance = (percent: number): boolean => random(100) < percent;
const random64 = (): bigint => (BigInt(random(2 ** 32)) << 32n) | BigInt(random(2 ** 32));

const TABLES = [0x40_0000, 0x40_1000, 0x40_2000, 0x40_3000] as const;

function randomEntry(paging: Paging, pse: boolean, n: number, shift: number): bigint {
  let entry = chance(95) ? 1n : 0n;
  for (const [index, percent] of [
    [1, 75],
    [2, 75],
    [3, 20],
    [4, 20],
    [5, 30],
    [6, 30],
    [8, 30],
    [9, 30],
  ] as const) {
    if (chance(percent)) entry |= 1n << BigInt(index);
  }
  const asksForPage = chance(shift === 39 ? 3 : 30);
  if (asksForPage) entry |= 0x80n;
  // Without CR4.PSE a directory entry always refers to a table.
  const isPage = shift === 12 || (asksForPage && (paging !== 'legacy' || pse));
  const addressBits = paging === 'legacy' ? 32 : PHYSICAL_BITS;
  if (!isPage) entry |= BigInt(TABLES[n + 1]!);
  else if (paging === 'legacy' && shift === 22)
    entry |= range(random64(), chance(90) ? 20 : 21, 12) | range(random64(), 31, 22);
  else entry |= range(random64(), addressBits - 1, chance(90) ? shift : 12);
  if (paging === 'legacy') return entry;
  if (chance(15)) entry |= 1n << 63n;
  if (chance(5)) entry |= 1n << BigInt(PHYSICAL_BITS + random(52 - PHYSICAL_BITS));
  // Ignored in 4-level paging, reserved with PAE.
  if (chance(5)) entry |= 1n << BigInt(52 + random(11));
  return entry;
}

function randomCase(paging: Paging): Case {
  const linear =
    paging === 'long'
      ? BigInt.asUintN(64, BigInt.asIntN(48, random64()))
      : random64() & 0xffff_ffffn;
  const pse = chance(80);
  return {
    paging,
    linear,
    entries: LEVELS[paging].map(({ shift }, n) => randomEntry(paging, pse, n, shift)),
    wp: chance(50),
    pse,
    smep: chance(50),
    nxe: chance(70),
    smap: chance(50),
    user: chance(50),
    kind: (['read', 'write', 'fetch'] as const)[random(3)]!,
  };
}

// --- the processor's walk ---

function entryAddress(c: Case, n: number): number {
  const { shift } = LEVELS[c.paging][n]!;
  const indexBits = c.paging === 'legacy' ? 10 : 9;
  const index = Number((c.linear >> BigInt(shift)) & ((1n << BigInt(indexBits)) - 1n));
  return TABLES[n]! + index * (c.paging === 'legacy' ? 4 : 8);
}

function actual(cpu: TestCpu, c: Case): Outcome {
  const bytes = c.paging === 'legacy' ? 4 : 8;
  for (const [n, entry] of c.entries.entries()) {
    const data = new Uint8Array(8);
    new DataView(data.buffer).setBigUint64(0, entry, true);
    cpu.write(entryAddress(c, n), data.subarray(0, bytes));
  }
  cpu.set('cr0', 0x8000_0031n | (c.wp ? 0x1_0000n : 0n));
  cpu.set(
    'cr4',
    (c.pse ? 0x10n : 0n) | (c.paging === 'legacy' ? 0n : 0x20n) | (c.smep ? 1n << 20n : 0n),
  );
  cpu.set('efer', (c.nxe ? 0x800n : 0n) | (c.paging === 'long' ? 0x500n : 0n));
  cpu.set('cr3', BigInt(TABLES[0]));
  for (let n = 0; n < 4; n++) cpu.set('pdpte', BigInt(TABLES[0]) | 1n, n);
  cpu.set('fault', 0);
  const access =
    (c.kind === 'write' ? PF.write : 0) |
    (c.kind === 'fetch' ? PF.fetch : 0) |
    (c.user ? PF.user : 0);
  const gpa = cpu.call('walk', BigInt.asIntN(64, c.linear), access, c.smap ? 1 : 0) as bigint;
  if (cpu.get('fault')) {
    assert.equal((cpu.get('fault') as number) & 0xff, 14);
    assert.equal(cpu.get('faultAddress'), c.linear);
    return { errorCode: cpu.get('faultCode') as number };
  }
  const entries = c.entries.map((_, n) => {
    const { buffer } = cpu.read(entryAddress(c, n), 8);
    const value = new DataView(buffer).getBigUint64(0, true);
    return bytes === 4 ? value & 0xffff_ffffn : value;
  });
  return { gpa: BigInt.asUintN(64, gpa), entries };
}

function compare(c: Case, got: Outcome, want: Outcome): void {
  const text = JSON.stringify(c, (_, v) => (typeof v === 'bigint' ? `0x${v.toString(16)}` : v));
  assert.deepEqual(got, want, text);
}

const CASES = 4000;
/** P, W, U, RSVD and I/D in every combination that exists: a fetch is no write, RSVD comes with P. */
const ERROR_CODES = [0, 2, 4, 6, 16, 20].flatMap((access) => [access, access | 1, access | 9]);

for (const paging of ['legacy', 'pae', 'long'] as const) {
  test(`${paging} paging: address, error code, A and D bits are those of the manual`, () => {
    const cpu = new TestCpu();
    cpu.reset(paging === 'long' ? 64 : 32);
    const seen = new Map<string, number>();
    for (let n = 0; n < CASES; n++) {
      const c = randomCase(paging);
      const want = reference(c);
      compare(c, actual(cpu, c), want);
      const key = 'errorCode' in want ? `error ${want.errorCode}` : 'translated';
      seen.set(key, (seen.get(key) ?? 0) + 1);
    }
    // Every error code was met.
    for (const code of ERROR_CODES)
      assert.ok(seen.has(`error ${code}`), `no case of error ${code}`);
    assert.ok(seen.get('translated')! > CASES / 10);
  });
}

test('a 32-bit walk tells fetches by SMEP alone, whatever IA32_EFER.NXE says', () => {
  const cpu = new TestCpu();
  cpu.reset(32);
  const c: Case = {
    paging: 'legacy',
    linear: 0x1234_5678n,
    entries: [BigInt(TABLES[1]) | 7n, 0n],
    wp: false,
    pse: false,
    smep: false,
    nxe: true,
    smap: false,
    user: true,
    kind: 'fetch',
  };
  // IA32_EFER.NXE counts only with CR4.PAE. SDM vol 3A §4.7.
  assert.deepEqual(actual(cpu, c), { errorCode: 4 });
  assert.deepEqual(actual(cpu, { ...c, smep: true }), { errorCode: 20 });
});

test('a fault sets no dirty bit, and no accessed bit in the entry that refused', () => {
  const cpu = new TestCpu();
  cpu.reset(64);
  const c: Case = {
    paging: 'long',
    linear: 0x1234_5678n,
    entries: [BigInt(TABLES[1]) | 7n, BigInt(TABLES[2]) | 7n, BigInt(TABLES[3]) | 7n, 0x20_0005n],
    wp: true,
    pse: true,
    smep: false,
    nxe: true,
    smap: false,
    user: false,
    kind: 'write',
  };
  assert.deepEqual(actual(cpu, c), { errorCode: 3 });
  assert.equal(cpu.read(entryAddress(c, 3), 1)[0], 5);
});
