// What a host's worker of a machine imports, and tools that run a computer without a worker.

export { DeterministicRun, type RunHost } from '../deterministic-run.ts';
export { assemblePc } from '../pc.ts';
export { type Assemble, runMachine } from '../worker.ts';
