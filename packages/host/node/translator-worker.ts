// The worker of a machine's translator.

import { workerData } from 'node:worker_threads';
import { runTranslator } from '@mimic/machine/translator';
import { standBack } from './priorities.ts';
import { collectGarbage, type TranslatorData } from './worker-links.ts';

const { start, ports, priorities } = workerData as TranslatorData;
if (priorities) standBack();
runTranslator(start, {
  send: (translation) => {
    for (const port of ports) port.postMessage(translation);
  },
  collectGarbage,
});
