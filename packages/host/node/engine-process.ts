// The process that builds the processor's engine, says what it is, and ends.

import { buildEngine } from '@mimic/machine/engine';
import type { EngineBuild } from './engines.ts';

process.once('message', ({ kind }: EngineBuild) => {
  process.send?.(buildEngine(kind), () => process.disconnect());
});
