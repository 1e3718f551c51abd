// Which fields of the state the guest can see, now or later: what two runs of the same machine must agree on, whatever
// engine ran them. Left out are the engine's own fields and what only means something while an instruction runs.

import { S } from './layout.ts';

type FieldName = keyof typeof S;

/** Fields that describe the engine, not the processor: left out of a snapshot and rebuilt. */
export const TRANSIENT: ReadonlySet<string> = new Set<FieldName>([
  'zero', 'tlb', 'tlbSystem', 'tlbFetch', 'codePageLinear', 'codePagePhysical', 'ramBytes', 'record', 'blockStart', 'budget',
  'events', 'result', 'scratch', 'aside', 'stopOnFault', 'hotThreshold', 'codeChanged', 'walkSilently', 'tlbsUsed', 'tlbsLarge', 'tlbsLargeGlobal',
  'exact', 'aloneAt', 'runOne', 'stopsOthers', 'pauses', 'generation', 'context',
  'userGeneration', 'supervisorGeneration', 'jumpsNotGlobal', 'jumpPages', 'codePageGlobal', 'codePageAlone', 'fetchGlobal',
  'sliceEnd', 'jumpFills', 'translatedFaults', 'flagsKind', 'flagsLeft', 'flagsRight',
]); // biome-ignore format: a list

/** Working storage of instructions and of event delivery, and flags in parts: RFLAGS is compared as a whole. */
const INTERNAL: ReadonlySet<string> = new Set<FieldName>([
  'flagZ', 'flagSP', 'flagO', 'flagC', 'flagA', 'rflags', 'ripBase', 'sseFlags', 'x87Raised', 'x87Wide',
  'fault', 'faultCode', 'faultAddress', 'delivering', 'instructionRip', 'innerSs', 'innerRsp', 'stepping',
]); // biome-ignore format: a list

export const VISIBLE_FIELDS: readonly FieldName[] = (Object.keys(S) as FieldName[]).filter(
  (name) => !TRANSIENT.has(name) && !INTERNAL.has(name),
);
