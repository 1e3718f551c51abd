// The worker of a machine: a PC.

import { assemblePc } from '@mimic/machine/computer';
import { runInWorker } from './worker-host.ts';

await runInWorker(assemblePc);
