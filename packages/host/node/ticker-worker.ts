// The worker of a machine's ticker.

import { workerData } from 'node:worker_threads';
import { runTicker, type TickerStart } from '@mimic/machine/ticker';
import { hostNow } from './worker-links.ts';

const { memory, vcpuCount } = workerData as TickerStart;
runTicker(memory, vcpuCount, hostNow);
