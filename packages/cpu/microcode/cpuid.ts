// What CPUID tells, as data: exactly what works. SDM vol 2A, CPUID. The host function 'cpuid' answers from here;
// bits that follow control registers are added by the instruction. Feature bits are the model's (model/features.ts).

import type { CpuModel } from '../model/cpu-model.ts';
import type { CpuidRegister } from '../model/features.ts';
import { PHYSICAL_BITS } from './physical-memory.ts';
import { XSAVE_AVX_BYTES, XSAVE_BYTES, XSTATE, YMM_AREA } from './x87/save.ts';

/** EAX, EBX, ECX, EDX. */
export type CpuidResult = readonly [eax: number, ebx: number, ecx: number, edx: number];

export interface CpuidIdentity {
  readonly model: CpuModel;
  /** Number of this vCPU, which is also its APIC ID, and how many there are. */
  readonly vcpuIndex: number;
  readonly vcpuCount: number;
}

const LEAF_MAX = 0x16;
const EXTENDED_MAX = 0x8000_0008;
const HYPERVISOR = 0x4000_0000;
/** 12 characters in EBX, ECX, EDX. */
export const HYPERVISOR_SIGNATURE = 'MimicMimicMi';
/** The TSC runs at 25 MHz × 40 = 1 GHz: a tick is a nanosecond. */
export const TSC_CRYSTAL_HZ = 25_000_000;
export const TSC_RATIO = 40;

const bits = (...list: number[]) => list.reduce((set, bit) => (set | (1 << bit)) >>> 0, 0);

/** Leaf 1, EDX: there are other processors. Not a model's feature. */
const HTT = bits(28);

/** Little-endian words of a string. */
function words(text: string, count: number): number[] {
  const byte = (n: number) => (n < text.length ? text.charCodeAt(n) : 0);
  return Array.from(
    { length: count },
    (_, n) =>
      (byte(4 * n) | (byte(4 * n + 1) << 8) | (byte(4 * n + 2) << 16) | (byte(4 * n + 3) << 24)) >>>
      0,
  );
}

/** Leaf 4: one cache. `type` is 1 data, 2 instruction, 3 unified; lines have 64 bytes. */
function cache(c: {
  type: number;
  level: number;
  ways: number;
  sets: number;
  sharers: number;
  cores: number;
}): CpuidResult {
  const eax = c.type | (c.level << 5) | bits(8) | ((c.sharers - 1) << 14) | ((c.cores - 1) << 26);
  return [eax >>> 0, 63 | ((c.ways - 1) << 22), c.sets - 1, 0];
}

type Leaf = readonly CpuidResult[];

/** Leaves by number; each lists its subleaves, the last of which stands for all further ones. */
export function cpuidLeaves({
  model,
  vcpuIndex,
  vcpuCount,
}: CpuidIdentity): ReadonlyMap<number, Leaf> {
  const none: CpuidResult = [0, 0, 0, 0];
  const vendor = words('GenuineIntel', 3);
  const signature = words(HYPERVISOR_SIGNATURE, 3);
  const brand = words(model.brand, 12);
  const cores = vcpuCount;
  const shift = Math.ceil(Math.log2(cores));
  const ids = 1 << shift;
  const identity = ((vcpuIndex << 24) | (ids << 16) | (8 << 8)) >>> 0;
  const own = { sharers: 1, cores: ids };
  const features = (leaf: number, register: CpuidRegister, subleaf = 0) =>
    bits(
      ...model.features
        .filter((f) => f.leaf === leaf && f.subleaf === subleaf && f.register === register)
        .map((f) => f.bit),
    );
  const components = Number(model.xstate & 0xffn);
  const hasAvx = (components & XSTATE.avx) !== 0;
  const areaBytes = hasAvx ? XSAVE_AVX_BYTES : XSAVE_BYTES;
  return new Map<number, Leaf>([
    [0, [[LEAF_MAX, vendor[0]!, vendor[2]!, vendor[1]!]]],
    [1, [[model.signature, identity, features(1, 'ecx'), (features(1, 'edx') | (cores > 1 ? HTT : 0)) >>> 0]]],
    [2, [[0xff01, 0, 0, 0]]], // all in leaf 4
    [4, [
      cache({ type: 1, level: 1, ways: 8, sets: 64, ...own }),
      cache({ type: 2, level: 1, ways: 8, sets: 64, ...own }),
      cache({ type: 3, level: 2, ways: 8, sets: 1024, ...own }),
      cache({ type: 3, level: 3, ways: 16, sets: 8192, sharers: ids, cores: ids }),
      none,
    ]],
    [6, [[features(6, 'eax'), 0, 0, 0]]],
    [7, [
      [2, features(7, 'ebx'), features(7, 'ecx'), features(7, 'edx')],
      none,
      [0, 0, 0, features(7, 'edx', 2)],
      none,
    ]],
    [0xb, [
      [0, 1, 0x100, vcpuIndex],
      [shift, cores, 0x201, vcpuIndex],
      [0, 0, 2, vcpuIndex],
    ]],
    [0xd, [
      [components, XSAVE_BYTES, areaBytes, 0],
      [features(0xd, 'eax', 1), XSAVE_BYTES, 0, 0],
      hasAvx ? [YMM_AREA.bytes, YMM_AREA.offset, 0, 0] : none,
      none,
    ]], // EBX of the first two is by XCR0: isa/system.ts
    [0x15, [[1, TSC_RATIO, TSC_CRYSTAL_HZ, 0]]],
    [0x16, [[1000, 1000, 100, 0]]],
    [HYPERVISOR, [[HYPERVISOR, signature[0]!, signature[1]!, signature[2]!]]],
    [0x8000_0000, [[EXTENDED_MAX, 0, 0, 0]]],
    [0x8000_0001, [[0, 0, features(0x8000_0001, 'ecx'), features(0x8000_0001, 'edx')]]],
    [0x8000_0002, [[brand[0]!, brand[1]!, brand[2]!, brand[3]!]]],
    [0x8000_0003, [[brand[4]!, brand[5]!, brand[6]!, brand[7]!]]],
    [0x8000_0004, [[brand[8]!, brand[9]!, brand[10]!, brand[11]!]]],
    [0x8000_0006, [[0, 0, 64 | (6 << 12) | (512 << 16), 0]]], // L2: 512 KiB, 8-way
    [0x8000_0007, [[0, 0, 0, features(0x8000_0007, 'edx')]]],
    [0x8000_0008, [[PHYSICAL_BITS | (48 << 8), 0, 0, 0]]],
  ]); // biome-ignore format: a table
}

/** The table as a function. A leaf beyond the last one reads as the last basic one, as on Intel processors. */
export function cpuidTable(
  identity: CpuidIdentity,
): (leaf: number, subleaf: number) => CpuidResult {
  const leaves = cpuidLeaves(identity);
  return (leaf, subleaf) => {
    const n = leaf >>> 0;
    const isBasic = n <= LEAF_MAX;
    const isExtended = n >= 0x8000_0000 && n <= EXTENDED_MAX;
    const isHypervisor = n >= HYPERVISOR && n < HYPERVISOR + 0x100;
    const known = leaves.get(isBasic || isExtended || isHypervisor ? n : LEAF_MAX);
    if (!known) return [0, 0, 0, 0];
    const [eax, ebx, ecx, edx] = known[Math.min(subleaf >>> 0, known.length - 1)]!;
    // Leaf 0xB gives the subleaf back in CL.
    return n === 0xb
      ? [eax, ebx, ((ecx & 0xff00) | (subleaf & 0xff)) >>> 0, edx]
      : [eax, ebx, ecx, edx];
  };
}
