// The worker that builds the processor's engine, says what it is, and ends.

import { parentPort, workerData } from 'node:worker_threads';
import { buildEngine } from '@mimic/machine/engine';
import type { EngineBuild } from './engines.ts';

parentPort?.postMessage(buildEngine((workerData as EngineBuild).kind));
