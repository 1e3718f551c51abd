// What a host's worker imports that builds the processor's engine. It ends when it has done so: lifting the whole
// table leaves tens of megabytes behind, which no thread should have that lives on.

import { type EngineImage, engine } from '@mimic/cpu';
import type { EngineKind } from '../processors/engine-kind.ts';

export function buildEngine(kind: EngineKind): EngineImage {
  return engine(kind).image;
}
