// What those need of the processor who do not run it: models and bounds that options name, and where a running one is.
// The host's thread imports this alone: the instruction table and what stands on it are 40 MiB in each thread.

export {
  CPU_MODEL_DEFAULT,
  CPU_MODELS,
  type CpuModel,
  findCpuModel,
  ownFeatures,
} from './model/cpu-model.ts';
export type { CpuModelName } from './model/features.ts';
export { codeBitsOf } from './state/decoding-mode.ts';
export { VCPU_COUNT_MAX } from './state/memory-map.ts';
export { sampleVcpu, type VcpuSample } from './state/sample.ts';
export {
  type ChangingCode,
  changingCode,
  readCounters,
  type TranslatorCounters,
} from './translator/counters.ts';
export type { RunCounters } from './vcpu.ts';
