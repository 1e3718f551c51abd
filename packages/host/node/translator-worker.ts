// The worker of a machine's translator.

import { join } from 'node:path';
import { workerData } from 'node:worker_threads';
import { runTranslator } from '@mimic/machine/translator';
import { cacheFolder } from './cache-folder.ts';
import { standBack } from './priorities.ts';
import { KeptTranslations, translationPath } from './translation-store.ts';
import { collectGarbage, type TranslatorData } from './worker-links.ts';

const { start, ports, priorities, sources } = workerData as TranslatorData;
if (priorities) standBack();
const store = sources === undefined ? undefined : openStore(sources);
// What reading the sources has left, before the guest runs.
collectGarbage();
runTranslator(start, {
  send: (translation) => {
    for (const port of ports) port.postMessage(translation);
  },
  collectGarbage,
  store,
});

function openStore(sources: string): KeptTranslations {
  const folder = join(cacheFolder(), 'translations');
  const path = translationPath(folder, { sources, key: start.kind });
  return new KeptTranslations(path, { memory: start.memory });
}
