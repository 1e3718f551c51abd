// `mimic` with a scripted computer in place of processor and board: the "kernel" is a script. Started by tests only.

import { nodeHost } from 'mimic';
import { runProgram } from '../program.ts';

const worker = new URL('../../host/node/testing/scripted-worker.ts', import.meta.url);
process.exit(await runProgram(process.argv.slice(2), nodeHost(worker)));
