// What a host's ticker worker imports: the package as a whole would make it ten times as large.

export { runTicker } from '@mimic/cpu/ticker';
export type { TickerStart } from '../host.ts';
