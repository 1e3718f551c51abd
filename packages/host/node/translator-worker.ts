// The worker of a machine's translator.

import { workerData } from 'node:worker_threads';
import { runTranslator } from '@mimic/machine';
import type { TranslatorData } from './worker-host.ts';

const { start, ports } = workerData as TranslatorData;
runTranslator(start, (translation) => {
  for (const port of ports) port.postMessage(translation);
});
