// The options of a deterministic machine, and what it cannot be combined with.

import { MachineError } from './errors.ts';
import type { MachineOptions } from './options.ts';
import { parseRecording, type Recording } from './recording.ts';

/** 125 million instructions a second: about what the interpreter runs, so that time-outs mean what they should. */
const NS_PER_INSTRUCTION = 8;
const START_MS = Date.UTC(2026, 0, 1);

/** A machine whose run depends on nothing but its options and its input. docs/design/deterministic.md. */
export interface DeterministicOptions {
  /** Of the guest's random numbers. Default 1. */
  readonly seed?: number;
  /** Guest time that one instruction takes, 1 to 1000. Default 8. */
  readonly nsPerInstruction?: number;
  /** The date that the guest's clock starts with, in milliseconds since 1970. Default 2026-01-01T00:00:00Z. */
  readonly startMs?: number;
  /** A guest that waits for a timer finds itself there at once ('skip', default), or after as long as it would take. */
  readonly idle?: 'skip' | 'wait';
  /** The machine ends, with 'instruction-limit', behind so many instructions. Default: never. */
  readonly instructionsMax?: number;
}

export interface DeterministicConfig extends Required<DeterministicOptions> {
  readonly records: boolean;
  readonly replay: Recording | undefined;
}

/** Undefined for a machine that is not deterministic. */
export function checkDeterministic(options: MachineOptions): DeterministicConfig | undefined {
  const { deterministic, onRecord, cpus = 1, shares = [], rng = 'host' } = options;
  const replay = options.replay === undefined ? undefined : parseRecording(options.replay);
  if (!deterministic && !onRecord && !replay) return undefined;
  const config: DeterministicConfig = {
    seed: rng === 'host' ? 1 : rng.seed,
    nsPerInstruction: NS_PER_INSTRUCTION,
    startMs: START_MS,
    idle: 'skip',
    instructionsMax: Infinity,
    ...deterministic,
    ...(replay && {
      seed: replay.header.seed,
      nsPerInstruction: replay.header.nsPerInstruction,
      startMs: replay.header.startMs,
    }),
    records: onRecord !== undefined,
    replay,
  };
  const refuse = (what: string, hint: string) => {
    throw new MachineError('BAD_OPTION', what, { hint });
  };
  const { seed, nsPerInstruction, startMs, instructionsMax } = config;
  if (cpus !== 1) refuse('a deterministic machine has one processor', 'leave out the count');
  if (shares.length > 0) {
    refuse('a deterministic machine has no shared folders', 'put the files on a disk');
  }
  if (!Number.isSafeInteger(seed)) refuse(`${seed} is no seed`, 'a seed is a whole number');
  if (!(Number.isInteger(nsPerInstruction) && nsPerInstruction >= 1 && nsPerInstruction <= 1000)) {
    refuse(`an instruction cannot take ${nsPerInstruction} ns`, 'choose 1 to 1000 whole ones');
  }
  if (!Number.isSafeInteger(startMs))
    refuse(`${startMs} is no date`, 'count milliseconds from 1970');
  if (!(instructionsMax >= 0)) refuse(`${instructionsMax} is no limit`, 'count instructions');
  return config;
}
