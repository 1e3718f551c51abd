// The processor's optional features, one row each: the name in /proc/cpuinfo, the one in the manual that instructions
// carry as `feature`, the bit of CPUID, and the first model that has it. CPUID's answers (microcode/cpuid.ts), the
// decoder's #UD and the help of --cpu all come from here. SDM vol 2A, CPUID; vol 1 §5.1.2.

/** Models from the smallest to the largest; each has the features of those before it. */
export const CPU_MODEL_NAMES = ['v2', 'v3', 'max'] as const;
export type CpuModelName = (typeof CPU_MODEL_NAMES)[number];

export type CpuidRegister = 'eax' | 'ebx' | 'ecx' | 'edx';

export interface Feature {
  /** As Linux prints it in /proc/cpuinfo; a word of our own where it prints none. */
  readonly name: string;
  /** As the manual heads a column "CPUID feature flag". */
  readonly manual: string;
  readonly leaf: number;
  readonly subleaf: number;
  readonly register: CpuidRegister;
  readonly bit: number;
  /** 'none': begun, and claimed by no model yet. */
  readonly since: CpuModelName | 'none';
}

type Row = readonly [name: string, manual: string, bit: number, since: Feature['since']];

const rows = (
  leaf: number,
  subleaf: number,
  register: CpuidRegister,
  list: readonly Row[],
): Feature[] =>
  list.map(([name, manual, bit, since]) => ({
    name, manual, leaf, subleaf, register, bit, since,
  })); // biome-ignore format: a row

// biome-ignore format: tables
export const FEATURES: readonly Feature[] = [
  ...rows(1, 0, 'ecx', [
    ['pni', 'SSE3', 0, 'v2'],
    ['pclmulqdq', 'PCLMULQDQ', 1, 'v3'],
    ['ssse3', 'SSSE3', 9, 'v2'],
    ['fma', 'FMA', 12, 'v3'],
    ['cx16', 'CX16', 13, 'v2'],
    ['pcid', 'PCID', 17, 'v2'],
    ['sse4_1', 'SSE4.1', 19, 'v2'],
    ['sse4_2', 'SSE4.2', 20, 'v2'],
    ['x2apic', 'x2APIC', 21, 'v2'],
    ['movbe', 'MOVBE', 22, 'v2'],
    ['popcnt', 'POPCNT', 23, 'v2'],
    ['tsc_deadline_timer', 'TSC-Deadline', 24, 'v2'],
    ['aes', 'AES', 25, 'v3'],
    ['xsave', 'XSAVE', 26, 'v2'],
    ['avx', 'AVX', 28, 'v3'],
    ['f16c', 'F16C', 29, 'v3'],
    ['rdrand', 'RDRAND', 30, 'v2'],
    ['hypervisor', 'hypervisor', 31, 'v2'],
  ]),
  ...rows(1, 0, 'edx', [
    ['fpu', 'FPU', 0, 'v2'],
    ['de', 'DE', 2, 'v2'],
    ['pse', 'PSE', 3, 'v2'],
    ['tsc', 'TSC', 4, 'v2'],
    ['msr', 'MSR', 5, 'v2'],
    ['pae', 'PAE', 6, 'v2'],
    ['mce', 'MCE', 7, 'v2'],
    ['cx8', 'CX8', 8, 'v2'],
    ['apic', 'APIC', 9, 'v2'],
    ['sep', 'SEP', 11, 'v2'],
    ['mtrr', 'MTRR', 12, 'v2'],
    ['pge', 'PGE', 13, 'v2'],
    ['mca', 'MCA', 14, 'v2'],
    ['cmov', 'CMOV', 15, 'v2'],
    ['pat', 'PAT', 16, 'v2'],
    ['pse36', 'PSE-36', 17, 'v2'],
    ['clflush', 'CLFSH', 19, 'v2'],
    ['mmx', 'MMX', 23, 'v2'],
    ['fxsr', 'FXSR', 24, 'v2'],
    ['sse', 'SSE', 25, 'v2'],
    ['sse2', 'SSE2', 26, 'v2'],
    ['ss', 'SS', 27, 'v2'],
  ]),
  // The APIC timer never stops.
  ...rows(6, 0, 'eax', [['arat', 'ARAT', 2, 'v2']]),
  ...rows(7, 0, 'ebx', [
    ['fsgsbase', 'FSGSBASE', 0, 'v2'],
    ['tsc_adjust', 'TSC_ADJUST', 1, 'v2'],
    ['bmi1', 'BMI1', 3, 'v3'],
    ['avx2', 'AVX2', 5, 'v3'],
    ['smep', 'SMEP', 7, 'v2'],
    ['bmi2', 'BMI2', 8, 'v3'],
    ['erms', 'ERMS', 9, 'v2'],
    ['invpcid', 'INVPCID', 10, 'v2'],
    ['rdseed', 'RDSEED', 18, 'v2'],
    ['adx', 'ADX', 19, 'max'],
    ['smap', 'SMAP', 20, 'v2'],
    ['clflushopt', 'CLFLUSHOPT', 23, 'v2'],
    ['clwb', 'CLWB', 24, 'v2'],
    ['sha_ni', 'SHA', 29, 'v3'],
  ]),
  ...rows(7, 0, 'ecx', [
    ['umip', 'UMIP', 2, 'v2'],
    ['gfni', 'GFNI', 8, 'max'],
    ['vaes', 'VAES', 9, 'max'],
    ['vpclmulqdq', 'VPCLMULQDQ', 10, 'max'],
    ['rdpid', 'RDPID', 22, 'max'],
  ]),
  // True at no cost, and they spare the guest its workarounds: IBRS and IBPB, IA32_ARCH_CAPABILITIES.
  ...rows(7, 0, 'edx', [
    ['ibrs', 'IBRS', 26, 'v2'],
    ['arch_capabilities', 'ARCH_CAPABILITIES', 29, 'v2'],
  ]),
  // Without it Linux runs a loop in every system call.
  ...rows(7, 2, 'edx', [['bhi_ctrl', 'BHI_CTRL', 4, 'v2']]),
  ...rows(0xd, 1, 'eax', [
    ['xsaveopt', 'XSAVEOPT', 0, 'v2'],
    ['xsavec', 'XSAVEC', 1, 'max'],
  ]),
  ...rows(0x8000_0001, 0, 'ecx', [
    ['lahf_lm', 'LAHF-SAHF', 0, 'v2'],
    ['abm', 'LZCNT', 5, 'v3'],
    ['3dnowprefetch', 'PREFETCHW', 8, 'v2'],
  ]),
  ...rows(0x8000_0001, 0, 'edx', [
    ['syscall', 'SYSCALL', 11, 'v2'],
    ['nx', 'NX', 20, 'v2'],
    ['pdpe1gb', '1GB-pages', 26, 'v2'],
    ['rdtscp', 'RDTSCP', 27, 'v2'],
    ['lm', 'LM', 29, 'v2'],
  ]),
  ...rows(0x8000_0007, 0, 'edx', [['constant_tsc', 'Invariant TSC', 8, 'v2']]),
];
