// The worker of a machine's translator.

import { workerData } from 'node:worker_threads';
import { runTranslator } from '@mimic/machine/translator';
import { collectGarbage, type TranslatorData } from './worker-links.ts';

const { start, ports } = workerData as TranslatorData;
runTranslator(start, {
  send: (translation) => {
    for (const port of ports) port.postMessage(translation);
  },
  collectGarbage,
});
