// Which of the processor's engines a machine needs.

import type { EngineImage } from '@mimic/cpu';
import type { ComputerConfig } from '../options.ts';

export type EngineKind = EngineImage['processors'];

export function engineKind(config: Pick<ComputerConfig, 'cpuCount' | 'memoryOrder'>): EngineKind {
  if (config.cpuCount === 1) return 'one';
  return config.memoryOrder === 'strong' ? 'ordered' : 'several';
}
