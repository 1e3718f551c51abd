/** What a host carries between its workers. What it runs in them is in workers/, an entry for each. */
export type {
  CpuModelName,
  EngineData,
  EngineImage,
  TranslatorMessage,
  TranslatorStart,
} from '@mimic/cpu';
/** What a host implements to share a folder. */
export {
  type AttributeChange,
  ERRNO as FOLDER_ERRNO,
  type FileKind,
  type FileStatus,
  type FolderDone,
  type FolderEntry,
  type FolderError,
  type FolderErrorCode,
  type FolderPath,
  type HostFolder,
  type OpenFile,
  type OpenOptions,
} from '@mimic/devices/host-folder';
export type {
  Computer,
  ComputerWires,
  DisassembledInstruction,
  PartReport,
  Processor,
  ProcessorView,
  StopCause,
} from './computer.ts';
export type { DeterministicOptions } from './deterministic-options.ts';
export { MachineError, type MachineErrorCode } from './errors.ts';
export type {
  Host,
  TickerStart,
  TranslatorLink,
  WorkerHandle,
  WorkerHost,
  WorkerStart,
} from './host.ts';
export type { JitReport } from './jit-report.ts';
export { Machine, type MachineEnd, type MachineEvents, type MachineState } from './machine.ts';
export { formatRegisters } from './monitor.ts';
export {
  type Accel,
  type ComputerConfig,
  type ConsoleOptions,
  type DiskAttachment,
  describeCpuModels,
  type EntropySource,
  formatSize,
  type MachineOptions,
  MEMORY_DEFAULT_BYTES,
  MEMORY_MAX_BYTES,
  MEMORY_MIN_BYTES,
  type NetworkOptions,
  parseSize,
  parseTraceKinds,
  type ShareAttachment,
} from './options.ts';
export type { PanicNews } from './panic.ts';
export type { EngineKind } from './processors/engine-kind.ts';
export { engineKind } from './processors/engine-kind.ts';
export type { ProcessorStart } from './processors/worker.ts';
export {
  type CpuProfile,
  type CpuProfileNode,
  formatHottest,
  type HotPlace,
  type Profile,
} from './profile/profile.ts';
export type { ProfileOptions, Profiler } from './profile/profiler.ts';
export { type CodeSymbol, SymbolTable } from './profile/symbols.ts';
export {
  type FinalState,
  type ProcessorReport,
  type Report,
  type StateHash,
  TRACE_KINDS,
  type TraceKind,
} from './protocol.ts';
export type { ExpectMatch, ExpectOptions, SerialPort } from './serial.ts';
export { canonical } from './state-hash.ts';
