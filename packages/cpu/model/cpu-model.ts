// The processors that a machine can have: x86-64-v2, x86-64-v3 and all that there is. A model is a set of features, and
// how CPUID names the part. x86-64 psABI §3.1.1 "x86-64-v2", "x86-64-v3".

import { CPU_MODEL_NAMES, type CpuModelName, FEATURES, type Feature } from './features.ts';

export interface CpuModel {
  readonly name: CpuModelName;
  /** One line for people. */
  readonly summary: string;
  /** CPUID leaf 1, EAX: family, model, stepping. */
  readonly signature: number;
  /** CPUID leaves 80000002H to 80000004H; at most 47 characters. */
  readonly brand: string;
  /** XCR0's bits, and bit 63 for the compacted format: S.xstate. SDM vol 1 §13.3. */
  readonly xstate: bigint;
  readonly features: readonly Feature[];
  /** Manual's names of the features that it lacks: instructions that belong to one of them raise #UD. */
  readonly lacking: ReadonlySet<string>;
}

/**
 * Family 6 for all. v2 is model 26, the first generation with all of x86-64-v2: older ones make Linux give up features
 * for their errata (PAT below model 15). The others are model 60, the first with x86-64-v3. What Linux knows about
 * their speculation does not count: IA32_ARCH_CAPABILITIES (microcode/msr.ts) says that there is none.
 */
const PARTS: Readonly<Record<CpuModelName, { signature: number; summary: string }>> = {
  v2: { signature: 0x1_06a3, summary: 'x86-64-v2: up to SSE4.2 and POPCNT' },
  v3: {
    signature: 0x3_06c3,
    summary: 'x86-64-v3: v2 and AVX2, FMA, F16C, BMI, LZCNT, AES, PCLMULQDQ, SHA',
  },
  max: { signature: 0x3_06c3, summary: 'everything that Mimic can do' },
};

function makeModel(name: CpuModelName): CpuModel {
  const rank = CPU_MODEL_NAMES.indexOf(name);
  const has = ({ since }: Feature) => since !== 'none' && CPU_MODEL_NAMES.indexOf(since) <= rank;
  const features = FEATURES.filter(has);
  const names = new Set(features.map((f) => f.name));
  return {
    name,
    ...PARTS[name],
    brand: `Mimic Virtual CPU ${name}`,
    xstate: 3n | (names.has('avx') ? 4n : 0n) | (names.has('xsavec') ? 1n << 63n : 0n),
    features,
    lacking: new Set(FEATURES.filter((f) => !has(f)).map((f) => f.manual)),
  };
}

export const CPU_MODELS: readonly CpuModel[] = CPU_MODEL_NAMES.map(makeModel);
export const CPU_MODEL_DEFAULT: CpuModelName = 'v2';

/** The model of that name; undefined if there is none. */
export function findCpuModel(name: string): CpuModel | undefined {
  return CPU_MODELS.find((model) => model.name === name);
}
export function cpuModel(name: CpuModelName): CpuModel {
  return CPU_MODELS[CPU_MODEL_NAMES.indexOf(name)]!;
}

/** Features that the model has and the one before it has not; all for the first one. By their names in /proc/cpuinfo. */
export function ownFeatures(model: CpuModel): string[] {
  return model.features.filter((f) => f.since === model.name).map((f) => f.name);
}
