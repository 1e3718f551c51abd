// Which cases the recording holds.

import type { X87Case } from './case.ts';
import { generate, Random } from './generate.ts';
import { targets } from './run.ts';

export const RECORDED_PER_TARGET = 32;
export const RECORDING_FILE: URL = new URL('./recorded.bin.gz', import.meta.url);
const SEED = 8087;

/** `count` cases of every form, the same for the same seed. */
export function casesOfAllForms(seed: number, count: number): X87Case[] {
  const random = new Random(seed);
  return targets().flatMap((target) => generate({ target, count, random }));
}

export function recordedCases(): X87Case[] {
  return casesOfAllForms(SEED, RECORDED_PER_TARGET);
}
