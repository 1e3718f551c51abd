// What a host's worker of one processor of several imports: neither board nor devices.

export { runProcessor } from '../processors/worker.ts';
