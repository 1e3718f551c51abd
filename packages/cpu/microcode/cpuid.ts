// What CPUID tells, as data: exactly what works. SDM vol 2A, CPUID. The host function 'cpuid' answers from here;
// bits that follow control registers are added by the instruction.

import { PROCESSOR_SIGNATURE } from '../state/power-on.ts';
import { PHYSICAL_BITS } from './physical-memory.ts';

/** EAX, EBX, ECX, EDX. */
export type CpuidResult = readonly [eax: number, ebx: number, ecx: number, edx: number];

export interface CpuidModel {
  /** Number of this vCPU, which is also its APIC ID, and how many there are. */
  readonly vcpuIndex: number;
  readonly vcpuCount: number;
}

const LEAF_MAX = 0x16;
const EXTENDED_MAX = 0x8000_0008;
const HYPERVISOR = 0x4000_0000;
/** 12 characters in EBX, ECX, EDX. */
export const HYPERVISOR_SIGNATURE = 'MimicMimicMi';
export const BRAND = 'Mimic Virtual CPU';
/** The TSC runs at 25 MHz × 40 = 1 GHz: a tick is a nanosecond. */
export const TSC_CRYSTAL_HZ = 25_000_000;
export const TSC_RATIO = 40;

const bits = (...list: number[]) => list.reduce((set, bit) => (set | (1 << bit)) >>> 0, 0);

/** SSE3, SSSE3, CX16, PCID, SSE4.1, SSE4.2, x2APIC, MOVBE, POPCNT, TSC-deadline, XSAVE, RDRAND, hypervisor. */
const FEATURES_1_ECX = bits(0, 9, 13, 17, 19, 20, 21, 22, 23, 24, 26, 30, 31);
/** FPU, DE, PSE, TSC, MSR, PAE, MCE, CX8, APIC, SEP, MTRR, PGE, MCA, CMOV, PAT, PSE-36, CLFSH, MMX, FXSR, SSE, SSE2, SS. */
const FEATURES_1_EDX = bits(
  0,
  2,
  3,
  4,
  5,
  6,
  7,
  8,
  9,
  11,
  12,
  13,
  14,
  15,
  16,
  17,
  19,
  23,
  24,
  25,
  26,
  27,
);
const HTT = bits(28);
/** FSGSBASE, TSC_ADJUST, SMEP, ERMS, INVPCID, RDSEED, SMAP, CLFLUSHOPT, CLWB. */
const FEATURES_7_EBX = bits(0, 1, 7, 9, 10, 18, 20, 23, 24);
const FEATURES_7_ECX = bits(2); // UMIP
/** IBRS and IBPB, IA32_ARCH_CAPABILITIES: true at no cost, and they spare the guest its workarounds. */
const FEATURES_7_EDX = bits(26, 29);
/** BHI_CTRL: without it Linux runs a loop in every system call. */
const FEATURES_7_2_EDX = bits(4);
const FEATURES_EXTENDED_ECX = bits(0, 8); // LAHF, PREFETCHW
/** SYSCALL, NX, 1 GiB pages, RDTSCP, long mode. */
const FEATURES_EXTENDED_EDX = bits(11, 20, 26, 27, 29);
/** x87 and SSE state of XSAVE: legacy area and header. */
const XSAVE_COMPONENTS = 3;
const XSAVE_BYTES = 576;

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
export function cpuidLeaves({ vcpuIndex, vcpuCount }: CpuidModel): ReadonlyMap<number, Leaf> {
  const none: CpuidResult = [0, 0, 0, 0];
  const vendor = words('GenuineIntel', 3);
  const signature = words(HYPERVISOR_SIGNATURE, 3);
  const brand = words(BRAND, 12);
  const cores = vcpuCount;
  const shift = Math.ceil(Math.log2(cores));
  const ids = 1 << shift;
  const identity = ((vcpuIndex << 24) | (ids << 16) | (8 << 8)) >>> 0;
  const own = { sharers: 1, cores: ids };
  return new Map<number, Leaf>([
    [0, [[LEAF_MAX, vendor[0]!, vendor[2]!, vendor[1]!]]],
    [1, [[PROCESSOR_SIGNATURE, identity, FEATURES_1_ECX, (FEATURES_1_EDX | (cores > 1 ? HTT : 0)) >>> 0]]],
    [2, [[0xff01, 0, 0, 0]]], // all in leaf 4
    [4, [
      cache({ type: 1, level: 1, ways: 8, sets: 64, ...own }),
      cache({ type: 2, level: 1, ways: 8, sets: 64, ...own }),
      cache({ type: 3, level: 2, ways: 8, sets: 1024, ...own }),
      cache({ type: 3, level: 3, ways: 16, sets: 8192, sharers: ids, cores: ids }),
      none,
    ]],
    [6, [[bits(2), 0, 0, 0]]], // ARAT: the APIC timer never stops
    [7, [[2, FEATURES_7_EBX, FEATURES_7_ECX, FEATURES_7_EDX], none, [0, 0, 0, FEATURES_7_2_EDX], none]],
    [0xb, [
      [0, 1, 0x100, vcpuIndex],
      [shift, cores, 0x201, vcpuIndex],
      [0, 0, 2, vcpuIndex],
    ]],
    [0xd, [[XSAVE_COMPONENTS, XSAVE_BYTES, XSAVE_BYTES, 0], [bits(0), 0, 0, 0], none]], // XSAVEOPT
    [0x15, [[1, TSC_RATIO, TSC_CRYSTAL_HZ, 0]]],
    [0x16, [[1000, 1000, 100, 0]]],
    [HYPERVISOR, [[HYPERVISOR, signature[0]!, signature[1]!, signature[2]!]]],
    [0x8000_0000, [[EXTENDED_MAX, 0, 0, 0]]],
    [0x8000_0001, [[0, 0, FEATURES_EXTENDED_ECX, FEATURES_EXTENDED_EDX]]],
    [0x8000_0002, [[brand[0]!, brand[1]!, brand[2]!, brand[3]!]]],
    [0x8000_0003, [[brand[4]!, brand[5]!, brand[6]!, brand[7]!]]],
    [0x8000_0004, [[brand[8]!, brand[9]!, brand[10]!, brand[11]!]]],
    [0x8000_0006, [[0, 0, 64 | (6 << 12) | (512 << 16), 0]]], // L2: 512 KiB, 8-way
    [0x8000_0007, [[0, 0, 0, bits(8)]]], // invariant TSC
    [0x8000_0008, [[PHYSICAL_BITS | (48 << 8), 0, 0, 0]]],
  ]); // biome-ignore format: a table
}

/** The table as a function. A leaf beyond the last one reads as the last basic one, as on Intel processors. */
export function cpuidTable(model: CpuidModel): (leaf: number, subleaf: number) => CpuidResult {
  const leaves = cpuidLeaves(model);
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
