// The worker of one processor of several.

import { workerData } from 'node:worker_threads';
import { type ProcessorStart, runProcessor } from '@mimic/machine';
import { hostNow } from './worker-host.ts';

runProcessor(workerData as ProcessorStart, hostNow);
