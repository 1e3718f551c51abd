// The worker of a machine's ticker.

import { workerData } from 'node:worker_threads';
import { runTicker, type TickerStart } from '@mimic/machine/ticker';
import { collectGarbage, hostNow } from './worker-links.ts';

const { memory, vcpuCount } = workerData as TickerStart;
// What starting has left: the thread makes next to no garbage of its own.
collectGarbage();
runTicker(memory, vcpuCount, hostNow);
