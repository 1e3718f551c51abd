// The worker of one processor of several.

import { workerData } from 'node:worker_threads';
import { runProcessor } from '@mimic/machine/processor';
import { hostNow, type ProcessorData, receiveTranslation } from './worker-links.ts';

const { start, link } = workerData as ProcessorData;
runProcessor(start, {
  now: hostNow,
  receiveTranslation: link && (() => receiveTranslation(link)),
});
