// The worker of one processor of several.

import { workerData } from 'node:worker_threads';
import { runProcessor } from '@mimic/machine/processor';
import { collectGarbage, hostNow, type ProcessorData, receiveTranslation } from './worker-links.ts';

const { start, link } = workerData as ProcessorData;
// What reading the sources has left, before the guest runs.
collectGarbage();
runProcessor(start, {
  now: hostNow,
  collectGarbage,
  receiveTranslation: link && (() => receiveTranslation(link)),
});
