// The processor's public face.

export { InterruptBus } from './apic/interrupt-bus.ts';
export { PostedInterrupts } from './apic/posted-interrupts.ts';
export { BlockStore } from './decode/block-store.ts';
export { type DisassembledInstruction, disassemble } from './decode/disassembler.ts';
export { SharedGuestMemory } from './guest-memory.ts';
export {
  adoptEngine,
  buildEngine,
  compileEngine,
  type EngineData,
  type EngineImage,
  engine,
} from './interpreter/engine.ts';
export {
  CPU_MODEL_DEFAULT,
  CPU_MODELS,
  type CpuModel,
  cpuModel,
  findCpuModel,
  ownFeatures,
} from './model/cpu-model.ts';
export type { CpuModelName } from './model/features.ts';
export { runTicker, Slices } from './smp/ticker.ts';
export { World } from './smp/world.ts';
export {
  type MemoryLayout,
  planMemory,
  RAM_BASE,
  RAM_BYTES_MAX,
  RAM_BYTES_MIN,
  VCPU_COUNT_MAX,
} from './state/memory-map.ts';
export { REGISTER_NAMES } from './state/register-names.ts';
export { sampleVcpu, type VcpuSample } from './state/sample.ts';
export {
  type ChangingCode,
  changingCode,
  readCounters,
  type TranslatorCounters,
} from './translator/counters.ts';
export {
  InThreadTranslator,
  translatorOptions as inThreadOptions,
} from './translator/in-thread.ts';
export type { KeptModule, MadeModule, TranslationStore } from './translator/kept.ts';
export type { TranslationEvent, TranslationSource } from './translator/loader.ts';
export {
  endTranslator,
  runTranslator,
  ThreadedTranslations,
  type TranslatorStart,
  translatorStart,
} from './translator/thread.ts';
export type { TranslatorMessage } from './translator/translator.ts';
export {
  type Bus,
  type ExitReason,
  type RunCounters,
  type StartState,
  Vcpu,
  type VcpuOptions,
  type VcpuState,
  type VcpuTrace,
  type VisibleState,
} from './vcpu.ts';
