// What `mimic` runs. Exits itself: an open standard input would keep the process alive.

import { runProgram } from './program.ts';

process.exit(await runProgram(process.argv.slice(2)));
