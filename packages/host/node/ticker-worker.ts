// The worker of a machine's ticker.

import { workerData } from 'node:worker_threads';
import { runTicker, type TickerStart } from '@mimic/machine';
import { hostNow } from './worker-host.ts';

const { memory, vcpuCount } = workerData as TickerStart;
runTicker(memory, vcpuCount, hostNow);
