// The ways to run guest code that can be compared, by name.

import { createHash } from 'node:crypto';
import type { Computer, MachineOptions } from '@mimic/machine';
import { assemblePc, DeterministicRun, type RunHost } from '@mimic/machine/computer';
import type { MakeRun } from './search.ts';

/** Changes how a computer that was just assembled runs. */
export type Alteration = (computer: Computer) => void;

/** How guest code is run, and what is altered then. */
export interface Engine {
  readonly accel: 'interpreter' | 'jit';
  readonly alter?: Alteration;
}

export const ENGINES: Readonly<Record<string, Engine>> = {
  /** As `mimic run` does: block by block. */
  interpreter: { accel: 'interpreter' },
  /** Hot blocks as WebAssembly of their own, translated the moment they are hot. */
  translator: { accel: 'jit' },
  /** One instruction at a time, so that nothing depends on how code is cut into blocks. */
  single: {
    accel: 'interpreter',
    alter: (computer) =>
      alterRun(computer, (run) => (count) => {
        for (let n = 0; n < count; n++) {
          const cause = run(1);
          if (cause !== 'budget') return cause;
        }
        return 'budget';
      }),
  },
};

type Run = Computer['processor']['run'];

/** Puts something else in place of the processor's `run`. */
export function alterRun(computer: Computer, alter: (run: Run) => Run): void {
  const { processor } = computer;
  const run = alter((count) => processor.run(count));
  const value = new Proxy(processor, {
    get(target, name) {
      if (name === 'run') return run;
      const member: unknown = Reflect.get(target, name, target);
      return typeof member === 'function' ? member.bind(target) : member;
    },
  });
  Object.defineProperty(computer, 'processor', { value });
}

const HOST: RunHost<never> = {
  sha256: () => {
    const hash = createHash('sha256');
    return { update: (bytes) => void hash.update(bytes), hex: () => hash.digest('hex') };
  },
  openStore: () => {
    throw new Error('a comparison has no disks');
  },
  openFolder: () => {
    throw new Error('a comparison has no shared folders');
  },
};

/** Makes computers of these options, run that way. */
export function runner(options: MachineOptions, engine: Engine): MakeRun {
  return () =>
    DeterministicRun.create(
      { ...options, accel: engine.accel },
      HOST,
      async (config, wires, host) => {
        const computer = await assemblePc(config, wires, host);
        engine.alter?.(computer);
        return computer;
      },
    );
}
